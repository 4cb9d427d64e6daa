import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { hashOfRecord, maskOfRecord, newRecord, storedValue, withKey, withNewSeal } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { silent } from "../model/log-event.ts";
import { openRow } from "../sealing/open-row.ts";
import { isTimeout } from "../async/deadline.ts";
import { printable } from "../text/printable.ts";
import { confirmGiven, keyIsOwed, lookUpGiven } from "../protocol/given-key.ts";
import type { GivenKey } from "../protocol/given-key.ts";
import { changedMeanwhile, formerKey, KEPT, revokeUpstream, stillOwed } from "./revoke-key.ts";
import type { Revocation } from "./revoke-key.ts";
import { insertRow, replaceRow } from "../protocol/write-row.ts";
import type { SaveResult } from "../model/results.ts";
import {
  withTrueGeneration,
  confirmGeneration,
  markOwnSettled,
  previousOf,
  revokePredecessor,
} from "../protocol/settle-row.ts";
import { userFlag } from "../text/shell-quote.ts";
import { requireOwnAccount } from "../protocol/management-access.ts";
import type { UserId } from "../model/user-id.ts";
import { findKey } from "../protocol/find-key.ts";
import type { Context } from "../context.ts";
import { retryOnConflict } from "../protocol/contention.ts";
import { importSpooled } from "../protocol/spool-gate.ts";
import { shapeWarnings } from "./given-user-key.ts";

/** Which other key may be replaced: none, any, or the one with this hash. */
export type Replace = "none" | "any" | { readonly keyHash: string | null };

export interface SaveRequest {
  readonly key: ApiKey;
  readonly origin: string;
  readonly replace: Replace;
  /** Whether a replaced key that keyctl created is also deleted at OpenRouter. */
  readonly revoke: boolean;
  /** Called before any write, and also if the key is already stored; throws why the key may not be stored. */
  readonly approve?: () => Promise<void>;
}

/**
 * Inserts, or replaces by compare-and-set what `replace` allows; a lost race starts over. **Order:** STORE ROW, then REVOKE
 * PREDECESSOR: a save that dies or loses leaves no revocation of a key that is still in use.
 */
export async function saveKey(
  user: UserId,
  request: SaveRequest,
  context: Context,
  signal: AbortSignal,
): Promise<SaveResult> {
  const { store, sealer, clock, log } = context;
  const { key, origin, replace, revoke, approve } = request;
  if (revoke) await requireOwnAccount(context, "no key can be removed at OpenRouter", signal);
  await importSpooled(user, context, signal);
  // A failure of the master keys comes before OpenRouter is asked.
  await sealer("prepare", signal);
  return retryOnConflict(user, async () => {
    const found = await findKey(store, user, signal);
    if (found !== undefined && !(await confirmGeneration(found, context, signal))) return "conflict";
    const row = found === undefined ? undefined : await withTrueGeneration(found, context, signal);
    if (row !== undefined && (await holds(row, key, context, signal))) {
      await approve?.();
      return savedResult(user, key, row.origin, { changed: false, previous: null });
    }
    const isVouchedFor = row !== undefined && isInPlainText(row, key, context);
    if (row !== undefined) {
      if (!isVouchedFor) refuseUnless(replace, row);
      await store.requireAtomicChanges(signal);
    }
    await approve?.();
    // Only now: the approval may have taken longer than a master key stays in use.
    const sealed = (await sealer("seal", signal)).seal(key, user);
    const now = clock.now().toISOString();
    const next =
      row === undefined
        ? newRecord(user, { key, sealed, origin, now })
        : isVouchedFor
          ? withNewSeal(row, key, sealed, now)
          : successorOf(row, withKey(row, { key, sealed, origin, now }), revoke);
    if (!(await write({ key, row, next }, context, signal))) return "conflict";
    log({ kind: "saved", origin, key });
    const isSuccessor = row !== undefined && !isVouchedFor;
    context.history.note({ event: isSuccessor ? "replaced" : "saved", userId: user, key: next });
    if (!isSuccessor) return savedResult(user, key, next.origin, { changed: true, previous: null });
    const revocation = await afterReplacing({ row, next }, revoke, context, signal);
    const result = savedResult(user, key, origin, {
      changed: true,
      previous: { ...formerKey(row), revocation: revocation.status },
    });
    return revocation.status === "pending" ? { ...result, error: stillOwed(user, revocation.detail, "save") } : result;
  });
}

