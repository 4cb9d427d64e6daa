import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, asyncProperty, integer, uniqueArray } from "fast-check";
import { describe, expect, it } from "vitest";
import { storedUsers } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { userIdTexts } from "../support/fixtures/arbitraries.ts";

/** Syncs with a key in the environment; gives the user ids of the lines, in order. */
async function synced(home: Home, args: readonly string[], options: InProcessOptions = {}) {
  const run = await inProcess(home, ["sync", ...args, "--json"], { ...options, env: { OPENROUTER_API_KEY: KEY } });
  const lines = documentsOf(run).filter(({ type }) => type === "user");
  return {
    run,
    users: lines.filter(({ error }) => error === null).map((line) => line["user_id"]),
    refused: lines.filter(({ error }) => error !== null).map((line) => line["user_id"]),
  };
}

function utf16(text: string, mark: "le" | "be"): Buffer {
  const bytes = Buffer.from(`\uFEFF${text}`, "utf16le");
  return mark === "le" ? bytes : bytes.swap16();
}

type UsersFile = readonly [
  title: string,
  content: string | Uint8Array,
  users: readonly string[],
  /** Null for an id that is not repeated. */
  refused?: readonly (string | null)[],
];

const FILES: readonly UsersFile[] = [
  ["one id a line", "alice\nbob\n", ["alice", "bob"]],
  ["no line end at the end", "alice\nbob", ["alice", "bob"]],
  ["CRLF", "alice\r\nbob\r\n", ["alice", "bob"]],
  ["a UTF-8 mark", "\uFEFFalice\nbob\n", ["alice", "bob"]],
  ["UTF-16LE of PowerShell", utf16("alice\r\nb\u00f6b\r\n", "le"), ["alice", "b\u00f6b"]],
  ["UTF-16BE", utf16("alice\nbob\n", "be"), ["alice", "bob"]],
  ["a mark and nothing else", "\uFEFF", []],
  ["blank lines", "\n\nalice\n   \n\t\n\r\nbob\n\n", ["alice", "bob"]],
  ["an id twice", "alice\nbob\nalice\nbob\n", ["alice", "bob"]],
  ["an id in two spellings", "68E228E87F803A11A4E23045\n68e228e87f803a11a4e23045\n", ["68e228e87f803a11a4e23045"]],
  ["an id in two forms of Unicode", "e\u0301\n\u00e9\n", ["\u00e9"]],
  ["bad ids between good ones", " a\nalice\nb\u0007\nbob\nc \n", ["alice", "bob"], [" a", "b\u0007", "c "]],
  ["an id of 128 bytes, and of 129", `${"x".repeat(128)}\n${"y".repeat(129)}\n`, ["x".repeat(128)], [null]],
  ["bytes that are no text", new Uint8Array([0x61, 0xff, 0x62, 0x0a, 0x63, 0x0a]), ["c"], ["a\uFFFDb"]],
  ["a line without an end", `${"x".repeat(300_000)}\nalice\n`, ["alice"], [null]],
  ["nothing", "", []],
];
const USERS_FILES = FILES.map(([title, content, users, refused = []]) => ({ title, content, users, refused }));

describe("--users-file", () => {
  it.each(USERS_FILES)("takes $title", async ({ content, users, refused }) => {
    const home = emptyHome();
    writeFileSync(join(home.work, "users.txt"), content);
    expect(await synced(home, ["--users-file", "users.txt"])).toMatchObject({ users, refused });
    expect(await storedUsers(home)).toEqual(users.toSorted());
  });

  it.each(USERS_FILES)("takes $title byte by byte from a pipe", async ({ content, users, refused }) => {
    const bytes = Buffer.from(content);
    const home = emptyHome();
    const head = async function* () {
      for (const byte of bytes.subarray(0, 2000)) yield Buffer.from([byte]);
      if (bytes.length > 2000) yield bytes.subarray(2000);
    };
    expect(await synced(home, ["--users-file", "-"], { input: head() })).toMatchObject({ users, refused });
  });

  it("gives the lines in the order of the file, the refused ones too", async () => {
    const home = emptyHome();
    const ids = Array.from({ length: 700 }, (_, index) => (index % 7 === 3 ? ` bad-${index}` : `user-${index}`));
    writeFileSync(join(home.work, "users.txt"), ids.join("\n"));
    const { run } = await synced(home, ["--users-file", "users.txt"]);
    const lines = documentsOf(run).filter(({ type }) => type === "user");
    expect(lines.map((line) => line["user_id"])).toEqual(ids);
  });

  it("goes through a file of noise, and says of each line why", async () => {
    const home = emptyHome();
    const noise = Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 7919 + (index >> 3) * 31) % 256));
    writeFileSync(join(home.work, "users.txt"), noise);
    const { run, refused } = await synced(home, ["--users-file", "users.txt"]);
    expect(run.code).toBe(9);
    expect(refused.length).toBeGreaterThan(10);
  });

  it.each([
    ["is missing", () => {}, "it does not exist"],
    ["is a directory", (home: Home) => mkdirSync(join(home.work, "users.txt")), "it is a directory"],
  ])("that %s is a usage error", async (_, given, reason) => {
    const home = emptyHome();
    given(home);
    const { run } = await synced(home, ["--users-file", "users.txt"]);
    expect(run.code).toBe(2);
    expect(errorOf(run)).toMatchObject({
      code: "USAGE",
      message: `the users file users.txt cannot be read: ${reason}`,
    });
  });
});

