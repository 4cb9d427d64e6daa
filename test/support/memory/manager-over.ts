import { ApiKey } from "../../../src/core/model/api-key.ts";
import { newRecord } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import { logLines } from "../../../src/core/model/log-event.ts";
import type { LogEvent } from "../../../src/core/model/log-event.ts";
import { KeyManager } from "../../../src/core/manager/manager.ts";
import type { KeySource, KeyStore, SourceReading } from "../../../src/core/ports/stores-and-sources.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import type { UserId } from "../../../src/core/model/user-id.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";
import { gate } from "../faults/latch.ts";
import { memoryHistory } from "./history.ts";
import { memoryJournal } from "./journal.ts";
import { memoryStore, nobodysLock, noOpenRouter } from "./store.ts";
import type { ManagerContext } from "../../../src/core/manager/manager-options.ts";

export const NOW = "2026-11-22T02:14:07.113Z";
export const EARLIER = "2025-10-05T09:00:00.000Z";
export const alice = parseUserId("alice");
export const sealer = createSealer(masterKey(Buffer.alloc(32, 1)));

export const keyEnding = (tail: string): ApiKey => ApiKey.parse(`sk-or-v1-${"0".repeat(60)}${tail}`) as ApiKey;
export const KEY = keyEnding("b465");
export const OTHER = keyEnding("91aa");

export const record = (user: UserId, key: ApiKey, origin = "manual"): KeyRecord =>
  newRecord(user, { key, sealed: sealer.seal(key, user), origin, now: EARLIER });
export const cleared = (user: UserId, key: ApiKey): KeyRecord => ({
  ...record(user, key),
  keyEncrypted: key.reveal(),
  keyHash: null,
  keyTail: null,
  revision: null,
});
export const unreadable = (user: UserId): KeyRecord => ({ ...record(user, KEY), keyEncrypted: "what is this?" });

/** A source that counts how often it is read. */
export function source(name: KeySource["name"], reading: SourceReading) {
  const counted = {
    name,
    place: name === "key.txt" ? "/srv/key.txt" : "OPENROUTER_API_KEY",
    reads: 0,
    async read() {
      counted.reads += 1;
      return { reading, warnings: [] };
    },
  };
  return counted;
}

export const found = (key: ApiKey): SourceReading => ({ status: "found", key });
export const holding = (name: KeySource["name"], key: ApiKey) => source(name, found(key));

/** A manager with these parts. `said` returns its log lines. */
export function managerOver(parts: Partial<ManagerContext> & { readonly store: KeyStore }) {
  const events: LogEvent[] = [];
  const manager = new KeyManager({
    lock: nobodysLock,
    sealer: async () => sealer,
    assertCanSeal: async () => {},
    sources: [],
    clock: { now: () => new Date(NOW) },
    log: (event) => events.push(event),
    ...noOpenRouter,
    journal: memoryJournal(),
    historyStore: memoryHistory(),
    hasManagementKey: () => false,
    autoProvision: true,
    timeoutMs: 30_000,
    ...parts,
  });
  return { manager, said: () => events.flatMap(logLines).map((line) => line.replace("[KeyManager] ", "")) };
}

/**
 * A store whose `find` waits for `release`. `reached` resolves at the first call; `finds` lists the user and signal of
 * each.
 */
export function gatedStore(...records: readonly KeyRecord[]) {
  const store = memoryStore(...records);
  const reached = gate();
  const held = gate();
  const finds: { readonly user: UserId; readonly signal: AbortSignal }[] = [];
  const gated: KeyStore = {
    ...store,
    async find(user, signal) {
      finds.push({ user, signal });
      reached.open();
      await new Promise<void>((resolve, reject) => {
        void held.opened.then(resolve);
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      return store.find(user, signal);
    },
  };
  return { store, gated, finds, reached: reached.opened, release: () => held.open() };
}

export async function* inBatches(...batches: readonly (readonly UserId[])[]): AsyncGenerator<readonly UserId[]> {
  yield* batches;
}

export async function all<Item>(items: AsyncIterable<readonly Item[]>): Promise<readonly Item[]> {
  const list: Item[] = [];
  for await (const batch of items) list.push(...batch);
  return list;
}
