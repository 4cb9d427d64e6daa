import { randomBytes } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { KeyctlError } from "../../core/model/errors.ts";

/**
 * **Invariant:** a released step of the schema is never edited: a change is a new step. The version is the number of
 * steps that were run; `api_key_meta` holds it.
 */
const STEPS: readonly string[] = [
  `CREATE TABLE api_keys (
     _id TEXT NOT NULL,
     user_id TEXT NOT NULL,
     provider TEXT NOT NULL,
     key_encrypted TEXT NOT NULL,
     key_hash TEXT,
     key_tail TEXT,
     source TEXT NOT NULL,
     created_at TEXT NOT NULL,
     updated_at TEXT NOT NULL,
     last_validated TEXT,
     last_check TEXT CHECK (last_check IS NULL OR json_valid(last_check)),
     revision INTEGER CHECK (revision BETWEEN 0 AND 9007199254740991),
     generation INTEGER NOT NULL DEFAULT 0 CHECK (generation BETWEEN 0 AND 9007199254740991),
     settled INTEGER NOT NULL DEFAULT 1
   ) STRICT;
   CREATE UNIQUE INDEX api_keys_user ON api_keys (user_id, provider);
   CREATE INDEX api_keys_hash ON api_keys (key_hash);
   CREATE TABLE api_key_meta (_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;`,
  `ALTER TABLE api_keys ADD COLUMN name TEXT;
   ALTER TABLE api_keys ADD COLUMN label TEXT;
   ALTER TABLE api_keys ADD COLUMN "limit" REAL;
   ALTER TABLE api_keys ADD COLUMN limit_reset TEXT;
   ALTER TABLE api_keys ADD COLUMN expires_at TEXT;
   ALTER TABLE api_keys ADD COLUMN upstream_hash TEXT;
   ALTER TABLE api_keys ADD COLUMN previous TEXT CHECK (previous IS NULL OR json_valid(previous));
   CREATE TABLE api_key_journal (
     _id TEXT PRIMARY KEY,
     user_id TEXT NOT NULL,
     at TEXT NOT NULL,
     body TEXT NOT NULL CHECK (json_valid(body)),
     hash TEXT AS (json_extract(body, '$.hash')),
     upstream_hash TEXT AS (json_extract(body, '$.upstream_hash'))
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX api_key_journal_hash ON api_key_journal (hash) WHERE hash IS NOT NULL;
   CREATE INDEX api_key_journal_upstream_hash ON api_key_journal (upstream_hash) WHERE upstream_hash IS NOT NULL;
   CREATE INDEX api_key_journal_at ON api_key_journal (at);`,
  `DROP INDEX api_key_journal_at;
   CREATE INDEX api_key_journal_counted ON api_key_journal (at)
     WHERE _id GLOB '*:op:*' AND json_extract(body, '$.deliberate') IS NULL;`,
  `ALTER TABLE api_keys ADD COLUMN limit_due TEXT CHECK (limit_due IS NULL OR json_valid(limit_due));
   ALTER TABLE api_keys ADD COLUMN restrictions TEXT CHECK (restrictions IS NULL OR json_valid(restrictions));
   CREATE INDEX api_keys_limit_due ON api_keys (json_extract(limit_due, '$.at')) WHERE limit_due IS NOT NULL;
   CREATE INDEX api_key_journal_retire_at ON api_key_journal (json_extract(body, '$.retire_at'), _id)
     WHERE _id GLOB '*:due:*';`,
  `ALTER TABLE api_keys ADD COLUMN blocked TEXT CHECK (blocked IS NULL OR json_valid(blocked));
   ALTER TABLE api_keys ADD COLUMN auto_renewed INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE api_keys ADD COLUMN last_renewal_at TEXT;
   CREATE INDEX api_keys_blocked ON api_keys (user_id) WHERE blocked IS NOT NULL;
   CREATE TABLE api_key_events (
     _id TEXT PRIMARY KEY,
     at TEXT NOT NULL,
     user_id TEXT NOT NULL,
     key_hash TEXT,
     body TEXT NOT NULL CHECK (json_valid(body))
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX api_key_events_at ON api_key_events (at, _id);
   CREATE INDEX api_key_events_user ON api_key_events (user_id, at, _id);
   CREATE INDEX api_key_events_hash ON api_key_events (key_hash, at, _id) WHERE key_hash IS NOT NULL;`,
];

export type SchemaVersion = number | "empty";

/** The version of the database's schema. Throws STORE_CORRUPT for the database of another program. */
export function schemaVersion(database: DatabaseSync): SchemaVersion {
  // One statement sees one state; between two statements another process may create the schema.
  const tables = database
    .prepare("SELECT count(*) AS total, count(*) FILTER (WHERE name = 'api_key_meta') AS ours FROM sqlite_schema")
    .get();
  if (tables?.["total"] === 0) return "empty";
  if (tables?.["ours"] === 1) {
    const row = database.prepare("SELECT value FROM api_key_meta WHERE _id = 'schema'").get();
    const version = Number(row?.["value"]);
    if (Number.isSafeInteger(version) && version > 0) return version;
  }
  throw new KeyctlError("STORE_CORRUPT", "the database file belongs to another program", {
    hint: "name another file with --store sqlite:<path>; nothing was written to this one",
  });
}

/** Runs the missing steps in one transaction, unless another process has run them meanwhile. Throws STORE_NEWER. */
export function migrate(database: DatabaseSync, seen: SchemaVersion): void {
  if (seen === STEPS.length) return;
  if (seen !== "empty" && seen > STEPS.length) {
    throw new KeyctlError(
      "STORE_NEWER",
      `the database was created by a newer keyctl (schema ${seen}, this one knows ${STEPS.length})`,
      {
        hint: "upgrade keyctl; nothing was written",
      },
    );
  }
  inTransaction(database, () => {
    const version = schemaVersion(database);
    const done = version === "empty" ? 0 : version;
    for (const step of STEPS.slice(done)) database.exec(step);
    const put = database.prepare(
      "INSERT INTO api_key_meta (_id, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
    );
    if (done === 0) put.run("deployment", randomBytes(8).toString("hex"));
    if (done < STEPS.length) put.run("schema", String(STEPS.length));
  });
}

/** All or nothing. Throws SQLite's error if the lock is held; nothing has changed then. */
export function inTransaction<Result>(database: DatabaseSync, act: () => Result): Result {
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = act();
    database.exec("COMMIT");
    return result;
  } catch (thrown) {
    rollBack(database);
    throw thrown;
  }
}

function rollBack(database: DatabaseSync): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // A full disk or a failed read has already rolled it back.
  }
}
