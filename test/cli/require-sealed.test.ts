import { describe, expect, it } from "vitest";
import { describeWithMongodb, databaseOfTest } from "../support/mongodb/of-test.ts";
import { jwkSet, newJwk } from "../support/fixtures/jwk.ts";
import { hashOf, keyEnding, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { spooled } from "../support/fixtures/spooled-key.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import { managerOfTest } from "../support/memory/manager.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { change, rowsOf } from "../support/sqlite/database-file.ts";

/** What somebody who can write to the database, and has no master key, can put there. */
const PLANTED = keyEnding("eeee");
const UNREQUIRED = { env: { KEYCTL_REQUIRE_SEALED: "0" } };

/** A home with sealed keys of alice and bob, and a planted one in the place of alice's. */
async function homeWithPlantedKey(): Promise<Home> {
  const home = emptyHome();
  for (const user of ["alice", "bob"]) await inProcess(home, ["save", "--user", user, "--stdin"], { input: OTHER });
  change(home.database, `UPDATE api_keys SET key_encrypted = '${PLANTED}' WHERE user_id = 'alice'`);
  return home;
}

describe("a key in plain text in a database whose keys are sealed", () => {
  it.each<readonly [args: string, exit: number]>([
    ["sync --user alice", 7],
    ["get --user alice", 7],
    ["get --user alice --stored", 7],
    ["get --user alice --reveal", 7],
    ["get --user alice --stored --reveal", 7],
    ["get --user alice --validate", 7],
    ["validate --user alice", 7],
    ["get --all --stored --reveal --json", 9],
    ["sync --all --json", 9],
    ["sync --all --log", 9],
    ["validate --all --json", 9],
  ])("is not handed out by %s", async (line, exit) => {
    const home = await homeWithPlantedKey();
    const run = await inProcess(home, line.split(" "));
    expect(run.code).toBe(exit);
    expect(run.stdout + run.stderr).not.toContain(PLANTED);
    expect(run.stdout).not.toContain(maskOf(PLANTED).slice(0, 15) + "eeee (source");
    if (!line.includes("--all")) expect(run.stdout).toBe("");
  });

  it("is its user's error in a run of many, and the others get their keys", async () => {
    const home = await homeWithPlantedKey();
    const run = await inProcess(home, ["get", "--all", "--stored", "--reveal", "--json"]);
    expect(documentsOf(run)).toMatchObject([
      { user_id: "alice", key: null, error: { code: "ROW_UNREADABLE", exit_code: 7 } },
      { user_id: "bob", key: OTHER, error: null },
      { type: "summary", failed: 1 },
    ]);
  });

  it("says that it may have been planted, how to see that, and both ways out", async () => {
    const home = await homeWithPlantedKey();
    const error = errorOf(await inProcess(home, ["get", "--user", "alice", "--stored", "--json"]));
    expect(error?.message).toContain(
      `the key of user alice, ${maskOf(PLANTED)}, is stored in plain text and is not used`,
    );
    expect(error?.message).toContain("another program may have put it there");
    expect(error?.hint).toMatch(
      /https:\/\/openrouter\.ai\/keys .*keyctl rekey --keep-key {3}seals it\n.*keyctl save --user alice --replace/s,
    );
  });

  it("is told in the log as what is no key", async () => {
    const run = await inProcess(await homeWithPlantedKey(), ["sync", "--user", "alice"]);
    expect(run.stderr).toContain("[KeyManager] ⚠️ Invalid key format in database\n");
  });

  it("stops what explain foretells", async () => {
    const run = await inProcess(await homeWithPlantedKey(), ["explain", "--user", "alice", "--json"]);
    expect(documentsOf(run)[0]).toMatchObject({
      winner: null,
      steps: [{ source: "database", state: "unavailable", key: maskOf(PLANTED) }, {}, {}, {}],
    });
  });

  it("is an error in the library, unless it is opened otherwise", async () => {
    const home = await homeWithPlantedKey();
    const manager = await managerOfTest(home);
    expect((await manager.syncAndGetKey("alice")).error).toMatchObject({ code: "ROW_UNREADABLE" });
    expect((await manager.ensureKeyForUser("alice")).key).toBeNull();
    const other = await managerOfTest(home, UNREQUIRED.env);
    expect((await other.syncAndGetKey("alice")).key?.reveal()).toBe(PLANTED);
  });

  it("is handed out with KEYCTL_REQUIRE_SEALED=0", async () => {
    const home = await homeWithPlantedKey();
    const run = await inProcess(home, ["get", "--user", "alice", "--stored", "--reveal"], UNREQUIRED);
    expect(run).toMatchObject({ code: 0, stdout: `${PLANTED}\n` });
  });

  it("is found by a rekey, sealed and named", async () => {
    const home = await homeWithPlantedKey();
    const run = await inProcess(home, ["rekey", "--keep-key"]);
    expect(run.code).toBe(0);
    expect(run.stderr).toContain(
      "warning: 1 key was stored in plain text and sealed now: alice; another program may have put it there: see that https://openrouter.ai/keys lists it as yours\n",
    );
    expect(run.stderr).not.toContain("KEYCTL_REQUIRE_SEALED");
    const got = await inProcess(home, ["get", "--user", "alice", "--stored", "--reveal"]);
    expect(got.stdout).toBe(`${PLANTED}\n`);
  });

  it("is named by a rekey among the first ten, and the rest are counted", async () => {
    const home = emptyHome();
    const users = Array.from({ length: 13 }, (_, index) => `user-${index + 10}`);
    await inProcess(home, ["sync", "--users-file", "-"], {
      env: { OPENROUTER_API_KEY: OTHER },
      input: users.join("\n"),
    });
    change(home.database, `UPDATE api_keys SET key_encrypted = '${OTHER}'`);
    const named = users.slice(0, 10).join(", ");
    const [preview] = documentsOf(await inProcess(home, ["rekey", "--dry-run", "--json"]));
    expect(preview?.["warnings"]).toMatchObject([
      { code: "PLAIN_KEYS_SEALED", message: expect.stringContaining(`and would be sealed: ${named}, … and 3 more;`) },
    ]);
    const [summary] = documentsOf(await inProcess(home, ["rekey", "--json"]));
    expect(summary?.["warnings"]).toMatchObject([
      { message: expect.stringContaining(`and sealed now: ${named}, … and 3 more;`) },
    ]);
  });

  it("counts where it is kept until a change is final", async () => {
    const home = await homeWithPlantedKey();
    const previous = JSON.stringify({ revoke: false, generation: 0, key_encrypted: PLANTED, source: "manual" });
    change(
      home.database,
      `UPDATE api_keys SET settled = 0, generation = 1, previous = '${previous}' WHERE user_id = 'bob'`,
    );
    const run = await inProcess(home, ["rekey", "--dry-run"]);
    expect(run.stderr).toContain("warning: 2 keys were stored in plain text and would be sealed: alice, bob;");
  });

  it("is replaced by a save, and sealed by one of that very key", async () => {
    const home = await homeWithPlantedKey();
    const other = await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: OTHER });
    expect(other.code).toBe(8);
    const same = await inProcess(home, ["save", "--user", "alice", "--stdin", "--json"], { input: PLANTED });
    expect(documentsOf(same)).toMatchObject([
      { changed: true, previous: null, key_hash: hashOf(PLANTED), error: null },
    ]);
    expect((await inProcess(home, ["get", "--user", "alice", "--stored", "--reveal"])).stdout).toBe(`${PLANTED}\n`);
    expect(
      String(rowsOf(home.database, "SELECT key_encrypted FROM api_keys WHERE user_id = 'alice'")[0]?.["key_encrypted"]),
    ).toMatch(/^eyJ/);
  });

  it("in a file of the spool is not brought in", async () => {
    const all = await stage();
    await spooled(all, { keyEncrypted: PLANTED });
    const run = await all.run(["sync", "--user", "alice", "--json"]);
    expect(errorOf(run)).toMatchObject({ code: "ROW_UNREADABLE", exit_code: 7 });
    expect(rowsOf(all.home.database, "SELECT * FROM api_keys")).toEqual([]);
  });
});

