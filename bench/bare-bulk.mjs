// The floor of a bulk sync: AES-256-GCM of each key and an insert of each row, in batches of 500, and nothing else.
// Usage: bare-bulk.mjs <database created by keyctl> <file of user ids, or a number of rows> <key>
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { rowMaker, userId } from "./sealed-rows.mjs";

const [path, users, key] = process.argv.slice(2);
const { DatabaseSync } =
  process.getBuiltinModule("node:sqlite") ?? createRequire(import.meta.url)("@photostructure/sqlite");
const ids = /^\d+$/.test(users)
  ? Array.from({ length: Number(users) }, (_, index) => userId(index))
  : readFileSync(users, "utf8").split("\n");
const toRow = rowMaker(key, ids[0]);

const database = new DatabaseSync(path);
database.exec("PRAGMA synchronous=FULL; PRAGMA secure_delete=ON");
const insert = database.prepare(
  `INSERT INTO api_keys (_id, user_id, provider, key_encrypted, key_hash, key_tail, source, created_at, updated_at, revision, generation, settled)
   VALUES (?, ?, 'openrouter', ?, ?, ?, 'key.txt', ?, ?, 1, 0, 1)`,
);
for (let start = 0; start < ids.length; start += 500) {
  database.exec("BEGIN IMMEDIATE");
  for (const id of ids.slice(start, start + 500)) {
    const { _id: rowId, key_encrypted: sealed, key_hash: hash, key_tail: tail, created_at: createdAt } = toRow(id);
    insert.run(rowId, id, sealed, hash, tail, createdAt.toISOString(), createdAt.toISOString());
  }
  database.exec("COMMIT");
}
database.close();
