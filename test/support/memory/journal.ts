import type { AccountBinding, Journal, Recorded } from "../../../src/core/ports/journal.ts";
import type { UserId } from "../../../src/core/model/user-id.ts";
import { entryId, isOfKind } from "../../../src/stores/format/journal-entry.ts";

/** An in-memory journal that fulfils the contract. `records` is its content, by id. */
export interface MemoryJournal extends Journal {
  readonly records: Map<string, Recorded>;
}

export function memoryJournal(...entries: readonly Recorded[]): MemoryJournal {
  const records = new Map(entries.map((entry) => [entryId(entry.userId, entry.kind, entry.n), entry]));
  let id = "9f2c0a7d41b6e853";
  let bound: AccountBinding | undefined;
  const of = (user: UserId) =>
    [...records.values()].filter(({ userId }) => userId === user).toSorted((one, other) => one.n - other.n);
  return {
    records,
    async deployment(signal) {
      signal.throwIfAborted();
      return id;
    },
    async existingDeployment(signal) {
      signal.throwIfAborted();
      return id;
    },
    async adoptDeployment(deployment, signal) {
      signal.throwIfAborted();
      if (records.size > 0) return deployment === id;
      id = deployment;
      return true;
    },
    async account(signal) {
      signal.throwIfAborted();
      return bound;
    },
    async bindAccount(account, signal) {
      signal.throwIfAborted();
      if (bound !== undefined) return false;
      bound = account;
      return true;
    },
    async rebindAccount(account, signal) {
      signal.throwIfAborted();
      bound = account;
    },
    async insertEntry(entry, signal) {
      signal.throwIfAborted();
      const place = entryId(entry.userId, entry.kind, entry.n);
      if (records.has(place)) return false;
      records.set(place, entry);
      return true;
    },
    async entry(user, kind, n, signal) {
      signal.throwIfAborted();
      const entry = records.get(entryId(user, kind, n));
      return isOfKind(entry, kind) ? entry : undefined;
    },
    async lastOperation(user, signal) {
      signal.throwIfAborted();
      return of(user).findLast((entry) => isOfKind(entry, "op"));
    },
    async entries(user, signal) {
      signal.throwIfAborted();
      return of(user);
    },
    async outcomesOf(hashes, signal) {
      signal.throwIfAborted();
      return [...records.values()]
        .filter((entry) => isOfKind(entry, "out"))
        .filter((out) => out.outcome === "saved")
        .filter(({ hash, upstreamHash }) => hashes.includes(hash) || hashes.includes(upstreamHash ?? hash));
    },
    async newestOutcomes(atMost, signal) {
      signal.throwIfAborted();
      return [...records.values()]
        .filter((entry) => isOfKind(entry, "out"))
        .filter((out) => out.outcome === "saved")
        .toSorted((one, other) => other.at.localeCompare(one.at) || inOrder(one, other))
        .slice(0, atMost);
    },
    async liveOperations([from, to], atMost, signal) {
      signal.throwIfAborted();
      const counted = [...records.values()]
        .filter((entry) => isOfKind(entry, "op"))
        .filter(({ at, deliberate }) => at >= from && at <= to && !deliberate)
        .toSorted((one, other) => one.at.localeCompare(other.at));
      const live = counted.flatMap(({ userId, n, at }) => {
        const out = records.get(entryId(userId, "out", n));
        return isOfKind(out, "out") && out.outcome === "abandoned" ? [] : [{ at, isSaved: out !== undefined }];
      });
      return live.slice(0, atMost);
    },
    async *retirements([from, to], newSignal) {
      newSignal().throwIfAborted();
      const due = [...records.values()].filter((entry) => isOfKind(entry, "due"));
      const inTime = due.filter(
        ({ userId, n, retireAt }) => retireAt >= from && retireAt <= to && !records.has(entryId(userId, "gone", n)),
      );
      for (const entry of inTime.toSorted((one, other) => one.retireAt.localeCompare(other.retireAt))) {
        newSignal().throwIfAborted();
        yield entry;
      }
    },
    async *scanJournal(patience) {
      for (const entry of [...records.values()].toSorted(inOrder)) {
        patience().throwIfAborted();
        yield entry;
      }
    },
  };
}

function inOrder(one: Recorded, other: Recorded): number {
  return entryId(one.userId, one.kind, one.n) < entryId(other.userId, other.kind, other.n) ? -1 : 1;
}
