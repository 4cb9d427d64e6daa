import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { newRecord } from "../../src/core/model/key-record.ts";
import { ApiKey } from "../../src/core/model/api-key.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { storedUsers, withDatabase } from "../support/sqlite/database.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { hashOf, KEY, MADE, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { always, on } from "../support/openrouter/faults.ts";
import type { Fault } from "../support/openrouter/faults.ts";
import {
  deploymentOf,
  journalOf,
  note,
  operation,
  stage,
  withCalls,
  withStore,
} from "../support/home/tool-with-openrouter.ts";

const made = { newKey: () => MADE };
const DAY_MS = 86_400_000;

describe("provision", () => {
  it("makes a key and says all about it", async () => {
    const { home, server, run } = await stage(made);
    const line = ["provision", "--user", "alice", "--limit", "5", "--limit-reset", "monthly"];
    const done = await run([...line, "--expires-in", "90d", "--label", "web shop", "--json"]);
    expect(done.code).toBe(0);
    const key = server.keys.get(hashOf(MADE));
    expect(documentsOf(done)).toEqual([
      {
        user_id: "alice",
        key: maskOf(MADE),
        key_hash: hashOf(MADE),
        source: "auto-provisioned",
        origin: "auto-provisioned",
        generation: 1,
        name: key?.name,
        label: "web shop",
        limit: 5,
        limit_reset: "monthly",
        expires_at: `${key?.expiresAt?.slice(0, -1)}.000Z`,
        previous: null,
        warnings: [],
        error: null,
      },
    ]);
    expect(key?.name).toMatch(new RegExp(`^keyctl/${await deploymentOf(home)}/2bd806c97f0e/1-[0-9a-f]{16}$`));
    expect(key).toMatchObject({ limit: 5, limitReset: "monthly", workspace: server.defaultWorkspace });
    expect(key?.expiresAt).toMatch(/:\d\dZ$/);
    expect(Math.abs(Date.parse(key?.expiresAt ?? "") - Date.now() - 90 * DAY_MS)).toBeLessThan(60_000);
    expect(await journalOf(home)).toEqual(["op:1", "out:1 saved"]);
    const row = await withStore(home, (store, signal) => store.find(parseUserId("alice"), signal));
    expect(row).toMatchObject({ generation: 1, settled: true, previous: null, origin: "auto-provisioned" });
    expect(row).toMatchObject({ label: "web shop", limit: 5, limitReset: "monthly", name: key?.name });
    // The first key binds the database to its account, which is asked for.
    // The first asks for the time, by which the key is to end.
    expect(server.requests.map(({ route }) => route)).toEqual(["GET /key", "POST /keys", "GET /key"]);
  });

  it("is a line on a terminal, and a warning where the key has no limit", async () => {
    const { run } = await stage(made);
    const line = await run("provision --user alice -q", { columns: 80, env: { NO_COLOR: "1" } });
    expect(line.stdout).toBe(`${maskOf(MADE)} created (no limit, does not expire)\n`);
    expect(line.stderr).toBe("warning: the new key has no spending limit\n");
  });

  it("heeds neither key.txt nor OPENROUTER_API_KEY", async () => {
    const { home, run } = await stage(made);
    home.writeKeyFile(KEY);
    const done = await run("provision --user alice --json", { env: { OPENROUTER_API_KEY: OTHER } });
    expect(documentsOf(done)[0]).toMatchObject({ key: maskOf(MADE), error: null });
  });

  it("refuses one who has a key, however it came, and asks nobody", async () => {
    const { server, run, given } = await stage(made);
    await given("save --user alice --stdin", { input: KEY });
    const refused = await run("provision --user alice --json");
    expect([refused.code, errorOf(refused)?.code]).toEqual([8, "KEY_EXISTS"]);
    await given("provision --user bob");
    expect((await run("provision --user bob")).code).toBe(8);
    expect(server.count("POST /keys")).toBe(1);
  });

  it.each([
    ["KEYCTL_PROVISION_LIMIT", "2.5", { limit: 2.5 }],
    ["KEYCTL_PROVISION_LIMIT", "none", { limit: null }],
    ["KEYCTL_PROVISION_LIMIT", "0", { limit: 0 }],
    ["KEYCTL_PROVISION_LIMIT_RESET", "weekly", { limitReset: "weekly" }],
  ])("takes %s=%s where no flag says otherwise, and sync does too", async (name, value, expected) => {
    const { server, given } = await stage();
    await given("provision --user alice", { env: { [name]: value } });
    await given("sync --user bob", { env: { [name]: value } });
    expect([...server.keys.values()]).toMatchObject([expected, expected]);
    await given("provision --user carol --limit 7 --limit-reset daily", { env: { [name]: value } });
    expect([...server.keys.values()].at(-1)).toMatchObject({ limit: 7, limitReset: "daily" });
  });

  it("takes the workspace and the time of life from the environment, and from flags before that", async () => {
    const { server, given } = await stage();
    const [one, other] = [server.addWorkspace("one"), server.addWorkspace("other")];
    const env = { KEYCTL_PROVISION_WORKSPACE: one, KEYCTL_PROVISION_EXPIRES_IN: "1d" };
    await given("sync --user alice", { env });
    await given(`provision --user bob --workspace ${other} --expires-in 10d`, { env });
    const lives = [...server.keys.values()].map(({ workspace, expiresAt }) => [
      workspace,
      Math.round((Date.parse(expiresAt ?? "") - Date.now()) / DAY_MS),
    ]);
    expect(lives).toEqual([
      [one, 1],
      [other, 10],
    ]);
  });

  it.each([
    ["KEYCTL_PROVISION_LIMIT", "much"],
    ["KEYCTL_PROVISION_LIMIT", "-1"],
    ["KEYCTL_PROVISION_LIMIT_RESET", "hourly"],
    ["KEYCTL_PROVISION_EXPIRES_IN", "90"],
    ["KEYCTL_PROVISION_WORKSPACE", "a b"],
    ["KEYCTL_MAX_PROVISIONS_PER_HOUR", "-1"],
    ["KEYCTL_MAX_PROVISIONS_PER_HOUR", "many"],
    ["KEYCTL_AUTO_PROVISION", "perhaps"],
  ])("is exit 4 with %s=%s, and sync too", async (name, value) => {
    const { server, run } = await stage();
    for (const verb of ["provision", "sync"]) {
      const done = await run(`${verb} --user alice --json`, { env: { [name]: value } });
      expect([done.code, errorOf(done)?.code]).toEqual([4, "CONFIG_INVALID"]);
      expect(done.stderr + done.stdout).not.toContain(value === "a b" ? "a b" : `'${value}'`);
    }
    expect(server.count()).toBe(0);
  });

  it("needs a management key, and one that OpenRouter takes", async () => {
    const { home, server, run } = await stage();
    const missing = await run("provision --user alice --json", { env: { OPENROUTER_PROVISIONING_KEY: "" } });
    expect([missing.code, errorOf(missing)?.code, server.count()]).toEqual([4, "MANAGEMENT_KEY_MISSING", 0]);
    const wrong = { env: { OPENROUTER_PROVISIONING_KEY: OTHER } };
    for (const verb of ["provision", "sync"]) {
      const refused = await run(`${verb} --user alice --json`, wrong);
      expect([refused.code, errorOf(refused)?.code]).toEqual([4, "MANAGEMENT_KEY_REFUSED"]);
    }
    server.addKey(OTHER);
    const ordinary = await run("provision --user alice --json", wrong);
    expect([ordinary.code, errorOf(ordinary)?.code]).toEqual([4, "MANAGEMENT_KEY_REFUSED"]);
    expect(await journalOf(home)).toEqual([1, 2, 3].flatMap((n) => [`op:${n}`, `out:${n} abandoned`]).toSorted());
  });

  it("makes one key for each of many, and counts them", async () => {
    const { server, run } = await stage();
    const done = await run("provision --user alice --user bob --json");
    expect([done.code, server.keys.size]).toEqual([0, 2]);
    expect(documentsOf(done).at(-1)).toMatchObject({ type: "summary", command: "provision", done: 2, made: 2 });
  });
});

describe("a sync without a key", () => {
  it("makes one, and gives it out only once its outcome is written", async () => {
    const { home, server, run } = await stage(made);
    const done = await run("sync --user alice --json");
    expect(documentsOf(done)).toMatchObject([
      {
        key: maskOf(MADE),
        key_hash: hashOf(MADE),
        source: "auto-provisioned",
        origin: "auto-provisioned",
        synced: true,
        warnings: [{ code: "NO_LIMIT" }],
        error: null,
      },
    ]);
    expect(await journalOf(home)).toEqual(["op:1", "out:1 saved"]);
    expect(documentsOf(await run("get --user alice --json"))[0]).toMatchObject({ source: "database" });
    expect(server.count()).toBe(2);
  });

  it.each([400, 402, 404, 409, 413, 422])("ends with what OpenRouter said: %i", async (status) => {
    const { home, server, run } = await stage();
    server.behave(always("POST /keys", { status }));
    for (const verb of ["sync", "provision"]) {
      const refused = await run(`${verb} --user alice --json`);
      expect([refused.code, errorOf(refused)?.code]).toEqual([4, "PROVISION_REFUSED"]);
      expect(errorOf(refused)?.message).toContain(String(status));
      expect(errorOf(refused)).toMatchObject({
        retryable: false,
        hint: expect.stringMatching(/check|credits|keys of the account/),
      });
    }
    // Nothing can have come of it, so nothing is looked for.
    expect([server.count(), server.count("POST /keys")]).toEqual([2, 2]);
    expect(await journalOf(home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 abandoned"]);
  });

  it("says what went wrong in the words of the log", async () => {
    const { server, run } = await stage();
    server.behave(always("POST /keys", { status: 402 }));
    const { log } = await run("sync --user alice");
    expect(log).toMatch(
      /🔄 Auto-provisioning new key for user alice\.\.\.\n.*❌ Auto-provision failed: OpenRouter .*402/,
    );
    expect(log).not.toContain("Sync complete");
  });

  it.each(["0", "1"])("begins a new operation after a 429 with Retry-After: %s", async (after) => {
    const { home, server, run } = await stage();
    server.behave(on("POST /keys", { status: 429, headers: { "retry-after": after } }));
    const done = await run("sync --user alice");
    expect([done.code, server.keys.size]).toEqual([0, 1]);
    expect(done.stderr).toMatch(/^note: .*429/m);
    expect(await journalOf(home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
    expect(done.log.match(/Attempting auto-provision/g)).toHaveLength(1);
  });

  it("gives up at once where Retry-After is longer than the time", async () => {
    const { home, server, run } = await stage();
    server.behave(always("POST /keys", { status: 429, headers: { "retry-after": "3600" } }));
    const done = await run("sync --user alice --json");
    expect([done.code, errorOf(done)?.code, server.count()]).toEqual([6, "PROVIDER_UNAVAILABLE", 1]);
    expect(await journalOf(home)).toEqual(["op:1", "out:1 abandoned"]);
  });

  const AMBIGUOUS: readonly (readonly [string, Fault, made: boolean])[] = [
    ["500, not obeyed", { status: 500 }, false],
    ["502, obeyed", { status: 502, obeyed: true }, true],
    ["408, obeyed", { status: 408, obeyed: true }, true],
    ["a reset before", "reset-before", false],
    ["a reset after", "reset-after", true],
    ["a cut body", "cut-body", true],
    ["a body that ends early", "short-body", true],
    ["HTML", "html", true],
    ["a redirect", "redirect", false],
    ["JSON of another kind", "other-shape", true],
    ["no JSON", "not-json", true],
    ["an edge's 403 in HTML", { status: 403, body: "html", obeyed: true }, true],
  ];

  it.each(AMBIGUOUS)("decides against what may have been made, and removes it: %s", async (_name, fault, isMade) => {
    const { home, server, run, given } = await stage();
    server.addKey(KEY, { name: "somebody's own" });
    server.behave(on("POST /keys", fault));
    const done = await run("sync --user alice --json");
    expect([done.code, errorOf(done)?.code]).toEqual([6, "PROVIDER_UNAVAILABLE"]);
    expect([...server.keys.keys()]).toEqual([hashOf(KEY)]);
    expect(server.count("POST /keys")).toBe(1);
    expect(server.count("DELETE /keys/{hash}")).toBe(isMade ? 1 : 0);
    expect(await journalOf(home)).toEqual(["op:1", "out:1 abandoned"]);
    expect(await storedUsers(home)).toEqual([]);
    await given("sync --user alice");
    expect(await journalOf(home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
  });

  it("writes the decision before it looks for the key", async () => {
    const { server, run } = await stage();
    server.behave(on("POST /keys", "reset-after"));
    const order: string[] = [];
    const around = withCalls((store) => ({
      async insertEntry(entry, signal) {
        const won = await store.insertEntry(entry, signal);
        order.push(`${entry.kind} after ${server.count()} requests`);
        return won;
      },
    }));
    await run("sync --user alice", { around });
    expect(order).toEqual(["op after 0 requests", "out after 1 requests"]);
  });

  it("leaves a key that it cannot remove now to the next reconcile", async () => {
    const { server, run } = await stage();
    server.behave(({ route }) =>
      route === "POST /keys" ? "reset-after" : route === "PATCH /keys/{hash}" ? { status: 400 } : "pass",
    );
    expect((await run("sync --user alice")).code).toBe(6);
    expect(server.keys.size).toBe(1);
    server.behave(() => "pass");
    const fixed = await run("reconcile --fix --json");
    expect([fixed.code, server.keys.size]).toEqual([0, 0]);
  });

  it("is in time for a POST that nobody answers: it is not the store that was slow", async () => {
    const { home, server, run } = await stage();
    server.behave(always("POST /keys", { status: 429, headers: { "retry-after": "1" } }));
    const done = await run("sync --user alice --json --timeout 600ms");
    expect([done.code, errorOf(done)?.code]).toEqual([6, "PROVIDER_UNAVAILABLE"]);
    expect(await journalOf(home)).toContain("out:1 abandoned");
  });

  it("is not cut short between its POST and its outcome, however little time there is", async () => {
    const { home, server, run, given } = await stage();
    await given("sync --user bob");
    server.behave(always("POST /keys", { delayMs: 1_500 }));
    const done = await run("sync --user alice --json --timeout 700ms");
    expect(documentsOf(done)[0]).toMatchObject({ source: "auto-provisioned", error: null });
    expect(await journalOf(home)).toEqual(["op:1", "out:1 saved"]);
  });

  it("makes no more than so many in an hour by itself, and does not ask; provision does", async () => {
    const { home, server, run, given } = await stage();
    const env = { KEYCTL_MAX_PROVISIONS_PER_HOUR: "2" };
    await given("sync --user u1", { env });
    await given("sync --user u2", { env });
    const capped = await run("sync --user u3 --json", { env });
    expect([capped.code, errorOf(capped)]).toMatchObject([6, { code: "PROVISION_CAP", retryable: true }]);
    expect(server.count("POST /keys")).toBe(2);
    expect(await journalOf(home, "u3")).toEqual([]);
    await given("provision --user u3", { env });
    await given("sync --user u4", { env: { KEYCTL_MAX_PROVISIONS_PER_HOUR: "0" } });
    await given("sync --user u5");
  });

  it("counts neither what came to nothing nor what a person asked for", async () => {
    const { home, server, run, given } = await stage();
    const env = { KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" };
    await given("provision --user u1");
    server.behave(always("POST /keys", { status: 402 }));
    for (const user of ["u2", "u3"]) expect((await run(`sync --user ${user}`, { env })).code).toBe(4);
    server.behave(() => "pass");
    await given("sync --user u2", { env });
    expect(await journalOf(home, "u2")).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
  });

  it("waits for operations that are under way, which may come to nothing, and writes nothing meanwhile", async () => {
    const { home, server, run, given } = await stage();
    const env = { KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" };
    await given("provision --user u1");
    await note(home, "u2", operation(1));
    const late = await run("sync --user u3 --json --timeout 500ms", { env });
    expect([late.code, errorOf(late)]).toMatchObject([6, { code: "PROVISION_CAP", retryable: true }]);
    const waiting = run("sync --user u3 --json --timeout 20s", { env });
    setTimeout(() => void note(home, "u2", { kind: "out", n: 1, outcome: "abandoned" }), 300);
    expect(documentsOf(await waiting)[0]).toMatchObject({ source: "auto-provisioned", error: null });
    expect(await journalOf(home, "u3")).toEqual(["op:1", "out:1 saved"]);
    expect(server.count("POST /keys")).toBe(2);
  });

  it("counts again after its operation: one of two at the same time comes to nothing, before its POST, and starts over", async () => {
    const { home, server, run } = await stage();
    const env = { KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" };
    const userId = parseUserId("u1");
    const around = withCalls((store) => ({
      async insertEntry(entry, signal) {
        const { at } = entry;
        // Another process was faster by a hair, and gives up for the same reason.
        if (entry.kind === "op" && entry.n === 1) await store.insertEntry({ ...operation(1), userId, at }, signal);
        const isInserted = await store.insertEntry(entry, signal);
        if (entry.kind === "out" && entry.n === 1) {
          expect([entry.outcome, server.count()]).toEqual(["abandoned", 0]);
          await store.insertEntry({ kind: "out", n: 1, outcome: "abandoned", userId, at }, signal);
        }
        return isInserted;
      },
    }));
    const done = await run("sync --user alice --json", { env, around });
    expect(documentsOf(done)[0]).toMatchObject({ source: "auto-provisioned", error: null });
    expect(await journalOf(home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
    expect(server.count("POST /keys")).toBe(1);
  });

  it("abandons an operation that it cannot count, so that the next one need not wait for it", async () => {
    const { home, server, run, given } = await stage();
    let counts = 0;
    const around = withCalls((store) => ({
      async liveOperations(...args) {
        counts += 1;
        if (counts === 2) throw new KeyctlError("STORE_UNAVAILABLE", "it has gone away");
        return store.liveOperations(...args);
      },
    }));
    expect((await run("sync --user alice", { around })).code).toBe(7);
    expect([await journalOf(home), server.count()]).toEqual([["op:1", "out:1 abandoned"], 0]);
    await given("sync --user alice");
  });

  it("buys nothing for a database that this run has made in CI", async () => {
    const { home, server, run, given } = await stage();
    const ci = { env: { CI: "true" } };
    const refused = await run("sync --user alice --json", ci);
    expect([refused.code, errorOf(refused)?.code, server.count()]).toEqual([3, "NO_KEY", 0]);
    expect(refused.log).toContain("❌ Auto-provision failed: the database was just created, and CI is set");
    expect(await storedUsers(home)).toEqual([]);
    await given("sync --user alice", ci);
    expect(server.keys.size).toBe(1);
    const asked = await stage();
    await asked.given("provision --user alice", ci);
    expect(asked.server.keys.size).toBe(1);
  });

  it("takes key.txt before it makes one", async () => {
    const { home, server, run } = await stage();
    home.writeKeyFile(KEY);
    expect(documentsOf(await run("sync --user alice --json"))[0]).toMatchObject({ source: "key.txt" });
    expect(server.count()).toBe(0);
  });

  it.each([
    ["get --user alice", {}],
    ["sync --user alice --no-provision", {}],
    ["sync --user alice", { KEYCTL_AUTO_PROVISION: "0" }],
    ["sync --user alice", { OPENROUTER_PROVISIONING_KEY: "" }],
    ["get --user alice --reveal", {}],
    ["explain --user alice", {}],
  ])("is no reason to pay for %s %j", async (args, env) => {
    const { home, server, run } = await stage();
    expect((await run(args, { env })).code).toBe(args.startsWith("explain") ? 0 : 3);
    // One that was begun long ago is nothing to them either.
    await note(home, "alice", operation(1), 120_000);
    expect((await run(args, { env })).code).toBe(args.startsWith("explain") ? 0 : 3);
    expect(server.count()).toBe(0);
    expect(await journalOf(home)).toEqual(["op:1"]);
  });
});

describe("what is not absent makes no key, and reads no other source", () => {
  const away = new KeyctlError("STORE_UNAVAILABLE", "it is away", { retryable: true });
  const masterKey = { KEYCTL_MASTER_KEYS: Buffer.alloc(32, 9).toString("base64url") };
  const cases: readonly (readonly [string, string, InProcessOptions, number, string])[] = [
    ["another master key", "", { env: masterKey }, 4, "MASTER_KEY_WRONG"],
    ["a row that is no key", "UPDATE api_keys SET key_encrypted = 'x'", {}, 7, "ROW_UNREADABLE"],
    ["a row that is cut", "UPDATE api_keys SET key_encrypted = substr(key_encrypted, 1, 60)", {}, 7, "ROW_UNREADABLE"],
    [
      "a database that is away",
      "",
      { around: withCalls(() => ({ find: () => Promise.reject(away), findMany: () => Promise.reject(away) })) },
      7,
      "STORE_UNAVAILABLE",
    ],
  ];

  it.each(cases)("%s", async (_name, sql, options, code, error) => {
    const { home, server, run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    if (sql !== "") await withDatabase(home, (database) => database.exec(sql));
    home.writeKeyFile(OTHER);
    for (const args of ["sync --user alice", "get --user alice"]) {
      const done = await run(`${args} --json`, { ...options, env: { ...options.env, OPENROUTER_API_KEY: OTHER } });
      expect([done.code, errorOf(done)?.code, documentsOf(done)[0]?.["key"]]).toEqual([code, error, null]);
    }
    expect(server.count()).toBe(0);
    expect(await journalOf(home)).toEqual([]);
  });

  it("whoever cannot seal makes no key, and opens no operation", async () => {
    const { home, server, run, given } = await stage();
    await given("save --user bob --stdin", { input: KEY });
    for (const verb of ["sync", "provision"]) {
      expect((await run(`${verb} --user alice`, { env: masterKey })).code).toBe(4);
    }
    expect([server.count(), await journalOf(home)]).toEqual([0, []]);
  });

  it("a database that goes away before the operation is written is exit 7, and no POST", async () => {
    const { server, run, given } = await stage();
    await given("list");
    const around = withCalls(() => ({ insertEntry: () => Promise.reject(away) }));
    const done = await run("sync --user alice --json", { around });
    expect([done.code, errorOf(done)?.code, server.count()]).toEqual([7, "STORE_UNAVAILABLE", 0]);
  });
});

describe("somebody else's operation", () => {
  it.each(["get", "sync", "sync --no-provision"])("%s waits for a fresh one, and takes its key", async (verb) => {
    const { home, server, run, given } = await stage();
    await given("save --user bob --stdin", { input: OTHER });
    await note(home, "alice", operation(1));
    const waiting = run([...verb.split(" "), "--user", "alice", "--json"], { env: { KEYCTL_REQUIRE_SEALED: "0" } });
    await new Promise((resolve) => setTimeout(resolve, 400));
    await withStore(home, async (store, signal) => {
      const key = ApiKey.parse(KEY) as ApiKey;
      const row = newRecord(parseUserId("alice"), {
        key,
        sealed: key.reveal(),
        origin: "auto-provisioned",
        now: new Date().toISOString(),
      });
      await store.insert({ ...row, generation: 1, settled: false }, signal);
    });
    const done = await waiting;
    expect(documentsOf(done)[0]).toMatchObject({ key: maskOf(KEY), source: "database", error: null });
    expect(await journalOf(home)).toEqual(["op:1", "out:1 saved"]);
    expect(server.count()).toBe(0);
  });

  it.each(["get", "sync"])("%s says that it is pending when the time is over first", async (verb) => {
    const { home, server, run } = await stage();
    await note(home, "alice", operation(1));
    const done = await run(`${verb} --user alice --json --timeout 700ms`);
    expect([done.code, errorOf(done)?.code, server.count()]).toEqual([6, "PROVISION_PENDING", 0]);
  });

  it("is waited for no longer once it is decided against: sync makes the next", async () => {
    const { home, server, run } = await stage();
    await note(home, "alice", operation(1));
    const waiting = run("sync --user alice --json");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await note(home, "alice", { kind: "out", n: 1, outcome: "abandoned" });
    expect((await waiting).code).toBe(0);
    expect(await journalOf(home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
    expect(server.count("POST /keys")).toBe(1);
  });

  it.each([61_000, -61_000])("that began %i ms ago is decided against, and what it made is removed", async (ageMs) => {
    const { home, server, given } = await stage();
    await note(home, "alice", operation(1), ageMs);
    const name = `keyctl/${await deploymentOf(home)}/2bd806c97f0e/1-00112233aabbccdd`;
    server.addKey(KEY, { name });
    server.addKey(OTHER, { name: name.replace("aabbccdd", "aabbccde") });
    await given("sync --user alice");
    expect(await journalOf(home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
    expect([server.keys.has(hashOf(KEY)), server.keys.has(hashOf(OTHER)), server.keys.size]).toEqual([false, true, 2]);
  });

  it("whose key stands in some row is spared, whatever its name", async () => {
    const { home, server, given } = await stage();
    await note(home, "alice", operation(1), 61_000);
    server.addKey(KEY, { name: `keyctl/${await deploymentOf(home)}/2bd806c97f0e/1-00112233aabbccdd` });
    await given("save --user bob --stdin", { input: KEY });
    await given("sync --user alice");
    expect(server.keys.has(hashOf(KEY))).toBe(true);
  });

  it("that was decided against while its row stood is taken out of the row, and a new key is made", async () => {
    const { home, server, given } = await stage();
    await given("sync --user alice");
    await withDatabase(home, (database) =>
      database.exec(`UPDATE api_keys SET settled = 0;
        UPDATE api_key_journal SET body = '{"outcome":"abandoned"}' WHERE _id LIKE '%:out:%'`),
    );
    await given("sync --user alice");
    expect(await journalOf(home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
    expect(server.count("POST /keys")).toBe(2);
  });
});