describe("KEYCTL_REQUIRE_SEALED", () => {
  it.each(["2", "maybe", "", " "])("that holds %j is exit 4", async (value) => {
    const home = await homeWithPlantedKey();
    const run = await inProcess(home, ["get", "--user", "bob", "--stored"], { env: { KEYCTL_REQUIRE_SEALED: value } });
    expect(run).toMatchObject({ code: 4, stdout: "" });
    expect(run.stderr).toContain("KEYCTL_REQUIRE_SEALED");
  });
});

/** A database with one key as the old program writes it, and what keyctl is given for it. */
async function given(): Promise<{ readonly home: Home; readonly options: (sealed?: string) => InProcessOptions }> {
  const { uri, db } = databaseOfTest();
  await db
    .collection("api_keys")
    .insertOne({ user_id: "alice", provider: "openrouter", key_encrypted: OTHER, source: "manual" });
  const env = { KEYCTL_STORE: uri, KEYCTL_MASTER_KEYS: jwkSet(newJwk()), KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" };
  return {
    home: emptyHome(),
    options: (sealed) => ({ env: sealed === undefined ? env : { ...env, KEYCTL_REQUIRE_SEALED: sealed } }),
  };
}

describeWithMongodb("a key in plain text in MongoDB", () => {
  const GET = ["get", "--user", "alice", "--stored", "--reveal"];

  it("is handed out, unless keys are to be sealed", async () => {
    const { home, options } = await given();
    expect(await inProcess(home, GET, options())).toMatchObject({ code: 0, stdout: `${OTHER}\n` });
    expect(await inProcess(home, GET, options("1"))).toMatchObject({ code: 7, stdout: "" });
  });

  it("is sealed by a rekey, which then recommends to require that, as doctor does", async () => {
    const { home, options } = await given();
    const run = await inProcess(home, ["rekey", "--keep-key"], options());
    expect(run.stderr).toContain("hint: KEYCTL_REQUIRE_SEALED=1 in every program");
    expect(await inProcess(home, GET, options("1"))).toMatchObject({ code: 0, stdout: `${OTHER}\n` });
    const doctor = await inProcess(home, ["doctor"], options());
    expect(doctor.stdout).toContain(
      "1 key, sealed; KEYCTL_REQUIRE_SEALED=1 refuses keys that others write in plain text",
    );
    expect((await inProcess(home, ["doctor"], options("1"))).stdout).not.toContain("refuses keys");
  });

  it("is sealed on its way into an embedded store, and the old one stays as it is", async () => {
    const { home, options } = await given();
    const copy = await inProcess(home, ["copy", "--to", "sqlite:copy.db", "--create", "--json"], options());
    expect(documentsOf(copy)).toMatchObject([{ copied: 1, verified: 1, in_clear: 0, warnings: [], error: null }]);
    expect(await inProcess(home, GET, options())).toMatchObject({ stdout: `${OTHER}\n` });
    expect(await inProcess(home, [...GET, "--store", "sqlite:copy.db"], options())).toMatchObject({
      stdout: `${OTHER}\n`,
    });
  });
});
