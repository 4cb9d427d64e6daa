import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { jwkSet, newJwk } from "../support/fixtures/jwk.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { sealedValues } from "../support/fixtures/stored-rows.ts";

/** The promise of docs/security.md: who has the master keys opens what is stored with ten lines of another program. */

const KEY = "sk-or-v1-0000000000000000000000000000000000000000000000000000000000b465";
const OTHER = "sk-or-v1-1111111111111111111111111111111111111111111111111111111191aa";

const NODE = {
  language: "Node",
  file: fileURLToPath(new URL("../support/fixtures/open-stored-value.mjs", import.meta.url)),
  program: process.execPath,
};
const PYTHON = {
  language: "Python",
  file: fileURLToPath(new URL("../support/fixtures/open-stored-value.py", import.meta.url)),
  program: "python3",
};
const hasPython = spawnSync(PYTHON.program, ["-c", "import cryptography"]).status === 0;

describe.each(hasPython ? [PYTHON, NODE] : [NODE])("ten lines of $language", ({ file, program }) => {
  const open = async (home: Home, value: string) =>
    execa(program, [file, home.masterKeys], {
      input: `${value}\n`,
      env: home.environment,
      extendEnv: false,
      reject: false,
    });

  it("are no more than ten, and use nothing of ours", () => {
    const lines = readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "");
    expect(lines.length).toBeLessThanOrEqual(10);
    expect(lines.join("\n")).not.toMatch(/keyctl|src|dist|jose/);
  });

  it.each(["alice", "Ünal Öztürk 用户"])("open the stored value of %s", async (user) => {
    const home = emptyHome();
    await keyctl(home, ["sync", "--user", user], { env: { OPENROUTER_API_KEY: KEY } });
    const value = (await sealedValues(home)).get(user) ?? "";
    expect(await open(home, value)).toMatchObject({ exitCode: 0, stdout: KEY });
  });

  it("pick the right one of several master keys", async () => {
    const home = emptyHome();
    await keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: KEY } });
    const { keys } = JSON.parse(readFileSync(home.masterKeys, "utf8"));
    writeFileSync(home.masterKeys, jwkSet(newJwk(), ...keys));
    await keyctl(home, ["sync", "--user", "bob"], { env: { OPENROUTER_API_KEY: OTHER } });
    const values = await sealedValues(home);
    expect((await open(home, values.get("alice") ?? "")).stdout).toBe(KEY);
    expect((await open(home, values.get("bob") ?? "")).stdout).toBe(OTHER);
  });

  it("do not open a damaged value", async () => {
    const home = emptyHome();
    await keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: KEY } });
    const value = (await sealedValues(home)).get("alice") ?? "";
    const damaged = value.replace(/\.[^.]+$/, ".AAAAAAAAAAAAAAAAAAAAAA");
    expect(await open(home, damaged)).toMatchObject({ exitCode: 1, stdout: "" });
  });
});
