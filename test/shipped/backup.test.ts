import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { expect, it } from "vitest";
import { change, rowsOf } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl, onlyIn } from "../support/programs/keyctl.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { madeKeys } from "../support/openrouter/made-keys.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { environmentFor } from "../support/recording/keyctl.ts";

const TEXT = readFileSync(fileURLToPath(new URL("../../docs/backup.md", import.meta.url)), "utf8");
const SECRET = "/run/secrets/keyctl-store";
/** Every block of commands, without its indentation. */
const BLOCKS = Array.from(TEXT.matchAll(/^( *)```sh\n(.*?)^ *```$/gms), ([, indent = "", block = ""]) =>
  block.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
);
const [TAKE, TAKE_OF_TODAY, MASTER_KEYS, CHECK, PUT_ASIDE, RESTORE, COMPARE, TAKE_OF_MONGODB, RESTORE_MONGODB] = BLOCKS;

/** Runs a block as a person would, with keyctl on the PATH; nothing in it may fail but what is said to. */
async function run(home: Home, block: string | undefined, env: NodeJS.ProcessEnv = {}, codes: readonly number[] = [0]) {
  if (block === undefined) throw new Error("docs/backup.md has no such block");
  const bin = join(home.folder, "bin");
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, "keyctl"), `#!/bin/sh\nexec '${process.execPath}' '${BIN}' "$@"\n`);
  chmodSync(join(bin, "keyctl"), 0o755);
  const PATH = `${bin}:${process.env["PATH"]}`;
  const done = await execa("bash", ["-euc", block], onlyIn(home, { env: { ...env, PATH } }));
  expect([block, codes.includes(done.exitCode ?? -1), String(done.stderr)]).toEqual([block, true, String(done.stderr)]);
  return String(done.stdout);
}

async function usersIn(home: Home, store?: string): Promise<readonly unknown[]> {
  const flags = store === undefined ? [] : ["--store", store];
  const { code, stdout } = await keyctl(home, ["list", "--json", ...flags]);
  expect(code).toBe(0);
  const lines = stdout.split("\n").slice(0, -1);
  return lines.map((line) => (JSON.parse(line) as { user_id: string }).user_id);
}

it("docs/backup.md has no more blocks of commands than are run here", () => {
  expect(BLOCKS.length).toBe(9);
});

it("a backup is whole, opens with the master keys alone, and is restored as docs/backup.md says", async () => {
  const home = emptyHome();
  const openRouter = await mockOpenRouter();
  const env = environmentFor(openRouter);
  for (const user of ["alice", "bob"]) expect((await keyctl(home, ["sync", "-u", user], { env })).code).toBe(0);
  expect((await keyctl(home, ["save", "-u", "carol", "--stdin"], { input: KEY })).code).toBe(0);

  await run(home, TAKE);
  await run(home, TAKE_OF_TODAY);
  await run(home, MASTER_KEYS);
  const backup = join(home.work, "backup.db");
  const [masterKey = "none"] = /"k":"([\w-]{43})"/.exec(readFileSync(home.masterKeys, "utf8"))?.slice(1) ?? [];
  for (const name of readdirSync(home.work).filter((file) => file.endsWith(".db"))) {
    const bytes = readFileSync(join(home.work, name), "latin1");
    expect([name, bytes.includes(masterKey), bytes.includes("sk-or-v1-")]).toEqual([name, false, false]);
  }
  expect(readFileSync(join(home.work, "master-keys.backup.json"))).toEqual(readFileSync(home.masterKeys));
  expect(await run(home, CHECK, env, [0, 10])).toContain("3 keys, all sealed, and all of them open");
  expect(readdirSync(home.work).filter((file) => file.startsWith("backup.db"))).toEqual(["backup.db"]);
  expect(rowsOf(backup, "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);

  // What happens after the backup: bob's key goes, dave's comes, carol's is another one.
  expect((await keyctl(home, ["purge", "-u", "bob", "--revoke", "--yes"], { env })).code).toBe(0);
  expect((await keyctl(home, ["sync", "-u", "dave"], { env })).code).toBe(0);
  expect((await keyctl(home, ["save", "-u", "carol", "--stdin", "--replace"], { input: OTHER })).code).toBe(0);
  const made = madeKeys(openRouter);

  await run(home, PUT_ASIDE);
  expect(existsSync(home.database)).toBe(false);
  await run(home, RESTORE);
  expect(await usersIn(home)).toEqual(["alice", "bob", "carol"]);
  expect((await keyctl(home, ["get", "-u", "carol", "--stored", "--reveal"])).stdout).toBe(`${KEY}\n`);
  // A key that is only just stored may be too new for OpenRouter's list.
  change(home.database, "UPDATE api_keys SET created_at = '2026-01-01T00:00:00.000Z'");
  const findings = await run(home, COMPARE, env, [10]);
  expect(findings).toContain("dangling row");
  expect(findings).toContain("unknown nonce");
  expect((await keyctl(home, ["reconcile", "--fix"], { env })).code).toBe(10);
  expect(madeKeys(openRouter)).toEqual(made);
  // And life goes on.
  expect((await keyctl(home, ["purge", "-u", "bob", "--yes"], { env })).code).toBe(0);
  for (const user of ["bob", "dave"]) expect((await keyctl(home, ["sync", "-u", user], { env })).code).toBe(0);
  expect(madeKeys(openRouter).length).toBe(4);
  expect(dirname(home.database)).toBe(join(home.folder, "data", "keyctl"));
});

describeWithMongodb("over MongoDB", () => {
  it("a backup is taken and restored as docs/backup.md says", async () => {
    const home = emptyHome();
    const { uri, db } = databaseOfTest();
    writeFileSync(join(home.folder, "secret"), `${uri}\n`);
    const secret = (block = "") => block.replaceAll(SECRET, join(home.folder, "secret"));
    const env = { KEYCTL_STORE: uri };
    expect((await keyctl(home, ["rekey", "--init"], { env })).code).toBe(0);
    expect((await keyctl(home, ["save", "-u", "alice", "--stdin"], { env, input: KEY })).code).toBe(0);
    const before = await db.collection("api_keys").find().toArray();

    await run(home, secret(TAKE_OF_MONGODB));
    expect(await usersIn(home, "sqlite:mongodb-backup.db")).toEqual(["alice"]);
    await db.dropDatabase();
    await run(home, secret(RESTORE_MONGODB));
    expect(await db.collection("api_keys").find().toArray()).toEqual(before);
    expect((await keyctl(home, ["get", "-u", "alice", "--stored", "--reveal"], { env })).stdout).toBe(`${KEY}\n`);
  });
});
