import type { ApiKey } from "./api-key.ts";
import { Candidates } from "./candidates.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import { maskOfRecord, newRecord, withKey } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import { silent } from "./log.ts";
import type { Warning } from "./ports.ts";
import { printable } from "./printable.ts";
import { ATTEMPTS, contended, openRow } from "./resolution.ts";
import type { Parts } from "./resolution.ts";
import { insertRow, removeRow, replaceRow } from "./row-writes.ts";
import type { FormerKey, PurgeResult, SaveResult } from "./results.ts";
import { userFlag } from "./shell-quote.ts";
import type { UserId } from "./user-id.ts";

/**
 * The law of changes: no row is changed that was not read, and what was read is compared as it is changed.
 * A person's yes is for the key that they were shown, and for no other.
 */

/** Which other key may be replaced: none, any, or the one with this hash. */
export type Replace = "none" | "any" | { readonly keyHash: string | null };

export interface Change {
  readonly origin: string;
  readonly replace: Replace;
  /** Asked before anything is written, and when the key is there already; throws why it may not be stored. */
  readonly approve?: () => Promise<void>;
}

/** Inserts, or replaces by compare-and-set what `replace` allows; a lost race begins anew. */
export async function saveKey(
  user: UserId,
  key: ApiKey,
  { origin, replace, approve }: Change,
  parts: Parts,
  signal: AbortSignal,
): Promise<SaveResult> {
  const { store, sealer, clock, log } = parts;
  const sealed = (await sealer("seal", signal)).seal(key, user);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await store.find(user, signal);
    if (row !== undefined && (await holds(row, key, parts, signal))) {
      await approve?.();
      return savedResult(user, key, row.origin, { changed: false, previous: null });
    }
    if (row !== undefined) {
      refuseUnless(replace, row);
      await store.requireAtomicChanges(signal);
    }
    await approve?.();
    const now = clock.now().toISOString();
    const written =
      row === undefined
        ? await insertRow(store, newRecord(user, key, sealed, origin, now), signal)
        : await replaceRow(store, withKey(row, key, sealed, origin, now), row, signal);
    if (written) {
      log({ kind: "saved", origin, key });
      return savedResult(user, key, origin, { changed: true, previous: row === undefined ? null : formerKey(row) });
    }
  }
  throw contended(user);
}

/** Deletes by compare-and-set; with `onlyHash`, only the key that has it. */
export async function purgeKey(
  user: UserId,
  onlyHash: string | null | undefined,
  { store, sources }: Parts,
  signal: AbortSignal,
): Promise<PurgeResult> {
  const candidates = await Candidates.readBeside(sources);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await store.find(user, signal);
    const result = purgeOf(user, row, candidates);
    if (row === undefined) return result;
    if (onlyHash !== undefined && row.keyHash !== onlyHash) throw changedMeanwhile(user);
    if (await removeRow(store, user, row, signal)) return result;
  }
  throw contended(user);
}

/** What a purge of this user would remove; changes nothing. */
export async function previewPurge(user: UserId, { store, sources }: Parts, signal: AbortSignal): Promise<PurgeResult> {
  const row = await store.find(user, signal);
  return { ...purgeOf(user, row, await Candidates.readBeside(sources)), purged: false };
}

async function holds(row: KeyRecord, key: ApiKey, parts: Parts, signal: AbortSignal): Promise<boolean> {
  if (row.keyHash !== null && row.keyHash !== key.hash) return false;
  try {
    return (await openRow(row, { ...parts, log: silent }, signal)).equals(key);
  } catch (thrown) {
    // The master keys were proven before: what fails here is the row.
    if (isKeyctlError(thrown)) return false;
    throw thrown;
  }
}

function refuseUnless(replace: Replace, row: KeyRecord): void {
  if (replace === "any") return;
  if (typeof replace === "object") {
    if (replace.keyHash === row.keyHash) return;
    throw changedMeanwhile(row.userId);
  }
  const shown = maskOfRecord(row) ?? "unreadable";
  throw new KeyctlError(
    "KEY_EXISTS",
    `user ${printable(row.userId)} has another key already (${shown}, from ${printable(row.origin)})`,
    {
      hint: `keyctl save ${userFlag(row.userId)} --replace`,
    },
  );
}

function changedMeanwhile(user: UserId): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} was changed meanwhile; nothing was done`, {
    hint: `keyctl get ${userFlag(user)} --stored   shows what is there now`,
    retryable: true,
  });
}

function formerKey(row: KeyRecord): FormerKey {
  return { key: maskOfRecord(row), keyHash: row.keyHash, origin: row.origin };
}

function purgeOf(userId: UserId, row: KeyRecord | undefined, candidates: Candidates): PurgeResult {
  return {
    userId,
    former: row === undefined ? null : formerKey(row),
    purged: row !== undefined,
    returnsFrom: candidates.holders.map(({ name }) => name),
    warnings: [],
    error: null,
  };
}

function savedResult(
  userId: UserId,
  key: ApiKey,
  origin: string,
  change: Pick<SaveResult, "changed" | "previous">,
): SaveResult {
  const warnings: readonly Warning[] = key.hasUsualShape
    ? []
    : [
        {
          code: "KEY_SHAPE",
          message: "the key does not look like one that OpenRouter makes (sk-or-v1- and 64 hex characters)",
        },
      ];
  return { userId, key, keyHash: key.hash, origin, ...change, warnings, error: null };
}
