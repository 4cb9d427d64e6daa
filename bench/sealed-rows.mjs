// The least that a bulk run creates: AES-256-GCM of a key for each user, as a document of api_keys.
import { createCipheriv, createHash, randomBytes } from "node:crypto";

const masterKey = randomBytes(32);
const now = new Date();

/** The id of the n-th user of a store: 24 hex characters. */
export function userId(index) {
  return (0x68e228e8_0000n + BigInt(index)).toString(16).padStart(24, "0");
}

/** The key of the n-th user, if each user has a different key. */
export function keyOf(index) {
  return `sk-or-v1-${index.toString(16).padStart(64, "0")}`;
}

/** A function that creates the row of a user with this key. */
export function rowMaker(key, sub) {
  const hash = createHash("sha256").update(key).digest("hex");
  const header = Buffer.from(
    JSON.stringify({ alg: "dir", enc: "A256GCM", kid: "k".repeat(43), sub, prv: "openrouter" }),
  ).toString("base64url");
  return (id) => {
    const iv = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", masterKey, iv);
    const sealed = Buffer.concat([cipher.update(key, "utf8"), cipher.final()]);
    return {
      _id: randomBytes(16).toString("hex"),
      user_id: id,
      provider: "openrouter",
      key_encrypted: `${header}..${iv.toString("base64url")}.${sealed.toString("base64url")}.${cipher.getAuthTag().toString("base64url")}`,
      key_hash: hash,
      key_tail: key.slice(-4),
      source: "key.txt",
      created_at: now,
      updated_at: now,
      last_validated: null,
      last_check: null,
      revision: 1,
      generation: 0,
      settled: true,
      previous: null,
    };
  };
}
