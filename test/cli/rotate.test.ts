import { describe, expect, it } from "vitest";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { hashOf, KEY, maskOf } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import type { MockOptions } from "../support/openrouter/server.ts";
import { withDatabase } from "../support/sqlite/database.ts";

const plain = { NO_COLOR: "1" };
const HOUR_MS = 3_600_000;

/** Alice has a key of $10 a month, of which $6.80 are spent. */
async function withAlice(options?: MockOptions) {
  const set = await stage(options);
  await set.given("provision --user alice --limit 10 --limit-reset monthly --expires-in 90d");
  const [old] = set.server.keys.values();
  if (old === undefined) throw new Error("no key was created");
  set.server.spend(old.hash, 6.8);
  return { ...set, old };
}

/** These users have a key of $5 each. */
async function withUsers(count: number): Promise<Stage & { readonly users: string }> {
  const set = await stage();
  const users = Array.from({ length: count }, (_, index) => `u${index}`);
  for (const user of users) await set.given(`provision --user ${user} --limit 5`);
  return { ...set, users: users.map((user) => `--user ${user}`).join(" ") };
}

/** Moves everything that rotations have left to do into the past. */
async function dueFor({ home }: Pick<Stage, "home">, ms: number): Promise<void> {
  const at = new Date(Date.now() - ms).toISOString();
  await withDatabase(home, (database) => {
    database
      .prepare("UPDATE api_key_journal SET body = json_set(body, '$.retire_at', ?) WHERE _id GLOB '*:due:*'")
      .run(at);
    database.prepare("UPDATE api_keys SET limit_due = json_set(limit_due, '$.at', ?)").run(at);
  });
}

