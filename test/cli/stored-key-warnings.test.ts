import { describe, expect, it } from "vitest";
import { withDatabase } from "../support/sqlite/database.ts";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { always } from "../support/openrouter/faults.ts";
import type { MockOptions } from "../support/openrouter/server.ts";

const DAY = 86_400_000;
const from = (milliseconds: number) => new Date(Date.now() + milliseconds).toISOString();
/** A key in plain text is used here: what is said of it is the subject. */
const handedOut = { KEYCTL_REQUIRE_SEALED: "0" };
const plain = { NO_COLOR: "1", ...handedOut };

/** alice has a key of her own; what is to be known of it is up to the test. */
async function withAlice(options?: MockOptions): Promise<Stage> {
  const set = await stage(options);
  await set.given("save --user alice --stdin", { input: KEY });
  return set;
}

function change({ home }: Stage, assignments: string, ...values: readonly string[]): Promise<unknown> {
  return withDatabase(home, (database) =>
    database.prepare(`UPDATE api_keys SET ${assignments} WHERE user_id = 'alice'`).run(...values),
  );
}

function checkedAs(set: Stage, check: Readonly<Record<string, unknown>>): Promise<unknown> {
  return change(set, "last_check = ?", JSON.stringify({ at: from(-20_000), reason: null, ...check }));
}

/** What may be known of a key that is handed out all the same. */
const KNOWN: readonly (readonly [code: string, given: (set: Stage) => Promise<unknown>])[] = [
  ["KEY_EXPIRED", (set) => change(set, "generation = 1, expires_at = ?", from(-DAY))],
  ["KEY_EXPIRED", (set) => checkedAs(set, { verdict: "valid", expires_at: from(-DAY) })],
  ["KEY_KNOWN_INVALID", (set) => checkedAs(set, { verdict: "invalid", reason: "deleted" })],
  ["KEY_IN_PLAIN_TEXT", (set) => change(set, "key_encrypted = ?", KEY)],
  ["EXPIRY_UNKNOWN", (set) => change(set, "generation = 1, expires_at = '2099-12-31'")],
  ["TIME_IN_FUTURE", (set) => checkedAs(set, { at: from(3650 * DAY), verdict: "valid" })],
  ["TIME_IN_FUTURE", (set) => change(set, "created_at = ?", from(3650 * DAY))],
];

describe.each(KNOWN)("%s", (code, given) => {
  it.each([
    "sync --user alice --json",
    "sync --user alice --dry-run --json",
    "get --user alice --json",
    "get --user alice --stored --json",
    "get --user alice --json --reveal",
    "explain --user alice --json",
    "list --json",
    "sync --all --json",
    "get --all --stored --json",
  ])("is a warning of the document, and no failure: %s", async (command) => {
    const set = await withAlice();
    await given(set);
    const run = await set.run(command, { env: handedOut });
    expect(run.code).toBe(0);
    const [document, summary = document] = documentsOf(run);
    for (const { warnings } of [document, summary] as readonly { warnings?: readonly { code: string }[] }[]) {
      expect(warnings?.map((warning) => warning.code)).toEqual([code]);
    }
  });

  it.each(["sync --user alice", "get --user alice", "explain --user alice", "sync --all", "get --user alice -q"])(
    "is said on standard error, with the command that helps: %s",
    async (command) => {
      const set = await withAlice();
      await given(set);
      const run = await set.run(command, { columns: 80, env: plain });
      expect(run.code).toBe(0);
      expect(run.stderr).toMatch(/^warning: .*keyctl (validate|renew|rekey|list|doctor)/m);
      expect(run.stdout).not.toContain("warning");
    },
  );

  it("is never printed on standard output with --reveal", async () => {
    const set = await withAlice();
    await given(set);
    const run = await set.run("get --user alice --reveal", { env: handedOut });
    expect([run.code, run.stdout]).toEqual([0, `${KEY}\n`]);
    expect(run.stderr).toMatch(/^warning: the (key|last check|time)|^warning: when/m);
    expect(run.stderr).not.toContain(KEY);
  });
});

