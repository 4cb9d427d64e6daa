import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import { withDatabase } from "../support/sqlite/database.ts";

const withKey = { env: { OPENROUTER_API_KEY: KEY } };
const HINT = "keyctl unblock --user alice   lets a key be stored for this user again";

async function homeOf(...users: readonly string[]): Promise<Home> {
  const home = emptyHome();
  await inProcess(home, ["sync", "--users-file", "-"], { ...withKey, input: users.join("\n") });
  return home;
}

/** Alice is blocked; bob and carol have keys. */
async function withBlocked(reason: readonly string[] = ["--reason", "left the company"]): Promise<Home> {
  const home = await homeOf("alice", "bob", "carol");
  await inProcess(home, ["purge", "--user", "alice", "--block", "--yes", ...reason]);
  return home;
}

/** The command that a hint on stderr begins with. */
function hintedIn(stderr: string): readonly string[] {
  const [, command = ""] = /^hint: keyctl (.*?)(?: {3}.*)?$/m.exec(stderr) ?? [];
  return command.split(" ");
}

async function diagnosisOf(home: Home): Promise<Record<string, unknown>> {
  return documentsOf(await inProcess(home, ["doctor", "--json"]))[0] ?? {};
}

describe("purge --block", () => {
  it("says that the user is blocked, and no source brings a key back", async () => {
    const home = await homeOf("alice");
    home.writeKeyFile(OTHER);
    const run = await inProcess(home, ["purge", "--user", "alice", "--block", "--yes"], withKey);
    expect(run).toMatchObject({
      code: 0,
      stdout: "***************b465 purged (it stays active at OpenRouter); alice is blocked\n",
      stderr: "hint: delete it at https://openrouter.ai/keys if nobody else uses it\n",
    });
    expect((await inProcess(home, ["sync", "--user", "alice"], withKey)).code).toBe(8);
  });

  it.each([
    ["who has a key", [], true],
    ["who has none", ["--user", "bob"], false],
  ])("documents a user %s", async (_, user, purged) => {
    const home = await homeOf("alice");
    const args = ["purge", ...(user.length > 0 ? user : ["--user", "alice"]), "--block", "--yes", "--json"];
    expect(documentsOf(await inProcess(home, args, withKey))).toMatchObject([
      { purged, blocked: true, returns_from: [], error: null },
    ]);
  });

  it("of a user without a key is a success that says so, and so it is the second time", async () => {
    const home = emptyHome();
    const block = ["purge", "--user", "eve", "--block", "--yes"];
    expect((await inProcess(home, block)).stdout).toBe("eve has no key in the database, and is blocked now\n");
    expect((await inProcess(home, block)).stdout).toBe("eve has no key in the database, and is blocked already\n");
    // Nothing is left to ask.
    const plain = await inProcess(home, ["purge", "--user", "eve", "--block"]);
    expect([plain.code, plain.stdout]).toEqual([0, "eve has no key in the database, and is blocked already\n"]);
  });

  it("keeps the block and the reason of the first time", async () => {
    const home = await withBlocked();
    await inProcess(home, ["purge", "--user", "alice", "--block", "--yes", "--reason", "another"]);
    const rows = documentsOf(await inProcess(home, ["list", "--risk", "blocked", "--json"]));
    expect(rows).toMatchObject([{ blocked: { reason: "left the company" } }]);
  });

  it("asks before it blocks a user without a key", async () => {
    const home = await homeOf("alice");
    const run = await inProcess(home, ["purge", "--user", "eve", "--block", "--reason", "left us"]);
    expect([run.code, run.stderr]).toEqual([
      2,
      "error: cannot prompt: no terminal; nothing was changed\n" +
        "hint: keyctl purge --user eve --block --reason 'left us' --yes\n",
    ]);
    expect((await inProcess(home, ["list", "--risk", "blocked", "--count"])).stdout).toBe("0\n");
  });

  it("changes nothing on a dry run, which says what it would do", async () => {
    const home = await withBlocked();
    const users = ["--user", "alice", "--user", "bob", "--user", "eve"];
    const json = documentsOf(await inProcess(home, ["purge", ...users, "--block", "--dry-run", "--json"]));
    expect(json.map(({ user_id: user, blocked, action }) => [user, blocked, action])).toEqual([
      ["alice", true, "none"],
      ["bob", false, "purge"],
      ["eve", false, "purge"],
      [undefined, 1, undefined],
    ]);
    expect(json.at(-1)).toMatchObject({ to_purge: 1, to_block: 1, had_no_key: 1, blocked: 1, error: null });
    const said = await inProcess(home, ["purge", ...users, "--block", "--dry-run"]);
    expect(said.stdout).toBe(
      "alice\t-\tfind no key; the user is blocked already\n" +
        "bob\t***************b465\tdelete ***************b465 here, and block the user\n" +
        "eve\t-\tfind no key, and block the user\n",
    );
    expect((await inProcess(home, ["list", "--risk", "blocked", "--count"])).stdout).toBe("1\n");
  });

  it("of many says of each what became of it, and counts who is blocked", async () => {
    const home = await withBlocked();
    const many = ["purge", "--users-file", "-", "--block", "--yes"];
    const input = "alice\nbob\neve\n";
    const run = await inProcess(home, many, { input });
    expect(run.stdout).toBe(
      "alice\t-\thad no key; blocked already\n" +
        "bob\t***************b465\tpurged; it stays active at OpenRouter; blocked\n" +
        "eve\t-\thad no key; blocked\n",
    );
    expect(run.stderr).toContain("; 1 key stays active at OpenRouter; 3 users are blocked\n");
    const again = documentsOf(await inProcess(home, [...many, "--json"], { input }));
    expect(again.at(-1)).toMatchObject({ type: "summary", had_no_key: 3, purged: 0, blocked: 3, error: null });
  });

  it("of all blocks everybody who has a key", async () => {
    const home = await withBlocked();
    const store = `sqlite:${home.database}`;
    const run = await inProcess(home, ["purge", "--all", "--block", "--confirm", "2", "--store", store, "--json"]);
    expect(documentsOf(run).at(-1)).toMatchObject({ purged: 2, blocked: 2, error: null });
    expect((await inProcess(home, ["list", "--risk", "blocked", "--count"])).stdout).toBe("3\n");
  });

  it("with --revoke deletes the key at OpenRouter too", async () => {
    const { server, given, run } = await stage();
    await given("sync --user alice");
    const done = await given("purge --user alice --revoke --block --yes");
    expect(done.stdout).toMatch(/ purged \(and deleted at OpenRouter\); alice is blocked\n$/);
    expect([server.keys.size, (await run("provision --user alice")).code]).toEqual([0, 8]);
  });

  it("says that the user is blocked although OpenRouter cannot list the keys that --revoke would delete", async () => {
    const { server, given, run } = await stage();
    await given("sync --user bob");
    server.behave(always("GET /keys", { status: 503, headers: { "retry-after": "3600" } }));
    const failed = await run("purge --user eve --revoke --block --yes --json");
    expect([failed.code, documentsOf(failed)]).toMatchObject([6, [{ purged: false, blocked: true, revocation: null }]]);
    const said = await run("purge --user eve --revoke --block --yes");
    expect([said.code, said.stdout]).toEqual([6, "eve has no key in the database, and is blocked already\n"]);
    expect((await run("list --risk blocked --count")).stdout).toBe("1\n");
  });

  it("with --revoke of a key that keyctl did not create blocks nobody", async () => {
    const { given, run } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    const refused = await run("purge --user alice --revoke --block --yes --json");
    expect([refused.code, documentsOf(refused)]).toMatchObject([8, [{ purged: false, blocked: false }]]);
    expect((await run("list --risk blocked --count")).stdout).toBe("0\n");
  });
});

