import { describe, expect, it } from "vitest";
import { storedUsers, withDatabase } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";

const withKey = { env: { OPENROUTER_API_KEY: KEY } };
const USERS = ["alice", "bob", "carol", "dave"];

async function homeOf(users: readonly string[] = USERS): Promise<Home> {
  const home = emptyHome();
  await inProcess(home, ["sync", "--users-file", "-"], { ...withKey, input: users.join("\n") });
  return home;
}

function storeOf(home: Home): string {
  return `sqlite:${home.database}`;
}

describe("purge of one user", () => {
  it("deletes the row, and says that the key goes on working", async () => {
    const home = await homeOf();
    const run = await inProcess(home, ["purge", "--user", "alice", "--yes"]);
    expect(run).toMatchObject({
      code: 0,
      stdout: "***************b465 purged (it stays active at OpenRouter)\n",
      stderr: "hint: delete it at https://openrouter.ai/keys if nobody else uses it\n",
    });
    expect(await storedUsers(home)).toEqual(["bob", "carol", "dave"]);
  });

  it("documents what was there, and from where it would return", async () => {
    const home = await homeOf();
    home.writeKeyFile(OTHER);
    const run = await inProcess(home, ["purge", "--user", "alice", "--yes", "--json"], withKey);
    expect(documentsOf(run)).toEqual([
      {
        user_id: "alice",
        key: maskOf(KEY),
        key_hash: hashOf(KEY),
        origin: "environment",
        purged: true,
        blocked: false,
        revocation: "kept",
        revoked_keys: 0,
        returns_from: ["key.txt", "environment"],
        warnings: [],
        error: null,
      },
    ]);
  });

  it("tells a person from where the key would return", async () => {
    const home = await homeOf();
    home.writeKeyFile(KEY);
    const run = await inProcess(home, ["purge", "--user", "alice", "--yes"], withKey);
    expect(run.stderr).toBe(
      "note: key.txt holds a key: the next sync of this user stores that key\n" +
        "note: OPENROUTER_API_KEY holds a key: the next sync of this user stores that key\n" +
        "hint: delete it at https://openrouter.ai/keys if nobody else uses it\n" +
        "hint: keyctl purge --user alice --block   keeps every key out, until keyctl unblock\n",
    );
  });

  it("of a row that holds no key deletes it all the same", async () => {
    const home = await homeOf(["alice"]);
    await withDatabase(home, (database) => database.exec("UPDATE api_keys SET key_encrypted = 'nonsense'"));
    const run = await inProcess(home, ["purge", "--user", "alice", "--yes"]);
    expect(run).toMatchObject({ code: 0, stdout: "an unreadable key purged (it stays active at OpenRouter)\n" });
    expect(await storedUsers(home)).toEqual([]);
  });

  it("that has no key is done, without a question", async () => {
    const home = await homeOf();
    const run = await inProcess(home, ["purge", "--user", "eve"]);
    expect(run).toMatchObject({ code: 0, stdout: "eve has no key in the database\n" });
    const json = await inProcess(home, ["purge", "--user", "eve", "--json"]);
    expect(documentsOf(json)[0]).toMatchObject({ purged: false, revocation: null, key: null, error: null });
  });

  it("without a store makes none", async () => {
    const home = emptyHome();
    expect((await inProcess(home, ["purge", "--user", "alice", "--yes"])).code).toBe(0);
    expect((await inProcess(home, ["list"])).stderr).toContain("no store exists yet");
  });

  it.each([[[]], [["--json"]], [["--no-input"]]])("off a terminal wants --yes, with %j", async (flags) => {
    const home = await homeOf();
    const run = await inProcess(home, ["purge", "--user", "alice", ...flags]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain(`hint: keyctl purge ${["--user", "alice", ...flags].join(" ")} --yes\n`);
    expect(await storedUsers(home)).toEqual(USERS);
  });
});

describe("purge of many users", () => {
  it("says of each what became of it, and counts", async () => {
    const home = await homeOf();
    const run = await inProcess(home, ["purge", "-u", "alice", "-u", "eve", "-u", " bad", "--yes", "--json"]);
    expect(run.code).toBe(9);
    const documents = documentsOf(run);
    expect(documents.map((line) => [line["user_id"] ?? line["type"], line["purged"]])).toEqual([
      ["alice", true],
      ["eve", false],
      [" bad", false],
      ["summary", 1],
    ]);
    expect(documents.at(-1)).toMatchObject({ store: storeOf(home), total: 3, purged: 1, had_no_key: 1, failed: 1 });
    expect(await storedUsers(home)).toEqual(["bob", "carol", "dave"]);
  });

  it.each([
    [["--users-file", "-"], "bob\n"],
    [["--user", "alice", "--user", "bob"], ""],
  ])("%j off a terminal wants --yes", async (selection, input) => {
    const home = await homeOf();
    const run = await inProcess(home, ["purge", ...selection, "--json"], { input });
    expect(run.code).toBe(2);
    expect(errorOf(run)?.code).toBe("CONFIRMATION_NEEDED");
    expect(await storedUsers(home)).toEqual(USERS);
  });
});

describe("purge --all off a terminal", () => {
  it.each([
    ["the flag", (home: Home) => ({ flags: ["--store", storeOf(home)], env: {} })],
    ["KEYCTL_STORE", (home: Home) => ({ flags: [], env: { KEYCTL_STORE: storeOf(home) } })],
  ])("deletes every key when %s names the store and the count is right", async (_, name) => {
    const home = await homeOf();
    const { flags, env } = name(home);
    const run = await inProcess(home, ["purge", "--all", "--confirm", "4", ...flags], { env });
    expect(run.code).toBe(0);
    expect(run.stdout.split("\n")).toHaveLength(5);
    expect(await storedUsers(home)).toEqual([]);
  });

  it.each([
    ["the store is not named", 2, "CONFIRMATION_NEEDED", () => ["--confirm", "4"]],
    ["the count is missing", 2, "CONFIRMATION_NEEDED", (home: Home) => ["--store", storeOf(home)]],
    ["there is only a yes", 2, "CONFIRMATION_NEEDED", (home: Home) => ["--store", storeOf(home), "--yes"]],
    ["the count is too small", 8, "COUNT_CHANGED", (home: Home) => ["--store", storeOf(home), "--confirm", "3"]],
    ["the count is too large", 8, "COUNT_CHANGED", (home: Home) => ["--store", storeOf(home), "--confirm", "5", "-y"]],
  ])("deletes nothing when %s", async (_, exit, code, flags) => {
    const home = await homeOf();
    const run = await inProcess(home, ["purge", "--all", "--json", ...flags(home)]);
    expect(run.code).toBe(exit);
    expect(errorOf(run)?.code).toBe(code);
    expect(await storedUsers(home)).toEqual(USERS);
  });

  it("does not take the store from the file of KEYCTL_STORE_FILE for named", async () => {
    const home = await homeOf();
    home.writeKeyFile(storeOf(home));
    const run = await inProcess(home, ["purge", "--all", "--confirm", "4"], { env: { KEYCTL_STORE_FILE: "key.txt" } });
    expect(run.code).toBe(2);
    expect(await storedUsers(home)).toEqual(USERS);
  });

  it("of a part wants the count of that part, and leaves the rest", async () => {
    const home = await homeOf();
    const part = ["--all", "--shard", "1/2"];
    const users = documentsOf(await inProcess(home, ["get", "--stored", ...part, "--json"]))
      .slice(0, -1)
      .map((line) => String(line["user_id"]));
    expect(users.length).toBeGreaterThan(0);
    expect(users.length).toBeLessThan(4);
    const purge = ["purge", ...part, "--store", storeOf(home), "--json", "--confirm"];
    expect((await inProcess(home, [...purge, "4"])).code).toBe(8);
    expect((await inProcess(home, [...purge, String(users.length)])).code).toBe(0);
    expect(await storedUsers(home)).toEqual(USERS.filter((user) => !users.includes(user)));
  });
});