describe("a key without a warning", () => {
  it.each(["sync --user alice --json", "get --user alice --json", "explain --user alice --json", "list --json"])(
    "has none: %s",
    async (command) => {
      const set = await withAlice();
      await checkedAs(set, { verdict: "valid", expires_at: from(DAY), limit: 5 });
      expect(documentsOf(await set.run(command))[0]).toMatchObject({ warnings: [] });
    },
  );

  it("that is saved over one that was known to be invalid begins anew", async () => {
    const set = await withAlice();
    await checkedAs(set, { verdict: "invalid", reason: "deleted", expires_at: from(-DAY) });
    await set.given("save --user alice --stdin --replace", { input: OTHER });
    expect(documentsOf(await set.run("sync --user alice --json"))[0]).toMatchObject({ warnings: [], error: null });
  });
});

describe("a run over many users", () => {
  it("counts what is known of each key, and says it once", async () => {
    const set = await stage();
    for (const user of ["alice", "bob", "carol"]) await set.given(`save --user ${user} --stdin`, { input: KEY });
    const check = JSON.stringify({ at: from(-DAY), verdict: "invalid", reason: "disabled" });
    await withDatabase(set.home, (database) => database.prepare("UPDATE api_keys SET last_check = ?").run(check));
    const run = await set.run("sync --all");
    expect(run.stderr).toContain(
      "warning: 3 keys were found invalid before: keyctl list --verdict invalid   names them\n",
    );
    expect(run.stderr.match(/warning: /g)).toHaveLength(1);
    expect((await set.run("sync --user alice --user bob --json")).stdout.match(/KEY_KNOWN_INVALID/g)).toHaveLength(3);
  });
});

describe("the card of get", () => {
  it("says what the last check found, where and when", async () => {
    const set = await withAlice();
    await checkedAs(set, { verdict: "invalid", reason: "deleted" });
    const { stdout } = await set.run("get --user alice", { columns: 80, env: plain });
    expect(stdout).toMatch(/^Last check: deleted at OpenRouter, 2\d s ago$/m);
  });

  it("shows when the key expires and what it may spend, as OpenRouter said at the last check", async () => {
    const set = await withAlice();
    set.server.addKey(KEY, { limit: 10, usage: 6.8, limitReset: "monthly", expiresAt: "2099-01-01T00:00:00Z" });
    await set.given("validate --user alice");
    const { stdout } = await set.run("get --user alice", { columns: 80, env: plain });
    expect(stdout.split("\n").slice(3, 5)).toEqual(["Limit       $10, $3.20 left", "Expires     2099-01-01"]);
    expect(stdout.split("\n").every((line) => line.length <= 80)).toBe(true);
    expect(documentsOf(await set.run("get --user alice --json"))[0]).toMatchObject({
      limit: 10,
      limit_remaining: expect.closeTo(3.2) as number,
      expires_at: "2099-01-01T00:00:00.000Z",
    });
  });

  it("shows the same of a key that keyctl has just created, before any check", async () => {
    const set = await stage();
    await set.given("provision --user alice --limit 5 --limit-reset monthly --expires-in 90d");
    const { stdout } = await set.run("get --user alice", { columns: 80, env: plain });
    expect(stdout).toMatch(/^Limit {7}\$5, monthly\nExpires {5}20\d\d-\d\d-\d\d\nLast check: never$/m);
  });

  it("asks again with --validate, and believes that", async () => {
    const set = await withAlice();
    await checkedAs(set, { verdict: "invalid", reason: "deleted" });
    set.server.addKey(KEY, { limit: 5 });
    const run = await set.run("get --user alice --validate --json");
    expect([run.code, documentsOf(run)[0]]).toMatchObject([
      0,
      { verdict: "valid", limit: 5, expires_at: null, warnings: [] },
    ]);
  });
});

