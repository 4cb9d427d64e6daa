import { createRequire } from "node:module";

/** This Node's SQLite, or the drop-in for Node 20. It reads a database file without our own code. */
const sqlite: typeof import("node:sqlite") =
  process.getBuiltinModule("node:sqlite") ?? createRequire(import.meta.url)("@photostructure/sqlite");

export type StoredRow = Readonly<Record<string, unknown>>;

/** Returns the rows of this query. */
export function rowsOf(database: string, query: string): readonly StoredRow[] {
  const file = new sqlite.DatabaseSync(database);
  try {
    return file.prepare(query).all();
  } finally {
    file.close();
  }
}

/** Changes a database without the tool. */
export function change(database: string, sql: string): void {
  const file = new sqlite.DatabaseSync(database);
  try {
    file.exec(sql);
  } finally {
    file.close();
  }
}

/** Locks the database against reading and writing. Returns a function that releases the lock. */
export function holdLock(database: string): () => void {
  const file = new sqlite.DatabaseSync(database);
  file.exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE");
  return () => file.close();
}

/** A program in the middle of a read of the database: it sees the current state until it is closed. */
export function openReader(database: string): { readonly close: () => void } {
  const file = new sqlite.DatabaseSync(database);
  file.exec("BEGIN");
  file.prepare("SELECT count(*) FROM api_keys").get();
  return {
    close() {
      // On Node 20 the connection stays open until it is garbage-collected; its read transaction must end now.
      file.exec("COMMIT");
      file.close();
    },
  };
}
