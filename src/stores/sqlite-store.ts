import type { DatabaseSync, SQLInputValue, SQLOutputValue } from "node:sqlite";
import type { Journal } from "../core/journal.ts";
import { NO_TERMS, PROVIDER } from "../core/key-record.ts";
import type { KeyRecord, Terms, Version } from "../core/key-record.ts";
import type { Inspection, KeyStore, SealCheck, SealChecks } from "../core/ports.ts";
import type { UserId } from "../core/user-id.ts";
import { sqliteJournal } from "./sqlite-journal.ts";
import { inTransaction } from "./sqlite-schema.ts";
import { sqliteStatements } from "./sqlite-statements.ts";
import type { Row } from "./sqlite-statements.ts";
import { fieldsOfPrevious, previousIn } from "./stored-terms.ts";
import { lastCheckIn } from "./stored-values.ts";

const PAGE = 100;
const COLUMNS =
  '_id, user_id, provider, key_encrypted, key_hash, key_tail, source, created_at, updated_at, last_validated, last_check, revision, generation, settled, name, label, "limit", limit_reset, expires_at, upstream_hash, previous';
/** Most of the terms as one value: a column costs a reader the same when there is nothing in it. JSON would round a number. */
const READ =
  '_id, user_id, key_encrypted, key_hash, key_tail, source, created_at, updated_at, last_validated, last_check, revision, generation, settled, CASE WHEN generation > 0 THEN json_array(name, label, limit_reset, expires_at, upstream_hash) END AS terms, "limit", previous';
const SET =
  'key_encrypted = ?, key_hash = ?, key_tail = ?, source = ?, created_at = ?, updated_at = ?, last_validated = ?, last_check = ?, revision = ?, generation = ?, settled = ?, name = ?, label = ?, "limit" = ?, limit_reset = ?, expires_at = ?, upstream_hash = ?, previous = ?';

const SQL = {
  find: `SELECT ${READ} FROM api_keys WHERE user_id = ? AND provider = ?`,
  findMany: `SELECT ${READ} FROM api_keys WHERE user_id IN (SELECT value FROM json_each(?)) AND provider = ?`,
  insert: `INSERT INTO api_keys (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, provider) DO NOTHING`,
  replace: `UPDATE api_keys SET ${SET} WHERE user_id = ? AND provider = ? AND _id = ? AND revision IS ? AND key_encrypted = ?`,
  remove: "DELETE FROM api_keys WHERE user_id = ? AND provider = ? AND _id = ? AND revision IS ? AND key_encrypted = ?",
  check:
    "UPDATE api_keys SET last_check = ?, last_validated = coalesce(?, last_validated) WHERE _id = ? AND key_hash IS ?",
  page: `SELECT ${READ} FROM api_keys WHERE user_id > ? AND provider = ? ORDER BY user_id LIMIT ${PAGE}`,
  pageOfHash: `SELECT ${READ} FROM api_keys INDEXED BY api_keys_hash WHERE key_hash = ? AND user_id > ? AND provider = ? ORDER BY user_id LIMIT ${PAGE}`,
  count: "SELECT count(*) AS count FROM api_keys WHERE provider = ?",
  ping: "SELECT 1 FROM api_keys LIMIT 1",
  sealChecks: "SELECT _id, value FROM api_key_meta WHERE _id GLOB 'check:*'",
  insertSealCheck:
    "INSERT INTO api_key_meta (_id, value) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM api_key_meta WHERE _id GLOB 'check:*')",
  addSealCheck: "INSERT INTO api_key_meta (_id, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
  removeSealCheck: "DELETE FROM api_key_meta WHERE _id = ?",
} as const;

/**
 * The embedded store over an open database. Every call is one statement or one transaction, done in one go:
 * nothing stays open between two turns of the event loop, so that calls cannot mix and a kill cannot halve one.
 */
