import type { SQLInputValue } from "node:sqlite";
import { NO_TERMS, NOT_RENEWED, PROVIDER } from "../../core/model/key-record.ts";
import type { KeyRecord, Terms, Version } from "../../core/model/key-record.ts";
import { isTombstone } from "../../core/model/tombstone.ts";
import type { StoredRow } from "../../core/model/tombstone.ts";
import type { Store } from "../../core/ports/store.ts";
import type { KeyCheckValue } from "../../core/ports/stores-and-sources.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { countOf, countOrNullOf, fieldsOrNullOf, numberOrNullOf } from "./columns.ts";
import { nextAfter, parsedJson, textOf, textOrNullOf, textsOrNullOf } from "./columns.ts";
import { indexMisses } from "./errors.ts";
import type { OpenedDatabase } from "./database.ts";
import { sqliteHistory } from "./history.ts";
import { sqliteJournal } from "./journal.ts";
import { inTransaction } from "./schema.ts";
import { sqliteStatements } from "./statements.ts";
import type { Row } from "./statements.ts";
import { asRecord, tombstoneIn } from "../format/block.ts";
import { fieldsOfPrevious, limitDueIn, previousIn, renewalIn, restrictionsIn } from "../format/terms.ts";
import { fieldsOfCheck, lastCheckIn, limitResetIn } from "../format/values.ts";

const PAGE = 100;
/** The number of rows that one statement checks: a few milliseconds. */
const SLICE = 5000;
const MIN_ROWID = -Number.MAX_SAFE_INTEGER;
const COLUMNS =
  '_id, user_id, provider, key_encrypted, key_hash, key_tail, source, created_at, updated_at, last_validated, last_check, revision, generation, settled, name, label, "limit", limit_reset, expires_at, upstream_hash, limit_due, restrictions, auto_renewed, last_renewal_at, previous, blocked';
/** Reads most terms, and the renewal, as one value each, because even an empty column costs time. `limit` is separate: JSON would round it. */
const READ = `_id, user_id, key_encrypted, key_hash, key_tail, source, created_at, updated_at, last_validated, last_check, revision, generation, settled, CASE WHEN generation > 0 THEN json_array(name, label, limit_reset, expires_at, upstream_hash, limit_due, restrictions) END AS terms, "limit", CASE WHEN auto_renewed OR last_renewal_at IS NOT NULL THEN json_object('auto_renewed', json(iif(auto_renewed, 'true', 'false')), 'last_renewal_at', last_renewal_at) END AS renewal, previous, blocked`;
const SET =
  'key_encrypted = ?, key_hash = ?, key_tail = ?, source = ?, created_at = ?, updated_at = ?, last_validated = ?, last_check = ?, revision = ?, generation = ?, settled = ?, name = ?, label = ?, "limit" = ?, limit_reset = ?, expires_at = ?, upstream_hash = ?, limit_due = ?, restrictions = ?, auto_renewed = ?, last_renewal_at = ?, previous = ?, blocked = ?';

const SQL = {
  find: `SELECT ${READ} FROM api_keys WHERE user_id = ? AND provider = ?`,
  findMany: `SELECT ${READ} FROM api_keys WHERE user_id IN (SELECT value FROM json_each(?)) AND provider = ?`,
  insert: `INSERT INTO api_keys (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, provider) DO NOTHING`,
  replace: `UPDATE api_keys SET ${SET} WHERE user_id = ? AND provider = ? AND _id = ? AND revision IS ? AND key_encrypted = ?`,
  remove: "DELETE FROM api_keys WHERE user_id = ? AND provider = ? AND _id = ? AND revision IS ? AND key_encrypted = ?",
  check:
    "UPDATE api_keys SET last_check = ?, last_validated = coalesce(?, last_validated) WHERE _id = ? AND key_hash IS ?",
  page: `SELECT ${READ} FROM api_keys WHERE user_id > ? AND provider = ? AND blocked IS NULL ORDER BY user_id LIMIT ${PAGE}`,
  pageOfHash: `SELECT ${READ} FROM api_keys INDEXED BY api_keys_hash WHERE key_hash = ? AND user_id > ? AND provider = ? AND blocked IS NULL ORDER BY user_id LIMIT ${PAGE}`,
  // Reads the table itself without an index, one slice at a time.
  sliceOf: `SELECT count(*) AS rows, max(at) AS last, max(CASE WHEN user_id = ?2 AND provider = ?3 THEN at END) AS found
    FROM (SELECT rowid AS at, user_id, provider FROM api_keys NOT INDEXED WHERE rowid > ?1 ORDER BY rowid LIMIT ${SLICE})`,
  hidden: `SELECT 1 FROM api_keys NOT INDEXED WHERE rowid = ?1 AND user_id = ?2 AND provider = ?3
    AND NOT EXISTS (SELECT 1 FROM api_keys INDEXED BY api_keys_user WHERE user_id = ?2 AND provider = ?3)`,
  // With the conditions of a scan: without a condition, SQLite counts by the smallest index.
  uncounted: `SELECT 1 WHERE (SELECT count(*) FROM api_keys NOT INDEXED WHERE provider = ?1)
    <> (SELECT count(*) FROM api_keys INDEXED BY api_keys_user WHERE user_id > '' AND provider = ?1)`,
  // With the condition of the partial index.
  pageOfDueLimits: `SELECT ${READ} FROM api_keys INDEXED BY api_keys_limit_due
    WHERE limit_due IS NOT NULL AND json_extract(limit_due, '$.at') <= ? AND user_id > ? AND provider = ? AND blocked IS NULL ORDER BY user_id LIMIT ${PAGE}`,
  // With the condition of the partial index.
  pageOfBlocked: `SELECT ${READ} FROM api_keys INDEXED BY api_keys_blocked
    WHERE blocked IS NOT NULL AND user_id > ? AND provider = ? ORDER BY user_id LIMIT ${PAGE}`,
  // Two counts by indexes: a condition on the rows would read each of them.
  count: `SELECT (SELECT count(*) FROM api_keys WHERE provider = ?1)
    - (SELECT count(*) FROM api_keys INDEXED BY api_keys_blocked WHERE blocked IS NOT NULL AND provider = ?1) AS count`,
  ping: "SELECT 1 FROM api_keys LIMIT 1",
  keyCheckValues: "SELECT _id, value FROM api_key_meta WHERE _id GLOB 'check:*'",
  insertSealCheck:
    "INSERT INTO api_key_meta (_id, value) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM api_key_meta WHERE _id GLOB 'check:*')",
  addKeyCheckValue: "INSERT INTO api_key_meta (_id, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
  removeKeyCheckValue: "DELETE FROM api_key_meta WHERE _id = ?",
} as const;

