import { mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { BSON } from "mongodb";
import type { Db, Document } from "mongodb";
import { emptyHome } from "../home/home.ts";
import type { Home } from "../home/home.ts";
import { openFile } from "../sqlite/sqlite.ts";
import type { Build } from "./earlier.ts";

/** The master key that sealed the stores in this folder. */
const MASTER_KEY = "SSdIlLO_wYEXH_1bt_-8vWU109sY9mnvR6mX2QLWM5o";

/** The bare key of each user in such a store. */
export type KeysOf = Readonly<Record<string, string>>;

const KEYS = JSON.parse(textOf("keys.json")) as Readonly<Record<Build, Readonly<Record<"sqlite" | "mongodb", KeysOf>>>>;

function textOf(name: string): string {
  return readFileSync(fileURLToPath(new URL(name, import.meta.url)), "utf8");
}

/** A home with the embedded store that this build has created, including its journal. */
export async function homeOf(build: Build): Promise<{ readonly home: Home; readonly keys: KeysOf }> {
  const home = withMasterKey(emptyHome());
  mkdirSync(dirname(home.database), { recursive: true });
  const database = await openFile(home.database);
  database.exec(
    "PRAGMA journal_mode=DELETE; DROP TABLE api_keys; DROP TABLE api_key_journal; DROP TABLE api_key_meta; DROP TABLE api_key_events",
  );
  database.exec(textOf(`${build}.sql`));
  database.close();
  return { home, keys: KEYS[build].sqlite };
}

/** Inserts the documents that this build has written into a database. */
export async function fill(db: Db, build: Build): Promise<KeysOf> {
  const stores = BSON.EJSON.parse(textOf("mongodb.json")) as Record<Build, Record<string, Document[]>>;
  for (const [name, documents] of Object.entries(stores[build])) {
    if (documents.length > 0) await db.collection(name).insertMany(documents);
  }
  return KEYS[build].mongodb;
}

export function withMasterKey(home: Home, more: NodeJS.ProcessEnv = {}): Home {
  return { ...home, environment: { ...home.environment, KEYCTL_MASTER_KEYS: MASTER_KEY, ...more } };
}