export function sqliteStore(database: DatabaseSync, path: string): KeyStore & SealChecks & Inspection & Journal {
  const { act, prepared, one, all, changes, forget } = sqliteStatements(database, path, SQL);
  const journal = sqliteJournal(database, path);

  return {
    async find(user, signal) {
      const row = await one("find", [user, PROVIDER], signal);
      return row === undefined ? undefined : fromRow(row);
    },
    async findMany(users, signal) {
      return (await all("findMany", [JSON.stringify(users), PROVIDER], signal)).map(fromRow);
    },
    insert: (record, signal) => changes("insert", toRow(record), signal),
    insertMany: (records, signal) =>
      act(
        () =>
          inTransaction(database, () =>
            records.map((record) => prepared("insert").run(...toRow(record)).changes === 1),
          ),
        signal,
      ),
    replace: (record, seen, signal) =>
      changes("replace", [...contentOf(record), record.userId, PROVIDER, ...versionOf(seen)], signal),
    remove: (user, seen, signal) => changes("remove", [user, PROVIDER, ...versionOf(seen)], signal),
    recordCheck: ({ id, keyHash }, check, signal) =>
      changes("check", [JSON.stringify(check), check.verdict === "valid" ? check.at : null, id, keyHash], signal),
    async *scan(patience, keyHash) {
      let after = "";
      for (;;) {
        const page =
          keyHash === undefined
            ? await all("page", [after, PROVIDER], patience())
            : await all("pageOfHash", [keyHash, after, PROVIDER], patience());
        for (const row of page) yield fromRow(row);
        if (page.length < PAGE) return;
        after = String(page.at(-1)?.["user_id"]);
      }
    },
    async count(signal) {
      return Number((await one("count", [PROVIDER], signal))?.["count"]);
    },
    async ping(signal) {
      await one("ping", [], signal);
    },
    requireAtomicChanges: async () => {},
    async sealChecks(signal) {
      return (await all("sealChecks", [], signal)).map(toSealCheck);
    },
    insertFirstSealCheck: ({ kid, value }, signal) => changes("insertSealCheck", [`check:${kid}`, value], signal),
    async addSealCheck({ kid, value }, signal) {
      await changes("addSealCheck", [`check:${kid}`, value], signal);
    },
    async removeSealCheck(kid, signal) {
      await changes("removeSealCheck", [`check:${kid}`], signal);
    },
    async inspect(signal) {
      const { inspectDatabase } = await import("./sqlite-facts.ts");
      return inspectDatabase(database, path, signal);
    },
    ...journal.port,
    async close() {
      database.close();
      forget();
      journal.forget();
    },
  };
}

function toRow(record: KeyRecord): SQLInputValue[] {
  return [record.id, record.userId, PROVIDER, ...contentOf(record)];
}

/** What a change compares, in the order of the statements. */
function versionOf({ id, revision, keyEncrypted }: Version): SQLInputValue[] {
  return [id, revision, keyEncrypted];
}

/** The columns that `SET` names, in its order. */
function contentOf(record: KeyRecord): SQLInputValue[] {
  return [
    record.keyEncrypted,
    record.keyHash,
    record.keyTail,
    record.origin,
    record.createdAt,
    record.updatedAt,
    record.lastValidated,
    record.lastCheck === null ? null : JSON.stringify(record.lastCheck),
    record.revision,
    record.generation,
    record.settled ? 1 : 0,
    record.name,
    record.label,
    record.limit,
    record.limitReset,
    record.expiresAt,
    record.upstreamHash,
    record.previous === null ? null : JSON.stringify(fieldsOfPrevious(record.previous)),
  ];
}

// The casts here and in termsIn are what the schema's STRICT columns and our own writing promise.
function fromRow(row: Row): KeyRecord {
  return {
    id: row["_id"] as string,
    userId: row["user_id"] as UserId,
    keyEncrypted: row["key_encrypted"] as string,
    keyHash: row["key_hash"] as string | null,
    keyTail: row["key_tail"] as string | null,
    origin: row["source"] as string,
    createdAt: row["created_at"] as string,
    updatedAt: row["updated_at"] as string,
    lastValidated: row["last_validated"] as string | null,
    lastCheck: lastCheckIn(parsed(row["last_check"])),
    revision: row["revision"] as Version["revision"],
    generation: row["generation"] as number,
    settled: row["settled"] === 1,
    foreignFields: [],
    ...termsIn(row),
    previous: previousIn(parsed(row["previous"])),
  };
}

function parsed(json: SQLOutputValue | undefined): unknown {
  return typeof json === "string" ? JSON.parse(json) : null;
}

function toSealCheck(row: Row): SealCheck {
  return { kid: String(row["_id"]).slice("check:".length), value: String(row["value"]) };
}

function termsIn(row: Row): Terms {
  if (typeof row["terms"] !== "string") return NO_TERMS;
  const [name, label, limitReset, expiresAt, upstreamHash] = JSON.parse(row["terms"]) as Texts;
  return { name, label, limit: row["limit"] as number | null, limitReset, expiresAt, upstreamHash };
}

type Texts = [
  name: Terms["name"],
  label: Terms["label"],
  limitReset: Terms["limitReset"],
  expiresAt: Terms["expiresAt"],
  upstreamHash: Terms["upstreamHash"],
];
