import type { ApiKey } from "./api-key.ts";
import { Candidates } from "./candidates.ts";
import { budgetOf } from "./budget.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import { managementKeyMissing } from "./key-listing.ts";
import { maskOfRecord, newRecord, storedValue, withKey } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import { silent } from "./log.ts";
import type { ManagementKey } from "./management-key.ts";
import { isTimeout } from "./patience.ts";
import type { Warning } from "./ports.ts";
import { printable } from "./printable.ts";
import { ATTEMPTS, contended, importSpooled, openRow } from "./resolution.ts";
import type { Parts } from "./resolution.ts";
import { insertRow, removeRow, replaceRow } from "./row-writes.ts";
import type { FormerKey, PurgeResult, SaveResult } from "./results.ts";
import { asItIs, isCurrent, markOwnSettled, previousOf, retire, retirePrevious } from "./settling.ts";
import { userFlag } from "./shell-quote.ts";
import { removeUpstream } from "./upstream-removal.ts";
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
  if (revoke) requireManagementKey(parts, "no key can be removed at OpenRouter");
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
    if (row === undefined) {
      if (!(await insertRow(store, newRecord(user, key, sealed, origin, now), signal))) continue;
      log({ kind: "saved", origin, key });
      return savedResult(user, key, origin, { changed: true, previous: null });
    }
    await retirePrevious(row, parts, signal);
    const successor = successorOf(row, withKey(row, key, sealed, origin, now), revoke);
    if (!(await replaceRow(store, successor, row, signal))) continue;
    log({ kind: "saved", origin, key });
    const revocation = await afterReplacing(row, successor, revoke, parts, signal);
    const result = savedResult(user, key, origin, {
      changed: true,
      previous: { ...formerKey(row), revocation: revocation.status },
    });
    return revocation.status === "pending" ? { ...result, error: stillOwed(user, revocation.detail, "save") } : result;
  }
  throw contended(user);
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

export interface Finished {
  /** How many keys were removed at OpenRouter. */
  readonly removed: number;
  /** The first thing that is still owed. */
  readonly error: KeyctlError | null;
}

export interface PurgeTask {
  /** Only the key with this hash: CONFLICT when another one is there by now. */
  readonly onlyHash?: string | null | undefined;
  /** Whether the key is also removed at OpenRouter: not, if keyctl made it, or whoever made it. */
  readonly revoke: "no" | "ours" | "foreign too";
  /** Finishes what earlier purges of a user without a row have left. Asked only with `revoke`. */
  readonly finish: (user: UserId, signal: AbortSignal) => Promise<Finished>;
}

/**
 * Deletes by compare-and-set. The revocation is written down before: a row that is gone has no room for a note. Upstream
 * comes last: the row never holds a dead key.
 */
export async function purgeKey(
  user: UserId,
  { onlyHash, revoke, finish }: PurgeTask,
  parts: Parts,
  signal: AbortSignal,
): Promise<PurgeResult> {
  const { store, sources } = parts;
  if (revoke !== "no") requireManagementKey(parts, "no key can be removed at OpenRouter");
  const candidates = await Candidates.readBeside(sources);
  await importSpooled(user, parts, signal);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const found = await store.find(user, signal);
    if (found === undefined) {
      if (revoke === "no") return purgeOf(user, undefined, candidates, null);
      const { removed, error } = await finish(user, signal);
      const revocation = error !== null ? "pending" : removed > 0 ? "done" : null;
      return { ...purgeOf(user, undefined, candidates, revocation), error };
    }
    if (!(await isCurrent(found, parts, signal))) continue;
    const row = await asItIs(found, parts, signal);
    if (onlyHash !== undefined && row.keyHash !== onlyHash) throw changedMeanwhile(user);
    if (row.generation === 0) await refuseForeign(row, revoke, parts, signal);
    await retirePrevious(row, parts, signal);
    if (row.generation > 0) await retire(user, row.generation, "purged", revoke !== "no", parts, signal);
    if (!(await removeRow(store, user, row, signal))) continue;
    return revoked(row, revoke, candidates, parts, signal);
  }
  throw contended(user);
}

async function revoked(
  row: KeyRecord,
  revoke: PurgeTask["revoke"],
  candidates: Candidates,
  parts: Parts,
  signal: AbortSignal,
): Promise<PurgeResult> {
  if (revoke === "no") return purgeOf(row.userId, row, candidates, "kept");
  const revocation = await revokeUpstream(row, parts, signal);
  const result = purgeOf(row.userId, row, candidates, revocation.status);
  if (revocation.status !== "pending") return result;
  if (row.generation > 0) return { ...result, error: stillOwed(row.userId, revocation.detail, "purge") };
  // No record of it is left: the same command would find nothing to do.
  const hash = hashInClear(row) ?? row.keyHash ?? "not known";
  const detail = `${revocation.detail} (its hash there is ${hash})`;
  return { ...result, error: stillOwed(row.userId, detail, "purge", "delete it at https://openrouter.ai/keys") };
}

