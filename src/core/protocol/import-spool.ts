import { appendEntry } from "./write-journal.ts";
import { parseKeyName } from "../model/key-name.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { NOTHING_KNOWN, termsOf } from "../model/key-record.ts";
import { isKeyctlError } from "../model/errors.ts";
import { placeSpooled } from "./store-new-key.ts";
import type { KeyFromSpool } from "./store-new-key.ts";
import { randomBytes } from "../model/random-bytes.ts";
import type { SpooledKey } from "../ports/spool.ts";
import { upstreamKeys } from "./management-access.ts";
import type { AccountKeys } from "./management-access.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";

/**
 * Imports keys that could not be stored when they were created. Every command on a user does so before its own first step.
 * Renaming the file is the claim, and a claimed key is never inserted again. Without a management key, an abandoned key
 * cannot be deleted: its file stays for a command that has one.
 */
export async function importSpool(user: UserId, context: Context, signal: AbortSignal): Promise<void> {
  const { spool, journal } = context;
  const waiting = await spool.list(await journal.deployment(signal), user);
  if (waiting.length === 0) return;
  // Before the claim, which only the import may follow: a bad configuration must not cost a key.
  const keys = await upstreamKeys(context);
  for (const key of waiting) {
    signal.throwIfAborted();
    await ensureOperation(key, context, signal);
    if (key.sent || (await spool.claim(key))) await bringIn(key, keys, context, signal);
  }
}

/**
 * A store that was restored from an older copy does not know the operation that created the key. The operation is recorded
 * before the row, or the next operation would take its number.
 */
async function ensureOperation(key: SpooledKey, context: Context, signal: AbortSignal): Promise<void> {
  const { userId, n, name, label, limit, limitReset, expiresAt } = key;
  const nonce = parseKeyName(name ?? "")?.nonce;
  if (nonce === undefined || (await context.journal.entry(userId, "op", n, signal)) !== undefined) return;
  const terms = { label, limit, limitReset, expiresAt, workspace: null };
  // Nothing is created now, so the hourly cap does not apply.
  await appendEntry(userId, { kind: "op", n, nonce, ...terms, deliberate: true } as const, context, signal);
}

/** For a claimed key. */
async function bringIn(
  key: SpooledKey,
  keys: AccountKeys | undefined,
  context: Context,
  signal: AbortSignal,
): Promise<void> {
  const { spool } = context;
  const claimed = { ...key, sent: true };
  const upstreamId = key.upstreamHash ?? key.keyHash;
  const end = await place({ row: rowOf(key), upstreamId, keys, sent: key.sent }, context, signal);
  if (end === "decided") return spool.remove(claimed);
  if (end === "undecided") return;
  if (!key.sent && !end.unavailable.sent) await spool.release(claimed);
  throw end.unavailable.error;
}

/** A key that was taken out of its row by a block, after it was in use: the command itself meets the block. */
async function place(spooled: KeyFromSpool, context: Context, signal: AbortSignal) {
  try {
    return await placeSpooled(spooled, context, signal);
  } catch (thrown) {
    if (isKeyctlError(thrown) && thrown.code === "USER_BLOCKED") return "decided";
    throw thrown;
  }
}

/** The row for a spooled key. */
export function rowOf(key: SpooledKey): KeyRecord {
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
