import { chmodSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { newJwk } from "../support/fixtures/jwk.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { compile, ownCopy, runProgram } from "../support/programs/installed-library.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { always, on } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { journalOf } from "../support/home/tool-with-openrouter.ts";

const KEY = `sk-or-v1-${"0".repeat(60)}b465`;
const MASK = "***************b465";

/** What a program of a user prints as JSON, with this in its environment; it must end well and say nothing else. */
async function printed(home: Home, source: string, environment: NodeJS.ProcessEnv = {}): Promise<unknown> {
  const run = await runProgram(home, "program.mjs", `import * as keyctl from "keyctl";\n${source}`, environment);
  expect(run).toMatchObject({ code: 0, stderr: "" });
  return JSON.parse(run.stdout);
}

describe("the library by its name", () => {
  it("is imported, finds a key, gives it out once and ends by itself, without a word", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    const run = await runProgram(
      home,
      "program.mjs",
      `import { KeyManager } from "keyctl";
       const keys = await KeyManager.open();
       const result = await keys.syncAndGetKey("alice");
       if (result.error === null) process.stdout.write(result.key.reveal());
       await keys.close();`,
    );
    expect(run).toEqual({ code: 0, stdout: KEY, stderr: "" });
  });

  it("is required from CommonJS", async () => {
    const home = emptyHome();
    const run = await runProgram(
      home,
      "program.cjs",
      `const { KeyManager, getUserApiKey } = require("keyctl");
       getUserApiKey("alice").then((text) => console.log(typeof KeyManager.open, text));`,
      { OPENROUTER_API_KEY: KEY },
    );
    expect(run).toEqual({ code: 0, stdout: `function ${KEY}`, stderr: "" });
  });

  it("exports what it promises, and nothing else", async () => {
    const names = await printed(emptyHome(), "console.log(JSON.stringify(Object.keys(keyctl)));");
    expect(names).toEqual([
      "ApiKey",
      "KeyManager",
      "KeyctlError",
      "getUserApiKey",
      "isRefusedKey",
      "renewalFields",
      "syncUserApiKey",
      "withUserKey",
    ]);
  });

  it("ends by itself when nobody closed it", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    const source = await printed(
      home,
      `const keys = await keyctl.KeyManager.open();
       console.log(JSON.stringify((await keys.syncAndGetKey("alice")).source));`,
    );
    expect(source).toBe("key.txt");
  });

  it("listens to no signal and to nothing else of the process", async () => {
    const home = emptyHome();
    const listeners = await printed(
      home,
      `const names = () => process.eventNames().map(String).filter((name) => process.listenerCount(name) > 0).sort();
       const before = names();
       const keys = await keyctl.KeyManager.open();
       await keys.syncAndGetKey("alice");
       const during = names();
       await keys.close();
       console.log(JSON.stringify({ before, during }));`,
      { OPENROUTER_API_KEY: KEY },
    );
    const { before, during } = listeners as { before: string[]; during: string[] };
    expect(during).toEqual(before);
  });

  it("shares store and sources with the tool", async () => {
    const home = emptyHome();
    await keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: KEY } });
    const answer = await printed(
      home,
      `const { key, source, origin } = await keyctl.syncUserApiKey("alice");
       console.log(JSON.stringify({ key, source, origin }));`,
    );
    expect(answer).toEqual({ key: MASK, source: "database", origin: "environment" });
  });
});

const MISSING = { KEYCTL_STORE: "sqlite:none.db", KEYCTL_CREATE_STORE: "1" };

