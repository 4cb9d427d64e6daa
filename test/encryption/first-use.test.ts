import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { withDatabase } from "../support/sqlite/database.ts";
import { masterKeysInUse, sealedValues } from "../support/fixtures/stored-rows.ts";
import { treeOf } from "../support/home/tree.ts";

const MADE_ITS_KEY = "note: created the first master key: ";

/** Not a real key, but another one for each number. */
function keyOf(number: number): string {
  return `sk-or-v1-${String(number).padStart(64, "0")}`;
}

function twenty<Result>(act: (number: number) => Result): Promise<Awaited<Result>[]> {
  return Promise.all(Array.from({ length: 20 }, (_, number) => act(number)));
}

/** The kid of the one key in the default file. */
function kidInFile(home: Home): string {
  const { keys } = JSON.parse(readFileSync(home.masterKeys, "utf8")) as { keys: { kid: string }[] };
  expect(keys).toHaveLength(1);
  return keys[0]?.kid ?? "";
}

function count(texts: readonly string[], part: string): number {
  return texts.join("").split(part).length - 1;
}

/** One check record, a sound database, and no draft of a key file left. */
async function expectTidy(home: Home): Promise<void> {
  expect(readdirSync(dirname(home.masterKeys))).toStrictEqual(["master-keys.json"]);
  const state = await withDatabase(home, (database) => ({
    checks: database.prepare("SELECT count(*) AS count FROM api_key_meta WHERE _id GLOB 'check:*'").get()?.["count"],
    integrity: database.prepare("PRAGMA integrity_check").get()?.["integrity_check"],
  }));
  expect(state).toStrictEqual({ checks: 1, integrity: "ok" });
}

describe("the first use", () => {
  it("makes a master key, and says where it is and that it must be backed up", async () => {
    const home = emptyHome();
    const run = await keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: keyOf(1) } });
    expect(run.code).toBe(0);
    expect(run.stderr).toContain(
      `${MADE_ITS_KEY}${home.masterKeys}; back it up: without it, the keys in the database are lost\n`,
    );
    expect(await masterKeysInUse(home)).toStrictEqual([kidInFile(home)]);
  });

  it("is over after that: nothing is said again and the file stays as it is", async () => {
    const home = emptyHome();
    await keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: keyOf(1) } });
    const before = readFileSync(home.masterKeys, "utf8");
    const run = await keyctl(home, ["sync", "--user", "bob"], { env: { OPENROUTER_API_KEY: keyOf(2) } });
    expect(run).toMatchObject({ code: 0, stderr: run.log });
    expect(readFileSync(home.masterKeys, "utf8")).toBe(before);
  });

  it("takes the key that is in the default file, for a second store too", async () => {
    const home = emptyHome();
    await keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: keyOf(1) } });
    const kid = kidInFile(home);
    const second = { ...home, database: `${home.folder}/second.db` };
    const env = { OPENROUTER_API_KEY: keyOf(2), KEYCTL_STORE: `sqlite:${second.database}` };
    const run = await keyctl(home, ["sync", "--user", "bob", "--create"], { env });
    expect(run).toMatchObject({ code: 0, stderr: run.log });
    expect(await masterKeysInUse(second)).toStrictEqual([kid]);
  });

  it("says nothing with --quiet but makes the key all the same", async () => {
    const home = emptyHome();
    const run = await keyctl(home, ["sync", "--user", "alice", "--quiet"], { env: { OPENROUTER_API_KEY: keyOf(1) } });
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(await masterKeysInUse(home)).toStrictEqual([kidInFile(home)]);
  });
});

describe("twenty processes at once in an empty home", () => {
  it("agree on one master key and one row for one user", async () => {
    const home = emptyHome();
    const runs = await twenty((number) =>
      keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: keyOf(number) } }),
    );
    expect(runs.map((run) => run.stderr.replace(run.log, "")).filter((rest) => rest.includes("error:"))).toStrictEqual(
      [],
    );
    expect(runs.map((run) => run.code)).toStrictEqual(runs.map(() => 0));
    const said = runs.map((run) => run.stderr);
    expect(count(said, MADE_ITS_KEY)).toBe(1);
    expect(count(said, "✅ Saved key to database")).toBe(1);
    expect(await masterKeysInUse(home)).toStrictEqual([kidInFile(home)]);
    const winner = runs.findIndex((run) => run.log.includes("Saved key to database"));
    const got = await keyctl(home, ["get", "--user", "alice", "--stored", "--reveal"]);
    expect(got).toMatchObject({ code: 0, stdout: `${keyOf(winner)}\n` });
    await expectTidy(home);
  });

  it("agree on one master key for twenty users, and every row opens", async () => {
    const home = emptyHome();
    const runs = await twenty((number) =>
      keyctl(home, ["sync", "--user", `user${number}`], { env: { OPENROUTER_API_KEY: keyOf(number) } }),
    );
    expect(runs.map((run) => run.code)).toStrictEqual(runs.map(() => 0));
    expect(
      count(
        runs.map((run) => run.stderr),
        MADE_ITS_KEY,
      ),
    ).toBe(1);
    expect(await masterKeysInUse(home)).toStrictEqual([kidInFile(home)]);
    expect((await sealedValues(home)).size).toBe(20);
    const all = await keyctl(home, ["get", "--all", "--stored", "--reveal", "--json"]);
    expect(all.code).toBe(0);
    const documents = all.stdout
      .trim()
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(new Map(documents.map((document) => [document["user_id"], document["key"]]))).toStrictEqual(
      new Map(documents.map((document) => [document["user_id"], keyOf(Number(String(document["user_id"]).slice(4)))])),
    );
    expect(documents).toHaveLength(20);
    await expectTidy(home);
  });
});

describe("what the first use makes", () => {
  it.each(["0", "022", "077", "0777"])("is for its owner alone with umask %s", async (umask) => {
    const home = emptyHome();
    const { exitCode } = await execa(
      "sh",
      ["-c", `umask ${umask} && exec "$@"`, "sh", process.execPath, BIN, "sync", "--user", "alice"],
      {
        cwd: home.work,
        env: { ...home.environment, OPENROUTER_API_KEY: keyOf(1) },
        extendEnv: false,
        reject: false,
      },
    );
    expect(exitCode).toBe(0);
    const made = treeOf(home.folder).filter((line) => !line.endsWith(" work"));
    expect(made).toStrictEqual([
      "0700 config",
      "0700 config/keyctl",
      "0600 config/keyctl/master-keys.json",
      "0700 data",
      "0700 data/keyctl",
      "0600 data/keyctl/keyctl.db",
    ]);
    const got = await keyctl(home, ["get", "--user", "alice", "--stored", "--reveal"]);
    expect(got).toMatchObject({ code: 0, stdout: `${keyOf(1)}\n` });
  });

  it("leaves the mode of folders that are there already", async () => {
    const home = emptyHome();
    const { mode } = statSync(home.work);
    const env = { OPENROUTER_API_KEY: keyOf(1), XDG_CONFIG_HOME: home.work, XDG_DATA_HOME: home.work };
    expect(await keyctl(home, ["sync", "--user", "alice"], { env })).toMatchObject({ code: 0 });
    expect(statSync(home.work).mode).toBe(mode);
  });
});
