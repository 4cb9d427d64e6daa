import { isKeyctlError } from "./errors.ts";
import type { KeyctlError } from "./errors.ts";
import type { Inventory } from "./inventory.ts";
import { factsFrom, foreseen, judge } from "./judgement.ts";
import type { Judgement } from "./judgement.ts";
import { parseKeyName, userPrefixOf } from "./key-name.ts";
import type { KeyRecord } from "./key-record.ts";
import { repairKey, repairRow } from "./repairs.ts";
import type { Workshop } from "./repairs.ts";
import { judgedBy } from "./settling.ts";
import type { UpstreamKey } from "./upstream.ts";
import type { UserId } from "./user-id.ts";

export type FindingClass =
  /** Ours, and decided against: it is to go. */
  | "orphan"
  /** A purge died before it had removed the row. */
  | "purge_pending"
  /** Nobody has decided about it yet, and somebody may be at it. */
  | "undecided"
  | "unknown_nonce"
  | "other_deployment"
  /** Recorded as in use, and in nobody's row. */
  | "no_row"
  /** In a row, and gone upstream. */
  | "dangling_row"
  | "disabled"
  | "expired"
  /** One key of two users. */
  | "duplicate";

export interface Finding {
  readonly class: FindingClass;
  readonly userId: UserId | null;
  readonly keyHash: string | null;
  readonly name: string | null;
  readonly action: "delete" | "remove_row" | "none";
  readonly done: boolean;
  readonly error: KeyctlError | null;
}

export interface Tally {
  matched: number;
  /** Replaced or purged, and left alone because somebody wanted that. */
  kept: number;
}

/** A key that this store made, or may have made, and the user that it was made for. */
export interface Claim {
  readonly user: UserId;
  readonly keys: readonly UpstreamKey[];
}

const CHUNK = 500;
/** The row may come from another machine. */
const CLOCKS_DIFFER_MS = 60_000;

/**
 * Whose the listed keys are: by the hash that was recorded first, whatever a key's name says now, then by name. The
 * rest of ours belongs to no user of this store.
 */
export async function claims(
  inventory: Inventory,
  { journal, deployment, patience }: Workshop,
  only: UserId | undefined,
): Promise<{ readonly claims: readonly Claim[]; readonly unclaimed: readonly UpstreamKey[] }> {
  const owners = new Map<UserId, UpstreamKey[]>();
  const give = (user: UserId, key: UpstreamKey) => {
    const keys = owners.get(user);
    if (keys === undefined) owners.set(user, [key]);
    else keys.push(key);
  };
  const candidates =
    only === undefined ? inventory.byHash : await keysAbout(only, inventory, journal, deployment, patience());
  const unrecorded = new Map(candidates);
  const hashes = [...candidates.keys()];
  for (let start = 0; start < hashes.length; start += CHUNK) {
    for (const { userId, hash, upstreamHash } of await journal.outcomesOf(
      hashes.slice(start, start + CHUNK),
      patience(),
    )) {
      for (const id of [hash, upstreamHash]) {
        const key = id === null ? undefined : unrecorded.get(id);
        if (key === undefined) continue;
        unrecorded.delete(key.hash);
        give(userId, key);
      }
    }
  }
  const named = new Map<string, UpstreamKey[]>();
  for (const key of unrecorded.values()) {
    const name = parseKeyName(key.name);
    if (name?.deployment !== deployment) continue;
    named.set(name.userPrefix, [...(named.get(name.userPrefix) ?? []), key]);
  }
  const take = (user: UserId) => {
    for (const key of named.get(userPrefixOf(user)) ?? []) {
      unrecorded.delete(key.hash);
      give(user, key);
    }
    named.delete(userPrefixOf(user));
  };
  if (only !== undefined) take(only);
  else if (named.size > 0) for await (const { userId } of journal.scanJournal(patience)) take(userId);
  const all = [...owners].map(([user, keys]) => ({ user, keys }));
  return {
    claims: only === undefined ? all : all.filter(({ user }) => user === only),
    unclaimed: [...unrecorded.values()].filter(({ name }) => parseKeyName(name) !== undefined),
  };
}