describe("an end that OpenRouter says in a way that cannot be read", () => {
  it("needs attention, and is never 'never': single, from the listing, and in reconcile", async () => {
    const set = await withAlice();
    set.server.addKey(KEY, { limit: 5, expiresAt: "2099-12-31" });
    for (const command of ["validate --user alice", "validate --all", "validate --all --from-listing"]) {
      const [document] = documentsOf(await set.run(`${command} --json`));
      expect(document).toMatchObject({ verdict: "valid", attention: ["EXPIRY_UNKNOWN"], expires_at: "unknown" });
    }
    const card = await set.run("validate --user alice", { columns: 80, env: plain });
    expect(card.stdout).toContain("Expires    unknown\n");
    expect((await set.run("validate --user alice --warn-within 14d")).code).toBe(10);
    expect((await set.run("list --expires-within 1h --count")).stdout).toBe("1\n");
    expect((await set.run("list")).stdout).toContain("\tunknown\t$5\n");
    // The row of a key that keyctl created is one that reconcile looks at.
    const [made] = documentsOf(await set.run("provision --user bob --limit 5 --json"));
    const upstream = set.server.keys.get(String(made?.["key_hash"]));
    Object.assign(upstream ?? {}, { expiresAt: "soon" });
    const reconciled = await set.run("reconcile --json");
    expect(reconciled.code).toBe(10);
    expect(documentsOf(reconciled)[0]).toMatchObject({ class: "expiry_unknown", user_id: "bob", action: "none" });
  });

  it("is EXPIRED when it is past and the key is accepted, and not soon", async () => {
    const set = await withAlice({ now: () => Date.now() - 2 * DAY });
    set.server.addKey(KEY, { limit: 5, expiresAt: from(-DAY) });
    for (const command of ["validate --user alice", "validate --all", "validate --all --from-listing"]) {
      const run = await set.run(`${command} --json`);
      expect([run.code, documentsOf(run)[0]]).toMatchObject([0, { verdict: "valid", attention: ["EXPIRED"] }]);
    }
    expect((await set.run("validate --user alice --warn-within 1h")).code).toBe(10);
    // A verdict that is taken over is looked at now: the key has ended since its check.
    await checkedAs(set, { verdict: "valid", expires_at: from(-10_000) });
    const taken = await set.run("validate --all --not-validated-since 1h --json");
    expect(documentsOf(taken)[0]).toMatchObject({ verdict: "valid", attention: ["EXPIRED"] });
  });
});

describe("what the last check keeps", () => {
  it("is what GET /key says: what is left of the limit, and the budget that blocks", async () => {
    const set = await withAlice();
    const budget = { scope: "workspace", limit: 500, spent: 501 } as const;
    set.server.addKey(KEY, { limit: 10, usage: 4, budget });
    const [validation] = documentsOf(await set.run("validate --user alice --json"));
    expect(validation).toMatchObject({ blocked_by: "workspace", attention: ["LIMIT_USED_UP"], last_used_at: null });
    expect(documentsOf(await set.run("list --json"))[0]).toMatchObject({
      limit: 10,
      limit_remaining: 6,
      blocked_by: "workspace",
      risks: ["never-expires", "limit-used-up"],
      checked_at: validation?.["checked_at"],
    });
    const card = await set.run("validate --user alice", { columns: 80, env: plain });
    expect(card.stdout).toContain("Budget     used up (workspace)\n");
  });

  it("is also, from a listing, when the key was last used", async () => {
    const set = await withAlice();
    const lastUsedAt = from(-91 * DAY);
    set.server.addKey(KEY, { limit: 10, expiresAt: from(300 * DAY), lastUsedAt });
    await set.given("validate --all --from-listing");
    const [row] = documentsOf(await set.run("list --risk idle-90d --json"));
    expect(row).toMatchObject({ user_id: "alice", last_used_at: lastUsedAt, risks: ["idle-90d"] });
    // GET /key does not say it, and what is not said is not known any more.
    await set.given("validate --user alice");
    expect((await set.run("list --risk idle-90d --count")).stdout).toBe("0\n");
  });

  it("is read as well as it can be where another program, or an older keyctl, wrote it", async () => {
    const set = await withAlice();
    await checkedAs(set, { verdict: "valid", limit: "much", limit_remaining: null, blocked_by: 7, last_used_at: "x" });
    expect(documentsOf(await set.run("list --json"))[0]).toMatchObject({
      verdict: "valid",
      limit: null,
      limit_remaining: null,
      blocked_by: null,
      last_used_at: null,
      risks: [],
    });
  });
});