describe("KeyManager.open", () => {
  it("takes another store and another key file", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY.replace("b465", "91aa"));
    writeFileSync(join(home.work, "other.txt"), KEY, { mode: 0o600 });
    const source = await printed(
      home,
      `const keys = await keyctl.KeyManager.open({ store: "sqlite:own.db", create: true, keyFile: "other.txt" });
       console.log(JSON.stringify((await keys.syncAndGetKey("alice")).key));
       await keys.close();`,
    );
    expect(source).toBe(MASK);
    expect([existsSync(join(home.work, "own.db")), existsSync(home.database)]).toEqual([true, false]);
  });

  it.each<readonly [string, string, NodeJS.ProcessEnv, string]>([
    ["a store that it does not know", `{ store: "postgres://u:hunter2@db/x" }`, {}, "USAGE"],
    ["a MongoDB store without a database", `{ store: "mongodb://u:hunter2@db" }`, {}, "USAGE"],
    ["such a store in the environment", "", { MONGO_URI: "mongodb://u:hunter2@db" }, "CONFIG_INVALID"],
    ["an empty store variable", "", { KEYCTL_STORE: "" }, "CONFIG_EMPTY"],
    ["a negative time-out", "{ timeoutMs: -1 }", {}, "USAGE"],
    ["a store that is a folder", `{ store: "sqlite:." }`, {}, "STORE_UNAVAILABLE"],
    ["a store that is named and not there", `{ store: "sqlite:none.db" }`, {}, "STORE_MISSING"],
    ["such a store in the environment", "", { KEYCTL_STORE: "sqlite:none.db" }, "STORE_MISSING"],
    ["such a store that is not to be made", "{ create: false }", MISSING, "STORE_MISSING"],
  ])("rejects with a KeyctlError for %s", async (_name, options, environment, code) => {
    const error = await printed(
      emptyHome(),
      `const error = await keyctl.KeyManager.open(${options}).catch((thrown) => thrown);
       console.log(JSON.stringify({ known: error instanceof keyctl.KeyctlError, ...error, message: error.message }));`,
      environment,
    );
    expect(error).toMatchObject({ known: true, code });
    expect(JSON.stringify(error)).not.toContain("hunter2");
  });

  it.each<readonly [string, string]>([
    ["more than a timer can hold", "{ timeoutMs: 90 * 86400000 }"],
    ["without end", "{ timeoutMs: Infinity }"],
  ])("waits %s when told to", async (_name, options) => {
    const code = await printed(
      emptyHome(),
      `const keys = await keyctl.KeyManager.open(${options});
       console.log(JSON.stringify((await keys.syncAndGetKey("alice")).error.code));`,
    );
    expect(code).toBe("NO_KEY");
  });

  it("tries to make a key unless told not to", async () => {
    const events = await printed(
      emptyHome(),
      `const kinds = { default: [], off: [], call: [] };
       const open = (name, options) => keyctl.KeyManager.open({ ...options, log: ({ kind }) => kinds[name].push(kind) });
       await (await open("default", {})).syncAndGetKey("alice");
       await (await open("off", { autoProvision: false })).syncAndGetKey("alice");
       await (await open("call", {})).syncAndGetKey("alice", { autoProvision: false });
       console.log(JSON.stringify(kinds));`,
    );
    const without = ["syncing", "none-found", "no-key"];
    expect(events).toEqual({
      default: ["syncing", "none-found", "provisioning", "no-management-key", "no-key"],
      off: without,
      call: without,
    });
  });
});

describe("log", () => {
  it('"stderr" writes the lines of the tool, and only there', async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    const run = await runProgram(
      home,
      "program.mjs",
      `import { KeyManager } from "keyctl";
       const keys = await KeyManager.open({ log: "stderr" });
       await keys.syncAndGetKey("alice");`,
    );
    expect(run).toEqual({
      code: 0,
      stdout: "",
      stderr: [
        "[KeyManager] ===== Syncing API key for user alice =====",
        `[KeyManager] ✅ Loaded key from key.txt: ${MASK}`,
        `note: created the first master key: ${home.masterKeys}; back it up`,
        `[KeyManager] ✅ Saved key to database (source: key.txt): ${MASK}`,
        "[KeyManager] ✅ Using key from: key.txt",
        "[KeyManager] ✅ Key synced to database",
        "[KeyManager] ===== Sync complete =====",
      ].join("\n"),
    });
  });

  it("a function gets the events, in which keys are masked when they are printed", async () => {
    const events = await printed(
      emptyHome(),
      `const events = [];
       const keys = await keyctl.KeyManager.open({ log: (event) => events.push(event) });
       await keys.syncAndGetKey("alice");
       console.log(JSON.stringify(events));`,
      { OPENROUTER_API_KEY: KEY },
    );
    expect(events).toEqual([
      { kind: "syncing", user: "alice" },
      { kind: "loaded", from: "environment", key: MASK },
      { kind: "saved", origin: "environment", key: MASK },
      { kind: "using", source: "environment" },
      { kind: "synced" },
      { kind: "complete" },
    ]);
  });
});

