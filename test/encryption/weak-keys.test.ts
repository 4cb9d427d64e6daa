import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseMasterKeys } from "../../src/encryption/jwk-set.ts";
import { isGuessable } from "../../src/encryption/weak-key.ts";
import { newJwk } from "../support/fixtures/jwk.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { alice, KEY as API_KEY } from "../support/memory/manager-over.ts";
import { createSealer } from "../../src/encryption/sealer.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { change } from "../support/sqlite/database-file.ts";

const ZEROS = Buffer.alloc(32).toString("base64url");
const saving = (home: Home, env: Record<string, string>) =>
  inProcess(home, ["save", "--user", "alice", "--stdin", "--json"], { input: KEY, env });

describe("a master key that anybody can guess", () => {
  it.each<readonly [string, Buffer]>([
    ["zeros", Buffer.alloc(32)],
    ["one byte repeated", Buffer.alloc(32, 0xfb)],
    ["a word repeated", Buffer.from("secret".repeat(6).slice(0, 32))],
    ["bytes that count up", Buffer.from(Array.from({ length: 32 }, (_, index) => index))],
    ["bytes that count down", Buffer.from(Array.from({ length: 32 }, (_, index) => 255 - index))],
  ])("is one of %s, and refused for a new store", async (_, bytes) => {
    expect(isGuessable(bytes)).toBe(true);
    const home = emptyHome();
    const run = await saving(home, { KEYCTL_MASTER_KEYS: bytes.toString("base64url") });
    expect(errorOf(run)).toMatchObject({ code: "CONFIG_INVALID", exit_code: 4 });
    expect(errorOf(run)?.message).toContain("KEYCTL_MASTER_KEYS follows a pattern");
    expect(run.stdout + run.stderr).not.toContain(bytes.toString("base64url"));
    expect((await inProcess(home, ["list", "--count"])).stdout).toBe("0\n");
    const init = await inProcess(home, ["rekey", "--init"], { env: { KEYCTL_MASTER_KEYS: ZEROS } });
    expect(init.code).toBe(4);
  });

  it("is never a random one", () => {
    fc.assert(
      fc.property(fc.noShrink(fc.integer()), () => !isGuessable(randomBytes(32))),
      { numRuns: 20_000 },
    );
  });

  it("is named for a store that is sealed with it, once a run, and gone after a rekey", async () => {
    const home = emptyHome();
    const random = newJwk();
    const env = { KEYCTL_MASTER_KEYS: random.k };
    expect((await saving(home, env)).code).toBe(0);
    // As an earlier keyctl has sealed it: the check is made of the same parts.
    const [zeros] = parseMasterKeys(ZEROS);
    const sealer = createSealer(zeros);
    const sealed = sealer.seal(API_KEY, alice);
    const check = sealer.newSealCheck();
    change(
      home.database,
      `UPDATE api_keys SET key_encrypted = '${sealed}'; DELETE FROM api_key_meta WHERE _id GLOB 'check:*';
       INSERT INTO api_key_meta (_id, value) VALUES ('check:${check.kid}', '${check.value}')`,
    );
    mkdirSync(dirname(home.masterKeys), { recursive: true });
    writeFileSync(home.masterKeys, ZEROS, { mode: 0o600 });
    const run = await inProcess(home, ["get", "--user", "alice", "--stored", "--json"]);
    expect([run.code, documentsOf(run)[0]?.["warnings"]]).toEqual([
      0,
      [{ code: "MASTER_KEY_GUESSABLE", message: expect.stringContaining("keyctl rekey   replaces it") }],
    ]);
    expect(run.stderr.match(/warning: master key/g)).toHaveLength(1);
    const doctor = await inProcess(home, ["doctor"]);
    expect(doctor.stdout).toContain("follows a pattern: anybody can guess it, and open what it seals\tkeyctl rekey\n");
    await inProcess(home, ["rekey"]);
    expect((await inProcess(home, ["doctor"])).stdout).not.toContain("follows a pattern");
  });
});

/** What the line below the hint's first one makes of it, in a shell. */
function converted(hint: string, cwd: string, env: Record<string, string>, then: string): string {
  const [, command = ""] = hint.split("\n");
  const options = { cwd, env: { PATH: process.env["PATH"] ?? "", ...env } };
  return execFileSync("sh", ["-c", `${command}\n${then}`], options).toString();
}

