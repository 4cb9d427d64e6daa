import { record } from "./journal-writes.ts";
import { parseKeyName } from "./key-name.ts";
import type { KeyRecord } from "./key-record.ts";
import { NOTHING_KNOWN, termsOf } from "./key-record.ts";
import { placeSpooled } from "./placing.ts";
import { randomBytes } from "./random.ts";
import type { Parts } from "./resolution.ts";
import type { SpooledKey } from "./spool.ts";
import { upstreamKeys } from "./upstream-access.ts";
import type { UpstreamKeys } from "./upstream.ts";
import type { UserId } from "./user-id.ts";

/**
 * Brings in what could not be stored when it was made: every command on a user does so before its own first step. The
 * renaming of the file is the claim, and what was claimed is never inserted again. Without a management key, a key that
 * is decided against could not be deleted: its file stays for somebody who has one.
 */
export async function importSpool(user: UserId, parts: Parts, signal: AbortSignal): Promise<void> {
  const { spool, journal } = parts;
  const waiting = await spool.list(await journal.deployment(signal), user);
  if (waiting.length === 0) return;
  // Before a claim, which nothing but the import may follow: a configuration that is refused must not cost a key.
  const keys = await upstreamKeys(parts);
  for (const key of waiting) {
    signal.throwIfAborted();
    await ensureOperation(key, parts, signal);
    if (key.sent || (await spool.claim(key))) await bringIn({ ...key, sent: true }, key.sent, keys, parts, signal);
  }
}

/**
 * A store that was restored from an older copy does not know the operation that made the key. It is written down before the
 * row, or the next operation would take its number.
 */
async function ensureOperation(key: SpooledKey, parts: Parts, signal: AbortSignal): Promise<void> {
  const { userId, n, name, label, limit, limitReset, expiresAt } = key;
  const nonce = parseKeyName(name ?? "")?.nonce;
  if (nonce === undefined || (await parts.journal.entry(userId, "op", n, signal)) !== undefined) return;
  const terms = { label, limit, limitReset, expiresAt, workspace: null };
  // Nothing is bought now: the hourly cap is not concerned.
  await record(userId, { kind: "op", n, nonce, ...terms, deliberate: true } as const, parts, signal);
}

async function bringIn(
  key: SpooledKey,
  wasSent: boolean,
  keys: UpstreamKeys | undefined,
  parts: Parts,
  signal: AbortSignal,
): Promise<void> {
  const { spool } = parts;
  const end = await placeSpooled(rowOf(key), wasSent, key.upstreamHash ?? key.keyHash, keys, parts, signal);
  if (end === "decided") return spool.remove(key);
  if (end === "undecided") return;
  if (!wasSent && !end.away.sent) await spool.release(key);
  throw end.away.error;
}

function rowOf(key: SpooledKey): KeyRecord {
  const { userId, n, keyEncrypted, keyHash, keyTail, origin, createdAt } = key;
  return {
    ...NOTHING_KNOWN,
    id: randomBytes(16).toString("hex"),
    revision: 1,
    userId,
    keyEncrypted,
    keyHash,
    keyTail,
    origin,
    createdAt,
    updatedAt: createdAt,
    foreignFields: [],
    generation: n,
    settled: false,
    ...termsOf(key),
  };
}