describe("the manager", () => {
  it("resolves a hundred logins of one user at once to one key and one row", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    const answer = await printed(
      home,
      `let syncing = 0;
       const keys = await keyctl.KeyManager.open({ log: ({ kind }) => { if (kind === "syncing") syncing += 1; } });
       const results = await Promise.all(Array.from({ length: 100 }, () => keys.syncAndGetKey("alice")));
       const texts = new Set(results.map(({ key }) => key.reveal()));
       console.log(JSON.stringify({ syncing, keys: texts.size, rows: await keys.count() }));
       await keys.close();`,
    );
    expect(answer).toEqual({ syncing: 1, keys: 1, rows: 1 });
  });

  it("finds no key to validate, saves over a key, and masks in its results", async () => {
    const answer = await printed(
      emptyHome(),
      `const keys = await keyctl.KeyManager.open();
       const ensured = await keys.ensureKeyForUser("alice", { validate: true });
       const saved = await keys.saveKeyToDb("alice", ${JSON.stringify(KEY)}, "python");
       const again = await keys.saveKeyToDb("alice", ${JSON.stringify(KEY.replace("b465", "91aa"))}, "manual");
       const held = await keys.ensureKeyForUser("alice");
       console.log(JSON.stringify({ ensured, saved, again, held, codes: [ensured.error.code] }));
       await keys.close();`,
    );
    expect(answer).toMatchObject({
      codes: ["NO_KEY"],
      ensured: { key: null, source: null, valid: null },
      saved: { key: MASK, changed: true, origin: "python", previous: null },
      again: { key: "***************91aa", changed: true, previous: { key: MASK, origin: "python" } },
      held: { key: "***************91aa", source: "database", valid: null, error: null },
    });
    expect(JSON.stringify(answer)).not.toContain("sk-or");
  });

  it("checks: the store answers and the master keys open it", async () => {
    const home = emptyHome();
    const environment = { KEYCTL_MASTER_KEYS: newJwk().k };
    const check = `const keys = await keyctl.KeyManager.open();
      console.log(JSON.stringify(await keys.check().then(() => "ready", ({ code }) => code)));
      await keys.close();`;
    expect(await printed(home, check, environment)).toBe("ready");
    expect(await printed(home, check, environment)).toBe("ready");
    const other = { KEYCTL_MASTER_KEYS: newJwk().k };
    expect(await printed(home, check, other)).toBe("MASTER_KEY_WRONG");
    expect(await printed(home, check)).toBe("MASTER_KEY_MISSING");
  });

  it("refuses work after close", async () => {
    const codes = await printed(
      emptyHome(),
      `const keys = await keyctl.KeyManager.open();
       const inFlight = keys.saveKeyToDb("alice", ${JSON.stringify(KEY)});
       const others = [keys.purge("bob"), keys.previewPurge("bob"), keys.explain("bob"), keys.validate("bob"), keys.autoProvisionKey("bob")];
       await keys.close();
       await keys.close();
       console.log(JSON.stringify([
         (await inFlight).error,
         (await Promise.all(others)).map(({ error }) => error?.code ?? null),
         (await keys.syncAndGetKey("alice")).error.code,
         await keys.check().catch(({ code }) => code),
       ]));`,
    );
    expect(codes).toEqual([null, [null, null, "NO_KEY", "NO_KEY", "MANAGEMENT_KEY_MISSING"], "USAGE", "USAGE"]);
  });

  it("refuses each further step of a long work after close, in its own words", async () => {
    const codes = await printed(
      emptyHome(),
      `const keys = await keyctl.KeyManager.open();
       await keys.saveKeyToDb("alice", ${JSON.stringify(KEY)});
       const rekeying = keys.rekey();
       await rekeying.next();
       await keys.close();
       const users = async function* () { yield ["alice"]; };
       const works = [rekeying, keys.rekey(), keys.syncMany(users()), keys.rows()[Symbol.asyncIterator]()];
       console.log(JSON.stringify(await Promise.all(works.map((work) => work.next().catch(({ code }) => code)))));`,
    );
    expect(codes).toEqual(["USAGE", "USAGE", "USAGE", "USAGE"]);
  });

  it("obeys a caller's signal", async () => {
    const code = await printed(
      emptyHome(),
      `const keys = await keyctl.KeyManager.open();
       const { error } = await keys.syncAndGetKey("alice", { signal: AbortSignal.abort() });
       console.log(JSON.stringify(error.code));`,
      { OPENROUTER_API_KEY: KEY },
    );
    expect(code).toBe("INTERRUPTED");
  });
});