describe("rotate", () => {
  it("replaces a key and says all about it", async () => {
    const { run, server, old } = await withAlice();
    const done = await run("rotate --user alice --json");
    expect(done.code).toBe(0);
    const [document] = documentsOf(done);
    const key = server.keys.get(String(document?.["key_hash"]));
    expect(document).toEqual({
      user_id: "alice",
      key: expect.stringMatching(/^\*{15}\w{4}$/) as string,
      key_hash: key?.hash,
      source: "database",
      origin: "auto-provisioned",
      generation: 2,
      limit: 10,
      limit_now: expect.closeTo(3.2) as number,
      limit_restore_at: expect.stringMatching(/Z$/) as string,
      limit_reset: "monthly",
      expires_at: expect.stringMatching(/Z$/) as string,
      verified: true,
      restrictions: { guardrail: "none", allow_lists: 0 },
      previous: {
        key: expect.stringMatching(/^\*{15}\w{4}$/) as string,
        key_hash: old.hash,
        origin: "auto-provisioned",
        revocation: "scheduled",
        revoke_at: expect.stringMatching(/Z$/) as string,
      },
      warnings: [{ code: "GRACE_DOUBLES_BUDGET", message: expect.any(String) as string }],
      error: null,
    });
    expect([key?.limit, server.keys.size]).toEqual([expect.closeTo(3.2), 2]);
    const stored = documentsOf(await run("get --user alice --json"));
    expect(stored).toMatchObject([{ key_hash: key?.hash, limit: 10, limit_now: expect.closeTo(3.2) as number }]);
  });

  it("logs the lines of a provision", async () => {
    const { run } = await withAlice();
    const { log } = await run("rotate --user alice");
    expect(log.replaceAll(/\*{15}\w{4}/g, "<mask>")).toBe(
      [
        "[KeyManager] 🔄 Auto-provisioning new key for user alice...",
        "[KeyManager] ✅ Auto-provisioned new key: <mask>",
        "[KeyManager] ✅ Saved key to database (source: auto-provisioned): <mask>",
        "",
      ].join("\n"),
    );
  });

  it.each([80, 60])("fits a terminal of %i columns, and keeps the command whole", async (columns) => {
    const { run } = await withAlice();
    const { code, stdout } = await run("rotate --user alice -q", { columns, env: plain });
    expect([code, stdout.split("\n").filter((line) => line.length > columns)]).toEqual([0, []]);
    const words = stdout.replaceAll(/\s+/g, " ").trim();
    expect(words).toMatch(
      /^✔ new key \*{15}\w{4} created, verified, in use \(\$3\.20 left this month, then \$10; expires 20\d\d-\d\d-\d\d\) old key \*{15}\w{4} works until (?:20\d\d-\d\d-\d\d )?\d\d:\d\d \(10 minutes\); then: keyctl rotate --finish$/,
    );
    expect(stdout).toContain("then:  keyctl rotate --finish\n");
    expect(
      stdout
        .split("\n")
        .slice(1, -1)
        .every((line) => line.startsWith("  ")),
    ).toBe(true);
  });

  it("removes the old key at once with a grace of 0", async () => {
    const { run, server, old } = await withAlice();
    const { stdout } = await run("rotate --user alice --grace 0 -q", { columns: 100, env: plain });
    expect(stdout).toMatch(/^ {2}old key \*{15}\w{4} is deleted at OpenRouter$/m);
    expect([server.keys.has(old.hash), server.keys.size]).toEqual([false, 1]);
  });

  it("takes the grace from KEYCTL_ROTATE_GRACE, and from the flag before that", async () => {
    const env = { KEYCTL_ROTATE_GRACE: "0" };
    const { run } = await withAlice();
    const [kept] = documentsOf(await run("rotate --user alice --grace 1h --json", { env }));
    expect(kept).toMatchObject({ previous: { revocation: "scheduled" } });
    const [gone] = documentsOf(await run("rotate --user alice --json", { env }));
    expect(gone).toMatchObject({ previous: { revocation: "done", revoke_at: null } });
  });

  it.each(["31d", "soon", ""])("is exit 4 with KEYCTL_ROTATE_GRACE=%j, and changes nothing", async (value) => {
    const { run, server } = await withAlice();
    for (const users of ["--user alice", "--all"]) {
      const done = await run(`rotate ${users} --json`, { env: { KEYCTL_ROTATE_GRACE: value } });
      expect([done.code, errorOf(done)?.code]).toEqual([4, value === "" ? "CONFIG_EMPTY" : "CONFIG_INVALID"]);
    }
    expect(server.keys.size).toBe(1);
  });

  it("stays with --wait until the old key is removed", async () => {
    const { run, server, old } = await withAlice();
    const done = await run("rotate --user alice --grace 1s --wait --json");
    expect(documentsOf(done)).toMatchObject([{ previous: { key_hash: old.hash, revocation: "done" }, error: null }]);
    expect([done.code, server.keys.has(old.hash)]).toEqual([0, false]);
  });

  it.each([
    ["--limit full", { limit: 10, limit_now: 10, limit_restore_at: null }],
    ["--limit 2.5", { limit: 2.5, limit_now: 2.5 }],
    ["--limit none", { limit: null, limit_now: null, limit_restore_at: null }],
    ["--expires-in none", { expires_at: null }],
  ])("gives the new key other terms with %s", async (flags, terms) => {
    const { run } = await withAlice();
    const [document] = documentsOf(await run(`rotate --user alice ${flags} --json`));
    expect(document).toMatchObject({ ...terms, error: null });
  });

  it("rotates a disabled key only when it is told to", async () => {
    const { run, old } = await withAlice();
    old.disabled = true;
    const refused = await run("rotate --user alice --json");
    expect([refused.code, errorOf(refused)?.code]).toEqual([5, "KEY_INVALID"]);
    expect((await run("rotate --user alice --include-disabled")).code).toBe(0);
  });

  it("replaces a key that it did not create only when it is told to, and says that it stays", async () => {
    const { run, server, given } = await stage();
    server.addKey(KEY, { limit: 10 });
    await given("save --user alice --stdin", { input: KEY });
    const refused = await run("rotate --user alice --json");
    expect([refused.code, errorOf(refused)?.code]).toEqual([8, "FOREIGN_KEY"]);
    const { stdout } = await given("rotate --user alice --include-foreign", { columns: 100, env: plain });
    expect(stdout).toContain(`old key ${maskOf(KEY)} is left as it is at OpenRouter: keyctl did not create it\n`);
    expect(server.keys.has(hashOf(KEY))).toBe(true);
  });

  it("deletes a key that it did not create with --revoke-foreign", async () => {
    const { run, server, given } = await stage();
    server.addKey(KEY, { limit: 10 });
    await given("save --user alice --stdin", { input: KEY });
    const done = await run("rotate --user alice --revoke-foreign --grace 0 --json");
    expect(documentsOf(done)).toMatchObject([{ previous: { revocation: "done" }, error: null }]);
    expect(server.keys.has(hashOf(KEY))).toBe(false);
  });

  it("ends with NEW_KEY_REFUSED for a key with another limit, and leaves all as it was", async () => {
    const { run, server, old } = await withAlice();
    server.configure({ newKeyLimit: 99 });
    const done = await run("rotate --user alice --json");
    expect([done.code, errorOf(done)?.code, [...server.keys.keys()]]).toEqual([6, "NEW_KEY_REFUSED", [old.hash]]);
    expect(documentsOf(done)).toMatchObject([{ key: null, verified: false, previous: null }]);
  });

  it("is exit 10 for an old key whose removal is not confirmed, and shows the new one", async () => {
    const { run, server } = await withAlice();
    server.behave(always("DELETE /keys/{hash}", { status: 500 }));
    const done = await run("rotate --user alice --grace 0 --timeout 3s", { columns: 100, env: plain });
    expect(done.code).toBe(10);
    expect(done.stdout).toContain("is not confirmed to be deleted at OpenRouter\n");
    expect(done.stderr).toContain("hint: keyctl reconcile --user alice --fix\n");
  });

  it.each([
    "--user alice --grace 31d",
    "--user alice --grace soon",
    "--user alice --limit much",
    "--user alice --expires-in soon",
    "--user alice --revoke-foreign",
    "--user alice --revoke-foreign --grace 1h",
    "--user alice --revoke-foreign --include-foreign --grace 0",
    "--user alice --max-keys 5",
    "--user alice --older-than 1d",
    "--user alice --rate 5/s",
    "--all --rate 5",
    "--all --rate 0/s",
    "--all --max-failures 0",
    "--all --max-failures 101%",
    "--all --verdict valid",
    "--all --concurrency 0",
    "--finish --user alice",
    "--finish --all",
    "--finish --grace 0",
    "--finish --dry-run",
    "",
  ])("is a usage error: rotate %s", async (flags) => {
    const { run, server } = await stage();
    const done = await run(`rotate ${flags} --json`.split(/ +/));
    expect([done.code, errorOf(done)?.code, server.count()]).toEqual([2, "USAGE", 0]);
    expect(errorOf(done)?.hint).toEqual(expect.any(String));
  });
});