describe("purge --block that is refused", () => {
  it("hints at the command that blocks as well", async () => {
    const { run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    const refused = await run("purge --user alice --revoke --block --yes");
    expect([refused.code, hintedIn(refused.stderr)]).toEqual([
      8,
      ["purge", "--user", "alice", "--revoke-foreign", "--block"],
    ]);
  });

  it("says that nobody is blocked where OpenRouter cannot be asked, and what blocks without it", async () => {
    const { run, given, server, home } = await stage();
    await given("provision --user alice");
    server.behave(() => ({ status: 401 }));
    const refused = await run("purge --user alice --revoke --block --yes");
    expect(refused.stderr).toContain("user alice is not blocked");
    expect((await inProcess(home, hintedIn(refused.stderr).concat("--yes"))).code).toBe(0);
    expect((await run("get --user alice --stored")).code).toBe(8);
  });
});

describe("purge without --block", () => {
  it.each([
    ["key.txt", (home: Home) => home.writeKeyFile(OTHER), {}],
    ["the environment", () => {}, { OPENROUTER_API_KEY: OTHER }],
  ])("hints at it if the key returns from %s, and the hint works as printed", async (_, put, env) => {
    const home = await homeOf("alice");
    put(home);
    const run = await inProcess(home, ["purge", "--user", "alice", "--yes", "-q", "--json"], { env });
    expect(documentsOf(run)).toMatchObject([{ blocked: false }]);
    const said = await inProcess(home, ["purge", "--user", "alice", "--yes"], { env });
    expect(said.stderr).toContain(
      "\nhint: keyctl purge --user alice --block   keeps every key out, until keyctl unblock",
    );
    expect((await inProcess(home, [...hintedIn(said.stderr), "--yes"], { env })).code).toBe(0);
    expect((await inProcess(home, ["sync", "--user", "alice"], { env })).code).toBe(8);
  });

  it("hints at it for many, with the flags that were given", async () => {
    const home = await homeOf("alice", "bob");
    home.writeKeyFile(OTHER);
    const run = await inProcess(home, ["purge", "-u", "alice", "-u", "bob", "--yes"]);
    expect(run.stderr).toContain("\nhint: keyctl purge -u alice -u bob --yes --block   keeps every key out");
  });

  it("does not where no key returns", async () => {
    const home = await homeOf("alice");
    const run = await inProcess(home, ["purge", "--user", "alice", "--yes"]);
    expect(run.stderr).not.toContain("--block");
  });
});

describe("a blocked user", () => {
  it.each([
    ["sync --user alice"],
    ["get --user alice"],
    ["get --user alice --stored"],
    ["get --user alice --reveal"],
    ["validate --user alice"],
    ["save --user alice --stdin"],
    ["save --user alice --stdin --replace"],
    ["provision --user alice"],
    ["rotate --user alice"],
    ["renew --user alice"],
  ])("gets no key: %s", async (words) => {
    const { home, env } = await stage();
    await inProcess(home, ["purge", "--user", "alice", "--block", "--yes", "--reason", "left the company"]);
    home.writeKeyFile(OTHER);
    const store = `sqlite:${home.database}`;
    const run = await inProcess(home, [...words.split(" "), "--store", store], { env, input: KEY });
    expect([run.code, run.stdout]).toEqual([8, ""]);
    const [, at = ""] = /^error: user alice is blocked \(since (.*)\): left the company$/m.exec(run.stderr) ?? [];
    expect(Date.parse(at)).toBeGreaterThan(Date.now() - 60_000);
    expect(run.stderr).toContain(`\nhint: ${HINT.replace("unblock", `unblock --store ${store}`)}\n`);
    const json = await inProcess(home, [...words.split(" "), "--json"], { env, input: KEY });
    expect(errorOf(json)).toMatchObject({ code: "USER_BLOCKED", exit_code: 8, hint: HINT, retryable: false });
  });

  it.each([[[]], [["--renew"]]])("starts no command of exec %j", async (flags) => {
    const { env } = await stage();
    const home = await withBlocked();
    // A command that is started fails this test.
    const exec = ["exec", "--user", "alice", ...flags, "--json", "--", "app"];
    const run = await inProcess(home, exec, { env: { ...env, ...withKey.env } });
    expect([run.code, errorOf(run)]).toMatchObject([8, { code: "USER_BLOCKED", hint: HINT }]);
  });

  it("gets no key from an import, which fails on that line", async () => {
    const home = await withBlocked();
    const input = `user,key\nalice,${OTHER}\ndave,${OTHER}\n`;
    const run = await inProcess(home, ["import", "--csv", "-", "--json"], { input });
    expect([run.code, documentsOf(run)]).toMatchObject([
      9,
      [
        { user_id: "alice", outcome: "failed", error: { code: "USER_BLOCKED", exit_code: 8, hint: HINT } },
        { user_id: "dave", outcome: "imported", error: null },
        { imported: 1, failed: 1 },
      ],
    ]);
  });

  it("has a key that leaked, which is deleted and not replaced", async () => {
    const { server, given, run } = await stage();
    await given("sync --user alice");
    const [hash = ""] = server.keys.keys();
    await given("purge --user alice --block --yes");
    const leaked = await given(["leaked", "--hash", hash, "--json"]);
    expect(documentsOf(leaked)).toMatchObject([
      { owner: { user_id: "alice", current: false }, action: "purge", replaced_by: null, error: null },
    ]);
    expect([server.keys.size, (await run("get --user alice")).code]).toEqual([0, 8]);
  });

  it("has the log of a user without a key", async () => {
    const home = await withBlocked();
    const { log } = await inProcess(home, ["sync", "--user", "alice"], withKey);
    expect(log).toBe("[KeyManager] ===== Syncing API key for user alice =====\n[KeyManager] ❌ No API key available\n");
  });

  it.each([
    ["sync", "synced", 2],
    ["get", "from_database", 2],
    ["provision", "had_a_key", 2],
    ["rotate", "rotated", 0],
    ["renew", "renewed", 0],
  ])("is one of those that failed in a bulk %s, counted and named", async (verb, ending, count) => {
    const { home, env } = await stage();
    await inProcess(home, ["sync", "-u", "bob", "-u", "carol"], withKey);
    await inProcess(home, ["purge", "-u", "alice", "--block", "--yes"]);
    const more = verb === "sync" ? ["-u", "dave"] : [];
    const args = [verb, "-u", "alice", "-u", "bob", "-u", "carol", ...more];
    const json = documentsOf(
      await inProcess(home, [...args, "--json"], { env: { ...env, ...(verb === "sync" ? withKey.env : {}) } }),
    );
    expect(json.find(({ user_id: user }) => user === "alice")).toMatchObject({ error: { code: "USER_BLOCKED" } });
    const summary = json.at(-1);
    expect(summary).toMatchObject({ blocked: 1, error: { code: "SOME_FAILED", exit_code: 9 } });
    if (verb === "get" || verb === "provision") expect(summary).toMatchObject({ [ending]: count, failed: 1 });
    const said = await inProcess(home, args, { env });
    expect(said.stderr).toMatch(/ failed \(1 blocked\)/);
    if (verb === "rotate" || verb === "renew") return;
    expect(said.stderr).toContain(`\nhint: see the lines above; ${HINT}\n`);
  });

  it("is counted by a bulk validate, which names the list of blocked users", async () => {
    const { home, env } = await stage();
    await inProcess(home, ["purge", "-u", "alice", "--block", "--yes"]);
    const args = ["validate", "-u", "alice", "-u", "bob"];
    const json = await inProcess(home, [...args, "--json"], { env });
    expect(documentsOf(json).at(-1)).toMatchObject({ failed: 2, blocked: 1 });
    expect(errorOf(json)).toMatchObject({
      code: "SOME_FAILED",
      message: "2 of 2 keys could not be read (1 blocked)",
      hint: "see the lines above; keyctl list --risk blocked   names the blocked users",
    });
  });

  it("is passed over by rekey", async () => {
    const home = await withBlocked();
    const run = await inProcess(home, ["rekey", "--keep-key", "--json"]);
    expect(documentsOf(run)).toMatchObject([{ type: "summary", total: 2, unreadable: 0, error: null }]);
    expect((await inProcess(home, ["list", "--risk", "blocked", "--count"])).stdout).toBe("1\n");
  });

  it.each(["validate --all", "rotate --all", "sync --all", "get --all"])("is passed over by %s", async (words) => {
    const { home, env } = await stage();
    await inProcess(home, ["purge", "-u", "alice", "--block", "--yes"]);
    await inProcess(home, ["sync", "-u", "bob"], { env });
    const run = await inProcess(home, [...words.split(" "), "--json"], { env });
    expect(documentsOf(run).map(({ user_id: user }) => user)).toEqual(["bob", undefined]);
    expect(documentsOf(run).at(-1)).toMatchObject({ total: 1, error: null });
  });
});

describe("unblock", () => {
  it("lets keys be stored again, and brings none back", async () => {
    const home = await withBlocked();
    const run = await inProcess(home, ["unblock", "--user", "alice"]);
    expect(run).toMatchObject({
      code: 0,
      stdout: "alice is unblocked\n",
      stderr: "note: this brings no key back: the next sync looks for one, as for a new user\n",
    });
    expect((await inProcess(home, ["get", "--user", "alice", "--stored"])).code).toBe(3);
    expect((await inProcess(home, ["sync", "--user", "alice"], withKey)).code).toBe(0);
  });

  it("of nobody is done, and says so", async () => {
    const home = await homeOf("alice");
    const run = await inProcess(home, ["unblock", "--user", "alice"]);
    expect([run.code, run.stdout, run.stderr]).toEqual([0, "alice is not blocked\n", ""]);
    const json = await inProcess(home, ["unblock", "--user", "alice", "--json"]);
    expect(documentsOf(json)).toEqual([{ user_id: "alice", unblocked: false, warnings: [], error: null }]);
  });

  it("of many counts, and bad ids are errors of their lines", async () => {
    const home = await withBlocked();
    writeFileSync(join(home.work, "users.txt"), "alice\nbob\n bad\n");
    const run = await inProcess(home, ["unblock", "--users-file", "users.txt", "--json", "--reason", "came back"]);
    expect(run.code).toBe(9);
    expect(documentsOf(run).map((line) => line["unblocked"])).toEqual([true, false, false, 1]);
    expect(documentsOf(run).at(-1)).toMatchObject({ total: 3, was_not_blocked: 1, failed: 1 });
  });

  it("takes what list --risk blocked prints", async () => {
    const home = await withBlocked();
    await inProcess(home, ["purge", "--user", "bob", "--block", "--yes"]);
    const listed = await inProcess(home, ["list", "--risk", "blocked"]);
    const input = listed.stdout.replaceAll(/\t.*$/gm, "");
    const run = await inProcess(home, ["unblock", "--users-file", "-"], { input });
    expect(run.stdout).toBe("alice\tunblocked\nbob\tunblocked\n");
  });
});

describe("list", () => {
  it("leaves blocked users out, and says how many there are", async () => {
    const home = await withBlocked();
    const run = await inProcess(home, ["list"]);
    expect(run.stdout.split("\n").map((line) => line.split("\t")[0])).toEqual(["bob", "carol", ""]);
    expect(run.stderr).toContain("\n1 user is blocked: keyctl list --risk blocked\n");
    const elsewhere = await inProcess(home, ["list", "--store", `sqlite:${home.database}`]);
    expect(elsewhere.stderr).toContain(`: keyctl list --store sqlite:${home.database} --risk blocked\n`);
    expect((await inProcess(home, ["list", "--count"])).stdout).toBe("2\n");
  });

  it("says nothing of them where there are none", async () => {
    expect((await inProcess(await homeOf("alice"), ["list"])).stderr).not.toContain("blocked");
  });

  it("--risk blocked shows each with its time and reason, and has every field of a row", async () => {
    const home = await withBlocked();
    await inProcess(home, ["purge", "--user", "bob", "--block", "--yes"]);
    const run = await inProcess(home, ["list", "--risk", "blocked"]);
    expect(run.stdout).toMatch(/^alice\t\d{4}-.*Z\tleft the company\nbob\t\d{4}-.*Z\t-\n$/);
    expect(run.stderr).toContain("2 users are blocked in ");
    const [alice] = documentsOf(await inProcess(home, ["list", "--risk", "blocked", "--json"]));
    const [carol] = documentsOf(await inProcess(home, ["list", "--json"]));
    expect(Object.keys(alice ?? {})).toEqual(Object.keys(carol ?? {}));
    const { user_id: user, blocked, risks, risks_unknown: unknown, warnings, ...rest } = alice ?? {};
    expect([user, risks, unknown, warnings]).toEqual(["alice", ["blocked"], [], []]);
    expect(blocked).toEqual({ at: expect.stringMatching(/Z$/), reason: "left the company" });
    expect(Object.values(rest).filter((value) => value !== null)).toEqual([]);
    expect(carol).toMatchObject({ blocked: null });
  });

  it.each([80, 60])("--risk blocked fits a terminal of %i columns", async (columns) => {
    const home = await withBlocked(["--reason", "left the company; the ticket is HR-4711, and it was urgent"]);
    const { stdout } = await inProcess(home, ["list", "--risk", "blocked"], { columns, env: { NO_COLOR: "1" } });
    expect(stdout.split("\n").filter((line) => line.length > columns)).toEqual([]);
    expect(stdout).toMatch(/^USER {3}SINCE .*REASON\nalice {2}/);
  });

  it("escapes what another program wrote as a reason", async () => {
    const home = await withBlocked();
    await withDatabase(home, (database) =>
      database
        .prepare("UPDATE api_keys SET blocked = ? WHERE blocked IS NOT NULL")
        .run(JSON.stringify({ at: "2026-01-01T00:00:00.000Z", reason: `\u001B[31m${KEY}` })),
    );
    for (const args of [
      ["list", "--risk", "blocked"],
      ["sync", "--user", "alice"],
      ["explain", "--user", "alice"],
    ]) {
      const { stdout, stderr } = await inProcess(home, args, { columns: 200, env: { NO_COLOR: "1" } });
      expect(stdout + stderr).not.toContain("\u001B[31m");
      expect(stdout + stderr).not.toContain(KEY);
      expect(stdout + stderr).toContain(maskOf(KEY));
    }
  });
});

describe("explain of a blocked user", () => {
  it("says since when and why, what is ignored, and what lifts it", async () => {
    const home = await withBlocked();
    home.writeKeyFile(OTHER);
    const run = await inProcess(home, ["explain", "--user", "alice", "--json"], withKey);
    expect(run.code).toBe(8);
    const [document] = documentsOf(run);
    expect(document).toMatchObject({
      winner: null,
      steps: [
        {
          source: "database",
          state: "blocked",
          key: null,
          detail: expect.stringMatching(/^user alice is blocked \(since .*\): left the company$/),
        },
        {
          source: "key.txt",
          state: "ignored",
          key: maskOf(OTHER),
          detail: expect.stringContaining("not used: the user is blocked"),
        },
        { source: "environment", state: "ignored", detail: expect.stringContaining("not used: the user is blocked") },
        { source: "auto-provisioned", state: "absent", detail: "not tried: the user is blocked" },
      ],
      error: { code: "USER_BLOCKED", hint: HINT },
    });
    const screen = await inProcess(home, ["explain", "--user", "alice"], {
      env: { ...withKey.env, NO_COLOR: "1" },
      columns: 80,
    });
    expect(screen.stdout).toContain("✗ database          blocked");
    expect(screen.stderr).toContain(`hint: ${HINT}`);
  });
});

describe("doctor", () => {
  it("counts blocked users, which is nothing to worry about", async () => {
    const home = await withBlocked();
    const [document] = documentsOf(await inProcess(home, ["doctor", "--json"], { env: { PATH: "/none" } }));
    expect(document).toMatchObject({ blocked_users: 1 });
    expect(document?.["checks"]).toContainEqual({
      id: "blocked",
      status: "pass",
      message: "1 user is blocked",
      hint: null,
    });
  });

  it("has no line where nobody is blocked, and no number without a store", async () => {
    const some = await diagnosisOf(await homeOf("alice"));
    expect([some["blocked_users"], JSON.stringify(some["checks"]).includes("blocked")]).toEqual([0, false]);
    expect((await diagnosisOf(emptyHome()))["blocked_users"]).toBeNull();
  });

  it("names who has a key beside the block, which another program wrote", async () => {
    const home = await withBlocked();
    await withDatabase(home, (database) =>
      database.prepare("UPDATE api_keys SET key_encrypted = ? WHERE blocked IS NOT NULL").run(KEY),
    );
    const run = await inProcess(home, ["doctor", "--json"], { env: { PATH: "/none" } });
    expect(run.code).toBe(10);
    expect(documentsOf(run)[0]?.["checks"]).toContainEqual(
      expect.objectContaining({
        id: "blocked",
        status: "attention",
        message: "1 user is blocked; another program has written a key beside the block of alice",
      }),
    );
    expect(run.stdout + run.stderr).not.toContain(KEY);
    expect((await inProcess(home, ["get", "--user", "alice", "--reveal"])).stdout).toBe("");
  });
});