/** A row and its replacement; `row` is undefined if there is none. */
interface Replacement<Row> {
  readonly row: Row;
  readonly next: KeyRecord;
}

/**
 * REVOKE PREDECESSOR of the replaced row, then STORE ROW. False: the race was lost. Throws CONFLICT for a key that is
 * marked for deletion.
 */
async function write(
  { key, row, next }: Replacement<KeyRecord | undefined> & Pick<SaveRequest, "key">,
  context: Context,
  signal: AbortSignal,
): Promise<boolean> {
  const { store, journal } = context;
  if (row !== undefined) await revokePredecessor(row, context, signal);
  const given = refuseOwed(next, await lookUpGiven(key, journal, signal), "kept");
  const isDone = await (row === undefined ? insertRow(store, next, signal) : replaceRow(store, next, row, signal));
  const replaced = row === undefined ? "kept" : "lost";
  if (isDone) refuseOwed(next, await confirmGiven([next], given, context, signal), replaced);
  return isDone;
}

/** @param replaced what became of the user's previous key: `lost` if it was replaced before that was known */
function refuseOwed({ userId }: KeyRecord, given: GivenKey, replaced: "kept" | "lost"): GivenKey {
  if (given.kind === "owed") throw keyIsOwed(userId, given, replaced);
  return given;
}

/** The new row, with the note of a key that keyctl created and that is not retired yet. */
function successorOf(row: KeyRecord, next: KeyRecord, revoke: boolean): KeyRecord {
  return row.generation === 0
    ? next
    : { ...next, settled: false, previous: previousOf(row, { revoke, keyEncrypted: null }) };
}

/** REVOKE PREDECESSOR, DELETE UPSTREAM, SETTLE. The save itself is done: reconcile finishes what fails from here on. */
async function afterReplacing(
  { row, next }: Replacement<KeyRecord>,
  revoke: boolean,
  context: Context,
  signal: AbortSignal,
): Promise<Revocation> {
  if (row.generation === 0) return { status: revoke ? "not_ours" : "kept" };
  try {
    await revokePredecessor(next, context, signal);
    const revocation = revoke ? await revokeUpstream(row, context, signal) : KEPT;
    if (revocation.status !== "pending") await markOwnSettled(next, context, signal);
    return revocation;
  } catch (thrown) {
    if (!isKeyctlError(thrown) && !isTimeout(thrown)) throw thrown;
    return revoke ? { status: "pending", detail: isKeyctlError(thrown) ? thrown.message : "the time was over" } : KEPT;
  }
}

async function holds(row: KeyRecord, key: ApiKey, context: Context, signal: AbortSignal): Promise<boolean> {
  if (row.keyHash !== null && row.keyHash !== key.hash) return false;
  try {
    return (await openRow(row, { ...context, log: silent }, signal)).equals(key);
  } catch (thrown) {
    // The master keys were verified before: a failure here is the row's.
    if (isKeyctlError(thrown)) return false;
    throw thrown;
  }
}

/** The row is not read for what stands there in plain text: a person who gives that very key vouches for it, and it is sealed. */
function isInPlainText(row: KeyRecord, key: ApiKey, { requireSealed }: Context): boolean {
  return requireSealed && storedValue(row.keyEncrypted).kind === "clear" && hashOfRecord(row) === key.hash;
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
    `user ${printable(row.userId)} already has another key (${shown}, from ${printable(row.origin)})`,
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
  return { userId, key, keyHash: key.hash, origin, ...change, warnings: shapeWarnings(key), error: null };
}