describe("rotate --finish", () => {
  it("does what is due, a line each, and then has nothing to do", async () => {
    const set = await withAlice();
    await set.given("rotate --user alice");
    const early = await set.run("rotate --finish --json");
    expect(documentsOf(early)).toMatchObject([{ type: "summary", command: "rotate", total: 0, error: null }]);
    await dueFor(set, 1000);
    const done = await set.run("rotate --finish --json");
    expect(done.code).toBe(0);
    const [key] = documentsOf(await set.run("get --user alice --json"));
    const duty = { type: "duty", user_id: "alice", due_at: expect.stringMatching(/Z$/) as string, done: true };
    const summary = {
      type: "summary",
      command: "rotate",
      total: 2,
      done: 2,
      retired: 1,
      limits_restored: 1,
      failed: 0,
    };
    expect(documentsOf(done)).toMatchObject([
      { ...duty, kind: "retire", key_hash: set.old.hash, error: null },
      { ...duty, kind: "restore_limit", key_hash: key?.["key_hash"], error: null },
      { ...summary, complete: true, error: null },
    ]);
    expect([...set.server.keys.values()]).toMatchObject([{ hash: key?.["key_hash"], limit: 10 }]);
    const again = await set.run("rotate --finish", { columns: 80, env: plain });
    expect([again.code, again.stdout, again.stderr]).toEqual([0, "", expect.stringMatching(/^nothing is due\n/)]);
  });

  it("restores the limit that is shown, whatever a check said before", async () => {
    const set = await withAlice();
    await set.given("rotate --user alice");
    await set.given("validate --user alice");
    await dueFor(set, 1000);
    await set.given("rotate --finish");
    const restored = { limit: 10, limit_now: 10, limit_restore_at: null };
    for (const command of ["list --json", "get --user alice --json"]) {
      expect(documentsOf(await set.run(command))).toMatchObject([restored]);
    }
  });

  it("is a table on a terminal", async () => {
    const set = await withAlice();
    await set.given("rotate --user alice");
    await dueFor(set, 1000);
    const done = await set.run("rotate --finish", { columns: 80, env: plain });
    expect(done.stdout).toMatch(
      /^USER +DUTY +DUE +RESULT\nalice +remove old key +\d+ s ago +removed\nalice +restore limit +\d+ s ago +restored\n$/,
    );
    expect(done.stderr).toMatch(/^1 old key removed, 1 limit restored in \d+s\nstore: /m);
  });

  it("has nothing to do where no store exists", async () => {
    const { run } = await stage();
    const done = await run("rotate --finish --json");
    expect(documentsOf(done)).toMatchObject([{ type: "summary", total: 0, complete: true, error: null }]);
  });

  it("ends with the error of the duty that could not be done", async () => {
    const set = await withAlice();
    await set.given("rotate --user alice --limit full");
    await dueFor(set, 1000);
    set.server.behave(always("DELETE /keys/{hash}", { status: 500 }));
    const done = await set.run("rotate --finish --timeout 3s --json");
    const error = { code: "REVOKE_PENDING", exit_code: 10 };
    expect([done.code, documentsOf(done)]).toMatchObject([
      10,
      [
        { kind: "retire", done: false, error },
        { type: "summary", failed: 1, error },
      ],
    ]);
  });
});