describe("the fetch of a program", () => {
  const source = `import { createRequire } from "node:module";
    const keys = await keyctl.KeyManager.open();
    const { error } = await keys.autoProvisionKey("alice");
    const dispatcher = globalThis[Symbol.for("undici.globalDispatcher.1")];
    const { Agent } = createRequire(import.meta.resolve("keyctl"))("undici");
    console.log(JSON.stringify({ error, isReplaced: dispatcher instanceof Agent }));
    await keys.close();`;

  it("is Node's own before and after keyctl has called OpenRouter", async () => {
    const { environment } = await openRouter();
    expect(await printed(emptyHome(), source, environment)).toEqual({ error: null, isReplaced: false });
  });

  it("is so as well with an undici that has its parts elsewhere", async () => {
    const { environment } = await openRouter();
    const home = emptyHome();
    const undici = join(ownCopy(home), "..", "undici");
    const moved = join(undici, "..", "moved-undici");
    cpSync(undici, moved, { recursive: true, dereference: true });
    rmSync(undici);
    mkdirSync(undici);
    writeFileSync(join(undici, "index.js"), `module.exports = require("../moved-undici");`);
    expect(await printed(home, source, environment)).toEqual({ error: null, isReplaced: false });
  });
});

/** The environment for an OpenRouter, which answers so late. */
async function openRouter(delayMs = 0) {
  const server = await mockOpenRouter();
  if (delayMs > 0) server.behave(always("POST /keys", { delayMs }));
  return {
    server,
    environment: { OPENROUTER_PROVISIONING_KEY: server.managementKey, KEYCTL_OPENROUTER_URL: server.url },
  };
}

