// The floor of a bulk sync: AES-256-GCM of each key and an insert of each row, in batches of 500, and nothing else.
// Usage: bare-bulk.mjs <database made by keyctl> <file of user ids, or a number of rows> <key>
import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [path, users, key] = process.argv.slice(2);
const { DatabaseSync } =
  process.getBuiltinModule("node:sqlite") ?? createRequire(import.meta.url)("@photostructure/sqlite");
const ids = /^\d+$/.test(users)
  ? Array.from({ length: Number(users) }, (_, index) =>
      (0x68e228e8_0000n + BigInt(index)).toString(16).padStart(24, "0"),
    )
  : readFileSync(users, "utf8").split("\n");

const masterKey = randomBytes(32);
const hash = createHash("sha256").update(key).digest("hex");
const header = Buffer.from(
  JSON.stringify({ alg: "dir", enc: "A256GCM", kid: "k".repeat(43), sub: ids[0], prv: "openrouter" }),
).toString("base64url");
const now = new Date().toISOString();

const database = new DatabaseSync(path);
database.exec("PRAGMA synchronous=FULL; PRAGMA secure_delete=ON");
const insert = database.prepare(
  `INSERT INTO api_keys (_id, user_id, provider, key_encrypted, key_hash, key_tail, source, created_at, updated_at, revision, generation, settled)
   VALUES (?, ?, 'openrouter', ?, ?, ?, 'key.txt', ?, ?, 1, 0, 1)`,
);
for (let start = 0; start < ids.length; start += 500) {
  database.exec("BEGIN IMMEDIATE");
  for (const id of ids.slice(start, start + 500)) {
    const iv = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", masterKey, iv);
    const sealed = Buffer.concat([cipher.update(key, "utf8"), cipher.final()]);
    const value = `${header}..${iv.toString("base64url")}.${sealed.toString("base64url")}.${cipher.getAuthTag().toString("base64url")}`;
    insert.run(randomBytes(16).toString("hex"), id, value, hash, key.slice(-4), now, now);
  }
  database.exec("COMMIT");
}
database.close();
