import type { DatabaseSync } from "node:sqlite";

/** The schema of the first version. Users have databases with this schema, so it must not change. */
const SCHEMA_1 = `CREATE TABLE api_keys (
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
   CREATE TABLE api_key_meta (_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;`;

const ROW =
  "_id, user_id, provider, key_encrypted, key_hash, key_tail, source, created_at, updated_at, last_validated, last_check, revision, generation, settled";

/** Converts an open database to the first schema: keeps rows, checks and deployment, and removes everything newer. */
export function backToSchema1(database: DatabaseSync): void {
  database.exec(`
    BEGIN;
    CREATE TEMP TABLE rows AS SELECT ${ROW} FROM api_keys;
    CREATE TEMP TABLE meta AS SELECT * FROM api_key_meta;
    DROP TABLE api_keys;
    DROP TABLE api_key_meta;
    DROP TABLE api_key_journal;
    DROP TABLE api_key_events;
    ${SCHEMA_1}
    INSERT INTO api_keys (${ROW}) SELECT * FROM temp.rows;
    INSERT INTO api_key_meta SELECT * FROM temp.meta;
    UPDATE api_key_meta SET value = '1' WHERE _id = 'schema';
    DROP TABLE temp.rows;
    DROP TABLE temp.meta;
    COMMIT;`);
}