describe("what is due after a rotation", () => {
  it.each([
    [
      "list",
      0,
      /^hint: 1 old key is due for removal, 1 limit is due to be restored; keyctl rotate --finish {3}does it$/m,
    ],
    ["doctor", undefined, /rotations\tpass\t1 old key is due for removal, 1 limit is due to be restored/],
    ["reconcile", 0, /1 old key is due for removal, 1 limit is due to be restored; 0 warnings/],
  ])("is shown by %s", async (command, code, text) => {
    const set = await withAlice();
    await set.given("rotate --user alice");
    expect((await set.run(command)).stderr).not.toContain("due for removal");
    await dueFor(set, 1000);
    const done = await set.run(command);
    expect(done.stdout + done.stderr).toMatch(text);
    if (code !== undefined) expect(done.code).toBe(code);
    await set.given("rotate --finish");
    expect((await set.run(command)).stderr).not.toContain("due");
  });

  it.each(["list", "list --json", "reconcile", "reconcile --json"])(
    "is exit 10 in %s when it is late by more than an hour",
    async (command) => {
      const set = await withAlice();
      await set.given("rotate --user alice");
      await dueFor(set, 2 * HOUR_MS);
      const late = await set.run(command);
      expect(late.code).toBe(10);
      await set.given("reconcile --fix");
      expect((await set.run(command)).code).toBe(0);
    },
  );

  it("has a code for keys, and one for limits", async () => {
    const set = await withAlice();
    await set.given("rotate --user alice --grace 0");
    await dueFor(set, 2 * HOUR_MS);
    expect(errorOf(await set.run("reconcile --json"))?.code).toBe("LIMIT_RESTORE_OVERDUE");
    expect((await set.run("list")).stderr).toContain("hint: keyctl rotate --finish\n");
    await set.given("rotate --user alice");
    await dueFor(set, 2 * HOUR_MS);
    expect(errorOf(await set.run("reconcile --json"))?.code).toBe("RETIREMENT_OVERDUE");
  });

  it("is a check of doctor that needs attention when it is late", async () => {
    const set = await withAlice();
    await set.given("rotate --user alice");
    await dueFor(set, 2 * HOUR_MS);
    const done = await set.run("doctor --json");
    expect(done.code).toBe(10);
    expect(documentsOf(done)[0]?.["checks"]).toContainEqual({
      id: "rotations",
      status: "attention",
      message: "1 old key has been due for removal for more than an hour",
      hint: "keyctl rotate --finish",
    });
  });
});

