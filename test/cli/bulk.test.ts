import { EventEmitter, once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { storedUsers } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";

const withKey = { OPENROUTER_API_KEY: KEY };

function users(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `user-${index}`);
}

/** A store whose calls are counted, and of which some fail. */
function watched(calls: string[], failing: (name: string, nth: number) => Error | undefined = () => undefined) {
  return (ports: Ports): Ports => ({
    ...ports,
    store: new Proxy(ports.store, {
      get(store, name: keyof Ports["store"]) {
        return (...words: unknown[]) => {
          calls.push(name);
          const error = failing(name, calls.filter((call) => call === name).length);
          if (error !== undefined) throw error;
          return Reflect.apply(store[name] as (...words: unknown[]) => unknown, store, words);
        };
      },
    }),
  });
}

describe("a bulk run", () => {
  it("prints a user's line only after its commit, and does not wait for the end of its input", async () => {
    const home = emptyHome();
    const firstLine = new EventEmitter();
    const storedAtFirstLine = once(firstLine, "printed");
    async function* input() {
      yield Buffer.from("alice\n");
      await storedAtFirstLine;
      yield Buffer.from("bob\n");
    }
    const run = await inProcess(home, ["sync", "--users-file", "-", "--json"], {
      env: withKey,
      input: input(),
      onStdout: async () => void firstLine.emit("printed", await storedUsers(home)),
    });
    expect(await storedAtFirstLine).toEqual([["alice"]]);
    expect(documentsOf(run).map((line) => line["user_id"] ?? line["type"])).toEqual(["alice", "bob", "summary"]);
  });

  it("reads each batch in one query, and inserts what is missing in another", async () => {
    const home = emptyHome();
    const ids = users(600);
    await inProcess(home, ["sync", "--users-file", "-"], {
      env: { OPENROUTER_API_KEY: OTHER },
      input: ids.filter((_, index) => index % 3 === 0).join("\n"),
    });
    const calls: string[] = [];
    const run = await inProcess(home, ["sync", "--users-file", "-", "--json"], {
      env: withKey,
      input: `${ids.join("\n")}\n`,
      around: watched(calls),
    });
    expect(calls.filter((call) => call !== "keyCheckValues")).toEqual([
      // Whether the one key that all are given is about to be deleted.
      "outcomesOf",
      "findMany",
      "insertMany",
      "addEvents",
      "outcomesOf",
      "findMany",
      "insertMany",
      "addEvents",
      "close",
    ]);
    const lines = documentsOf(run).slice(0, -1);
    expect(lines.map((line) => line["user_id"])).toEqual(ids);
    expect(lines.map((line) => line["source"])).toEqual(
      ids.map((_, index) => (index % 3 === 0 ? "database" : "environment")),
    );
    expect(documentsOf(run).at(-1)).toMatchObject({ total: 600, synced: 400, from_database: 200, failed: 0 });
  });

  it("warns once of one key for many users", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["sync", "--users-file", "-"], { env: withKey, input: users(520).join("\n") });
    expect(run.stderr.match(/warning: .*/g)).toEqual(["warning: 520 users were given the same key"]);
    const again = await inProcess(home, ["sync", "--all", "--json"], { env: withKey });
    expect(documentsOf(again).at(-1)?.["warnings"]).toEqual([]);
  });

  it("says once what is wrong with key.txt", async () => {
    const home = emptyHome();
    home.writeKeyFile("hello");
    const run = await inProcess(home, ["sync", "--users-file", "-"], { env: withKey, input: users(520).join("\n") });
    expect(run.stderr.match(/key\.txt holds something other/g)).toHaveLength(1);
  });

  it("prints no log lines", async () => {
    const run = await inProcess(emptyHome(), ["sync", "-u", "alice", "-u", "bob"], { env: withKey });
    expect(run.log).toBe("");
  });

  it("--log prints one whole block a user, in order", async () => {
    const run = await inProcess(emptyHome(), ["sync", "-u", "alice", "-u", "bob", "--log"], { env: withKey });
    expect(run.log).toBe(logBlock("alice") + logBlock("bob"));
    expect(run.stdout).toBe("alice\t***************b465\tenvironment\nbob\t***************b465\tenvironment\n");
  });
});

