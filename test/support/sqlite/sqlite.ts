import type { DatabaseSync } from "node:sqlite";
import { openDatabase } from "../../../src/stores/sqlite/database.ts";
import type { OpenedDatabase } from "../../../src/stores/sqlite/database.ts";
import { sqliteStore } from "../../../src/stores/sqlite/store.ts";

const patient = new AbortController().signal;

/** Opens the database file like keyctl, and creates a missing one. Works on Node 20, which has no `node:sqlite`. */
export async function openFile(path: string): Promise<DatabaseSync> {
  return (await opened(path)).connection;
}

export async function openStore(path: string) {
  return sqliteStore(await opened(path));
}

export async function opened(path: string): Promise<OpenedDatabase> {
  const database = await openDatabase(path, true, patient);
  if (database === undefined) throw new Error(`no database at ${path}`);
  return database;
}