/** A key that keyctl did not make goes only when that was asked for, and when no other user has it. */
async function refuseForeign(
  row: KeyRecord,
  revoke: PurgeTask["revoke"],
  { store }: Parts,
  signal: AbortSignal,
): Promise<void> {
  if (revoke === "no") return;
  if (revoke === "ours") {
    throw new KeyctlError(
      "FOREIGN_KEY",
      `keyctl did not make the key of user ${printable(row.userId)}; nothing was done`,
      {
        hint: `keyctl purge ${userFlag(row.userId)} --revoke-foreign   deletes it at OpenRouter all the same`,
      },
    );
  }
  const hash = hashInClear(row) ?? row.keyHash;
  if (hash === null) return;
  if (await isOfAnother(row, hash, store, signal)) {
    throw new KeyctlError("CONFLICT", `another user has the key of user ${printable(row.userId)}; nothing was done`, {
      hint: `keyctl list --hash ${hash}`,
    });
  }
}

/** A row in clear has no hash beside it that an index would know: those of the others are looked at one by one. */
async function isOfAnother(row: KeyRecord, hash: string, store: Parts["store"], signal: AbortSignal): Promise<boolean> {
  for await (const other of store.scan(() => signal, hash)) if (other.userId !== row.userId) return true;
  for await (const other of store.scan(() => signal)) {
    if (other.userId !== row.userId && hashInClear(other) === hash) return true;
  }
  return false;
}

type Revocation =
  | { readonly status: "done" | "kept" | "not_ours" }
  | { readonly status: "pending"; readonly detail: string };

const KEPT = { status: "kept" } as const;

/** Disabled, then deleted. What could not be confirmed is pending, never done. */
async function revokeUpstream(row: KeyRecord, parts: Parts, signal: AbortSignal): Promise<Revocation> {
  const hash = row.generation > 0 ? (row.upstreamHash ?? row.keyHash) : (hashInClear(row) ?? row.keyHash);
  if (hash === null) return { status: "pending", detail: "what is stored is no key, so that its hash is not known" };
  try {
    const keys = (await parts.openRouter.open()).keysUnder(requireManagementKey(parts, "no key can be removed"));
    const removal = await removeUpstream(hash, keys, budgetOf(REVOCATION_MS, signal));
    return removal.status === "unknown"
      ? { status: "pending", detail: `OpenRouter ${removal.detail}` }
      : { status: "done" };
  } catch (thrown) {
    if (isKeyctlError(thrown)) return { status: "pending", detail: thrown.message };
    if (isTimeout(thrown)) return { status: "pending", detail: "the time was over" };
    throw thrown;
  }
}

/** The caller's own time may be longer. */
const REVOCATION_MS = 30_000;

function hashInClear(row: KeyRecord): string | null {
  const value = storedValue(row.keyEncrypted);
  return value.kind === "clear" ? value.key.hash : null;
}

function stillOwed(user: UserId, detail: string, verb: "save" | "purge", otherHint?: string): KeyctlError {
  const what = verb === "save" ? "the key that was replaced" : "the key is out of the database but";
  const command = verb === "save" ? `reconcile ${userFlag(user)} --fix` : `purge ${userFlag(user)} --revoke`;
  const hint = otherHint ?? `keyctl ${command}`;
  return new KeyctlError("REVOKE_PENDING", `${what} may still work: ${detail}`, { hint, retryable: true });
}

function requireManagementKey({ managementKey }: Parts, what: string): ManagementKey {
  const key = managementKey();
  if (key === undefined) throw managementKeyMissing(what);
  return key;
}

/** What a purge of this user would remove; changes nothing. */
export async function previewPurge(user: UserId, { store, sources }: Parts, signal: AbortSignal): Promise<PurgeResult> {
  const row = await store.find(user, signal);
  return { ...purgeOf(user, row, await Candidates.readBeside(sources), null), purged: false };
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

function purgeOf(
  userId: UserId,
  row: KeyRecord | undefined,
  candidates: Candidates,
  revocation: PurgeResult["revocation"],
): PurgeResult {
  return {
    userId,
    former: row === undefined ? null : formerKey(row),
    purged: row !== undefined,
    revocation,
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