async function withRisks(): Promise<Stage> {
  const set = await stage();
  const keys = { unbounded: {}, spent: { limit: 5, usage: 5, expiresAt: from(DAY) } } as const;
  for (const [index, [user, seed]] of Object.entries(keys).entries()) {
    const text = `sk-or-v1-${String(index).repeat(64)}`;
    set.server.addKey(text, seed);
    await set.given(`save --user ${user} --stdin`, { input: text });
    await set.given(`validate --user ${user}`);
  }
  await set.given("save --user unchecked --stdin", { input: KEY });
  return set;
}

describe("list --risk", () => {
  it.each([
    [["--risk", "no-limit"], ["unbounded"]],
    [["--risk", "limit-used-up"], ["spent"]],
    [
      ["--risk", "limit-used-up,never-expires"],
      ["spent", "unbounded"],
    ],
    [
      ["--risk", "limit-used-up", "--risk", "no-limit"],
      ["spent", "unbounded"],
    ],
    [["--risk", "idle-90d"], []],
  ])("%j shows those", async (flags, users) => {
    const set = await withRisks();
    const rows = documentsOf(await set.run(["list", "--json", ...flags]));
    expect(rows.map((row) => row["user_id"])).toEqual(users);
  });

  it("shows the time of the check and the risks, and says of how many keys a risk is not known", async () => {
    const set = await withRisks();
    const run = await set.run("list --risk no-limit", { columns: 100, env: plain });
    expect(run.stdout).toMatch(/CHECKED {2}EXPIRES {2}LIMIT {2}RISKS\n/);
    expect(run.stdout).toMatch(/✓ \d+s +never +none +no-limit, never-expires\n$/);
    expect(run.stderr).toContain(
      "hint: no-limit is not known of 1 key; keyctl validate --all --from-listing   finds it\n",
    );
  });

  it("does not call a risk absent that a later check of another kind did not tell", async () => {
    const set = await withRisks();
    await set.run("validate --all --from-listing");
    const spent = await set.run("list --risk limit-used-up");
    expect(spent.stderr).toContain("hint: limit-used-up is not known of 1 key; keyctl validate --all   finds it\n");
    await set.given("validate --user unbounded");
    const idle = await set.run("list --risk idle-90d");
    expect(idle.stderr).toContain(
      "hint: idle-90d is not known of 1 key; keyctl validate --all --from-listing   finds it\n",
    );
    const now = documentsOf(await set.run("list --risk limit-used-up --json"));
    expect(now).toMatchObject([{ user_id: "spent", risks: ["limit-used-up"], risks_unknown: [] }]);
  });

  it.each(["nothing", "no-limit,", "", "no-limit,nothing"])("refuses %j", async (risk) => {
    const { run } = await stage();
    const refused = await run(["list", "--risk", risk]);
    expect([refused.code, refused.stderr]).toEqual([
      2,
      "error: --risk takes one or more of no-limit, never-expires, idle-90d, limit-used-up\nhint: --risk no-limit\n",
    ]);
  });
});

describe("explain", () => {
  it.each<[string, (set: Stage) => Promise<unknown>]>([
    ["a key", async () => {}],
    ["a damaged row", (set) => change(set, "key_encrypted = 'nonsense'")],
    ["no row", ({ given }) => given("purge --user alice --yes")],
  ])("exits as sync does, and has an error exactly when that is not 0: %s", async (_name, given) => {
    const set = await withAlice();
    await given(set);
    const env = { OPENROUTER_PROVISIONING_KEY: "" };
    const explained = await set.run("explain --user alice --json", { env });
    const synced = await set.run("sync --user alice --json", { env });
    expect(explained.code).toBe(synced.code);
    const [{ error: foretold } = {}] = documentsOf(explained);
    const [{ error } = {}] = documentsOf(synced);
    expect(foretold).toEqual(error);
    expect(error === null).toBe(synced.code === 0);
  });
});

it("the hash and the mask are those of the key that is handed out", async () => {
  const set = await withAlice();
  await change(set, "key_encrypted = ?", KEY);
  set.server.behave(always("GET /key", { status: 503 }));
  expect(documentsOf(await set.run("get --user alice --json", { env: handedOut }))[0]).toMatchObject({
    key: maskOf(KEY),
    key_hash: hashOf(KEY),
  });
});
