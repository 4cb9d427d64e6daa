import { describe, expect, it } from "vitest";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { storedUsers, withDatabase } from "../support/sqlite/database.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { hashOf, KEY, keyEnding, MADE, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import {
  changesAt,
  deploymentOf,
  everythingIn,
  journalOf,
  note,
  operation,
  stage,
  withCalls,
  withStore,
} from "../support/home/tool-with-openrouter.ts";

const made = { newKey: () => MADE };
const REMOVAL = { "PATCH /keys/{hash}": 1, "DELETE /keys/{hash}": 1 };

describe("purge --revoke", () => {
  it("disables and deletes a key that keyctl made, after its row is gone", async () => {
    const { home, server, run, given } = await stage(made);
    await given("sync --user alice");
    const order: string[] = [];
    const around = withCalls((store) => ({
      async insertEntry(entry, signal) {
        order.push(`${entry.kind} after ${server.count()}`);
        return store.insertEntry(entry, signal);
      },
      async remove(user, seen, signal) {
        order.push(`remove after ${server.count()}`);
        return store.remove(user, seen, signal);
      },
    }));
    const before = server.count();
    const done = await run("purge --user alice --revoke --yes --json", { around });
    expect(documentsOf(done)).toEqual([
      {
        user_id: "alice",
        key: maskOf(MADE),
        key_hash: hashOf(MADE),
        origin: "auto-provisioned",
        purged: true,
        blocked: false,
        revocation: "done",
        revoked_keys: 1,
        returns_from: ["auto-provisioned"],
        warnings: [],
        error: null,
      },
    ]);
    // Whose account it is was asked before anything was changed.
    expect(order).toEqual([`rev after ${before + 1}`, `remove after ${before + 1}`, `gone after ${server.count()}`]);
    expect(changesAt(server)).toEqual({ "POST /keys": 1, ...REMOVAL });
    expect([server.keys.size, await storedUsers(home)]).toEqual([0, []]);
    expect(await journalOf(home)).toEqual(["op:1", "out:1 saved", "rev:1 purged, revoke"]);
  });

  it.each([
    [
      "is pending while another command may be creating the key of the user",
      30_000,
      10,
      "pending",
      "REVOKE_PENDING",
      1,
    ],
    ["deletes the key of a command that died while it created it", 120_000, 0, "done", undefined, 0],
  ])("%s", async (_, ageMs, exit, revocation, error, keys) => {
    const { home, server, run, given } = await stage();
    await given("save --user bob --stdin", { input: KEY });
    await note(home, "alice", operation(1), ageMs);
    server.addKey(MADE, { name: `keyctl/${await deploymentOf(home)}/2bd806c97f0e/1-${operation(1).nonce}` });
    const purged = await run("purge --user alice --revoke --yes --json");
    expect([purged.code, documentsOf(purged)[0], errorOf(purged)?.code]).toMatchObject([
      exit,
      { purged: false, revocation },
      error,
    ]);
    expect(server.keys.size).toBe(keys);
  });

  it("leaves the key at OpenRouter without it, and says so", async () => {
    const { home, server, run, given } = await stage(made);
    await given("sync --user alice");
    const done = await run("purge --user alice --yes --json");
    expect(documentsOf(done)[0]).toMatchObject({ purged: true, revocation: "kept", error: null });
    expect([server.keys.size, await journalOf(home)]).toEqual([1, ["op:1", "out:1 saved", "rev:1 purged"]]);
    const later = await run("reconcile --json");
    expect([later.code, documentsOf(later).at(-1)]).toMatchObject([0, { kept: 1, to_fix: 0, reported: 0 }]);
  });

  it("deletes afterwards what was kept, though there is no row any more", async () => {
    const { home, server, run, given } = await stage(made);
    await given("sync --user alice");
    await given("purge --user alice --yes");
    const asked = await run("purge --user alice --revoke --json");
    expect([asked.code, errorOf(asked)?.code, server.keys.size]).toEqual([2, "CONFIRMATION_NEEDED", 1]);
    const done = await run("purge --user alice --revoke --yes");
    expect(done.stdout).toBe("alice has no key in the database; 1 key of this user was deleted at OpenRouter\n");
    expect([server.keys.size, await journalOf(home)]).toEqual([0, ["del:1", "op:1", "out:1 saved", "rev:1 purged"]]);
    const again = await run("purge --user alice --revoke --json");
    expect(documentsOf(again)[0]).toMatchObject({ purged: false, revocation: null, revoked_keys: 0, error: null });
  });

  it("takes also what a save wanted to be kept, with a key in the database and without", async () => {
    const { home, server, run, given } = await stage();
    for (const user of ["alice", "bob"]) {
      await given(`sync --user ${user}`);
      await given(`save --user ${user} --stdin --replace`, { input: KEY });
      await given(`purge --user ${user} --yes`);
    }
    await given("sync --user alice");
    expect(server.keys.size).toBe(3);
    const around = withCalls((store) => ({
      async remove(user, seen, signal) {
        expect(await store.entry(user, "del", 1, signal)).toMatchObject({ kind: "del", n: 1 });
        expect(changesAt(server)).toEqual({ "POST /keys": 3 });
        return store.remove(user, seen, signal);
      },
    }));
    const withKey = await run("purge --user alice --revoke --yes --json", { around });
    expect(documentsOf(withKey)[0]).toMatchObject({ purged: true, revocation: "done", revoked_keys: 2, error: null });
    expect([server.keys.size, await journalOf(home)]).toEqual([
      1,
      ["del:1", "op:1", "op:2", "out:1 saved", "out:2 saved", "rev:1 superseded", "rev:2 purged, revoke"],
    ]);
    const withoutKey = await run("purge --user bob --revoke --yes --json");
    expect(documentsOf(withoutKey)[0]).toMatchObject({ purged: false, revocation: "done", revoked_keys: 1 });
    expect(server.keys.size).toBe(0);
  });

  it("says how many earlier keys went with it", async () => {
    const { run } = await replacedTwice();
    const done = await run("purge --user alice --revoke --yes");
    expect(done.stdout).toMatch(/ purged \(and deleted at OpenRouter, with 2 earlier keys of this user\)\n$/);
  });

  it("is pending while one of the earlier keys is, and is finished by the same command", async () => {
    const { home, server, run } = await replacedTwice();
    const [earlier = ""] = server.keys.keys();
    const failing = { status: 503, headers: { "retry-after": "3600" } } as const;
    server.behave(({ path }) => (path.endsWith(earlier) ? failing : "pass"));
    const pending = await run("purge --user alice --revoke --yes --json");
    expect(documentsOf(pending)[0]).toMatchObject({ purged: true, revocation: "pending", revoked_keys: 2 });
    expect(errorOf(pending)).toMatchObject({
      code: "REVOKE_PENDING",
      message: expect.stringMatching(/^an earlier key that keyctl created for user alice may still work: /) as string,
      hint: "keyctl purge --user alice --revoke",
    });
    expect([...server.keys.keys()]).toEqual([earlier]);
    server.behave(() => "pass");
    const done = await run("purge --user alice --revoke --json");
    expect([done.code, server.keys.size, await storedUsers(home)]).toEqual([0, 0, []]);
  });

  it("leaves to reconcile what it did not come to, wherever it dies", async () => {
    const { home, server, run, given } = await replacedTwice();
    const around = withCalls(() => ({ remove: () => Promise.reject(new Error("it dies here")) }));
    expect((await run("purge --user alice --revoke --yes", { around })).code).toBe(1);
    await given("reconcile --fix");
    expect([server.keys.size, await storedUsers(home)]).toEqual([0, []]);
  });

  it("does not say that a source brings back the key that it has removed: no sync takes it", async () => {
    const { home, run, given } = await stage(made);
    await given("sync --user alice");
    home.writeKeyFile(MADE);
    const done = await run("purge --user alice --revoke --yes --json");
    expect(documentsOf(done)[0]).toMatchObject({ purged: true, returns_from: [] });
    expect((await run("sync --user alice --json")).code).toBe(3);
  });

  it("says that it is pending when OpenRouter fails, and ends it when it is repeated", async () => {
    const { home, server, run, given } = await stage(made);
    await given("sync --user alice");
    server.behave(always("PATCH /keys/{hash}", { status: 503, headers: { "retry-after": "3600" } }));
    const pending = await run("purge --user alice --revoke --yes --json");
    expect(pending.code).toBe(10);
    expect(documentsOf(pending)[0]).toMatchObject({ purged: true, revocation: "pending" });
    expect(errorOf(pending)).toMatchObject({
      code: "REVOKE_PENDING",
      message: expect.stringMatching(/^the key is out of the database but may still work: OpenRouter .*503/) as string,
      hint: "keyctl purge --user alice --revoke",
      retryable: true,
    });
    expect([server.keys.size, await storedUsers(home)]).toEqual([1, []]);
    const still = await run("purge --user alice --revoke --json");
    expect([still.code, documentsOf(still)[0]]).toMatchObject([10, { purged: false, revocation: "pending" }]);
    server.behave(() => "pass");
    const done = await run("purge --user alice --revoke --json");
    expect([done.code, documentsOf(done)[0], server.keys.size]).toMatchObject([0, { revocation: "done" }, 0]);
  });

  it("disables first: a key whose deletion fails works no more", async () => {
    const { server, run, given } = await stage(made);
    await given("sync --user alice");
    server.behave(always("DELETE /keys/{hash}", { status: 400 }));
    expect((await run("purge --user alice --revoke --yes")).code).toBe(10);
    expect([...server.keys.values()]).toMatchObject([{ disabled: true }]);
  });

  it("takes a key that is gone already for done", async () => {
    const { server, run, given } = await stage(made);
    await given("sync --user alice");
    server.removeKey(hashOf(MADE));
    const done = await run("purge --user alice --revoke --yes --json");
    expect([done.code, documentsOf(done)[0]]).toMatchObject([0, { purged: true, revocation: "done" }]);
  });

  it.each(["PATCH /keys/{hash}", "DELETE /keys/{hash}"] as const)(
    "finds out what became of a lost %s",
    async (route) => {
      const { server, run, given } = await stage(made);
      await given("sync --user alice");
      server.behave(({ route: asked, number }) => (asked === route && number === 1 ? "reset-after" : "pass"));
      const done = await run("purge --user alice --revoke --yes --json");
      expect([done.code, server.keys.size]).toEqual([0, 0]);
    },
  );

  it("refuses a key that keyctl did not make, before anything changes", async () => {
    const { home, server, run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    server.addKey(KEY);
    const before = await everythingIn(home);
    const refused = await run("purge --user alice --revoke --yes --json");
    expect(refused.code).toBe(8);
    expect(errorOf(refused)).toMatchObject({ code: "FOREIGN_KEY" });
    expect(errorOf(refused)?.hint).toContain("keyctl purge --user alice --revoke-foreign");
    expect(documentsOf(refused)[0]).toMatchObject({ purged: false, revocation: null });
    expect(await everythingIn(home)).toBe(before);
    expect(server.count()).toBe(0);
  });

  it("needs a management key before anything changes", async () => {
    const { home, run, given } = await stage(made);
    await given("sync --user alice");
    const before = await everythingIn(home);
    for (const flag of ["--revoke", "--revoke-foreign"]) {
      const refused = await run(`purge --user alice ${flag} --yes`, { env: { OPENROUTER_PROVISIONING_KEY: "" } });
      expect(refused.code).toBe(4);
    }
    expect(await everythingIn(home)).toBe(before);
  });

  it("settles what a save has left before the row with its note goes", async () => {
    const { home, server, run, given } = await stage(made);
    await given("sync --user alice");
    server.behave(always("PATCH /keys/{hash}", { status: 400 }));
    const saved = await run("save --user alice --stdin --replace --revoke", { input: KEY });
    expect(saved.code).toBe(10);
    await withDatabase(home, (database) => database.exec("DELETE FROM api_key_journal WHERE _id LIKE '%:rev:%'"));
    await given("purge --user alice --yes");
    expect(await journalOf(home)).toContain("rev:1 superseded, revoke");
    server.behave(() => "pass");
    await given("purge --user alice --revoke");
    expect(server.keys.size).toBe(0);
  });

  it("is ordered before a sync that follows: a new key, and none comes back", async () => {
    const { home, server, given } = await stage();
    await given("sync --user alice");
    await given("purge --user alice --revoke --yes");
    await given("sync --user alice");
    expect(await journalOf(home)).toEqual(["op:1", "op:2", "out:1 saved", "out:2 saved", "rev:1 purged, revoke"]);
    expect(server.keys.size).toBe(1);
  });
});

/** Two keys that keyctl made were replaced and kept; the third one is in the database. */
async function replacedTwice() {
  const all = await stage();
  for (const key of [KEY, OTHER]) {
    await all.given("sync --user alice");
    await all.given("save --user alice --stdin --replace", { input: key });
    await all.given("purge --user alice --yes");
  }
  await all.given("sync --user alice");
  expect(all.server.keys.size).toBe(3);
  return all;
}

async function overwritten() {
  const all = await stage(made);
  await all.given("save --user bob --stdin", { input: KEY });
  await all.given("sync --user alice");
  // As a program does that knows of no generation.
  await withDatabase(all.home, (database) =>
    database.exec(
      `UPDATE api_keys SET key_encrypted = '${OTHER}', key_hash = '${hashOf(OTHER)}' WHERE user_id = 'alice'`,
    ),
  );
  all.server.addKey(OTHER);
  return all;
}

describe("a key that another program has written over one that keyctl made", () => {
  it("is not ours to revoke", async () => {
    const { home, server, run } = await overwritten();
    const refused = await run("purge --user alice --revoke --yes --json");
    expect([refused.code, errorOf(refused)?.code]).toEqual([8, "FOREIGN_KEY"]);
    expect([server.keys.size, await journalOf(home)]).toEqual([2, ["op:1", "out:1 saved"]]);
    const saved = await run("save --user alice --stdin --replace --revoke --json", { input: keyEnding("77e0") });
    expect(documentsOf(saved)[0]).toMatchObject({ previous: { revocation: "not_ours" }, error: null });
    expect([server.keys.has(hashOf(OTHER)), await journalOf(home)]).toEqual([true, ["op:1", "out:1 saved"]]);
  });

  it("stays in its row when the one before it is removed, and that one is reported", async () => {
    const { home, server, run } = await overwritten();
    const seen = await run("reconcile --json");
    expect(documentsOf(seen)[0]).toMatchObject({ class: "no_row", key_hash: hashOf(MADE) });
    await note(home, "alice", { kind: "rev", n: 1, reason: "purged", revoke: true, block: false });
    const fixed = await run("reconcile --fix --json");
    expect([fixed.code, [...server.keys.keys()]]).toEqual([0, [hashOf(OTHER)]]);
    const got = await run("get --user alice --json", { env: { KEYCTL_REQUIRE_SEALED: "0" } });
    expect(documentsOf(got)[0]).toMatchObject({ key: maskOf(OTHER), error: null });
  });
});

describe("purge --revoke-foreign", () => {
  it("deletes by hash whoever made the key", async () => {
    const { home, server, run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    server.addKey(KEY);
    const done = await run("purge --user alice --revoke-foreign --yes --json");
    expect([done.code, documentsOf(done)[0]]).toMatchObject([0, { purged: true, revocation: "done" }]);
    expect([server.keys.size, await storedUsers(home), changesAt(server)]).toEqual([0, [], REMOVAL]);
  });

  it.each([
    ["in a row", ""],
    ["in a row in clear", `UPDATE api_keys SET key_encrypted = '${KEY}', key_hash = NULL WHERE user_id = 'bob'`],
    [
      "in another row in clear",
      `UPDATE api_keys SET key_encrypted = '${KEY}', key_hash = NULL WHERE user_id = 'alice'`,
    ],
    ["in clear in both", `UPDATE api_keys SET key_encrypted = '${KEY}', key_hash = NULL`],
  ])("refuses a key that another user has %s, and changes nothing", async (_name, sql) => {
    const { home, server, run, given } = await stage();
    for (const user of ["alice", "bob"]) await given(`save --user ${user} --stdin`, { input: KEY });
    if (sql !== "") await withDatabase(home, (database) => database.exec(sql));
    server.addKey(KEY);
    const before = await everythingIn(home);
    const refused = await run("purge --user alice --revoke-foreign --yes --json");
    expect([refused.code, errorOf(refused)?.code]).toEqual([8, "CONFLICT"]);
    expect([await everythingIn(home), server.count()]).toEqual([before, 0]);
  });

  it("names the hash when it cannot be confirmed: nothing here remembers it", async () => {
    const { server, run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    server.addKey(KEY);
    server.behave(always("PATCH /keys/{hash}", { status: 503, headers: { "retry-after": "3600" } }));
    const pending = await run("purge --user alice --revoke-foreign --yes --json");
    expect([pending.code, errorOf(pending)?.code]).toEqual([10, "REVOKE_PENDING"]);
    expect(errorOf(pending)?.message).toContain(hashOf(KEY));
    // The same command would find no row, and no record of the key.
    expect(errorOf(pending)?.hint).not.toContain("keyctl purge");
  });

  it("takes the keys that keyctl made for the user as well", async () => {
    const { server, run, given } = await stage();
    await given("sync --user alice");
    await given("save --user alice --stdin --replace", { input: KEY });
    server.addKey(KEY);
    const done = await run("purge --user alice --revoke-foreign --yes --json");
    expect(documentsOf(done)[0]).toMatchObject({ revocation: "done", revoked_keys: 2, error: null });
    expect(server.keys.size).toBe(0);
  });

  it("treats a key of ours as --revoke does", async () => {
    const { home, server, given } = await stage();
    await given("sync --user alice");
    await given("purge --user alice --revoke-foreign --yes");
    expect([server.keys.size, await journalOf(home)]).toEqual([0, ["op:1", "out:1 saved", "rev:1 purged, revoke"]]);
  });
});

describe("purge --revoke of many", () => {
  it("reads the list of all keys once, however many have no row", async () => {
    const { server, run, given } = await stage();
    const users = ["alice", "bob", "carol", "dave"];
    const listings = () => server.count("GET /keys");
    for (const user of users) await given(`sync --user ${user}`);
    for (const user of ["alice", "bob", "carol"]) await given(`purge --user ${user} --yes`);
    await given("purge --user erin --revoke");
    const ofOne = listings();
    const line = ["purge", ...users.flatMap((user) => ["--user", user]), "--revoke", "--yes", "--json"];
    const done = await run(line);
    expect(done.code).toBe(0);
    const each = documentsOf(done).slice(0, 4);
    expect(each.map(({ purged, revocation }) => [purged, revocation])).toEqual([
      [false, "done"],
      [false, "done"],
      [false, "done"],
      [true, "done"],
    ]);
    expect(documentsOf(done).at(-1)).toMatchObject({ purged: 1, had_earlier_keys: 3, had_no_key: 0, failed: 0 });
    expect(server.keys.size).toBe(0);
    expect([ofOne > 0, listings() - ofOne]).toEqual([true, ofOne]);
  });

  it("says of each user what was deleted, and in the end where the next sync finds a key", async () => {
    const { run, given } = await stage();
    await given("sync --user alice");
    await given("purge --user alice --yes");
    for (let time = 0; time < 2; time += 1) await given("sync --user bob");
    await given("save --user bob --stdin --replace", { input: KEY });
    await given("purge --user bob --yes");
    await given("sync --user bob");
    const users = "--user alice --user bob --user carol --revoke";
    const options = { columns: 120, env: { NO_COLOR: "1" } };
    const preview = await run(`purge ${users} --dry-run`, options);
    const next = "the next sync of any one of them creates a new, paid key";
    expect(preview.stdout + preview.stderr).toMatch(
      new RegExp(`3 users in .*: 2 to purge, 1 had no key; nothing was changed; ${next}\n`),
    );
    const done = await run(`purge ${users} --yes`, options);
    expect(done.stdout).toMatch(/^alice .* 1 earlier key deleted at OpenRouter$/m);
    expect(done.stdout).toMatch(/^bob .* purged; deleted at OpenRouter, with 1 earlier key$/m);
    expect(done.stdout).toMatch(/^carol .* had no key$/m);
    expect(done.stdout + done.stderr).toMatch(
      new RegExp(
        `3 users in .*: 1 purged, 1 had earlier keys, 1 had no key; ${next}; 3 keys were deleted at OpenRouter\n`,
      ),
    );
  });

  it("purges all that keyctl made, and says which it did not make", async () => {
    const { home, server, run, given } = await stage();
    await given("sync --user alice");
    await given("save --user bob --stdin", { input: KEY });
    const store = `sqlite:${home.database}`;
    const done = await run(["purge", "--all", "--revoke", "--store", store, "--confirm", "2", "--json"]);
    expect(done.code).toBe(9);
    expect(documentsOf(done).slice(0, 2)).toMatchObject([
      { user_id: "alice", purged: true, revocation: "done", error: null },
      { user_id: "bob", purged: false, revocation: null, error: { code: "FOREIGN_KEY" } },
    ]);
    expect([server.keys.size, await storedUsers(home)]).toEqual([0, ["bob"]]);
  });
});

describe("save over a key that keyctl made", () => {
  it.each([
    ["", "kept", 1, "rev:1 superseded"],
    [" --revoke", "done", 0, "rev:1 superseded, revoke"],
  ])("with '%s': %s", async (flag, revocation, left, rev) => {
    const { home, server, run, given } = await stage(made);
    await given("sync --user alice");
    const saved = await run(`save --user alice --stdin --replace --json${flag}`, { input: KEY });
    expect(documentsOf(saved)[0]).toMatchObject({
      key: maskOf(KEY),
      changed: true,
      previous: { key: maskOf(MADE), key_hash: hashOf(MADE), origin: "auto-provisioned", revocation },
      error: null,
    });
    expect([server.keys.size, await journalOf(home)]).toEqual([left, ["op:1", "out:1 saved", rev]]);
    const row = await withStore(home, (store, signal) => store.find(parseUserId("alice"), signal));
    expect(row).toMatchObject({ generation: 0, settled: true, previous: null, name: null, limit: null });
    expect((await run("reconcile")).code).toBe(0);
  });

  it("with --revoke leaves a key that keyctl did not make", async () => {
    const { server, run, given } = await stage();
    await given("save --user alice --stdin", { input: OTHER });
    server.addKey(OTHER);
    const saved = await run("save --user alice --stdin --replace --revoke --json", { input: KEY });
    expect([saved.code, documentsOf(saved)[0]]).toMatchObject([0, { previous: { revocation: "not_ours" } }]);
    expect([server.keys.size, server.count()]).toEqual([1, 0]);
  });

  it("with --revoke is done when OpenRouter fails, and reconcile ends it", async () => {
    const { home, server, run, given } = await stage(made);
    await given("sync --user alice");
    server.behave(always("PATCH /keys/{hash}", { status: 503, headers: { "retry-after": "3600" } }));
    const saved = await run("save --user alice --stdin --replace --revoke --json", { input: KEY });
    expect([saved.code, documentsOf(saved)[0]]).toMatchObject([
      10,
      { key: maskOf(KEY), changed: true, previous: { revocation: "pending" } },
    ]);
    expect(errorOf(saved)).toMatchObject({ code: "REVOKE_PENDING", hint: "keyctl reconcile --user alice --fix" });
    expect(documentsOf(await run("get --user alice --json"))[0]).toMatchObject({ key: maskOf(KEY), error: null });
    server.behave(() => "pass");
    const fixed = await run("reconcile --user alice --fix --json");
    expect([fixed.code, server.keys.size]).toEqual([0, 0]);
    const row = await withStore(home, (store, signal) => store.find(parseUserId("alice"), signal));
    expect(row).toMatchObject({ settled: true, previous: null });
  });

  it("writes the revocation down only after the row holds the new key", async () => {
    const { home, run, given } = await stage(made);
    await given("sync --user alice");
    const around = withCalls(() => ({ replace: async () => false }));
    expect((await run("save --user alice --stdin --replace --revoke", { input: KEY, around })).code).toBe(8);
    expect(await journalOf(home)).toEqual(["op:1", "out:1 saved"]);
  });

  it("with --revoke over a key that another save has kept revokes it after all", async () => {
    const { home, server, given } = await stage(made);
    await given("sync --user alice");
    const row = await withStore(home, (store, signal) => store.find(parseUserId("alice"), signal));
    await given("save --user alice --stdin --replace", { input: KEY });
    // As if that save had died before it was in the row.
    await withStore(home, async (store, signal) => {
      const now = await store.find(parseUserId("alice"), signal);
      if (row !== undefined && now !== undefined) await store.replace({ ...row, revision: 9 }, now, signal);
    });
    await given("save --user alice --stdin --replace --revoke", { input: OTHER });
    expect([server.keys.size, await journalOf(home)]).toEqual([
      0,
      ["del:1", "op:1", "out:1 saved", "rev:1 superseded"],
    ]);
  });

  it("needs a management key for --revoke before anything changes", async () => {
    const { home, run, given } = await stage(made);
    await given("sync --user alice");
    const before = await everythingIn(home);
    const env = { OPENROUTER_PROVISIONING_KEY: "" };
    expect((await run("save --user alice --stdin --replace --revoke", { input: KEY, env })).code).toBe(4);
    expect(await everythingIn(home)).toBe(before);
  });
});