describe("a key that is made", () => {
  it("comes with its terms, once for each user", async () => {
    const { server, environment } = await openRouter();
    const answer = await printed(
      emptyHome(),
      `const keys = await keyctl.KeyManager.open();
       const made = await keys.autoProvisionKey("alice", { terms: { limit: 5, limitReset: "daily", label: "shop" } });
       const again = await keys.autoProvisionKey("alice");
       const found = await keys.syncAndGetKey("alice");
       const plain = await keys.autoProvisionKey("bob");
       console.log(JSON.stringify({
         made: [made.key, made.row.limit, made.row.limitReset, made.row.label, made.error],
         again: [again.key, again.error.code],
         found: [found.source, found.key.equals(made.key)],
         plain: [plain.row.limit, plain.warnings.map(({ code }) => code)],
       }));
       await keys.close();`,
      { ...environment, KEYCTL_PROVISION_LIMIT: "2" },
    );
    expect(answer).toEqual({
      made: [expect.stringMatching(/^\*{15}/) as string, 5, "daily", "shop", null],
      again: [null, "KEY_EXISTS"],
      found: ["database", true],
      plain: [2, []],
    });
    expect([server.keys.size, server.count("POST /keys")]).toEqual([2, 2]);
  });

  it("is none for who has a broken source, and never the management key", async () => {
    const home = emptyHome();
    const { server, environment } = await openRouter();
    const answer = await printed(
      home,
      `const got = async () => keyctl.getUserApiKey("alice").catch(({ code }) => code);
       const given = [];
       for (const value of ["$OPENROUTER_API_KEY", "\${{ secrets.KEY }}", "changeme", " ", process.env.OPENROUTER_PROVISIONING_KEY]) {
         process.env.OPENROUTER_API_KEY = value;
         given.push(await got());
       }
       delete process.env.OPENROUTER_API_KEY;
       process.env.OPENROUTER_API_KEY_FILE = "nothing";
       console.log(JSON.stringify([...given, await got()]));`,
      environment,
    );
    expect(answer).toEqual([null, null, null, null, "MANAGEMENT_KEY_AS_USER_KEY", null]);
    expect([server.count(), await journalOf(home)]).toEqual([0, []]);
  });

  it("is one for a hundred logins at once, and one for two managers", async () => {
    const { server, environment } = await openRouter(100);
    const answer = await printed(
      emptyHome(),
      `const [one, other] = [await keyctl.KeyManager.open(), await keyctl.KeyManager.open()];
       const managers = Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? one : other));
       const results = await Promise.all(managers.map((keys) => keys.syncAndGetKey("alice")));
       console.log(JSON.stringify({
         errors: results.filter(({ error }) => error !== null).length,
         keys: new Set(results.map(({ key }) => key.reveal())).size,
       }));
       await one.close();
       await other.close();`,
      environment,
    );
    expect([answer, server.count("POST /keys"), server.keys.size]).toEqual([{ errors: 0, keys: 1 }, 1, 1]);
  });

  it.each([
    ["runs out of time", "{ timeoutMs: 1500 }", ""],
    ["aborts", "{ signal: leaving.signal }", "if (kind === 'making') setTimeout(() => leaving.abort(), 1500);"],
  ])("ends by itself when its caller %s, and close waits for that", async (_name, patience, onEvent) => {
    const { server, environment } = await openRouter(3_000);
    const home = emptyHome();
    const answer = await printed(
      home,
      `const leaving = new AbortController();
       const keys = await keyctl.KeyManager.open({ log: ({ kind }) => { ${onEvent} } });
       const pending = await keys.syncAndGetKey("alice", ${patience});
       const requests = performance.now();
       await keys.close();
       console.log(JSON.stringify([pending.key, pending.error.code, pending.error.retryable, performance.now() - requests > 200]));`,
      environment,
    );
    expect(answer).toEqual([null, "PROVISION_PENDING", true, true]);
    expect([server.count("POST /keys"), await journalOf(home)]).toEqual([1, ["op:1", "out:1 saved"]]);
    const after = await keyctl(home, ["get", "--user", "alice", "--json"], { env: environment });
    expect(JSON.parse(after.stdout)).toMatchObject({ source: "database", error: null });
  });

  it("is what a second login gets that comes while the first has given up", async () => {
    const { server, environment } = await openRouter(1_200);
    const answer = await printed(
      emptyHome(),
      `const keys = await keyctl.KeyManager.open();
       const first = await keys.syncAndGetKey("alice", { timeoutMs: 600 });
       const second = await keys.syncAndGetKey("alice");
       const made = await keys.autoProvisionKey("bob", { timeoutMs: 600 });
       console.log(JSON.stringify([first.error.code, second.source, second.error, made.error.code]));
       await keys.close();`,
      environment,
    );
    expect(answer).toEqual(["PROVISION_PENDING", "database", null, "PROVISION_PENDING"]);
    expect([server.count("POST /keys"), server.keys.size]).toEqual([2, 2]);
  });

  it("is none where nobody wants one", async () => {
    const { server, environment } = await openRouter();
    const answer = await printed(
      emptyHome(),
      `const off = await keyctl.KeyManager.open({ autoProvision: false });
       const on = await keyctl.KeyManager.open();
       console.log(JSON.stringify([
         (await off.syncAndGetKey("alice")).error.code,
         (await on.syncAndGetKey("alice", { autoProvision: false })).error.code,
         (await on.getStoredKey("alice")).error.code,
         (await on.validate("alice")).error.code,
       ]));
       await Promise.all([off.close(), on.close()]);`,
      environment,
    );
    expect([answer, server.count()]).toEqual([["NO_KEY", "NO_KEY", "NO_KEY", "NO_KEY"], 0]);
  });

  it("is what getUserApiKey gives, and what goes wrong with it is thrown", async () => {
    const { server, environment } = await openRouter();
    server.behave(on("POST /keys", { status: 402 }));
    const answer = await printed(
      emptyHome(),
      `const thrown = await keyctl.getUserApiKey("alice").catch(({ code }) => code);
       const key = await keyctl.getUserApiKey("alice");
       console.log(JSON.stringify([thrown, key.startsWith("sk-or-v1-")]));`,
      environment,
    );
    expect(answer).toEqual(["PROVISION_REFUSED", true]);
  });
});

