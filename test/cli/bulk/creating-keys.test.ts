import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { storedUsers, withDatabase } from "../../support/sqlite/database.ts";
import { documentsOf, errorOf } from "../../support/programs/in-process.ts";
import { KEY, maskOf, OTHER } from "../../support/fixtures/keys.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { always } from "../../support/openrouter/faults.ts";
import { changesAt, journalOf, stage, withCalls } from "../../support/home/tool-with-openrouter.ts";

function names(count: number, from = 0): string {
  return Array.from({ length: count }, (_, index) => `u${from + index}\n`).join("");
}

const FROM_PIPE = "--users-file - --json";

describe("sync of many users", () => {
  it("creates no key unless that is asked for, and says how it is asked for", async () => {
    const { home, server, run } = await stage();
    const done = await run(`sync ${FROM_PIPE}`, { input: names(3) });
    expect([done.code, server.keys.size]).toEqual([9, 0]);
    expect(
      documentsOf(done)
        .slice(0, -1)
        .map(({ error }) => (error as { code: string }).code),
    ).toEqual(["NO_KEY", "NO_KEY", "NO_KEY"]);
    expect(errorOf(done)).toMatchObject({ code: "SOME_FAILED", hint: expect.stringContaining("--provision") });
    expect(await storedUsers(home)).toEqual([]);
    // One user is served as the old system does.
    expect([(await run("sync --user u0 --json")).code, server.keys.size]).toEqual([0, 1]);
  });

  it("creates with --provision for each who has none, once, whatever was spelled twice", async () => {
    const { home, server, run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    const id = "68e228e87f803a11a4e23045";
    const input = `alice\n${id}\n${id.toUpperCase()}\nbob\n${id}\n`;
    const done = await run(`sync --provision ${FROM_PIPE}`, { input });
    expect([done.code, server.keys.size]).toEqual([0, 2]);
    expect(documentsOf(done).map(({ source }) => source)).toEqual([
      "database",
      "auto-provisioned",
      "auto-provisioned",
      undefined,
    ]);
    expect(documentsOf(done).at(-1)).toMatchObject({ synced: 2, from_database: 1, left: 0, failed: 0 });
    expect(await storedUsers(home)).toEqual([id, "alice", "bob"].toSorted());
  });

  it("creates none where a source holds a key, and none for --all, whose users have one", async () => {
    const { server, given } = await stage();
    const env = { OPENROUTER_API_KEY: KEY };
    await given(`sync --provision ${FROM_PIPE}`, { input: names(20), env });
    await given("sync --all --provision --json");
    expect(server.keys.size).toBe(0);
  });

  it("creates none because of a source that is broken", async () => {
    const { home, server, run } = await stage();
    writeFileSync(join(home.work, "key.txt"), "no key");
    const done = await run(`sync --provision ${FROM_PIPE}`, { input: names(2) });
    expect([done.code, server.keys.size]).toEqual([9, 0]);
  });

  it("with --provision and no management key ends before it begins", async () => {
    const { run } = await stage();
    const done = await run(`sync --provision ${FROM_PIPE}`, {
      input: names(2),
      env: { OPENROUTER_PROVISIONING_KEY: "" },
    });
    expect([done.code, errorOf(done)?.code]).toEqual([4, "MANAGEMENT_KEY_MISSING"]);
  });

  it("is not held up by the hourly cap, and does not use it up", async () => {
    const { server, run } = await stage();
    const env = { KEYCTL_MAX_PROVISIONS_PER_HOUR: "2" };
    expect((await run(`sync --provision ${FROM_PIPE}`, { input: names(6), env })).code).toBe(0);
    expect((await run("sync --user other --json", { env })).code).toBe(0);
    expect(server.keys.size).toBe(7);
  });
});

describe.each(["sync --provision", "provision"])("%s of many, where nobody can be asked", (verb) => {
  it("creates 10 keys and wants permission for 11: nothing is begun", async () => {
    const { home, server, run } = await stage();
    const refused = await run(`${verb} ${FROM_PIPE}`, { input: names(11) });
    expect([refused.code, errorOf(refused)?.code, errorOf(refused)?.hint]).toEqual([
      2,
      "CONFIRMATION_NEEDED",
      `keyctl ${verb} ${FROM_PIPE} --max-keys 11`,
    ]);
    expect(errorOf(refused)?.message).toContain("11 keys would be created");
    expect([server.requests.length, await storedUsers(home)]).toEqual([0, []]);
    const done = await run(`${verb} ${FROM_PIPE}`, { input: names(10) });
    expect([done.code, server.keys.size]).toEqual([0, 10]);
    // Counted are only those who have none.
    const more = await run(`${verb} ${FROM_PIPE}`, { input: names(15) });
    expect([more.code, server.keys.size]).toEqual([0, 15]);
  });

  it.each([0, 1, 5, 12, 40])("creates no more than --max-keys %d, and says how many are left", async (max) => {
    const { home, server, run } = await stage();
    const done = await run(`${verb} --max-keys ${max} ${FROM_PIPE}`, { input: names(12) });
    const created = Math.min(max, 12);
    expect([server.keys.size, (await storedUsers(home)).length]).toEqual([created, created]);
    expect(changesAt(server)).toEqual(created === 0 ? {} : { "POST /keys": created });
    const summary = documentsOf(done).at(-1);
    expect(summary).toMatchObject({ total: 12, left: 12 - created, failed: 0 });
    if (created === 12) return expect(done.code).toBe(0);
    expect([done.code, errorOf(done)?.code, errorOf(done)?.hint]).toEqual([
      6,
      "PROVISION_CAP",
      `run it again with --max-keys ${12 - created}`,
    ]);
    // The same line again goes on.
    const again = await run(`sync --provision --max-keys ${12 - created} ${FROM_PIPE}`, { input: names(12) });
    expect([again.code, server.keys.size]).toEqual([0, 12]);
  });

  it("with --log, too, creates no more than that, with a whole block for each user", async () => {
    const { server, run } = await stage();
    const done = await run(`${verb} --max-keys 2 --log ${FROM_PIPE}`, { input: names(4) });
    expect([done.code, server.keys.size, documentsOf(done).at(-1)?.["left"]]).toEqual([6, 2, 2]);
  });

  it.each(["", "--log "])("begins no more after --stop-after, and tells what was done: %s", async (log) => {
    const { home, server, run } = await stage();
    server.behave(always("POST /keys", { delayMs: 400 }));
    const done = await run(`${verb} --max-keys 60 --stop-after 1s ${log}${FROM_PIPE}`, { input: names(60) });
    const lines = documentsOf(done);
    const created = server.keys.size;
    expect([done.code, errorOf(done)?.code]).toEqual([6, "SOME_UNKNOWN"]);
    expect(lines.at(-1)).toMatchObject({ total: 60, done: created, failed: 0, left: 0, complete: false });
    expect(errorOf(done)?.hint).toContain(`${60 - created} not started; run it again`);
    expect(new Set(lines.slice(0, -1).map(({ user_id }) => user_id))).toEqual(new Set(await storedUsers(home)));
    expect(created).toBeGreaterThan(0);
    expect(created).toBeLessThan(40);
  });

  it.each([
    ["", 8],
    ["--log ", 1],
  ] as const)(
    "tells of each key that waits for a store that went away: %s",
    { timeout: 60_000 },
    async (log, count) => {
      const { home, run } = await stage();
      const around = withCalls(() => ({
        insert: () => Promise.reject(new KeyctlError("STORE_UNAVAILABLE", "it has gone away")),
      }));
      const done = await run(`${verb} --max-keys 60 ${log}${FROM_PIPE}`, { input: names(20), around });
      const lines = documentsOf(done);
      const waiting = readdirSync(`${home.folder}/state/keyctl/spool`).length;
      expect([done.code, errorOf(done)?.code, waiting]).toEqual([7, "STORE_UNAVAILABLE", count]);
      expect(lines.at(-1)).toMatchObject({ total: 20, done: count, failed: count, complete: false });
      expect(errorOf(done)?.hint).toMatch(new RegExp(`^${20 - count} not started; .* is back; then run it again$`));
      for (const { error } of lines.slice(0, -1)) {
        expect(error).toMatchObject({ message: expect.stringContaining("it is safe, encrypted in a file") as string });
      }
    },
  );

  it("counts what comes from a pipe, 16 MiB at most", async () => {
    const { server, run } = await stage();
    const line = Buffer.alloc(1024 * 1024, `${"u".repeat(127)}\n`);
    const input = (async function* () {
      for (let written = 0; written < 17; written += 1) yield line;
    })();
    const done = await run(`${verb} ${FROM_PIPE}`, { input });
    expect([done.code, errorOf(done)?.code, server.keys.size]).toEqual([2, "USAGE", 0]);
    expect(errorOf(done)?.hint).toContain("--max-keys");
  });

  it("reads a users file twice, and passes over its bad lines in the count", async () => {
    const { home, server, run } = await stage();
    writeFileSync(join(home.work, "users.txt"), `${names(9)}\u0001bad\n${names(9)}`);
    const done = await run(`${verb} --users-file users.txt --json`);
    expect([done.code, server.keys.size, documentsOf(done).at(-1)?.["failed"]]).toEqual([9, 9, 1]);
  });

  it("of one user takes no --max-keys", async () => {
    const { server, run } = await stage();
    const done = await run(`${verb} --user alice --max-keys 3 --json`);
    expect([done.code, errorOf(done)?.code, server.keys.size]).toEqual([2, "USAGE", 0]);
  });
});

describe("--dry-run", () => {
  it("of sync says for each user where a key is or would come from, and changes nothing", async () => {
    const { home, server, run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    const before = await journalOf(home);
    const users = "--user alice --user bob --dry-run --json";
    const created = await run(`sync --provision ${users}`);
    expect(documentsOf(created)).toMatchObject([
      { user_id: "alice", key: maskOf(KEY), source: "database", synced: false, dry_run: true, action: "none" },
      { user_id: "bob", key: null, source: "auto-provisioned", dry_run: true, action: "create", error: null },
      { dry_run: true, total: 2, to_create: 1, to_save: 0, unchanged: 1, failed: 0, complete: true, error: null },
    ]);
    const saved = await run(`sync ${users}`, { env: { OPENROUTER_API_KEY: OTHER } });
    expect(documentsOf(saved)).toMatchObject([
      { action: "none", source: "database" },
      { action: "none", source: "environment", key: maskOf(OTHER), synced: false, error: null },
      { to_save: 1 },
    ]);
    const without = await run(`sync ${users}`);
    expect([without.code, documentsOf(without)[1]]).toMatchObject([9, { action: "none", error: { code: "NO_KEY" } }]);
    // One user is served as without the flag: a key would be created.
    expect(documentsOf(await run("sync --user bob --dry-run --json"))[0]).toMatchObject({ action: "create" });
    expect(documentsOf(await run("sync --user bob --no-provision --dry-run --json"))[0]).toMatchObject({
      action: "none",
      error: { code: "NO_KEY" },
    });
    expect([server.requests.length, await storedUsers(home), await journalOf(home)]).toEqual([0, ["alice"], before]);
  });

  it("of provision says what the keys would be, and wants no permission", async () => {
    const { home, server, run, given } = await stage();
    await given("save --user u0 --stdin", { input: KEY });
    const line = "provision --users-file - --limit 5 --limit-reset monthly --expires-in 90d --dry-run --json";
    const done = await run(line, { input: names(20) });
    const [first, second] = documentsOf(done);
    expect(first).toMatchObject({
      user_id: "u0",
      action: "none",
      dry_run: true,
      source: "database",
      key: maskOf(KEY),
      error: null,
    });
    expect(second).toMatchObject({ action: "create", limit: 5, limit_reset: "monthly", key: null, error: null });
    expect(Date.parse(String(second?.["expires_at"])) - Date.now()).toBeGreaterThan(89 * 86_400_000);
    expect(documentsOf(done).at(-1)).toMatchObject({ dry_run: true, to_create: 19, had_a_key: 1, failed: 0 });
    expect([server.requests.length, await storedUsers(home)]).toEqual([0, ["u0"]]);
    const refused = await run("provision --user u0 --dry-run --json");
    expect([refused.code, errorOf(refused)?.code]).toEqual([8, "KEY_EXISTS"]);
    const one = await run("provision --user u1 --limit 5 --dry-run", { columns: 80, env: { NO_COLOR: "1" } });
    expect(one.stdout).toBe("provision would create a key at OpenRouter ($5, does not expire)\n");
  });

  it("of purge says what would go, asks nothing, and deletes nothing", async () => {
    const { home, server, run, given } = await stage();
    await given("sync --user alice");
    await given("save --user bob --stdin", { input: KEY });
    const before = [server.keys.size, await storedUsers(home), await journalOf(home)];
    const both = await run("purge --all --revoke --dry-run --json");
    expect(documentsOf(both)).toMatchObject([
      { user_id: "alice", purged: false, revocation: null, dry_run: true, action: "purge", error: null },
      { user_id: "bob", dry_run: true, action: "none", error: { code: "FOREIGN_KEY" } },
      { dry_run: true, to_purge: 1, had_no_key: 0, failed: 1 },
    ]);
    const one = await run("purge --user bob --dry-run");
    expect([one.code, one.stdout]).toEqual([0, `purge would delete ${maskOf(KEY)} here\n`]);
    expect((await run("purge --user nobody --dry-run")).stdout).toBe("purge would find no key\n");
    expect([server.keys.size, await storedUsers(home), await journalOf(home)]).toEqual(before);
  });
});

describe("a purge", () => {
  it("of many begins no more after --stop-after, and tells what was done", async () => {
    const { home, server, run, given } = await stage();
    await given(`provision --max-keys 12 ${FROM_PIPE}`, { input: names(12) });
    server.behave(always("DELETE /keys/{hash}", { delayMs: 300 }));
    const done = await run(`purge --revoke --yes --stop-after 1s ${FROM_PIPE}`, { input: names(12) });
    const left = await storedUsers(home);
    expect([done.code, errorOf(done)?.code, server.keys.size]).toEqual([6, "SOME_UNKNOWN", left.length]);
    const purged = 12 - left.length;
    expect(documentsOf(done).at(-1)).toMatchObject({ total: 12, done: purged, purged, failed: 0, complete: false });
    expect(errorOf(done)?.hint).toContain(`${left.length} not started; run it again`);
    expect([purged > 0, left.length > 0]).toEqual([true, true]);
  });

  it.each([
    ["purge --user alice --yes", {}, ["auto-provisioned"], /creates a new, paid key/],
    ["purge --user alice --revoke --yes", {}, ["auto-provisioned"], /creates a new, paid key/],
    ["purge --user alice --revoke --yes", { KEYCTL_AUTO_PROVISION: "0" }, [], /^$/],
    ["purge --user alice --revoke --yes", { OPENROUTER_API_KEY: KEY }, ["environment"], /OPENROUTER_API_KEY holds/],
  ])("says where the next sync finds a key: %s with %o", async (line, env, returnsFrom, note) => {
    const { run, given } = await stage();
    await given("sync --user alice");
    const preview = await run(`${line.replace(" --yes", "")} --dry-run`, { env });
    expect(preview.stderr.match(/^note: .*(?:next sync).*$/m)?.[0] ?? "").toMatch(note);
    const done = await run(line, { env });
    expect(done.stderr.match(/^note: .*(?:next sync).*$/m)?.[0] ?? "").toMatch(note);
    await given("sync --user alice");
    expect(documentsOf(await run(`${line} --json`, { env }))[0]).toMatchObject({ returns_from: returnsFrom });
  });
});

describe("provision of many", () => {
  it("that is run again over the same users tells who had a key, and ends well", async () => {
    const { server, run, given } = await stage();
    await given("save --user u2 --stdin", { input: KEY });
    await given(`provision ${FROM_PIPE}`, { input: names(2) });
    const again = await run(`provision ${FROM_PIPE}`, { input: names(4) });
    expect([again.code, server.keys.size]).toEqual([0, 3]);
    const [first, , third, fourth, summary] = documentsOf(again);
    expect(first).toMatchObject({ user_id: "u0", source: "database", origin: "auto-provisioned", generation: 1 });
    expect(first).toMatchObject({ key: expect.stringMatching(/^\*{15}/) as string, error: null });
    expect(third).toMatchObject({ key: maskOf(KEY), source: "database", origin: "manual", generation: 0, error: null });
    expect(fourth).toMatchObject({ user_id: "u3", source: "auto-provisioned", error: null });
    expect(summary).toMatchObject({ total: 4, done: 4, made: 1, had_a_key: 3, left: 0, failed: 0, error: null });
    const shown = await run("provision --users-file - --max-keys 0", { input: names(1), columns: 80 });
    expect([shown.code, shown.stdout]).toEqual([0, expect.stringMatching(/u0 +\*{15}\S{4} +had a key\n$/)]);
    expect(shown.stderr).toContain("1 user in 0s: 1 had a key\n");
    // One user was meant, and has another key than the one that was asked for.
    expect((await run("provision --user u0")).code).toBe(8);
  });

  it("takes a key that appears while it runs for one that was there", async () => {
    const { run, given } = await stage();
    await given("save --user u0 --stdin", { input: KEY });
    // As if it were saved after the run has looked.
    const around = withCalls(() => ({ findMany: async () => [] }));
    const done = await run(`provision --max-keys 5 ${FROM_PIPE}`, { input: names(1), around });
    expect([done.code, documentsOf(done).at(-1)]).toMatchObject([0, { total: 1, had_a_key: 1, failed: 0 }]);
  });

  it("is an error for a user whose key nobody can read", async () => {
    const { home, run, given } = await stage();
    await given("save --user u0 --stdin", { input: KEY });
    await withDatabase(home, (database) => database.exec("UPDATE api_keys SET key_encrypted = 'neither'"));
    const done = await run(`provision ${FROM_PIPE}`, { input: names(2) });
    expect([done.code, documentsOf(done)[0]]).toMatchObject([9, { user_id: "u0", error: { code: "KEY_EXISTS" } }]);
  });

  it.each([
    ["8 at once", "", 8],
    ["as many at once as --concurrency says", "--concurrency 3", 3],
    ["one after the other with --log", "--log", 1],
  ])("creates %s", async (_, flag, most) => {
    const { server, run } = await stage();
    server.behave(always("POST /keys", { delayMs: 150 }));
    let underWay = 0;
    let peak = 0;
    const around = withCalls((store) => ({
      insertEntry(entry, signal) {
        if (entry.kind === "op") peak = Math.max(peak, (underWay += 1));
        return store.insertEntry(entry, signal);
      },
      insert(row, signal) {
        underWay -= 1;
        return store.insert(row, signal);
      },
    }));
    const done = await run(["provision", ...flag.split(" ").filter(Boolean), ...FROM_PIPE.split(" ")], {
      input: names(10),
      around,
    });
    expect([done.code, server.keys.size, peak]).toEqual([0, 10, most]);
  });

  it.each(["provision --users-file - --concurrency 0", "sync --all --concurrency 5", "sync --user a --concurrency x"])(
    "refuses %s",
    async (line) => {
      const { run } = await stage();
      const refused = await run(`${line} --json`);
      expect([refused.code, errorOf(refused)?.hint]).toEqual([2, expect.stringContaining("--concurrency")]);
    },
  );
});

describe("a run that ends before its users", () => {
  it("keeps the hint of its permission beside other failures", async () => {
    const { run } = await stage();
    const done = await run(`provision --max-keys 2 ${FROM_PIPE}`, { input: `\u0001bad\n${names(5)}` });
    expect([done.code, errorOf(done)?.hint]).toEqual([9, expect.stringContaining("--max-keys 3 ")]);
  });
});
