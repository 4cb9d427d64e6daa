import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { withDatabase } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { hashOf, KEY, keyEnding, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import type { OpenRouterServer, MockOptions } from "../support/openrouter/server.ts";

const plain = { NO_COLOR: "1" };
const LOG = {
  valid: "[KeyManager] 🔍 Validating key with OpenRouter API...\n[KeyManager] ✅ Key validated successfully\n",
  invalid: "[KeyManager] 🔍 Validating key with OpenRouter API...\n[KeyManager] ❌ Key is invalid or expired\n",
};

interface Stage {
  readonly home: Home;
  readonly server: OpenRouterServer;
  /** With the address of the mock server. */
  readonly run: (args: string, options?: InProcessOptions) => ReturnType<typeof inProcess>;
  /** As `run`, with the management key as well. */
  readonly runAsManager: Stage["run"];
}

/** A home with these users' keys in its database, and OpenRouter. */
async function stage(keys: Readonly<Record<string, string>> = {}, options?: MockOptions): Promise<Stage> {
  const server = await mockOpenRouter(options);
  const home = emptyHome();
  const run =
    (env: Readonly<Record<string, string>>): Stage["run"] =>
    (args, more = {}) =>
      inProcess(home, args.split(" "), { ...more, env: { KEYCTL_OPENROUTER_URL: server.url, ...env, ...more.env } });
  for (const [user, key] of Object.entries(keys)) await run({})(`save --user ${user} --stdin`, { input: key });
  return { home, server, run: run({}), runAsManager: run({ OPENROUTER_PROVISIONING_KEY: server.managementKey }) };
}

/** Users `u000`, `u001` … with a key each. */
function many(count: number): Readonly<Record<string, string>> {
  const names = Array.from({ length: count }, (_, index) => `u${String(index).padStart(3, "0")}`);
  return Object.fromEntries(names.map((name) => [name, keyEnding(name)]));
}

async function checksIn(home: Home): Promise<readonly unknown[]> {
  return withDatabase(home, (database) =>
    database
      .prepare("SELECT user_id AS user, last_validated AS valid, last_check AS checked FROM api_keys ORDER BY user_id")
      .all()
      .map((row) => {
        const { user, valid, checked } = row as Record<string, string | null>;
        const { verdict, reason } = (JSON.parse(checked ?? "null") ?? {}) as Record<string, unknown>;
        return [user, valid !== null, verdict ?? null, reason ?? null];
      }),
  );
}

const NOT_ATOMIC = new KeyctlError("STORE_NOT_ATOMIC", "it is not");

/** As FerretDB 1, where two changes of one row may both win. */
function refusing(ports: Ports): Ports {
  const store = { ...ports.store, requireAtomicChanges: () => Promise.reject(NOT_ATOMIC) };
  return { ...ports, store };
}

describe("validate --user", () => {
  it("waits for a key that was just created, which OpenRouter refuses for some seconds", async () => {
    const { runAsManager } = await stage({}, { newKeysRefusedMs: 1_500 });
    expect((await runAsManager("provision --user alice --limit 1")).code).toBe(0);
    const run = await runAsManager("validate --user alice --json");
    expect([run.code, documentsOf(run)[0]?.["verdict"]]).toEqual([0, "valid"]);
  });

  it("says that a key is valid, with its terms, and notes it", async () => {
    const { home, server, run } = await stage({ alice: KEY });
    server.addKey(KEY, { limit: 10, usage: 6.8, limitReset: "monthly", expiresAt: "2099-01-01T00:00:00Z" });
    const { code, stdout, log } = await run("validate --user alice --json");
    expect([code, log]).toEqual([0, LOG.valid]);
    expect(JSON.parse(stdout)).toEqual({
      user_id: "alice",
      key: maskOf(KEY),
      key_hash: hashOf(KEY),
      verdict: "valid",
      valid: true,
      reason: null,
      witness: "key",
      checked_at: expect.stringMatching(/Z$/) as string,
      recorded: true,
      limit: 10,
      limit_now: 10,
      limit_restore_at: null,
      limit_remaining: expect.closeTo(3.2) as number,
      limit_reset: "monthly",
      expires_at: "2099-01-01T00:00:00.000Z",
      blocked_by: null,
      last_used_at: null,
      attention: [],
      warnings: [],
      error: null,
    });
    expect(await checksIn(home)).toEqual([["alice", true, "valid", null]]);
    expect(server.count()).toBe(1);
  });

  it("is a card on a terminal", async () => {
    const { server, run } = await stage({ alice: KEY });
    server.addKey(KEY, { limit: 10, usage: 6.8, limitReset: "monthly" });
    const { stdout, stderr } = await run("validate --user alice -q", { columns: 80, env: plain });
    expect(stdout).toBe(`\
User       alice
Key        ***************b465
Verdict    valid
Limit      $10, $3.20 left, monthly
Expires    never
`);
    expect(stderr).toBe("");
  });

  const SAVE = "keyctl save --user alice --replace";
  const RENEW = `keyctl renew --user alice   replaces it, and   ${SAVE}   stores another key`;

  it.each([
    ["deleted", RENEW, (): void => undefined],
    ["disabled", SAVE, (server: OpenRouterServer) => void server.addKey(KEY, { disabled: true })],
    ["expired", RENEW, (server: OpenRouterServer) => void server.addKey(KEY, { expiresAt: "2020-01-01T00:00:00Z" })],
  ])("asks the second witness: %s", async (reason, hint, given) => {
    const { home, server, runAsManager } = await stage({ alice: KEY });
    given(server);
    const run = await runAsManager("validate --user alice --json");
    expect([run.code, run.log]).toEqual([5, LOG.invalid]);
    const judged = { verdict: "invalid", valid: false, reason, witness: "hash", recorded: true };
    expect(documentsOf(run)[0]).toMatchObject(judged);
    expect(errorOf(run)).toMatchObject({ code: "KEY_INVALID", hint });
    expect(await checksIn(home)).toEqual([["alice", false, "invalid", reason]]);
    expect([server.count("GET /key"), server.count("GET /keys/{hash}"), server.count()]).toEqual([2, 1, 3]);
  });

  it("says what a refusal can mean where there is no second witness", async () => {
    const { run } = await stage({ alice: KEY });
    const { code, stderr } = await run("validate --user alice");
    expect(code).toBe(5);
    expect(stderr).toContain("refused by OpenRouter: it was deleted or disabled, has expired or was copied wrongly");
  });

  it("takes no management key for a user's", async () => {
    const { server, run } = await stage();
    await run("save --user alice --stdin", { input: server.managementKey });
    const validated = await run("validate --user alice --json");
    expect(validated.code).toBe(5);
    expect(documentsOf(validated)[0]).toMatchObject({ reason: "management_key" });
  });

  it.each([
    ["503", { status: 503 }, "provider_error"],
    ["429", { status: 429, headers: { "retry-after": "3600" } }, "rate_limited"],
    ["403", { status: 403 }, "provider_error"],
    ["HTML", { status: 200, body: "html" }, "provider_error"],
  ] as const)("does not know after a %s, and notes nothing", async (_name, fault, reason) => {
    const { home, server, runAsManager } = await stage({ alice: KEY });
    server.addKey(KEY);
    server.behave(always("GET /key", fault));
    const run = await runAsManager("validate --user alice --json --timeout 1s");
    expect(run.code).toBe(6);
    expect(documentsOf(run)[0]).toMatchObject({
      verdict: "unknown",
      valid: null,
      reason,
      checked_at: null,
      recorded: false,
    });
    expect(errorOf(run)).toMatchObject({ code: "VERDICT_UNKNOWN", retryable: true });
    expect(run.log).toMatch(
      /Validating key with OpenRouter API\.\.\.\n\[KeyManager\] ⚠️ Could not validate key: OpenRouter /,
    );
    expect(await checksIn(home)).toEqual([["alice", false, null, null]]);
  });

  it("exits with 10 for a worry only when one is asked for", async () => {
    const { server, run } = await stage({ alice: KEY });
    server.addKey(KEY, { limit: 10, usage: 9.9, expiresAt: new Date(Date.now() + 86_400_000).toISOString() });
    const codes = [];
    for (const flags of [
      "",
      " --warn-within 14d",
      " --warn-within 1h",
      " --min-remaining 0.5",
      " --min-remaining 0.05",
    ]) {
      codes.push((await run(`validate --user alice --json${flags}`)).code);
    }
    expect(codes).toEqual([0, 10, 0, 10, 0]);
  });

  it("looks at the database only, and says how to get further", async () => {
    const { home, server, run } = await stage();
    home.writeKeyFile(KEY);
    const { code, stderr } = await run("validate --user alice");
    expect([code, server.count()]).toEqual([3, 0]);
    expect(stderr).toContain("keyctl sync --user alice");
    expect(stderr).toContain("keyctl validate --stdin < key.txt");
  });

  it.each([
    ["a row that does not open", "UPDATE api_keys SET key_encrypted = substr(key_encrypted, 1, 60)", {}, 7],
    ["another master key", "", { KEYCTL_MASTER_KEYS: Buffer.alloc(32, 9).toString("base64url") }, 4],
    ["a row without a key", "UPDATE api_keys SET key_encrypted = 'nonsense'", {}, 7],
  ])("asks nobody about %s, whatever else there is", async (_name, sql, env, code) => {
    const { home, server, runAsManager } = await stage({ alice: KEY });
    home.writeKeyFile(OTHER);
    if (sql !== "") await withDatabase(home, (database) => database.exec(sql));
    for (const args of ["validate --user alice", "get --user alice --validate"]) {
      expect((await runAsManager(args, { env: { ...env, OPENROUTER_API_KEY: OTHER } })).code).toBe(code);
    }
    expect(server.count()).toBe(0);
  });

  it("warns once where the store takes no verdict, and ends well", async () => {
    const { server, run } = await stage(many(3));
    for (const key of Object.values(many(3))) server.addKey(key);
    const { code, stderr } = await run("validate --all", { around: refusing });
    expect([code, stderr.match(/^warning: .*/gm)]).toEqual([0, ["warning: the verdict was not recorded: it is not"]]);
    const one = await run("validate --user u000 --json", { around: refusing });
    expect(documentsOf(one)[0]).toMatchObject({ recorded: false, error: null, warnings: [{ code: "NOT_RECORDED" }] });
    server.behave(always("GET /key", { status: 401 }));
    const { stderr: said } = await run("validate --all", { around: refusing });
    expect(said).toContain("error: 3 of 3 keys are invalid\nhint: see the lines above\n");
  });

  it("refuses an address that could give keys away", async () => {
    const { run } = await stage({ alice: KEY });
    const { code, stderr } = await run("validate --user alice", {
      env: { KEYCTL_OPENROUTER_URL: "http://evil.example" },
    });
    expect([code, stderr.includes("KEYCTL_OPENROUTER_URL is not https")]).toEqual([4, true]);
  });

  it("says that the management key is refused, and condemns nobody", async () => {
    const { home, run } = await stage({ alice: KEY });
    const refused = { env: { OPENROUTER_PROVISIONING_KEY: keyEnding("dead") } };
    expect((await run("validate --user alice", refused)).code).toBe(4);
    expect((await run("validate --all", refused)).code).toBe(4);
    expect(await checksIn(home)).toEqual([["alice", false, null, null]]);
  });
});

describe("validate --stdin", () => {
  it("asks about a key that is nobody's, and opens no store", async () => {
    const { home, server, run } = await stage();
    server.addKey(KEY);
    const valid = await run("validate --stdin --json", { input: `${KEY}\n` });
    expect([valid.code, documentsOf(valid)[0]?.["user_id"], documentsOf(valid)[0]?.["recorded"]]).toEqual([
      0,
      null,
      false,
    ]);
    expect(
      (await run("validate --stdin", { input: OTHER, env: { KEYCTL_STORE: "mongodb://nowhere.invalid/keys" } })).code,
    ).toBe(5);
    expect(existsSync(home.database)).toBe(false);
  });
});

describe("validate of many", () => {
  it("counts verdicts, and asks about each distinct key once", async () => {
    const { home, server, run } = await stage({ alice: KEY, bob: KEY, carol: OTHER });
    server.addKey(KEY);
    const all = await run("validate --all --json");
    expect(all.code).toBe(9);
    const lines = documentsOf(all);
    expect(
      lines
        .slice(0, -1)
        .map((line) => `${String(line["user_id"])} ${String(line["verdict"])}`)
        .toSorted(),
    ).toEqual(["alice valid", "bob valid", "carol invalid"]);
    expect(lines.at(-1)).toMatchObject({
      type: "summary",
      command: "validate",
      total: 3,
      done: 3,
      valid: 2,
      invalid: 1,
      unknown: 0,
      failed: 0,
      not_checked: 0,
      attention: 2,
      distinct_keys: 2,
      requests: 3,
      resumed: 0,
      complete: true,
      error: { code: "SOME_INVALID", message: "1 of 3 keys is invalid" },
    });
    expect(server.count()).toBe(3);
    expect(await checksIn(home)).toEqual([
      ["alice", true, "valid", null],
      ["bob", true, "valid", null],
      ["carol", false, "invalid", "refused"],
    ]);
  });

  it("is a summary and the keys that do not work, on a terminal", async () => {
    const { home, server, runAsManager } = await stage({ alice: KEY, bob: OTHER });
    server.addKey(KEY, { limit: 1, usage: 1 });
    server.addKey(OTHER, { disabled: true });
    const run = await runAsManager("validate --all", { columns: 80, env: plain });
    expect(run.stdout.replace(/ in \d+s/, " in 0s")).toBe(`\
2 keys checked in 0s: 1 valid, 1 invalid
store: sqlite:${home.database} (default)

  valid     1   1 has used up its limit
  invalid   1   disabled 1

USER  KEY                  VERDICT  REASON    LAST VALID
bob   ***************91aa  invalid  disabled  never
`);
    expect(run.stderr).toBe("error: 1 of 2 keys is invalid\nhint: keyctl list --verdict invalid\n");
  });

  it("names ten of many on a terminal", async () => {
    const { runAsManager } = await stage(many(15));
    const run = await runAsManager("validate --all", { columns: 80, env: plain });
    expect(run.stdout.match(/^u\d+ .*deleted/gm)).toHaveLength(10);
    expect(run.stderr).toContain("… 5 more: keyctl list --verdict invalid\n");
  });

  it("takes over young verdicts, and a resumed run does not turn red into green", async () => {
    const { home, server, run } = await stage({ alice: KEY, bob: OTHER });
    server.addKey(KEY);
    await run("validate --all");
    const before = server.count();
    const again = await run("validate --all --not-validated-since 24h --json");
    expect([again.code, server.count() - before]).toEqual([9, 0]);
    expect(documentsOf(again).at(-1)).toMatchObject({ valid: 1, invalid: 1, resumed: 2, requests: 0 });
    await withDatabase(home, (database) =>
      database.exec(`UPDATE api_keys SET last_check = replace(last_check, '2', '1') WHERE user_id = 'bob'`),
    );
    const later = await run("validate --all --not-validated-since 24h --json");
    expect([later.code, server.count() - before, documentsOf(later).at(-1)?.["resumed"]]).toEqual([9, 2, 1]);
  });

  it("asks again about those that were unknown", async () => {
    const { server, run } = await stage({ alice: KEY, bob: OTHER });
    server.addKey(KEY);
    server.addKey(OTHER);
    server.behave(({ number }) => (number <= 1 ? { status: 403 } : "pass"));
    expect((await run("validate --all --concurrency 1")).code).toBe(6);
    const again = await run("validate --all --not-validated-since 24h --json");
    expect([again.code, documentsOf(again).at(-1)]).toMatchObject([0, { valid: 2, resumed: 1, requests: 1 }]);
  });

  it.each([
    ["1", 6],
    ["2", 0],
    ["50%", 6],
    ["67%", 0],
  ])("allows %s of three to be unknown: exit %i", async (allowed, code) => {
    const { server, run } = await stage(many(3));
    for (const key of Object.values(many(3))) server.addKey(key);
    server.behave(({ number }) => (number <= 2 ? { status: 402 } : "pass"));
    expect((await run(`validate --all --allow-unknown ${allowed}`)).code).toBe(code);
  });

  it("condemns nobody when most are refused and nobody confirms it", async () => {
    const { home, server, run } = await stage(many(20));
    server.behave(always("GET /key", { status: 401 }));
    const all = await run("validate --all --json");
    expect(all.code).toBe(6);
    const lines = documentsOf(all);
    expect(lines.slice(0, -1).every((line) => line["reason"] === "mass_refusal" && line["recorded"] === false)).toBe(
      true,
    );
    expect(lines.at(-1)).toMatchObject({ unknown: 20, invalid: 0, complete: true, error: { code: "SOME_UNKNOWN" } });
    expect(new Set((await checksIn(home)).map((row) => String((row as unknown[])[2])))).toEqual(new Set(["null"]));
  });

  it.each([
    ["half of twenty", 20, 10],
    ["all of four", 4, 0],
  ])("believes it of %s", async (_name, count, alive) => {
    const { server, run } = await stage(many(count));
    for (const key of Object.values(many(count)).slice(0, alive)) server.addKey(key);
    const all = await run("validate --all --json");
    expect([all.code, documentsOf(all).at(-1)]).toMatchObject([9, { valid: alive, invalid: count - alive }]);
  });

  it.each([
    ["a small store of six, whose provider refuses every key", 6, 0],
    ["five of eight", 8, 3],
  ])("marks no key of %s as invalid", async (_name, count, alive) => {
    const { server, run } = await stage(many(count));
    for (const key of Object.values(many(count)).slice(0, alive)) server.addKey(key);
    const all = await run("validate --all --json");
    const lines = documentsOf(all);
    expect([all.code, lines.at(-1)]).toMatchObject([6, { valid: alive, invalid: 0, unknown: count - alive }]);
    expect(lines.filter(({ reason }) => reason === "mass_refusal")).toHaveLength(count - alive);
  });

  it("believes a second witness of any number", async () => {
    const { runAsManager } = await stage(many(25));
    expect(documentsOf(await runAsManager("validate --all --json")).at(-1)).toMatchObject({ invalid: 25, unknown: 0 });
  });

  it("stops after twenty without an answer and one probe", async () => {
    const { server, run } = await stage(many(40));
    server.behave(always("GET /key", { status: 501, body: "html" }));
    const all = await run("validate --all --json --concurrency 5 --timeout 100ms");
    const summary = documentsOf(all).at(-1) ?? {};
    expect(all.code).toBe(6);
    expect(summary).toMatchObject({ total: 40, complete: false, error: { code: "SOME_UNKNOWN" } });
    // Those that were under way when the twentieth came in vain, and the probe.
    expect(Number(summary["done"])).toBeGreaterThanOrEqual(21);
    expect(Number(summary["done"])).toBeLessThanOrEqual(25);
    expect(Number(summary["done"]) + Number(summary["not_checked"])).toBe(40);
  });

  it("goes on when the probe is answered", async () => {
    const { server, run } = await stage(many(30));
    for (const key of Object.values(many(30))) server.addKey(key);
    server.behave(({ number }) => (number <= 20 ? { status: 307 } : "pass"));
    const all = await run("validate --all --json --concurrency 1");
    expect(documentsOf(all).at(-1)).toMatchObject({ done: 30, valid: 10, unknown: 20, not_checked: 0, complete: true });
  });

  it("asks nobody on when keys have used up what they may spend", async () => {
    const { server, run } = await stage(many(30));
    server.behave(always("GET /key", { status: 403 }));
    expect(documentsOf(await run("validate --all --json --concurrency 1")).at(-1)).toMatchObject({
      unknown: 30,
      complete: true,
    });
  });

  it("ends cleanly when its time is over, and counts the rest", async () => {
    const { run } = await stage(many(12), { latencyMs: 200 });
    const all = await run("validate --all --json --concurrency 2 --stop-after 500ms");
    const summary = documentsOf(all).at(-1) ?? {};
    expect(summary).toMatchObject({ total: 12, unknown: 0, complete: false });
    expect(all.code).toBe(Number(summary["invalid"]) > 0 ? 9 : 6);
    expect(Number(summary["not_checked"])).toBeGreaterThan(0);
  });

  it("keeps to a 429: nobody asks before its time", async () => {
    const { server, run } = await stage(many(6));
    for (const key of Object.values(many(6))) server.addKey(key);
    const at: number[] = [];
    server.behave(({ number }) => {
      at.push(performance.now());
      return number === 1 ? { status: 429, headers: { "retry-after": "1" } } : "pass";
    });
    const all = await run("validate --all --json --concurrency 1");
    expect([all.code, at.length]).toEqual([0, 7]);
    expect(Number(at[1]) - Number(at[0])).toBeGreaterThanOrEqual(990);
    expect(all.stderr).toMatch(/^note: OpenRouter answered 429.*; asking again in \d\.\ds$/m);
  });

  it("shares its work by shards, and writes documents to a file", async () => {
    const { home, server, run } = await stage(many(10));
    for (const key of Object.values(many(10))) server.addKey(key);
    const parts = [];
    for (const shard of ["1/2", "2/2"])
      parts.push(documentsOf(await run(`validate --all --json --shard ${shard}`)).at(-1));
    expect(parts.map((part) => Number(part?.["done"])).reduce((sum, done) => sum + done)).toBe(10);
    expect(parts.map((part) => part?.["shard"])).toEqual(["1/2", "2/2"]);
    const toFile = await run(`validate --all --output ${home.work}/out.jsonl`);
    expect(toFile.stdout).toMatch(/10 keys checked in \d+s: 10 valid\n/);
    expect(readFileSync(`${home.work}/out.jsonl`, "utf8").split("\n")).toHaveLength(12);
  });

  it("prints the lines of each key together with --log", async () => {
    const { server, run } = await stage({ alice: KEY, bob: OTHER });
    server.addKey(KEY);
    server.addKey(OTHER);
    expect((await run("validate --all --log")).log).toBe(LOG.valid + LOG.valid);
    expect((await run("validate --all")).log).toBe("");
  });
});

describe("validate --from-listing", () => {
  it("judges by the list, and asks only about keys that are not on it", async () => {
    const keys = many(8);
    const [first = "", second = "", third = "", ...rest] = Object.values(keys);
    const { server, runAsManager } = await stage(keys, { pageSize: 3 });
    server.addKey(first, { disabled: true });
    server.addKey(second, { expiresAt: "2020-01-01T00:00:00Z" });
    for (const key of rest) server.addKey(key, { limit: 5 });
    const all = await runAsManager("validate --all --json --from-listing");
    const lines = Object.fromEntries(documentsOf(all).map((line) => [String(line["user_id"]), line]));
    expect([lines["u000"], lines["u001"], lines["u002"], lines["u003"]]).toMatchObject([
      { reason: "disabled", witness: "list", recorded: true },
      { reason: "expired", witness: "list" },
      { reason: "deleted", witness: "hash" },
      { verdict: "valid", witness: "list", limit: 5 },
    ]);
    expect([server.count("GET /key"), all.code, third !== ""]).toEqual([2, 9, true]);
    expect(documentsOf(all).at(-1)).toMatchObject({ valid: 5, invalid: 3, distinct_keys: 8 });
  });

  it("asks about all keys that a list which breaks off does not hold", async () => {
    const { server, runAsManager } = await stage(many(4));
    for (const key of Object.values(many(4))) server.addKey(key);
    server.behave(always("GET /workspaces", { status: 400 }));
    const all = await runAsManager("validate --all --json --from-listing");
    expect([all.code, server.count("GET /key")]).toEqual([0, 4]);
    expect(documentsOf(all).at(-1)).toMatchObject({ valid: 4, warnings: [{ code: "LISTING_INCOMPLETE" }] });
  });

  it("needs no master key for what is listed", async () => {
    const { server, runAsManager } = await stage({ alice: KEY });
    server.addKey(KEY);
    const without = { env: { KEYCTL_MASTER_KEYS: Buffer.alloc(32, 9).toString("base64url") } };
    expect((await runAsManager("validate --all --from-listing", without)).code).toBe(0);
  });
});

describe("get --validate", () => {
  it("gives the key only when it works", async () => {
    const { server, run } = await stage({ alice: KEY });
    server.addKey(KEY);
    expect(await run("get --user alice --validate --reveal")).toMatchObject({
      code: 0,
      stdout: `${KEY}\n`,
      log: LOG.valid,
    });
    server.removeKey(hashOf(KEY));
    expect(await run("get --user alice --validate --reveal")).toMatchObject({ code: 5, stdout: "", log: LOG.invalid });
    server.behave(always("GET /key", { status: 403 }));
    expect(await run("get --user alice --validate --reveal")).toMatchObject({ code: 6, stdout: "" });
    const document = await run("get --user alice --validate --reveal --json");
    expect(document.stdout).not.toContain(KEY);
    expect(documentsOf(document)[0]).toMatchObject({
      key: maskOf(KEY),
      revealed: false,
      verdict: "unknown",
      source: "database",
    });
  });

  it("saves what it finds, and notes that it works", async () => {
    const { home, server, run } = await stage();
    server.addKey(KEY);
    home.writeKeyFile(KEY);
    const run1 = await run("get --user alice --validate", { columns: 80, env: plain });
    expect([run1.code, run1.stdout.includes("Last check: valid, just now")]).toEqual([0, true]);
    expect(await checksIn(home)).toEqual([["alice", true, "valid", null]]);
  });
});

describe("save --validate", () => {
  it("stores only what is valid, and notes it", async () => {
    const { home, server, run } = await stage();
    server.addKey(KEY);
    const saved = await run("save --user alice --stdin --validate --json", { input: KEY });
    expect([saved.code, documentsOf(saved)[0]]).toMatchObject([0, { changed: true, verdict: "valid", reason: null }]);
    const refused = await run("save --user alice --stdin --validate --replace --json", { input: OTHER });
    expect([refused.code, documentsOf(refused)[0]]).toMatchObject([
      5,
      { changed: false, verdict: "invalid", reason: "refused" },
    ]);
    server.behave(always("GET /key", { status: 403 }));
    expect((await run("save --user bob --stdin --validate", { input: KEY })).code).toBe(6);
    expect(await checksIn(home)).toEqual([["alice", true, "valid", null]]);
  });

  it("asks nobody about a key that may not be replaced", async () => {
    const { server, run } = await stage({ alice: KEY });
    expect((await run("save --user alice --stdin --validate", { input: OTHER })).code).toBe(8);
    expect(server.count()).toBe(0);
  });
});
