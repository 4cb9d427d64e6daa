import type { HistoryEvent } from "../../../src/core/model/history-event.ts";
import type { HistoryStore } from "../../../src/core/ports/history.ts";

/** An in-memory history that fulfils the contract. `noted` is its content, by id. */
export interface MemoryHistory extends HistoryStore {
  readonly noted: Map<string, HistoryEvent>;
}

export function memoryHistory(): MemoryHistory {
  const noted = new Map<string, HistoryEvent>();
  return {
    noted,
    async addEvents(events, { replaces }, signal) {
      signal.throwIfAborted();
      for (const event of events) if (replaces || !noted.has(event.id)) noted.set(event.id, event);
    },
    async *events({ user, keyHash, since = "" }, newSignal) {
      for (const event of [...noted.values()].toSorted(newestFirst)) {
        newSignal().throwIfAborted();
        const isOfUser = user === undefined || event.userId === user;
        const isOfKey = keyHash === undefined || event.keyHash === keyHash;
        if (isOfUser && isOfKey && event.at >= since) yield event;
      }
    },
    async removeEventsBefore(before, newSignal) {
      newSignal().throwIfAborted();
      const old = [...noted.values()].filter(({ at }) => at < before);
      for (const [index, { id }] of old.entries()) {
        if (index % 100 === 0) newSignal().throwIfAborted();
        noted.delete(id);
      }
      return old.length;
    },
  };
}

function newestFirst(one: HistoryEvent, other: HistoryEvent): number {
  return `${one.at} ${one.id}` < `${other.at} ${other.id}` ? 1 : -1;
}
