import type { UserId } from "../model/user-id.ts";
import type { UpstreamKey } from "../ports/openrouter.ts";
import type { UpstreamSnapshot } from "./upstream-snapshot.ts";
import { parseKeyName, userPrefixOf } from "../model/key-name.ts";
import { foldJournal } from "./classify-key.ts";
import type { ReconcileContext } from "./reconcile-context.ts";

/** A key that this store created, or may have created, and its user. */
export interface OwnedKeys {
  readonly user: UserId;
  readonly keys: readonly UpstreamKey[];
}

const CHUNK = 500;

/**
 * Assigns the listed keys to users: first by the recorded hash, whatever a key's name is now, then by name. The rest of
 * this store's keys belongs to none of its users.
 */
export async function claims(
  inventory: UpstreamSnapshot,
  { journal, deployment, newSignal }: ReconcileContext,
  only: UserId | undefined,
): Promise<{ readonly claims: readonly OwnedKeys[]; readonly unclaimed: readonly UpstreamKey[] }> {
  const owners = new Map<UserId, UpstreamKey[]>();
  const give = (user: UserId, key: UpstreamKey) => {
    const keys = owners.get(user);
    if (keys === undefined) owners.set(user, [key]);
    else keys.push(key);
  };
  const candidates =
    only === undefined ? inventory.byHash : await keysOf(only, inventory, { journal, deployment }, newSignal());
  const unrecorded = new Map(candidates);
  const hashes = [...candidates.keys()];
  for (let start = 0; start < hashes.length; start += CHUNK) {
    for (const { userId, hash, upstreamHash } of await journal.outcomesOf(
      hashes.slice(start, start + CHUNK),
      newSignal(),
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
  else if (named.size > 0) for await (const { userId } of journal.scanJournal(newSignal)) take(userId);
  const all = [...owners].map(([user, keys]) => ({ user, keys }));
  return {
    claims: only === undefined ? all : all.filter(({ user }) => user === only),
    unclaimed: [...unrecorded.values()].filter(({ name }) => parseKeyName(name) !== undefined),
  };
}

/** The keys that were recorded for a user, or that are named for the user. */
async function keysOf(
  user: UserId,
  { byHash }: UpstreamSnapshot,
  { journal, deployment }: Pick<ReconcileContext, "journal" | "deployment">,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, UpstreamKey>> {
  const { out } = foldJournal(await journal.entries(user, signal));
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
