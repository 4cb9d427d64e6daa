import type { Context } from "../../context.ts";
import { hashOfRecord, isOfNoUser, storedValue } from "../../model/key-record.ts";
import type { KeyRecord } from "../../model/key-record.ts";
import { logsOf } from "../../model/leaked-results.ts";
import type { LeakedResult } from "../../model/leaked-results.ts";
import type { UserId } from "../../model/user-id.ts";
import type { Warning } from "../../model/warning.ts";
import type { Recorded, SavedOutcome } from "../../ports/journal.ts";
import { keyShared, userWithoutKey } from "./leaked-warnings.ts";

/** Whose a key is. A row that holds it decides; without one, the journal of the keys that keyctl created. */
export type LeakedOwner = CurrentOwner | EarlierOwner;

/** The key is the one that the user has now. */
export interface CurrentOwner {
  readonly kind: "current";
  readonly userId: UserId;
  readonly row: KeyRecord;
  /** OpenRouter's id of the key. */
  readonly upstreamId: string;
  /** keyctl created it for this user. */
  readonly isOurs: boolean;
  /** The other users who have the same key. */
  readonly others: readonly UserId[];
}

/** keyctl created the key for this user, and no row holds it any more. */
export interface EarlierOwner {
  readonly kind: "earlier";
  readonly userId: UserId;
  readonly n: number;
  readonly keyHash: string;
  readonly upstreamId: string;
  /** The hash of the key that the user has now. */
  readonly successor: string | null;
}

/** The settled row of a user, with its true generation. */
export type FindSettled = (user: UserId) => Promise<KeyRecord | undefined>;

/** Null for a key that neither a row nor the journal knows. */
export async function ownerOf(
  hash: string,
  find: FindSettled,
  context: Pick<Context, "store" | "journal" | "requireSealed">,
  newSignal: () => AbortSignal,
): Promise<LeakedOwner | null> {
  const outcomes = await context.journal.outcomesOf([hash], newSignal());
  const users = new Set([...outcomes.map(({ userId }) => userId), ...(await usersWith(hash, context, newSignal))]);
  if (users.size === 0 && !context.requireSealed) {
    for (const user of await usersInClear(hash, context, newSignal)) users.add(user);
  }
  const rows = new Map<UserId, KeyRecord>();
  for (const user of users) {
    const row = await find(user);
    if (row !== undefined) rows.set(user, row);
  }
  return currentOwner(hash, [...rows.values()], outcomes) ?? earlierOwner(rows, outcomes);
}

/** What a result says of it before anything is done. */
export function describeOwner(
  owner: LeakedOwner | null,
  hash: string,
): Pick<LeakedResult, "owner" | "action" | "replacedBy" | "link"> {
  const link = logsOf(owner?.upstreamId ?? hash);
  if (owner === null) return { owner, action: "disable", replacedBy: null, link };
  const { userId, kind } = owner;
  const whose = { userId, current: kind === "current" };
  if (kind === "earlier") return { owner: whose, action: "purge", replacedBy: owner.successor, link };
  return { owner: whose, action: owner.isOurs ? "rotate" : "disable", replacedBy: null, link };
}

/** The users who have no working key once the key is disabled. */
export function usersWithoutKey(owner: LeakedOwner | null, hash: string, when: "now" | "then"): readonly Warning[] {
  if (owner?.kind !== "current") return [];
  const ofOwner = owner.isOurs ? [] : [userWithoutKey(owner.userId, when)];
  return [...keyShared(owner.others, hash, when), ...ofOwner];
}

function currentOwner(
  hash: string,
  rows: readonly KeyRecord[],
  outcomes: readonly Recorded<SavedOutcome>[],
): CurrentOwner | null {
  // Of a row that was not settled, the outcome may be younger than what was read here.
  const isCreatedFor = (row: KeyRecord) => row.generation > 0 || outcomes.some(({ userId }) => userId === row.userId);
  const holders = rows.filter((row) => hashOfRecord(row) === hash || row.upstreamHash === hash);
  const row = holders.find(isCreatedFor) ?? holders[0];
  if (row === undefined) return null;
  const { userId } = row;
  const others = holders.flatMap((holder) => (holder === row ? [] : [holder.userId]));
  const upstreamId = row.upstreamHash ?? outcomes[0]?.upstreamHash ?? hash;
  return { kind: "current", userId, row, upstreamId, isOurs: isCreatedFor(row), others };
}

function earlierOwner(
  rows: ReadonlyMap<UserId, KeyRecord>,
  outcomes: readonly Recorded<SavedOutcome>[],
): EarlierOwner | null {
  const [outcome] = outcomes;
  if (outcome === undefined) return null;
  const { userId, n, hash: keyHash, upstreamHash } = outcome;
  const successor = rows.get(userId)?.keyHash ?? null;
  return { kind: "earlier", userId, n, keyHash, upstreamId: upstreamHash ?? keyHash, successor };
}

function usersWith(hash: string, { store }: Pick<Context, "store">, newSignal: () => AbortSignal) {
  return usersAmong(store.scan(newSignal, hash), (row) => !isOfNoUser(row));
}

/** A row in plain text, as other programs write it, may have no hash that is indexed: all rows are compared. */
function usersInClear(hash: string, { store }: Pick<Context, "store">, newSignal: () => AbortSignal) {
  return usersAmong(store.scan(newSignal), ({ keyEncrypted }) => {
    const value = storedValue(keyEncrypted);
    return value.kind === "clear" && value.key.hash === hash;
  });
}

async function usersAmong(
  rows: AsyncIterable<KeyRecord>,
  isMeant: (row: KeyRecord) => boolean,
): Promise<readonly UserId[]> {
  const users: UserId[] = [];
  for await (const row of rows) if (isMeant(row)) users.push(row.userId);
  return users;
}
