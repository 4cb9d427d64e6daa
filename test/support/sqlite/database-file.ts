import { createRequire } from "node:module";

/** SQLite as this Node has it, or the drop-in for Node 20: to look at a database file without our own code. */
const sqlite: typeof import("node:sqlite") =
  process.getBuiltinModule("node:sqlite") ?? createRequire(import.meta.url)("@photostructure/sqlite");

export type StoredRow = Readonly<Record<string, unknown>>;

/** The rows of this query. */
export function rowsOf(database: string, query: string): readonly StoredRow[] {
  const file = new sqlite.DatabaseSync(database);
  try {
    return file.prepare(query).all();
  } finally {
    file.close();
  }
}

/** Changes a database behind the tool's back. */
export function change(database: string, sql: string): void {
  const file = new sqlite.DatabaseSync(database);
  try {
    file.exec(sql);
  } finally {
    file.close();
  }
}

/** Locks the database against reading and writing; returns how to let go. */
export function holdLock(database: string): () => void {
  const file = new sqlite.DatabaseSync(database);
  file.exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE");
  return () => file.close();
}

/** A program that is in the middle of reading the database: it sees the state of now until it is closed. */
export function openReader(database: string): { readonly close: () => void } {
  const file = new sqlite.DatabaseSync(database);
  file.exec("BEGIN");
  file.prepare("SELECT count(*) FROM api_keys").get();
  return {
    close() {
      // On Node 20 the connection stays until it is garbage-collected; what it reads must not.
      file.exec("COMMIT");
      file.close();
    },
  };
}
