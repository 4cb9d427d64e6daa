import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { parseMasterKeys } from "../../src/encryption/jwk-set.ts";
import { gate } from "../support/faults/latch.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { spooled, spoolFolderOf } from "../support/fixtures/spooled-key.ts";
import { masterKeysInUse, sealedValues } from "../support/fixtures/stored-rows.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { stage, withCalls, withoutPauses } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import { managerOfTest, openManager } from "../support/memory/manager.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";
import { rowsOf } from "../support/sqlite/database-file.ts";

/** A program that seals: it looks at the names of the master keys, seals, and writes. `--retire` runs beside it. */

function kidsIn(home: Home): readonly string[] {
  return parseMasterKeys(readFileSync(home.masterKeys, "utf8")).map(({ kid }) => kid);
}

function namedKids(home: Home): readonly string[] {
  const checks = rowsOf(home.database, "SELECT _id FROM api_key_meta WHERE _id GLOB 'check:*'");
  return checks.map((row) => String(row["_id"]).slice("check:".length)).toSorted();
}

const save = (home: Home, user: string, key = KEY) =>
  inProcess(home, ["save", "--user", user, "--stdin"], { input: key });
const stored = async (home: Home, user: string) =>
  (await inProcess(home, ["get", "--user", user, "--stored", "--reveal"])).stdout.trim();
const retire = (home: Home, kid: string, during?: () => Promise<unknown>) =>
  inProcess(home, ["rekey", `--retire=${kid}`, "--json"], { around: withoutPauses(during) });

/** The home after a rekey, and a second machine on its database whose set still has the old master key in front. */
async function twoMachines() {
  const home = emptyHome();
  await save(home, "alice");
  await inProcess(home, ["rekey"]);
  const set = JSON.parse(readFileSync(home.masterKeys, "utf8")) as { keys: { kid: string }[] };
  const [active, old] = set.keys;
  if (active === undefined || old === undefined) throw new Error("a rekey makes two master keys");
  const path = join(home.folder, "second-machine.json");
  writeFileSync(path, JSON.stringify({ keys: [old, active] }), { mode: 0o600 });
  return { home, active: active.kid, old: old.kid, second: { KEYCTL_MASTER_KEYS_FILE: path } };
}

/** A manager for a command of this stage that takes as long as OpenRouter. */
const beside = ({ home, env }: Stage) => managerOfTest(home, { ...env, KEYCTL_AUTO_PROVISION: "1" });

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
}

it("does not take away the master key of a key that is being created", { timeout: 30_000 }, async () => {
  const all = await stage({ latencyMs: 2_500 });
  const { home } = all;
  await save(home, "bob", OTHER);
  const [old = ""] = kidsIn(home);
  const manager = await beside(all);
  const creating = manager.syncAndGetKey("alice");
  await until(() => rowsOf(home.database, "SELECT 1 FROM api_key_journal WHERE _id GLOB '*:op:*'").length > 0);
  await inProcess(home, ["rekey"]);
  const refused = errorOf(await retire(home, old));
  expect(refused).toMatchObject({
    code: "CONFLICT",
    retryable: true,
    message: `master key ${old} may still be used, by 1 key under way (alice); it stays`,
    hint: `in a minute: keyctl rekey --retire=${old}`,
  });
  expect(kidsIn(home)).toContain(old);
  const { key } = await creating;
  expect((await retire(home, old)).code).toBe(0);
  expect(await stored(home, "alice")).toBe(key?.reveal());
});

it(
  "waits for a key that is being created, which is sealed with the master key of then",
  { timeout: 30_000 },
  async () => {
    const all = await stage({ latencyMs: 2_500 });
    const { home } = all;
    await save(home, "bob", OTHER);
    const [old = ""] = kidsIn(home);
    const manager = await beside(all);
    const creating = manager.syncAndGetKey("alice");
    await until(() => rowsOf(home.database, "SELECT 1 FROM api_key_journal WHERE _id GLOB '*:op:*'").length > 0);
    await inProcess(home, ["rekey"]);
    const run = await retire(home, old, () => creating);
    expect(run.code).toBe(0);
    expect(await stored(home, "alice")).toBe((await creating).key?.reveal());
    expect(await masterKeysInUse(home)).toEqual(kidsIn(home));
  },
);

