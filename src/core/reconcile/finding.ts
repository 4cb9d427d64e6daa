import type { UserId } from "../model/user-id.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { UpstreamKey } from "../ports/openrouter.ts";
import { isFromFuture } from "../model/clock-skew.ts";
import { expiryMs, isOver } from "../model/expiry.ts";
import { parseKeyName } from "../model/key-name.ts";
import type { KeyRecord, Timestamp } from "../model/key-record.ts";
import type { KeyState } from "./classify-key.ts";
import type { UpstreamSnapshot } from "./upstream-snapshot.ts";

export type FindingClass =
  /** Replaced or purged, and left alive upstream on purpose. */
  | "kept"
  /** Ours and abandoned: to be deleted. */
  | "orphan"
  /** Replaced with a grace. `dueAt` is its end, when the key is to be deleted. */
  | "retiring"
  /** A lowered limit that is to be restored since `dueAt`. */
  | "limit_due"
  /** A purge died before it removed the row. */
  | "purge_pending"
  /** Has no outcome yet; another command may be creating it. */
  | "undecided"
  | "unknown_nonce"
  | "other_deployment"
  /** Recorded as in use, but in no row. */
  | "no_row"
  /** In a row, but missing upstream. */
  | "dangling_row"
  /** In a row or marked for deletion, and older than the store's binding to this account: it may still work. */
  | "other_account"
  | "disabled"
  | "expired"
  /** In a row, with an expiry that cannot be read. */
  | "expiry_unknown"
  /** One key shared by two users. */
  | "duplicate";

export interface Finding {
  readonly class: FindingClass;
  readonly userId: UserId | null;
  readonly keyHash: string | null;
  readonly name: string | null;
  readonly action: "delete" | "remove_row" | "restore_limit" | "none";
  /** Null unless a rotation has left something that is due at this time. */
  readonly dueAt: Timestamp | null;
  readonly done: boolean;
  readonly error: KeyctlError | null;
  /** What the list says of the key; null if it is not listed. */
  readonly listed: ListedKey | null;
}

/** Null: none. Undefined: the list does not say. */
export interface ListedKey {
  readonly createdAt: Timestamp | null;
  /** In USD. */
  readonly limit: number | null | undefined;
}

/** A finding that nothing is done about, before anything else is known of it. */
export const REPORTED = { action: "none", dueAt: null, done: false, error: null, listed: null } as const;

/** The row may come from another machine. */
const CLOCKS_DIFFER_MS = 60_000;

/** For a key that belongs to no user of this store. */
export function unclaimed(key: UpstreamKey, deployment: string): Finding {
  const isOurs = parseKeyName(key.name)?.deployment === deployment;
  return reported(isOurs ? "unknown_nonce" : "other_deployment", key, null);
}

/** For a second row with the same key. */
export function duplicate({ userId, keyHash, name }: KeyRecord): Finding {
  return { ...REPORTED, class: "duplicate", userId, keyHash, name };
}

export function findingOf(key: UpstreamKey, user: UserId, judgement: KeyState, now: number): readonly Finding[] {
  switch (judgement.kind) {
    case "keep":
      return stateOf(key, user, now);
    case "kept":
      return [reported("kept", key, user)];
    case "retiring":
      return [retiring(key, user, judgement)];
    case "owed":
      return [{ ...toRemove(key, user), ...(judgement.retireAt === null ? {} : RETIRED), dueAt: judgement.retireAt }];
    case "no-row":
      return [reported("no_row", key, user)];
    case "unknown":
      return [reported("unknown_nonce", key, user)];
    case "undecided":
      return [judgement.isFresh ? reported("undecided", key, user) : toRemove(key, user)];
    default:
      return [toRemove(key, user)];
  }
}

function stateOf(key: UpstreamKey, user: UserId, now: number): readonly Finding[] {
  if (key.disabled) return [reported("disabled", key, user)];
  if (isOver(key.expiresAt, now)) return [reported("expired", key, user)];
  return expiryMs(key.expiresAt) === "unknown" ? [reported("expiry_unknown", key, user)] : [];
}

/** A key that was created while the list was read may be missing from it. */
export function danglingRow(
  row: KeyRecord | undefined,
  { byHash, at, isStable }: UpstreamSnapshot,
): readonly Finding[] {
  if (row === undefined || row.generation === 0 || !isStable) return [];
  if (!isFromFuture(row.createdAt, at) && Date.parse(row.createdAt) > at - CLOCKS_DIFFER_MS) return [];
  const { userId, keyHash, upstreamHash, name } = row;
  const hash = upstreamHash ?? keyHash;
  if (hash === null || byHash.has(hash)) return [];
  return [{ ...REPORTED, class: "dangling_row", userId, keyHash, name }];
}

/** For a key that is still to be imported. */
export function undecided(finding: Finding): Finding {
  return { ...finding, class: "undecided", action: "none" };
}

export function purgePending({ userId, keyHash, name }: KeyRecord): Finding {
  return { ...REPORTED, class: "purge_pending", userId, keyHash, name, action: "remove_row" };
}

/** The finding of a key that is to be deleted. */
export function toRemove(key: UpstreamKey, user: UserId, kind: "orphan" | "kept" = "orphan"): Finding {
  return { ...reported(kind, key, user), action: "delete" };
}

function retiring(
  key: UpstreamKey,
  user: UserId,
  { retireAt, isDue }: Extract<KeyState, { kind: "retiring" }>,
): Finding {
  return { ...reported("retiring", key, user), action: isDue ? "delete" : "none", dueAt: retireAt };
}

const RETIRED = { class: "retiring" } as const;

/** For a row whose limit is due. */
export function limitDue({ userId, keyHash, name, limitDue: due }: KeyRecord): Finding {
  return { ...REPORTED, class: "limit_due", userId, keyHash, name, action: "restore_limit", dueAt: due?.at ?? null };
}

function reported(kind: FindingClass, key: UpstreamKey, userId: UserId | null): Finding {
  const { hash: keyHash, name } = key;
  return { ...REPORTED, class: kind, userId, keyHash, name, listed: key };
}