/** The keys that were recorded for a user, or have a name of theirs. */
async function keysAbout(
  user: UserId,
  { byHash }: Inventory,
  journal: Workshop["journal"],
  deployment: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, UpstreamKey>> {
  const { out } = factsFrom(await journal.entries(user, signal));
  const hashes = new Set(
    [...out.values()].flatMap((entry) => (entry.outcome === "saved" ? [entry.hash, entry.upstreamHash] : [])),
  );
  const prefix = userPrefixOf(user);
  const isTheirs = ({ hash, name }: UpstreamKey) => {
    const parsed = parseKeyName(name);
    return hashes.has(hash) || (parsed?.deployment === deployment && parsed.userPrefix === prefix);
  };
  return new Map([...byHash].filter(([, key]) => isTheirs(key)));
}

export interface Plan {
  readonly findings: readonly Finding[];
  /** There is something to do, be it only to settle the row. */
  readonly needsRepair: boolean;
}

/** What would be done about a user's keys; changes nothing. */
export async function planFor(
  { user, keys }: Claim,
  inventory: Inventory,
  workshop: Workshop,
  tally: Tally,
): Promise<Plan> {
  const { store, journal, clock, deployment, patience } = workshop;
  const found = await store.find(user, patience());
  const facts = foreseen(found, factsFrom(await journal.entries(user, patience())));
  const row = found === undefined ? undefined : judgedBy(found, facts.out.get(found.generation));
  const now = clock.now().getTime();
  const isPurgePending = row !== undefined && row.generation > 0 && facts.rev.has(row.generation);
  const standing = isPurgePending ? undefined : row;
  const judged = keys.map((key) => ({ key, judgement: judge(key, facts, standing, { deployment, now }) }));
  for (const { judgement } of judged) count(judgement, tally);
  const ofKeys = judged.flatMap(({ key, judgement }) => findingOf(key, user, judgement, now));
  const findings = [...(isPurgePending ? [purgePending(row)] : []), ...ofKeys, ...danglingRow(standing, inventory)];
  const needsRepair = row?.settled === false || findings.some(({ action }) => action !== "none");
  return { findings, needsRepair };
}

/** Does it, judging each key anew by what stands then; a key that could not be removed does not stop the others. */
export async function repair({ user, keys }: Claim, workshop: Workshop): Promise<readonly Finding[]> {
  const { row, purged } = await repairRow(user, workshop);
  const findings: Finding[] = purged === undefined ? [] : [{ ...purgePending(purged), done: true }];
  const now = workshop.clock.now().getTime();
  for (const key of keys) {
    try {
      const end = await repairKey(key, user, row, workshop);
      findings.push(...(end.status === "removed" ? [removed(key, user)] : findingOf(key, user, end.judgement, now)));
    } catch (thrown) {
      if (!isKeyctlError(thrown) || !LEAVES_OTHERS.has(thrown.code)) throw thrown;
      findings.push({ ...removed(key, user), done: false, error: thrown });
    }
  }
  return findings;
}

const LEAVES_OTHERS: ReadonlySet<string> = new Set(["REVOKE_PENDING", "CONFLICT"]);

/** Purge 1 of a user without a row, once the retained keys are owed: what died half-way is finished, and what is owed is done. */
export async function finishPurges(
  user: UserId,
  inventory: Inventory,
  workshop: Workshop,
): Promise<{ readonly removed: number; readonly error: KeyctlError | null }> {
  const { claims: claimed } = await claims(inventory, workshop, user);
  const claim = claimed[0] ?? { user, keys: [] };
  const findings = await repair(claim, workshop);
  return {
    removed: findings.filter(({ action, done }) => action === "delete" && done).length,
    error: findings.find(({ error }) => error !== null)?.error ?? null,
  };
}

/** Of a key that no user of this store claims. */
export function unclaimed(key: UpstreamKey, deployment: string): Finding {
  const isOurs = parseKeyName(key.name)?.deployment === deployment;
  return reported(isOurs ? "unknown_nonce" : "other_deployment", key, null);
}

/** Of a second row with one key. */
export function duplicate({ userId, keyHash, name }: KeyRecord): Finding {
  return { class: "duplicate", userId, keyHash, name, action: "none", done: false, error: null };
}

function count({ kind }: Judgement, tally: Tally): void {
  if (kind === "keep") tally.matched += 1;
  if (kind === "kept") tally.kept += 1;
}

function findingOf(key: UpstreamKey, user: UserId, judgement: Judgement, now: number): readonly Finding[] {
  switch (judgement.kind) {
    case "keep":
      return stateOf(key, user, now);
    case "kept":
      return [];
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
  return key.expiresAt !== null && Date.parse(key.expiresAt) <= now ? [reported("expired", key, user)] : [];
}

/** A key that was made while the list was read may be missing there. */
function danglingRow(row: KeyRecord | undefined, { byHash, at, isStable }: Inventory): readonly Finding[] {
  if (row === undefined || row.generation === 0 || !isStable) return [];
  if (Date.parse(row.createdAt) > at - CLOCKS_DIFFER_MS) return [];
  const { userId, keyHash, upstreamHash, name } = row;
  const hash = upstreamHash ?? keyHash;
  if (hash === null || byHash.has(hash)) return [];
  return [{ class: "dangling_row", userId, keyHash, name, action: "none", done: false, error: null }];
}

function purgePending({ userId, keyHash, name }: KeyRecord): Finding {
  return { class: "purge_pending", userId, keyHash, name, action: "remove_row", done: false, error: null };
}

function toRemove({ hash, name }: UpstreamKey, userId: UserId): Finding {
  return { class: "orphan", userId, keyHash: hash, name, action: "delete", done: false, error: null };
}

function removed(key: UpstreamKey, user: UserId): Finding {
  return { ...toRemove(key, user), done: true };
}

function reported(kind: FindingClass, { hash, name }: UpstreamKey, userId: UserId | null): Finding {
  return { class: kind, userId, keyHash: hash, name, action: "none", done: false, error: null };
}
