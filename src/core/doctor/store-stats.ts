import { isKeyctlError } from "../model/errors.ts";
import { storedValue } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { holdsClear } from "../sealing/row-inspector.ts";
import { isTimeout } from "../async/deadline.ts";
import type { KeyStore, Sealer } from "../ports/stores-and-sources.ts";
import type { UserId } from "../model/user-id.ts";
import { formatNumber } from "../text/format.ts";
import { printable } from "../text/printable.ts";
import type { OnStep } from "../model/work-step.ts";

/** A count of users, and the first of them. */
export interface Sample {
  readonly count: number;
  readonly first: readonly UserId[];
}

/** `alice, bob and 3 more`. */
export function namesIn({ count, first }: Sample): string {
  const more = count > first.length ? ` and ${formatNumber(count - first.length)} more` : "";
  return `${first.map(printable).join(", ")}${more}`;
}

/** The counts of a store's rows, from one scan. */
export interface StoreStats {
  readonly total: number;
  readonly sealed: number;
  /** Rows that hold a key in plain text: the current key or the previous one. */
  readonly clear: Sample;
  /** Rows that hold neither a sealed value nor a key. */
  readonly unreadable: Sample;
  /** Users with two rows, which only other programs create. */
  readonly twins: Sample;
  /** Users whose key is a management key that is configured here. */
  readonly withManagementKey: Sample;
  readonly blocked: Blocked;
  /** Sealed rows that cannot be decrypted; null if no row was decrypted. */
  readonly unopened: Sample | null;
  /** How many keys each master key seals, by its id, including previous keys. Empty without a sealer. */
  readonly kids: ReadonlyMap<string, number>;
  /** False: the scan timed out before the last row. */
  readonly isComplete: boolean;
}

interface Blocked {
  readonly count: number;
  /** Users beside whose block another program has written a key. */
  readonly withKey: Sample;
}

/** Enough users to act on. A complete list is the job of another command. */
const FIRST = 5;
/** After this many rows, timers and signals get their turn. */
const ROWS_A_TURN = 500;

export interface CensusTask {
  readonly sealer: Sealer | undefined;
  /** Decrypt each sealed row. */
  readonly deep: boolean;
  /** The hashes of the keys that no user may have. */
  readonly managementKeys: ReadonlySet<string>;
  /** The number of rows, if it is known. */
  readonly total?: number | undefined;
  readonly onStep?: OnStep;
}

/** Scans every row. After a time-out, the result covers the rows so far and is not `isComplete`. */
export async function collectStoreStats(store: KeyStore, task: CensusTask, signal: AbortSignal): Promise<StoreStats> {
  const counter = new StatsCollector(task);
  try {
    for await (const { userId, keyEncrypted } of store.scanBlocked(() => signal)) {
      counter.addBlocked(userId, keyEncrypted !== "");
    }
    for await (const row of store.scan(() => signal)) {
      counter.add(row);
      task.onStep?.({ part: "rows", done: counter.total, total: task.total });
      if (counter.total % ROWS_A_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
  } catch (thrown) {
    if (!signal.aborted || !isTimeout(signal.reason)) throw thrown;
    return counter.census(false);
  }
  return counter.census(true);
}

class StatsCollector {
  total = 0;
  readonly #sealer: Sealer | undefined;
  readonly #deep: boolean;
  readonly #managementKeys: ReadonlySet<string>;
  readonly #kids = new Map<string, number>();
  readonly #unreadable = new SampledCount();
  readonly #twins = new SampledCount();
  readonly #unopened = new SampledCount();
  readonly #withManagementKey = new SampledCount();
  readonly #clear = new SampledCount();
  readonly #blockedWithKey = new SampledCount();
  #blocked = 0;
  #sealed = 0;
  #last: UserId | undefined;

  constructor({ sealer, deep, managementKeys }: CensusTask) {
    this.#sealer = sealer;
    this.#deep = deep && sealer !== undefined;
    this.#managementKeys = managementKeys;
  }

  /** Called in the order of the user ids. */
  add(row: KeyRecord): void {
    this.total += 1;
    if (row.userId === this.#last) this.#twins.add(row.userId);
    this.#last = row.userId;
    const value = storedValue(row.keyEncrypted);
    if (holdsClear(row)) this.#clear.add(row.userId);
    if (value.kind === "unreadable") this.#unreadable.add(row.userId);
    const hash = value.kind === "sealed" ? this.#addSealed(row) : value.kind === "clear" ? value.key.hash : null;
    if (hash !== null && this.#managementKeys.has(hash)) this.#withManagementKey.add(row.userId);
    if (typeof row.previous?.keyEncrypted === "string") this.#addPrevious(row.previous.keyEncrypted);
  }

  addBlocked(user: UserId, hasKey: boolean): void {
    this.#blocked += 1;
    if (hasKey) this.#blockedWithKey.add(user);
  }

  /** The previous key, kept until a change is final: its master key is needed as well. */
  #addPrevious(value: string): void {
    if (storedValue(value).kind === "sealed") this.#addKid(value);
  }

  #addKid(value: string): void {
    const kid = this.#sealer?.kidOf(value);
    if (kid !== undefined) this.#kids.set(kid, (this.#kids.get(kid) ?? 0) + 1);
  }

  /** The hash of the row's key: the recorded hash or, with `deep`, that of the decrypted key. */
  #addSealed({ userId, keyEncrypted, keyHash }: KeyRecord): string | null {
    this.#sealed += 1;
    this.#addKid(keyEncrypted);
    if (!this.#deep) return keyHash;
    try {
      return this.#sealer?.open(keyEncrypted, userId).hash ?? keyHash;
    } catch (thrown) {
      if (!isKeyctlError(thrown)) throw thrown;
      this.#unopened.add(userId);
      return keyHash;
    }
  }

  census(isComplete: boolean): StoreStats {
    return {
      total: this.total,
      sealed: this.#sealed,
      clear: this.#clear.sample,
      unreadable: this.#unreadable.sample,
      twins: this.#twins.sample,
      withManagementKey: this.#withManagementKey.sample,
      blocked: { count: this.#blocked, withKey: this.#blockedWithKey.sample },
      unopened: this.#deep ? this.#unopened.sample : null,
      kids: this.#kids,
      isComplete,
    };
  }
}

class SampledCount {
  #count = 0;
  readonly #first: UserId[] = [];

  add(user: UserId): void {
    this.#count += 1;
    if (this.#first.length < FIRST) this.#first.push(user);
  }

  get sample(): Sample {
    return { count: this.#count, first: this.#first };
  }
}
