import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { change, rowsOf } from "./database-file.ts";
import { documentsOf, errorOf } from "../programs/in-process.ts";
import type { Run } from "../programs/keyctl.ts";
import { hashOf, keyEnding } from "../fixtures/keys.ts";
import { stage } from "../home/tool-with-openrouter.ts";

const PAGE_BYTES = 4096;

/** Damages one page (numbered from 0) of a complete database. It may return fewer bytes than it is given. */
export type Damage = (bytes: Buffer, page: number) => Buffer;

/** Damage that SQLite always detects: the structure of the page is destroyed. */
export const WHOLE_PAGE: Readonly<Record<string, Damage>> = {
  zeroes: (bytes, page) => bytes.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES),
  ones: (bytes, page) => bytes.fill(0xff, page * PAGE_BYTES, (page + 1) * PAGE_BYTES),
  "random bytes": (bytes, page) => withRandom(bytes, page * PAGE_BYTES, PAGE_BYTES),
  // A part of the first page stays: an empty file counts as a database that is not created yet.
  "the end of the file": (bytes, page) => bytes.subarray(0, Math.max(512, page * PAGE_BYTES)),
};

/** Damage that SQLite may accept as a valid page. */
export const PART_OF_A_PAGE: Readonly<Record<string, Damage>> = {
  "zeroes in its first half": (bytes, page) => bytes.fill(0, page * PAGE_BYTES, page * PAGE_BYTES + PAGE_BYTES / 2),
  "zeroes in its second half": (bytes, page) =>
    bytes.fill(0, page * PAGE_BYTES + PAGE_BYTES / 2, (page + 1) * PAGE_BYTES),
  "random bytes in its second half": (bytes, page) =>
    withRandom(bytes, page * PAGE_BYTES + PAGE_BYTES / 2, PAGE_BYTES / 2),
  "the next page's content": (bytes, page) => {
    const next = ((page + 1) * PAGE_BYTES) % bytes.length;
    const own = Buffer.from(bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
    bytes.copy(bytes, page * PAGE_BYTES, next, next + PAGE_BYTES);
    own.copy(bytes, next);
    return bytes;
  },
  ...Object.fromEntries(
    Array.from({ length: 8 }, (_, sector): [string, Damage] => [
      `zeroes in its sector ${sector}`,
      (bytes, page) => bytes.fill(0, page * PAGE_BYTES + sector * 512, page * PAGE_BYTES + (sector + 1) * 512),
    ]),
  ),
  "one bit": (bytes, page) => {
    const at = page * PAGE_BYTES + (randomBytes(4, `bit ${page}`).readUInt32BE() % PAGE_BYTES);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    return bytes;
  },
};

/** The result of a command on a damaged database: `right` if it equals the result on a sound one, or an error code. */
export type Outcome = "right" | "WRONG" | "PAID KEY" | (string & {});

export interface DamagedDatabase {
  readonly pages: number;
  /** Sets the database of the next commands: a copy of the sound one with one damaged page. */
  readonly damage: (damage: Damage, page: number) => void;
  /** `get --stored` of all users, with their bare keys. */
  readonly getAll: () => Promise<Outcome>;
  readonly list: () => Promise<Outcome>;
  /** `get --stored` and `sync` of one user with a key, selected by `number`. */
  readonly get: (number: number) => Promise<Outcome>;
  readonly sync: (number: number) => Promise<Outcome>;
  /** The final error of doctor, and whether SQLite's own check (deep or quick) finds no damage. */
  readonly doctor: (deep: boolean) => Promise<{ readonly code: string | null; readonly isSound: boolean }>;
}

/** A database of `users` users with keys that were saved, created, replaced and purged. */
export async function damagedDatabase(users: number): Promise<DamagedDatabase> {
  const { home, server, run, given } = await stage();
  const made = Array.from({ length: Math.floor(users / 4) }, (_, index) => `made-${index}`);
  const saved = Array.from({ length: users - made.length }, (_, index) => `user-${index}-${"x".repeat(index % 40)}`);
  await given("sync --users-file - --quiet", {
    input: saved.join("\n"),
    env: { OPENROUTER_API_KEY: keyEnding("b465") },
  });
  await given("provision --users-file - --max-keys 100000 --label é".concat("é".repeat(150)), {
    input: made.join("\n"),
  });
  const [replaced = "", purged = ""] = made;
  await given(["save", "--user", replaced, "--stdin", "--replace"], { input: keyEnding("91aa") });
  await given(["purge", "--user", purged, "--yes"]);

  change(home.database, "PRAGMA wal_checkpoint(TRUNCATE)");
  const sound = readFileSync(home.database);
  const keys = new Map(
    documentsOf(await run("get --all --stored --reveal --json"))
      .slice(0, -1)
      .map((line) => [String(line["user_id"]), String(line["key"])]),
  );
  const names = [...keys.keys()];
  const listed = (await run("list --json")).stdout;
  // A new file each time: an earlier one may still be open in this process.
  let path = "";
  let files = 0;
  const at = (args: string | readonly string[]) => run(args, { env: { KEYCTL_STORE: `sqlite:${path}` } });
  const userOf = (number: number) => names[number % names.length] ?? "";
  return {
    pages: sound.length / PAGE_BYTES,
    damage(damage, page) {
      for (const ending of ["", "-journal", "-wal", "-shm"]) rmSync(path + ending, { force: true });
      files += 1;
      path = `${home.folder}/${files}.db`;
      writeFileSync(path, damage(Buffer.from(sound), page), { mode: 0o600 });
    },
    async getAll() {
      const done = await at("get --all --stored --reveal --json");
      const lines = documentsOf(done).filter(({ type }) => type === "user");
      const isWrong = lines.some((line) => line["error"] === null && keys.get(String(line["user_id"])) !== line["key"]);
      const codes = lines.flatMap(({ error }) => (error === null ? [] : [(error as { code: string }).code]));
      if (isWrong) return "WRONG";
      if (errorOf(done)?.code === "SOME_FAILED") return [...new Set(codes)].join(", ");
      return outcomeOf(done, () => lines.length === keys.size);
    },
    async list() {
      const done = await at("list --json");
      return outcomeOf(done, () => done.stdout === listed);
    },
    async get(number) {
      const user = userOf(number);
      const done = await at(["get", "--user", user, "--stored", "--reveal", "--json"]);
      return outcomeOf(done, () => documentsOf(done)[0]?.["key"] === keys.get(user));
    },
    async sync(number) {
      const user = userOf(number);
      const before = server.count("POST /keys");
      const done = await at(["sync", "--user", user, "--json"]);
      if (server.count("POST /keys") > before) return "PAID KEY";
      return outcomeOf(done, () => documentsOf(done)[0]?.["key_hash"] === hashOf(keys.get(user) ?? ""));
    },
    async doctor(deep) {
      const done = await at(["doctor", "--json", ...(deep ? ["--deep"] : [])]);
      return { code: errorOf(done)?.code ?? null, isSound: isSound(path, deep ? "integrity_check" : "quick_check") };
    },
  };
}

function outcomeOf(done: Run, isRight: () => boolean): Outcome {
  if (done.code !== 0) return errorOf(done)?.code ?? "no error";
  return isRight() ? "right" : "WRONG";
}

function isSound(path: string, check: "integrity_check" | "quick_check"): boolean {
  try {
    return rowsOf(path, `PRAGMA ${check}(1)`)[0]?.[check] === "ok";
  } catch {
    return false;
  }
}

function withRandom(bytes: Buffer, from: number, length: number): Buffer {
  randomBytes(length, String(from)).copy(bytes, from);
  return bytes;
}

/** The same bytes for the same seed. */
function randomBytes(length: number, seed: string): Buffer {
  return createHash("shake256", { outputLength: length }).update(seed).digest();
}
