import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { CANARIES, canariesIn, filesBelow } from "../support/fixtures/leak-canaries.ts";
import { holdLock } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";

const ALONE = { PATH: "/none", KEYCTL_AUTO_PROVISION: "0" };

async function homeWithRow(): Promise<Home> {
  const home = emptyHome();
  expect(await keyctl(home, ["save", "--user", "alice", "--stdin"], { input: KEY })).toMatchObject({ code: 0 });
  return home;
}

/** Milliseconds, with the start of a process on a busy machine. */
async function timed<Result>(work: Promise<Result>): Promise<readonly [Result, number]> {
  const started = performance.now();
  return [await work, performance.now() - started];
}

describe("doctor", () => {
  it.each([
    ["where there is a store", true],
    ["where there is none", false],
  ])("changes no byte and makes nothing, %s", async (_, isThere) => {
    const home = isThere ? await homeWithRow() : emptyHome();
    home.writeKeyFile(KEY);
    const before = filesBelow(home.folder);
    const run = await keyctl(home, ["doctor", "--deep"], { env: ALONE });
    expect(run.code).toBe(isThere ? 0 : 10);
    expect(filesBelow(home.folder)).toEqual(before);
  });

  it("ends in time while another program holds the database, and says the rest", async () => {
    const home = await homeWithRow();
    onTestFinished(holdLock(home.database));
    const [run, elapsed] = await timed(keyctl(home, ["doctor", "--json", "--timeout", "2s"], { env: ALONE }));
    expect(run.code).toBe(7);
    expect(elapsed).toBeLessThan(4000);
    const [document] = documentsOf(run);
    expect(document).toMatchObject({ failed: 1, error: { code: "STORE_UNAVAILABLE", exit_code: 7 } });
    expect(document?.["checks"]).toContainEqual({
      id: "key_file",
      status: "pass",
      message: "./key.txt: none",
      hint: null,
    });
  });

  it("ends in time while a server does not answer", async () => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    onTestFinished(() => void silent.close());
    await new Promise((resolve) => silent.once("listening", resolve));
    const { port } = silent.address() as AddressInfo;
    const env = { ...ALONE, KEYCTL_STORE: `mongodb://127.0.0.1:${port}/keys` };
    const [run, elapsed] = await timed(keyctl(emptyHome(), ["doctor", "--json", "--timeout", "2s"], { env }));
    expect(run.code).toBe(7);
    expect(elapsed).toBeLessThan(4000);
    expect(documentsOf(run)[0]).toMatchObject({ error: { code: "STORE_UNAVAILABLE", retryable: true } });
  });

  it("gives git none of our secrets and none of git's own variables, and waits no longer than 2 s for it", async () => {
    const home = await homeWithRow();
    home.writeKeyFile(KEY);
    const git = `#!/bin/sh\n/usr/bin/env > '${join(home.folder, "git.env")}'\nexec /bin/sleep 60\n`;
    writeFileSync(join(home.folder, "git"), git);
    chmodSync(join(home.folder, "git"), 0o755);
    const env = {
      PATH: home.folder,
      GIT_DIR: "/elsewhere",
      OPENROUTER_API_KEY: CANARIES.key,
      OPENROUTER_MANAGEMENT_KEY: CANARIES["management key"],
      MONGODB_URI: "mongodb://db/keys",
      KEYCTL_STORE: `sqlite:${home.database}`,
    };
    const [run, elapsed] = await timed(keyctl(home, ["doctor"], { env }));
    // OpenRouter does not know that management key.
    expect(run.code).toBe(10);
    expect(elapsed).toBeLessThan(6000);
    const seen = readFileSync(join(home.folder, "git.env"), "utf8");
    expect(seen).toContain("GIT_OPTIONAL_LOCKS=0");
    expect(seen).not.toMatch(/GIT_DIR|KEYCTL_STORE|MONGODB_URI/);
    expect(canariesIn({ seen })).toEqual([]);
  });
});

describe("doctor on a Node without SQLite and without its drop-in", () => {
  it.skipIf(process.getBuiltinModule("node:sqlite") !== undefined).each([
    ["where there is a store", true],
    ["where there is none", false],
  ])("fails, %s", async (_, isThere) => {
    const home = isThere ? await homeWithRow() : emptyHome();
    // The built tool alone: no package is installed beside it.
    for (const part of ["bin", "dist", "package.json"]) {
      cpSync(join(BIN, "..", "..", part), join(home.folder, "tool", part), { recursive: true });
    }
    const tool = join(home.folder, "tool", "bin", "keyctl.cjs");
    const run = spawnSync(process.execPath, [tool, "doctor", "--json"], {
      cwd: home.work,
      env: { ...home.environment, ...ALONE },
      encoding: "utf8",
    });
    expect(run.status).toBe(7);
    expect(run.stdout).toContain("has no SQLite, and its drop-in is not installed");
    expect(run.stdout).toContain("npm install @photostructure/sqlite");
  });
});