it("is not outrun by a save that asks OpenRouter first", { timeout: 30_000 }, async () => {
  const all = await stage({ latencyMs: 2_000 });
  const { home, server } = all;
  await save(home, "bob", OTHER);
  const [old = ""] = kidsIn(home);
  server.addKey(KEY);
  const looked = gate();
  const around = withCalls((store) => ({
    find(...words) {
      looked.open();
      return store.find(...words);
    },
  }));
  const manager = await managerOfTest(home, all.env, around);
  const saving = manager.save("alice", KEY, { validate: true });
  await looked.opened;
  await inProcess(home, ["rekey"]);
  expect((await retire(home, old)).code).toBe(0);
  expect((await saving).changed).toBe(true);
  expect(await masterKeysInUse(home)).toEqual(kidsIn(home));
});

it("gives way to another machine that is about to seal with it", { timeout: 30_000 }, async () => {
  const { home, active, old, second } = await twoMachines();
  const [reached, held] = [gate(), gate()];
  const around = withCalls((store) => ({
    async insert(...words) {
      reached.open();
      await held.opened;
      return store.insert(...words);
    },
  }));
  const other = await openManager(home, second, around);
  onTestFinished(() => other.close());
  let saving: Promise<unknown> | undefined;
  const run = await retire(home, old, async () => {
    saving = other.save("bob", OTHER);
    await reached.opened;
  });
  expect(errorOf(run)).toMatchObject({
    code: "CONFLICT",
    exit_code: 8,
    message: `another program seals with master key ${old}: the database names it again; it stays`,
  });
  expect(errorOf(run)?.hint).toContain(
    `put master key ${active} first on every machine; then: keyctl rekey --keep-key\n`,
  );
  held.open();
  await saving;
  expect([kidsIn(home), namedKids(home)]).toEqual([[active, old], [active, old].toSorted()]);
  expect(await stored(home, "bob")).toBe(OTHER);
});

it("lets doctor show a machine that was forgotten: it names its master key before it seals", async () => {
  const { home, active, old, second } = await twoMachines();
  expect((await retire(home, old)).code).toBe(0);
  const saved = await inProcess(home, ["save", "--user", "bob", "--stdin"], { input: OTHER, env: second });
  expect(saved.code).toBe(0);
  expect(namedKids(home)).toEqual([active, old].toSorted());
  const report = (await inProcess(home, ["doctor"])).stdout;
  expect(report).toContain("the database is sealed with 2 master keys");
  expect(report).toContain(`1 key is sealed with master key ${old.slice(0, 8)}…, which is not here`);
});

it("names nothing for a machine that only reads", async () => {
  const { home, active, second } = await twoMachines();
  for (const args of [["get", "--user", "alice"], ["list"], ["sync", "--user", "alice"], ["doctor"]])
    await inProcess(home, args, { env: second });
  const manager = await managerOfTest(home, second);
  await manager.check();
  expect(namedKids(home)).toEqual([active]);
});

it("finds a key that leaves its file for its row while it looks", async () => {
  const all = await stage();
  const { home } = all;
  await spooled(all);
  const [old = ""] = kidsIn(home);
  await inProcess(home, ["rekey"]);
  const [folder, away] = [spoolFolderOf(home), join(home.folder, "away")];
  renameSync(folder, away);
  const env = { XDG_STATE_HOME: all.env["XDG_STATE_HOME"] ?? "" };
  const leaving = withCalls((store) => ({
    async *scan(...words) {
      yield* store.scan(...words);
      if (existsSync(folder)) renameSync(folder, away);
    },
  }));
  const arriving = withoutPauses(async () => renameSync(away, folder));
  const run = await inProcess(home, ["rekey", `--retire=${old}`, "--json"], {
    env,
    around: (ports) => arriving(leaving(ports)),
  });
  expect(errorOf(run)?.message).toContain(`${old} is still used, by 1 key that could not be stored yet`);
});

it("says what it waits for, and waits longer than a write takes", { timeout: 30_000 }, async () => {
  const { home, old } = await twoMachines();
  let waited = 0;
  const run = await inProcess(home, ["rekey", `--retire=${old}`], {
    around: (ports) => ({ ...ports, pause: async (milliseconds) => void (waited += milliseconds) }),
  });
  expect(run.stderr).toContain(
    "note: waiting 14s for programs that may still write a key sealed with that master key\n",
  );
  expect(waited).toBeGreaterThan(12_000);
  expect((await sealedValues(home)).size).toBe(1);
});