/**
 * The embedded store over an open database. Every write is one statement or one transaction that runs within one turn
 * of the event loop: nothing stays open between two turns, so calls cannot mix and a kill cannot interrupt a write
 * halfway.
 */
export function sqliteStore(opened: OpenedDatabase): Store {
  const { connection: database, file } = opened;
  const { path, realPath } = file;
  const { write, prepared, one, all, changes, forget } = sqliteStatements(database, file, SQL);
  const journal = sqliteJournal(database, file);
  const history = sqliteHistory(database, file);
  const recordOf = (row: Row) => fromRow(row, path);
  const tombstoneOf = (row: Row) => tombstoneIn(recordOf(row), fieldsOrNullOf(row, "blocked", path));
  const rowOf = (row: Row): StoredRow => (row["blocked"] === null ? recordOf(row) : tombstoneOf(row));
  const pages = async function* (name: keyof typeof SQL, first: SQLInputValue[], newSignal: () => AbortSignal) {
    for (let after = ""; ;) {
      const page = await all(name, [...first, after, PROVIDER], newSignal());
      yield page;
      if (page.length < PAGE) return;
      after = nextAfter(after, page, "user_id", path);
    }
  };

  return {
    async find(user, signal) {
      const row = await one("find", [user, PROVIDER], signal);
      return row === undefined ? undefined : rowOf(row);
    },
    async findMany(users, signal) {
      return (await all("findMany", [JSON.stringify(users), PROVIDER], signal)).map(rowOf);
    },
    async assertAbsent(user, signal) {
      for (let after: SQLInputValue = MIN_ROWID; ;) {
        const slice: Row | undefined = await one("sliceOf", [after, user, PROVIDER], signal);
        const found = slice?.["found"] ?? null;
        if (found !== null && (await one("hidden", [found, user, PROVIDER], signal)) !== undefined) {
          throw indexMisses(path);
        }
        if (Number(slice?.["rows"]) < SLICE) return;
        after = slice?.["last"] ?? null;
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    insert: (row, signal) => changes("insert", toRow(row), signal),
    insertMany: (records, signal) =>
      write(
        () =>
          inTransaction(database, () =>
            records.map((record) => prepared("insert").run(...toRow(record)).changes === 1),
          ),
        signal,
      ),
    replace: (row, seen, signal) =>
      changes("replace", [...contentOf(row), row.userId, PROVIDER, ...versionOf(seen)], signal),
    remove: (user, seen, signal) => changes("remove", [user, PROVIDER, ...versionOf(seen)], signal),
    recordCheck: ({ id, keyHash }, check, signal) =>
      changes(
        "check",
        [JSON.stringify(fieldsOfCheck(check)), check.verdict === "valid" ? check.at : null, id, keyHash],
        signal,
      ),
    async *scan(newSignal, keyHash) {
      const found = keyHash === undefined ? pages("page", [], newSignal) : pages("pageOfHash", [keyHash], newSignal);
      for await (const page of found) for (const row of page) yield recordOf(row);
      // Rows that the index leaves out would be missing in a copy or in a change of the master key.
      if (keyHash === undefined && (await one("uncounted", [PROVIDER], newSignal())) !== undefined)
        throw indexMisses(path);
    },
    async *scanDueLimits(until, newSignal) {
      for await (const page of pages("pageOfDueLimits", [until], newSignal))
        for (const row of page) yield recordOf(row);
    },
    async *scanBlocked(newSignal) {
      for await (const page of pages("pageOfBlocked", [], newSignal)) for (const row of page) yield tombstoneOf(row);
    },
    async count(signal) {
      return Number((await one("count", [PROVIDER], signal))?.["count"]);
    },
    async eraseRemoved(task, signal) {
      const { eraseFromFile } = await import("./erase.ts");
      return eraseFromFile(database, file, task, signal);
    },
    async ping(signal) {
      await one("ping", [], signal);
    },
    requireAtomicChanges: async () => {},
    hasAtomicChanges: async () => true,
    async keyCheckValues(signal) {
      return (await all("keyCheckValues", [], signal)).map((row) => toSealCheck(row, path));
    },
    insertFirstKeyCheckValue: ({ kid, value }, signal) => changes("insertSealCheck", [`check:${kid}`, value], signal),
    async addKeyCheckValue({ kid, value }, signal) {
      await changes("addKeyCheckValue", [`check:${kid}`, value], signal);
    },
    async removeKeyCheckValue(kid, signal) {
      await changes("removeKeyCheckValue", [`check:${kid}`], signal);
    },
    async inspect(signal) {
      const { inspectDatabase } = await import("./inspect.ts");
      return inspectDatabase(database, realPath, signal);
    },
    async checkIntegrity(deep, signal) {
      const { checkIntegrity } = await import("./integrity.ts");
      return checkIntegrity({ database, path, location: file.location }, deep, signal);
    },
    async filesWithPlainText(signal) {
      const { filesWithPlainText } = await import("./plain-text.ts");
      return filesWithPlainText(file, signal);
    },
    ...journal.port,
    ...history.port,
    async close() {
      file.close(database);
      forget();
      journal.forget();
      history.forget();
    },
  };
}

function toRow(row: StoredRow): SQLInputValue[] {
  return [row.id, row.userId, PROVIDER, ...contentOf(row)];
}

/** The values that a change compares, in the order of the statements. */
function versionOf({ id, revision, keyEncrypted }: Version): SQLInputValue[] {
  return [id, revision, keyEncrypted];
}

/** The columns that `SET` names, in its order. */
function contentOf(row: StoredRow): SQLInputValue[] {
  const record = isTombstone(row) ? asRecord(row) : row;
  return [
    record.keyEncrypted,
    record.keyHash,
    record.keyTail,
    record.origin,
    record.createdAt,
    record.updatedAt,
    record.lastValidated,
    inJson(record.lastCheck === null ? null : fieldsOfCheck(record.lastCheck)),
    record.revision,
    record.generation,
    record.settled ? 1 : 0,
    record.name,
    record.label,
    record.limit,
    record.limitReset,
    record.expiresAt,
    record.upstreamHash,
    inJson(record.limitDue),
    inJson(record.restrictions),
    record.autoRenewed ? 1 : 0,
    record.lastRenewalAt,
    inJson(record.previous === null ? null : fieldsOfPrevious(record.previous)),
    inJson(isTombstone(row) ? row.blocked : null),
  ];
}

function inJson(value: object | null): string | null {
  return value === null ? null : JSON.stringify(value);
}

/** Throws STORE_CORRUPT for a row that keyctl cannot have written. */
function fromRow(row: Row, path: string): KeyRecord {
  return {
    id: textOf(row, "_id", path),
    // The id was validated when it was written.
    userId: textOf(row, "user_id", path) as UserId,
    keyEncrypted: textOf(row, "key_encrypted", path),
    keyHash: textOrNullOf(row, "key_hash", path),
    keyTail: textOrNullOf(row, "key_tail", path),
    origin: textOf(row, "source", path),
    createdAt: textOf(row, "created_at", path),
    updatedAt: textOf(row, "updated_at", path),
    lastValidated: textOrNullOf(row, "last_validated", path),
    lastCheck: lastCheckIn(fieldsOrNullOf(row, "last_check", path)),
    revision: countOrNullOf(row, "revision", path),
    generation: countOf(row, "generation", path),
    settled: countOf(row, "settled", path) === 1,
    foreignFields: [],
    ...termsIn(row, path),
    ...(row["renewal"] === null ? NOT_RENEWED : renewalIn(fieldsOrNullOf(row, "renewal", path) ?? {})),
    previous: previousIn(fieldsOrNullOf(row, "previous", path)),
  };
}

function toSealCheck(row: Row, path: string): KeyCheckValue {
  return { kid: textOf(row, "_id", path).slice("check:".length), value: textOf(row, "value", path) };
}

function termsIn(row: Row, path: string): Terms {
  const terms = textsOrNullOf(row, "terms", path);
  if (terms === null) return NO_TERMS;
  const [name = null, label = null, limitReset = null, expiresAt = null, upstreamHash = null, ...rotation] = terms;
  const [limitDue, restrictions] = rotation.map((json) => (json === null ? null : parsedJson(json)));
  return {
    name,
    label,
    limit: numberOrNullOf(row, "limit", path),
    limitReset: limitResetIn(limitReset),
    expiresAt,
    upstreamHash,
    limitDue: limitDueIn(limitDue),
    restrictions: restrictionsIn(restrictions),
  };
}
