import type { KeyManager } from "../../../src/core/manager/manager.ts";
import type { HistoryEvent } from "../../../src/core/model/history-event.ts";
import type { Home } from "./home.ts";
import { withStore } from "./tool-with-openrouter.ts";

/** The history in the database of a home, oldest first. */
export function historyOf(home: Home): Promise<readonly HistoryEvent[]> {
  return withStore(home, async (store, signal) => {
    const events: HistoryEvent[] = [];
    for await (const event of store.events({}, () => signal)) events.push(event);
    return events.toReversed();
  });
}

/** `rotated 2 …a123`: the event, the number of a key that keyctl created, and the end of the key. */
export function eventInShort({ event, generation, keyTail }: HistoryEvent): string {
  return [event, generation, keyTail === null ? null : `…${keyTail}`].filter((part) => part !== null).join(" ");
}

/** Waits for the notes of this manager's calls: a slow write goes on after its call. */
export async function written(manager: KeyManager): Promise<void> {
  // The history begins with them.
  for await (const _ of manager.history({ since: new Date() })) return;
}
