import type { ApiKey } from "./api-key.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import { maskOfRecord, newRecord, withKey } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import { silent } from "./log.ts";
import { openRow } from "./open-row.ts";
import { isTimeout } from "./patience.ts";
import type { Warning } from "./ports.ts";
import { printable } from "./printable.ts";
import { ATTEMPTS, contended, importSpooled } from "./resolution.ts";
import { confirmGiven, keyIsOwed, lookUpGiven } from "./protocol/given-key.ts";
import type { GivenKey } from "./protocol/given-key.ts";
import type { Parts } from "./resolution.ts";
import { changedMeanwhile, formerKey, KEPT, revokeUpstream, stillOwed } from "./revocation.ts";
import type { Revocation } from "./revocation.ts";
import { insertRow, replaceRow } from "./row-writes.ts";
import type { SaveResult } from "./results.ts";
import { asItIs, isCurrent, markOwnSettled, previousOf, retirePrevious } from "./settling.ts";
import { userFlag } from "./shell-quote.ts";
import { requireOwnAccount } from "./upstream-access.ts";
import type { UserId } from "./user-id.ts";

/** Which other key may be replaced: none, any, or the one with this hash. */
export type Replace = "none" | "any" | { readonly keyHash: string | null };

export interface Change {
  readonly origin: string;
  readonly replace: Replace;
  /** Whether a replaced key that keyctl made is also removed at OpenRouter. */
  readonly revoke: boolean;
  /** Asked before anything is written, and when the key is there already; throws why it may not be stored. */
  readonly approve?: () => Promise<void>;
}

/**
 * Inserts, or replaces by compare-and-set what `replace` allows; a lost race begins anew. What was replaced is retired
 * after that: a save that dies or loses leaves no revocation of a key that is still in use.
 */
export async function saveKey(
  user: UserId,
  key: ApiKey,
  change: Change,
  parts: Parts,
  signal: AbortSignal,
): Promise<SaveResult> {
  const { store, sealer, clock, log } = parts;
  const { origin, replace, revoke, approve } = change;
  if (revoke) await requireOwnAccount(parts, "no key can be removed at OpenRouter", signal);
  await importSpooled(user, parts, signal);
  const sealed = (await sealer("seal", signal)).seal(key, user);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const found = await store.find(user, signal);
    if (found !== undefined && !(await isCurrent(found, parts, signal))) continue;
    const row = found === undefined ? undefined : await asItIs(found, parts, signal);
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
    const next =
      row === undefined
        ? newRecord(user, key, sealed, origin, now)
        : successorOf(row, withKey(row, key, sealed, origin, now), revoke);
    if (!(await write(next, row, key, parts, signal))) continue;
    log({ kind: "saved", origin, key });
    if (row === undefined) return savedResult(user, key, origin, { changed: true, previous: null });
    const revocation = await afterReplacing(row, next, revoke, parts, signal);
    const result = savedResult(user, key, origin, {
      changed: true,
      previous: { ...formerKey(row), revocation: revocation.status },
    });
    return revocation.status === "pending" ? { ...result, error: stillOwed(user, revocation.detail, "save") } : result;
  }
  throw contended(user);
}

/** Save 1 and 2. False: the race was lost. Throws CONFLICT for a key whose deletion was decided. */
async function write(
  next: KeyRecord,
  row: KeyRecord | undefined,
  key: ApiKey,
  parts: Parts,
  signal: AbortSignal,
): Promise<boolean> {
  const { store, journal } = parts;
  if (row !== undefined) await retirePrevious(row, parts, signal);
  const given = refuseOwed(next, await lookUpGiven(key, journal, signal), "kept");
  const isDone = await (row === undefined ? insertRow(store, next, signal) : replaceRow(store, next, row, signal));
  const replaced = row === undefined ? "kept" : "lost";
  if (isDone) refuseOwed(next, await confirmGiven([next], given, parts, signal), replaced);
  return isDone;
}

/** @param replaced what became of the key that the user had: `lost` when it was replaced before that was found out */
function refuseOwed({ userId }: KeyRecord, given: GivenKey, replaced: "kept" | "lost"): GivenKey {
  if (given.kind === "owed") throw keyIsOwed(userId, given.since, replaced);
  return given;
}

/** The new row, with the note of a key that keyctl made and that is not retired yet. */
function successorOf(row: KeyRecord, next: KeyRecord, revoke: boolean): KeyRecord {
  return row.generation === 0 ? next : { ...next, settled: false, previous: previousOf(row, revoke, null) };
}

/** Save 3. The save itself is done: what fails from here on is finished by reconcile. */
async function afterReplacing(
  row: KeyRecord,
  successor: KeyRecord,
  revoke: boolean,
  parts: Parts,
  signal: AbortSignal,
): Promise<Revocation> {
  if (row.generation === 0) return { status: revoke ? "not_ours" : "kept" };
  try {
    await retirePrevious(successor, parts, signal);
    const revocation = revoke ? await revokeUpstream(row, parts, signal) : KEPT;
    if (revocation.status !== "pending") await markOwnSettled(successor, parts, signal);
    return revocation;
  } catch (thrown) {
    if (!isKeyctlError(thrown) && !isTimeout(thrown)) throw thrown;
    return revoke ? { status: "pending", detail: isKeyctlError(thrown) ? thrown.message : "the time was over" } : KEPT;
  }
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