describe("getUserApiKey", () => {
  it("is the bare key, from one manager for the process", async () => {
    const answer = await printed(
      emptyHome(),
      `const first = await keyctl.getUserApiKey("alice");
       delete process.env.OPENROUTER_API_KEY;
       process.env.KEYCTL_STORE = "sqlite:elsewhere.db";
       console.log(JSON.stringify([first, await keyctl.getUserApiKey("alice")]));`,
      { OPENROUTER_API_KEY: KEY },
    );
    expect(answer).toEqual([KEY, KEY]);
  });

  it("is null for a user without a key", async () => {
    expect(await printed(emptyHome(), `console.log(JSON.stringify(await keyctl.getUserApiKey("alice")));`)).toBeNull();
  });

  it("throws for every other failure, and works again when the cause is gone", async () => {
    const home = emptyHome();
    await keyctl(home, ["sync", "--user", "alice"], { env: { OPENROUTER_API_KEY: KEY } });
    const codes = await printed(
      home,
      `import { renameSync } from "node:fs";
       const codeOf = (promise) => promise.then(() => "none", (thrown) => thrown instanceof keyctl.KeyctlError && thrown.code);
       const master = ${JSON.stringify(home.masterKeys)};
       const codes = [];
       process.env.KEYCTL_STORE = "";
       codes.push(await codeOf(keyctl.getUserApiKey("alice")));
       codes.push((await keyctl.syncUserApiKey("alice")).error.code);
       delete process.env.KEYCTL_STORE;
       codes.push(await codeOf(keyctl.getUserApiKey(" alice")));
       renameSync(master, master + ".away");
       codes.push(await codeOf(keyctl.getUserApiKey("alice")));
       renameSync(master + ".away", master);
       codes.push(await codeOf(keyctl.getUserApiKey("alice")));
       console.log(JSON.stringify(codes));`,
    );
    expect(codes).toEqual(["CONFIG_EMPTY", "CONFIG_EMPTY", "BAD_USER_ID", "MASTER_KEY_MISSING", "none"]);
  });

  it("throws for a database that is no database", async () => {
    const home = emptyHome();
    const path = join(home.work, "broken.db");
    writeFileSync(path, "this is not a database, and it is long enough to be looked at".repeat(20));
    chmodSync(path, 0o600);
    const answer = await printed(
      home,
      `const thrown = await keyctl.getUserApiKey("alice").catch((error) => error);
       console.log(JSON.stringify([thrown.code, (await keyctl.syncUserApiKey("alice")).error.code]));`,
      { KEYCTL_STORE: `sqlite:${path}`, OPENROUTER_API_KEY: KEY },
    );
    expect(answer).toEqual(["STORE_CORRUPT", "STORE_CORRUPT"]);
  });
});

describe("the types", () => {
  const ESM = `
    import { ApiKey, getUserApiKey, KeyctlError, KeyManager, syncUserApiKey } from "keyctl";
    import type { ErrorCode, LogEvent, OpenOptions, SyncResult } from "keyctl";

    const options: OpenOptions = { store: "sqlite:keys.db", create: true, autoProvision: true, log: "silent", timeoutMs: 3000 };
    const keys: KeyManager = await KeyManager.open(options);
    const result: SyncResult = await keys.syncAndGetKey("alice", {
      timeoutMs: 1500,
      signal: new AbortController().signal,
      autoProvision: false,
    });
    if (result.error === null) console.log(result.key.reveal());
    const { key, error } = await syncUserApiKey("alice");
    if (error === null) console.log(key.reveal());
    const ensured = await keys.ensureKeyForUser("alice", { validate: true });
    if (ensured.error === null) console.log(ensured.key.reveal(), ensured.valid satisfies boolean | null);
    const text: string | null = await getUserApiKey("alice");
    const code: ErrorCode | undefined = result.error?.code;
    const parsed: ApiKey | undefined = ApiKey.parse("x");
    const seen: LogEvent[] = [];
    await KeyManager.open({ log: (event) => seen.push(event) });
    await keys.saveKeyToDb("alice", "x", "manual");
    await keys.check();
    await keys.close();
    console.log(text, code, parsed, KeyctlError);

    // What would be a mistake does not compile.
    // @ts-expect-error a word for log that there is not
    await KeyManager.open({ log: "stdout" });
    // @ts-expect-error a user id that may be missing
    await keys.syncAndGetKey(undefined);
    // @ts-expect-error a key that may be missing
    result.key.reveal();
    // @ts-expect-error a key that nobody has looked at
    new ApiKey("sk-or-v1-test-key");
    // @ts-expect-error a result that is changed
    result.source = null;
    // @ts-expect-error a manager that nobody has opened
    new KeyManager();
  `;
  const COMMON_JS = `
    import keyctl = require("keyctl");
    export const text: Promise<string | null> = keyctl.getUserApiKey("alice");
  `;

  it("let a user's programs compile, and refuse their mistakes", async () => {
    expect(await compile(emptyHome(), { "program.mts": ESM, "program.cts": COMMON_JS })).toBe("");
  });

  it("are really looked at", async () => {
    expect(await compile(emptyHome(), { "program.mts": `import { Nothing } from "keyctl";\nNothing();` })).toMatch(
      /^program\.mts\(1,\d+\): error TS2305/,
    );
  });
});