describe("--output", () => {
  it("takes every document, for nobody else to read, while people read the summary", async () => {
    const home = emptyHome();
    const before = process.umask(0);
    try {
      const run = await inProcess(home, ["sync", "-u", "alice", "-u", "bob", "--output", "out.jsonl"], {
        env: withKey,
      });
      expect(run).toMatchObject({ code: 0, stdout: "" });
      expect(run.stderr).toMatch(/^2 users in \d+s: 2 synced$/m);
    } finally {
      process.umask(before);
    }
    const file = join(home.work, "out.jsonl");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const documents = documentsOf({ stdout: readFileSync(file, "utf8") });
    expect(documents.map((line) => line["user_id"] ?? line["type"])).toEqual(["alice", "bob", "summary"]);
    expect(documents.at(-1)).toMatchObject({ complete: true, error: null });
    expect(readdirSync(home.work)).toEqual(["out.jsonl"]);
  });

  it("is for one user too", async () => {
    const home = emptyHome();
    await inProcess(home, ["sync", "-u", "alice", "--output", "out.jsonl"], { env: withKey });
    const documents = documentsOf({ stdout: readFileSync(join(home.work, "out.jsonl"), "utf8") });
    expect(documents.map((line) => line["user_id"] ?? line["type"])).toEqual(["alice", "summary"]);
  });

  it("leaves the file that was there until the new one is whole", async () => {
    const home = emptyHome();
    const file = join(home.work, "out.jsonl");
    const yesterday = '{"type":"summary","command":"sync"}\n';
    writeFileSync(file, yesterday);
    let meanwhile = "";
    async function* input() {
      yield Buffer.from("alice\n");
      meanwhile = readFileSync(file, "utf8");
      yield Buffer.from("bob\n");
    }
    await inProcess(home, ["sync", "--users-file", "-", "--output", "out.jsonl"], { env: withKey, input: input() });
    expect(meanwhile).toBe(yesterday);
    expect(documentsOf({ stdout: readFileSync(file, "utf8") })).toHaveLength(3);
  });

  it("that cannot take its place is an error, and leaves no draft", async () => {
    const home = emptyHome();
    const place = join(home.work, "out");
    const run = await inProcess(home, ["sync", "-u", "alice", "--output", "out", "--json"], {
      env: withKey,
      // A folder takes the place while the run is on its way; before that it would be refused at once.
      around: watched([], () => {
        mkdirSync(place, { recursive: true });
        return undefined;
      }),
    });
    expect(run.code).toBe(1);
    expect(errorOf(run)?.code).toBe("OUTPUT_FAILED");
    expect(readdirSync(home.work)).toEqual(["out"]);
  });

  it("leaves no draft behind a bug", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["sync", "-u", "alice", "-u", "bob", "--output", "out"], {
      env: withKey,
      around: watched([], (name) => (name === "insertMany" ? new TypeError("no such thing") : undefined)),
    });
    expect(run.code).toBe(1);
    expect(readdirSync(home.work)).toEqual([]);
  });

  it("of a run that was stopped holds what was done, and says that it is not complete", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["sync", "--users-file", "-", "--output", "out"], {
      env: withKey,
      input: users(520).join("\n"),
      around: watched([], storeFailsAt("insertMany", 2)),
    });
    expect(run.code).toBe(7);
    const documents = documentsOf({ stdout: readFileSync(join(home.work, "out"), "utf8") });
    expect(documents).toHaveLength(501);
    expect(documents.at(-1)).toMatchObject({ done: 500, complete: false, error: { code: "STORE_UNAVAILABLE" } });
  });
});

describe("--stop-after", () => {
  it("ends a run whose input is still open, with its summary", async () => {
    const run = await inProcess(emptyHome(), ["sync", "--users-file", "-", "--stop-after", "300ms", "--json"], {
      env: withKey,
      input: openAfter("alice\n"),
    });
    expect(run.code).toBe(6);
    expect(documentsOf(run).at(-1)).toMatchObject({
      done: 1,
      complete: false,
      error: { code: "SOME_UNKNOWN", retryable: true },
    });
  });

  it("that is not reached changes nothing", async () => {
    const run = await inProcess(emptyHome(), ["sync", "-u", "a", "-u", "b", "--stop-after", "1h", "--json"], {
      env: withKey,
    });
    expect(documentsOf(run).at(-1)).toMatchObject({ done: 2, complete: true, error: null });
  });
});

describe("the exit code of a run that could end in several ways", () => {
  it("is the store's when it fails behind a user's failure", async () => {
    const run = await inProcess(emptyHome(), ["sync", "--users-file", "-", "--json"], {
      env: withKey,
      input: [" bad", ...users(520)].join("\n"),
      around: watched([], storeFailsAt("insertMany", 2)),
    });
    expect(run.code).toBe(7);
    expect(documentsOf(run).at(-1)).toMatchObject({ failed: 1, complete: false });
  });

  it.each([
    ["sync", "--log"],
    ["get", "--log"],
    ["purge", "--yes"],
  ])("%s %s stops at a store that fails, and blames no user for it", async (verb, flag) => {
    const home = emptyHome();
    await inProcess(home, ["sync", "--users-file", "-"], { env: withKey, input: users(5).join("\n") });
    const run = await inProcess(home, [verb, "--users-file", "-", flag, "--json"], {
      input: users(5).join("\n"),
      around: watched([], storeFailsAt("find", 3)),
    });
    expect(run.code).toBe(7);
    expect(documentsOf(run)).toHaveLength(3);
    expect(documentsOf(run).at(-1)).toMatchObject({ done: 2, failed: 0, complete: false });
  });

  it("is some-failed when a user failed before the time was over", async () => {
    const run = await inProcess(emptyHome(), ["sync", "--users-file", "-", "--stop-after", "300ms", "--json"], {
      env: withKey,
      input: openAfter(" bad\nalice\n"),
    });
    expect(run.code).toBe(9);
    expect(documentsOf(run).at(-1)).toMatchObject({ failed: 1, complete: false, error: { code: "SOME_FAILED" } });
  });
});

function storeFailsAt(name: string, nth: number): (name: string, nth: number) => Error | undefined {
  return (called, count) =>
    called === name && count === nth ? new KeyctlError("STORE_UNAVAILABLE", "the store is gone") : undefined;
}

function logBlock(user: string): string {
  return `\
[KeyManager] ===== Syncing API key for user ${user} =====
[KeyManager] ✅ Loaded key from OPENROUTER_API_KEY: ***************b465
[KeyManager] ✅ Saved key to database (source: environment): ***************b465
[KeyManager] ✅ Using key from: environment
[KeyManager] ✅ Key synced to database
[KeyManager] ===== Sync complete =====
`;
}

/** Input that gives this and then neither more nor an end. */
async function* openAfter(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
  await new Promise<never>(() => {});
}
