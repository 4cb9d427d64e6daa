import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { parseMasterKeys } from "../../src/encryption/jwk-set.ts";
import { jwkSet, newJwk } from "../support/fixtures/jwk.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { spooled } from "../support/fixtures/spooled-key.ts";
import { sealedValues, writeSealedValue } from "../support/fixtures/stored-rows.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { stage, withCalls, withoutPauses } from "../support/home/tool-with-openrouter.ts";
import { managerOfTest } from "../support/memory/manager.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { change, rowsOf } from "../support/sqlite/database-file.ts";

type Around = (ports: Ports) => Ports;

function kidsIn(home: Home): readonly string[] {
  return parseMasterKeys(readFileSync(home.masterKeys, "utf8")).map(({ kid }) => kid);
}

function namedKids(home: Home): readonly string[] {
  const checks = rowsOf(home.database, "SELECT _id FROM api_key_meta WHERE _id GLOB 'check:*'");
  return checks.map((row) => String(row["_id"]).slice("check:".length));
}

const saved = (home: Home) => inProcess(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
const retire = (home: Home, kid: string, around: Around = (ports) => ports, ...more: readonly string[]) =>
  inProcess(home, ["rekey", `--retire=${kid}`, ...more], { around: (ports) => withoutPauses()(around(ports)) });
const retireAsJson = (home: Home, kid: string, around?: Around) => retire(home, kid, around, "--json");
const got = async (home: Home) => (await inProcess(home, ["get", "--user", "alice", "--stored", "--reveal"])).stdout;

const SPARE = newJwk();

/** A home that was rekeyed: its master keys, the active one first, and alice's row as it was before. */
async function rekeyed() {
  const home = emptyHome();
  await saved(home);
  const before = (await sealedValues(home)).get("alice") ?? "";
  await inProcess(home, ["rekey"]);
  const [active = "", old = ""] = kidsIn(home);
  return { home, before, active, old };
}

describe("rekey --retire", () => {
  it("takes a master key that nothing uses out of its set, and ends what doctor says of it", async () => {
    const { home, active, old } = await rekeyed();
    const complaint = await inProcess(home, ["doctor", "--json"]);
    expect(complaint.stdout).toContain(`keyctl rekey --retire=${old}`);
    const run = await retire(home, old);
    expect(run).toMatchObject({
      code: 0,
      stdout: `master key ${old} is retired; the active master key is ${active}\n`,
    });
    expect([kidsIn(home), namedKids(home)]).toEqual([[active], [active]]);
    expect((await inProcess(home, ["doctor", "--json"])).stdout).not.toContain(old.slice(0, 8));
    expect(await got(home)).toBe(`${KEY}\n`);
  });

  it("leaves all else in the set as it is, and ends with one document", async () => {
    const { home, active, old } = await rekeyed();
    const set = JSON.parse(readFileSync(home.masterKeys, "utf8")) as { keys: object[] };
    const third = newJwk();
    writeFileSync(home.masterKeys, JSON.stringify({ about: "ours", keys: [...set.keys, { ...third, note: "mine" }] }));
    expect(documentsOf(await retireAsJson(home, old))).toMatchObject([
      { type: "summary", command: "rekey", active_kid: active, retired_kid: old, complete: true, error: null },
    ]);
    const after = JSON.parse(readFileSync(home.masterKeys, "utf8")) as { about: string; keys: { kid: string }[] };
    expect(after).toEqual({ about: "ours", keys: [set.keys[0], { ...third, note: "mine" }] });
  });

  it.each<readonly [string, (home: Home, value: string) => Promise<void>]>([
    ["a row", (home, value) => writeSealedValue(home, "alice", value)],
    [
      "a key that is kept until a change is final",
      async (home, value) => {
        const previous = JSON.stringify({ revoke: false, generation: 0, key_encrypted: value, source: "manual" });
        change(home.database, `UPDATE api_keys SET settled = 0, generation = 1, previous = '${previous}'`);
      },
    ],
  ])("refuses one that seals %s, names whose it is, and changes nothing", async (_, use) => {
    const { home, before, active, old } = await rekeyed();
    await use(home, before);
    const run = await retireAsJson(home, old);
    expect(errorOf(run)).toMatchObject({
      code: "CONFLICT",
      exit_code: 8,
      message: `master key ${old} is still used, by 1 row (alice); it stays`,
      hint: "keyctl rekey --keep-key   seals them with the active one",
    });
    expect([kidsIn(home), namedKids(home)]).toEqual([[active, old], [active]]);
    await inProcess(home, ["rekey", "--keep-key"]);
    expect((await retire(home, old)).code).toBe(0);
  });

  it("refuses one that seals a key that could not be stored yet", async () => {
    const all = await stage();
    await spooled(all);
    const [old = ""] = kidsIn(all.home);
    await inProcess(all.home, ["rekey"]);
    const error = errorOf(await retireAsJson(all.home, old));
    expect(error?.message).toBe(`master key ${old} is still used, by 1 key that could not be stored yet; it stays`);
    expect(kidsIn(all.home)).toContain(old);
  });

  it.each([
    ["that has no master key", {}, "x"],
    ["that has one", { KEYCTL_MASTER_KEYS: jwkSet(SPARE) }, SPARE.kid],
  ])("is no use for a database that is not sealed, on a machine %s", async (_, env, kid) => {
    const home = emptyHome();
    await saved(home);
    change(home.database, "DELETE FROM api_keys; DELETE FROM api_key_meta WHERE _id GLOB 'check:*'");
    rmSync(home.masterKeys);
    const run = await inProcess(home, ["rekey", `--retire=${kid}`, "--json"], { env });
    expect(errorOf(run)).toMatchObject({
      code: "USAGE",
      exit_code: 2,
      message: `this database is not sealed, so it has no master key ${kid} that could be retired`,
      hint: "keyctl rekey --init   seals it",
    });
  });

  it("refuses the active one, and one that nobody knows", async () => {
    const { home, active } = await rekeyed();
    expect(errorOf(await retireAsJson(home, active))).toMatchObject({ code: "CONFLICT" });
    expect(errorOf(await retireAsJson(home, "nobody's"))).toMatchObject({ code: "USAGE", exit_code: 2 });
    expect(kidsIn(home)).toHaveLength(2);
  });

  it.each([["--init"], ["--keep-key"], ["--dry-run"], ["--stop-after", "1m"]])("goes with no %s", async (...more) => {
    const run = await inProcess(emptyHome(), ["rekey", "--retire=x", ...more]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain("hint: keyctl rekey --retire=<kid>\n");
  });

  it("says what is to be done by hand where keyctl cannot write, and changes nothing", async () => {
    const [active, old] = [newJwk(), newJwk()];
    const home = emptyHome();
    const env = { KEYCTL_MASTER_KEYS: jwkSet(active, old) };
    await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: OTHER, env });
    const run = await inProcess(home, ["rekey", `--retire=${old.kid}`, "--json"], { env });
    expect(errorOf(run)).toMatchObject({ code: "CONFIG_INVALID", exit_code: 4 });
    expect(errorOf(run)?.hint).toContain(`"kid": "${old.kid}"`);
    expect(errorOf(run)?.message).toContain("KEYCTL_MASTER_KEYS");
  });

  it("takes out of the store one that was taken out of its set by hand", async () => {
    const { home, active } = await rekeyed();
    change(home.database, "INSERT INTO api_key_meta (_id, value) VALUES ('check:gone', 'eyJ')");
    expect((await retire(home, "gone")).code).toBe(0);
    expect(namedKids(home)).toEqual([active]);
  });

  it.each(["removeKeyCheckValue", "scan"] as const)(
    "that is killed at %s leaves every key readable, and is done the next time",
    async (at) => {
      const { home, active, old } = await rekeyed();
      const around = withCalls((store) => {
        let calls = 0;
        const dies = () => {
          calls += 1;
          if (calls === 2 || at === "removeKeyCheckValue") throw new Error("killed");
        };
        return {
          removeKeyCheckValue: async (...words) => {
            await store.removeKeyCheckValue(...words);
            if (at === "removeKeyCheckValue") dies();
          },
          scan: (...words) => {
            if (at === "scan") dies();
            return store.scan(...words);
          },
        };
      });
      await retire(home, old, around);
      expect(await got(home)).toBe(`${KEY}\n`);
      await retire(home, old);
      expect([kidsIn(home), namedKids(home)]).toEqual([[active], [active]]);
      expect(await got(home)).toBe(`${KEY}\n`);
    },
  );

  it("gives way to a row that another program seals with it meanwhile", async () => {
    const { home, before, active, old } = await rekeyed();
    const around = withCalls((store) => ({
      removeKeyCheckValue: async (...words) => {
        await store.removeKeyCheckValue(...words);
        await writeSealedValue(home, "alice", before);
      },
    }));
    const run = await retireAsJson(home, old, around);
    expect(errorOf(run)).toMatchObject({ code: "CONFLICT" });
    expect(kidsIn(home)).toEqual([active, old]);
    expect(await got(home)).toBe(`${KEY}\n`);
  });

  it("gives way to a rekey that makes another one active, and to none takes its key", async () => {
    const { home, active, old } = await rekeyed();
    const other = await managerOfTest(home);
    const around = withCalls((store) => ({
      removeKeyCheckValue: async (...words) => {
        await store.removeKeyCheckValue(...words);
        if (words[0] === old) for await (const _ of other.rekey());
      },
    }));
    const run = await retireAsJson(home, old, around);
    expect(run.code).toBe(0);
    const [newest, ...others] = kidsIn(home);
    expect([newest === active, others]).toEqual([false, [active]]);
    expect(await got(home)).toBe(`${KEY}\n`);
  });
});