describe("a master key that openssl rand has printed", () => {
  const bytes = Buffer.concat([Buffer.from([0xfb, 0xff, 0xbf]), randomBytes(29)]);
  const forms = [
    ["base64", `${bytes.toString("base64")}\n`],
    ["hex", `${bytes.toString("hex")}\n`],
  ] as const;

  it.each(forms)("in %s in a variable gets a command that converts it", async (_, text) => {
    const home = emptyHome();
    const error = errorOf(await saving(home, { KEYCTL_MASTER_KEYS: text }));
    expect(error).toMatchObject({
      code: "CONFIG_INVALID",
      message: "KEYCTL_MASTER_KEYS does not hold 32 bytes in base64url",
    });
    const key = converted(
      error?.hint ?? "",
      home.work,
      { KEYCTL_MASTER_KEYS: text },
      'printf %s "$KEYCTL_MASTER_KEYS"',
    );
    expect(key).toBe(bytes.toString("base64url"));
    expect((await saving(home, { KEYCTL_MASTER_KEYS: key })).code).toBe(0);
  });

  it.each(forms)("in %s in a file gets a command that converts it", async (_, text) => {
    const home = emptyHome();
    const path = join(home.work, "the master's key");
    writeFileSync(path, text, { mode: 0o600 });
    const error = errorOf(await saving(home, { KEYCTL_MASTER_KEYS_FILE: path }));
    converted(error?.hint ?? "", home.work, {}, "");
    expect(readFileSync(path, "utf8")).toBe(bytes.toString("base64url"));
    expect((await saving(home, { KEYCTL_MASTER_KEYS_FILE: path })).code).toBe(0);
  });

  it("in a JWK Set or from a command is told what makes it fit", async () => {
    const set = JSON.stringify({ keys: [{ kty: "oct", k: bytes.toString("base64") }] });
    const inSet = errorOf(await saving(emptyHome(), { KEYCTL_MASTER_KEYS: set }));
    expect(inSet?.hint).toContain(`in a JWK, "k" is what this prints for it: tr '+/' '-_' | tr -d '=\\n'`);
    const command = { KEYCTL_MASTER_KEYS_COMMAND: `echo ${bytes.toString("base64")}` };
    const error = errorOf(await saving(emptyHome(), command));
    const [, filter = ""] = (error?.hint ?? "").split("put this behind the command: | ");
    const fixed = { KEYCTL_MASTER_KEYS_COMMAND: `${command.KEYCTL_MASTER_KEYS_COMMAND} | ${filter}` };
    expect((await saving(emptyHome(), fixed)).code).toBe(0);
  });
});

describe("master keys that are missing or the wrong ones", () => {
  it("are to be restored to the path where they are looked for", async () => {
    const home = emptyHome();
    await saving(home, {});
    const elsewhere = { XDG_CONFIG_HOME: join(home.folder, "other") };
    const lost = await inProcess(home, ["get", "--user", "alice", "--stored"], { env: elsewhere });
    expect(lost.stderr).toContain(
      `hint: restore master-keys.json from its backup to ${join(home.folder, "other", "keyctl", "master-keys.json")}, or set KEYCTL_MASTER_KEYS_FILE\n`,
    );
    const gone = { KEYCTL_MASTER_KEYS_FILE: join(home.folder, "gone.json") };
    const missing = await inProcess(home, ["get", "--user", "alice", "--stored"], { env: gone });
    expect(missing.stderr).toContain(`hint: restore it from its backup to ${gone.KEYCTL_MASTER_KEYS_FILE}; `);
    chmodSync(home.masterKeys, 0o600);
    writeFileSync(home.masterKeys, "half of");
    const damaged = await inProcess(home, ["get", "--user", "alice", "--stored"]);
    expect(damaged.stderr).toContain(`hint: check it, or restore it from its backup to ${home.masterKeys}; `);
  });

  it("say where those came from that were tried, and which one is needed", async () => {
    const home = emptyHome();
    await saving(home, {});
    const [{ kid }] = parseMasterKeys(readFileSync(home.masterKeys, "utf8"));
    const file = join(home.work, "another.json");
    writeFileSync(file, newJwk().k, { mode: 0o600 });
    for (const [env, place] of [
      [{ KEYCTL_MASTER_KEYS: newJwk().k }, "KEYCTL_MASTER_KEYS"],
      [{ KEYCTL_MASTER_KEYS_FILE: file }, file],
    ] as const) {
      const run = await inProcess(home, ["get", "--user", "alice", "--stored"], { env });
      expect(run.code).toBe(4);
      expect(run.stderr).toContain(
        `hint: those that were tried are from ${place}, and it needs the one with the kid ${kid}\n`,
      );
    }
  });
});