describe("rotate of many users", () => {
  it("is a line each and a summary", async () => {
    const { run, users } = await withUsers(3);
    const done = await run(`rotate ${users} --json`);
    const user = { type: "user", generation: 2, verified: true, error: null };
    const summary = {
      type: "summary",
      command: "rotate",
      selected: 3,
      total: 3,
      done: 3,
      rotated: 3,
      left: 0,
      failed: 0,
    };
    expect([done.code, documentsOf(done).map((each) => each)]).toMatchObject([
      0,
      [user, user, user, { ...summary, complete: true, error: null }],
    ]);
  });

  it("is a table for people, and says how the old keys go", async () => {
    const { run } = await withUsers(2);
    const done = await run("rotate --all", { columns: 100, env: plain });
    expect(done.stdout).toMatch(/^USER +KEY +RESULT\nu0 +\*{15}\w{4} +rotated; the old key works until \d\d:\d\d\n/);
    expect(done.stderr).toMatch(
      /2 users of 2 selected in \d+s: 2 rotated; keyctl rotate --finish {3}removes the old keys in time\n/,
    );
  });

  it.each(["--older-than 60d", "--expires-within 14d", "--verdict invalid"])(
    "passes over the others with %s, and is fine without anybody left",
    async (flags) => {
      const { run, server } = await withUsers(2);
      const before = server.count("POST /keys");
      const done = await run(`rotate --all ${flags} --json`);
      expect(done.code).toBe(0);
      expect(documentsOf(done)).toMatchObject([{ type: "summary", selected: 2, total: 0, rotated: 0, error: null }]);
      expect(server.count("POST /keys")).toBe(before);
    },
  );

  it("is EMPTY_SELECTION for nobody, unless that is accepted", async () => {
    const { run } = await stage();
    const done = await run("rotate --all --json");
    expect([done.code, errorOf(done)?.code]).toEqual([3, "EMPTY_SELECTION"]);
    expect((await run("rotate --all --allow-empty")).code).toBe(0);
  });

  it("wants --max-keys for more than ten where nobody can be asked, and rotates no more than that", async () => {
    const { run, server } = await withUsers(11);
    const refused = await run("rotate --all --json");
    expect([refused.code, errorOf(refused)]).toMatchObject([
      2,
      { code: "CONFIRMATION_NEEDED", hint: "keyctl rotate --all --json --max-keys 11" },
    ]);
    expect(server.keys.size).toBe(11);
    const some = await run("rotate --all --max-keys 4 --json");
    expect([some.code, errorOf(some)]).toMatchObject([
      6,
      {
        code: "PROVISION_CAP",
        message: "7 users are left with an old key: this run may rotate no more keys",
        hint: "run it again with --max-keys 7",
      },
    ]);
    expect(documentsOf(some).at(-1)).toMatchObject({ rotated: 4, left: 7 });
    expect(documentsOf(some).at(-2)).toMatchObject({
      error: { message: "the key was not rotated: this run may rotate no more than 4" },
    });
    expect(server.keys.size).toBe(15);
  });

  it("says of each user who has no key to rotate why, however few keys it may rotate", async () => {
    const { run, given, server } = await withUsers(2);
    await given("save --user zoe --stdin", { input: KEY });
    const done = await run("rotate --user u0 --user bob --user zoe --user u1 --json");
    expect([done.code, documentsOf(done)]).toMatchObject([
      9,
      [
        { user_id: "u0", error: null },
        { user_id: "bob", error: { code: "NO_KEY" } },
        { user_id: "zoe", error: { code: "FOREIGN_KEY" } },
        { user_id: "u1", error: null },
        { rotated: 2, left: 0, failed: 2 },
      ],
    ]);
    const few = await run("rotate --user zoe --user u0 --user u1 --user bob --max-keys 1 --json");
    expect(documentsOf(few).at(-1)).toMatchObject({ rotated: 1, left: 1, failed: 2 });
    expect(server.keys.size).toBe(5);
  });

  it("shows with --dry-run what would be done, and changes nothing", async () => {
    const { run, server, given } = await withUsers(2);
    await given("save --user zoe --stdin", { input: KEY });
    const count = server.count("POST /keys");
    const done = await run("rotate --all --dry-run --json");
    const rotation = { dry_run: true, action: "rotate", key: null, previous: { revocation: null }, error: null };
    expect(documentsOf(done)).toMatchObject([
      { user_id: "u0", ...rotation },
      { user_id: "u1", ...rotation },
      { user_id: "zoe", dry_run: true, action: "none", error: { code: "FOREIGN_KEY" } },
      { type: "summary", dry_run: true, to_rotate: 2, failed: 1 },
    ]);
    const one = await run("rotate --user u0 --dry-run", { columns: 80, env: plain });
    expect(one.stdout).toMatch(/^rotate would replace \*{15}\w{4}\n$/);
    expect([server.count("POST /keys"), server.keys.size]).toEqual([count, 2]);
  });

  it("stops after so many failures", async () => {
    const { run, server } = await withUsers(9);
    server.configure({ newKeyLimit: 99 });
    const done = await run("rotate --all --max-failures 2 --concurrency 1 --json");
    const documents = documentsOf(done);
    expect([done.code, documents.length]).toEqual([9, 3]);
    expect(documents.at(-1)).toMatchObject({ complete: false, failed: 2, error: { code: "SOME_FAILED" } });
    expect(server.keys.size).toBe(9);
  });
});