describe("--user", () => {
  it("may be repeated; each user comes once, in the order of the line", async () => {
    const home = emptyHome();
    const { run, users } = await synced(home, ["-u", "carol", "--user", "alice", "--user=bob", "-u", "alice"]);
    expect(users).toEqual(["carol", "alice", "bob"]);
    expect(documentsOf(run).at(-1)).toMatchObject({ type: "summary", total: 3, done: 3, synced: 3, complete: true });
  });

  it("once is no bulk run: one document without a type", async () => {
    const { run } = await synced(emptyHome(), ["--user", "alice"]);
    expect(documentsOf(run)).toHaveLength(1);
    expect(documentsOf(run)[0]).not.toHaveProperty("type");
  });

  it("takes an id that begins with a dash, and its hint gives it back so", async () => {
    const run = await inProcess(emptyHome(), ["sync", "--user=-x", "--json"]);
    expect(errorOf(run)?.hint).toBe("keyctl save --user=-x");
  });
});

describe("--all", () => {
  it("is every user of the database in the order of the id", async () => {
    const home = emptyHome();
    const ids = Array.from({ length: 620 }, (_, index) => `user-${String((index * 7) % 620).padStart(4, "0")}`);
    await synced(home, ["--users-file", "-"], { input: ids.join("\n") });
    const { users, run } = await synced(home, ["--all"]);
    expect(users).toEqual(ids.toSorted());
    expect(documentsOf(run).at(-1)).toMatchObject({ total: 620, synced: 0, from_database: 620 });
  });
});

describe("--shard", () => {
  /** Ids as a users file holds them: one line each, without blanks. */
  const userId = userIdTexts.map((text) => text.normalize("NFC")).filter((id) => !/[\s\uFEFF]/u.test(id));

  it("puts every user into exactly one part", async () => {
    const home = emptyHome();
    await assert(
      asyncProperty(uniqueArray(userId, { maxLength: 40 }), integer({ min: 1, max: 6 }), async (ids, count) => {
        const parts: unknown[][] = [];
        for (let index = 1; index <= count; index += 1) {
          const shard = ["--shard", `${index}/${count}`];
          parts.push((await synced(home, ["--users-file", "-", ...shard], { input: ids.join("\n") })).users);
        }
        expect(new Set(parts.flat())).toEqual(new Set(ids));
        expect(parts.flat()).toHaveLength(ids.length);
      }),
      { numRuns: 25 },
    );
  });

  it("is the same part however the users are named, and is in the summary", async () => {
    const home = emptyHome();
    const ids = Array.from({ length: 100 }, (_, index) => `user-${index}`);
    const piped = await synced(home, ["--users-file", "-", "--shard", "2/3"], { input: ids.join("\n") });
    const named = await synced(home, [...ids.flatMap((id) => ["--user", id]), "--shard", "2/3"]);
    expect(named.users).toEqual(piped.users);
    await synced(home, ["--users-file", "-"], { input: ids.join("\n") });
    const all = await synced(home, ["--all", "--shard", "2/3"]);
    expect(new Set(all.users)).toEqual(new Set(piped.users));
    expect(documentsOf(all.run).at(-1)).toMatchObject({ shard: "2/3", total: piped.users.length });
    expect(piped.users.length).toBeGreaterThan(10);
  });
});
