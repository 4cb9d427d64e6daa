import type { ApiKey } from "./api-key.ts";
import { budgetOf } from "./budget.ts";
import { CheckRecorder } from "./check-recorder.ts";
import { isKeyctlError } from "./errors.ts";
import type { KeyctlError } from "./errors.ts";
import { examine, isUnconfirmed } from "./examiner.ts";
import type { Witnesses } from "./examiner.ts";
import { bornAt, storedValue, twoRows } from "./key-record.ts";
import type { KeyRecord, Timestamp } from "./key-record.ts";
import { silent } from "./log.ts";
import { firstOf } from "./patience.ts";
import { KeyListing } from "./key-listing.ts";
import { Pool } from "./pool.ts";
import type { Warning } from "./ports.ts";
import { openRow } from "./open-row.ts";
import type { Parts } from "./resolution.ts";
import type { UserId } from "./user-id.ts";
import { notStored, ofRow, validationFailed, witnesses } from "./validation.ts";
import type { Asking, Validation } from "./validation.ts";
import { storedVerdict } from "./verdict.ts";
import type { Verdict } from "./verdict.ts";

/**
 * The law of many verdicts: each distinct key is asked once, and a provider that is sick condemns nobody. Refusals that
 * no second witness has confirmed wait until all keys were asked; when they are more than half, they are nobody's verdict.
 */
export interface RunOptions extends Asking {
  readonly concurrency: number;
  /** A definite verdict that is younger than this is taken over, in milliseconds. */
  readonly notValidatedSinceMs?: number | undefined;
  /** Judge by the list of all keys, and ask only about those that are not on it. */
  readonly fromListing: boolean;
  /** The run is given up. */
  readonly signal: AbortSignal;
  /** The run is to end cleanly: what is under way has no result. */
  readonly stop?: AbortSignal | undefined;
}

export interface RunFacts {
  /** False when it ended before all users were done. */
  readonly complete: boolean;
  /** OpenRouter gave no answers any more, so that asking on made no sense. */
  readonly providerIsSick: boolean;
  readonly distinctKeys: number;
  readonly requests: number;
  readonly warnings: readonly Warning[];
}

const MASS = { fewest: 20, share: 1 / 2 } as const;
const SICK_IN_A_ROW = 20;
/** Results that wait to be taken. */
const MOST_WAITING = 1_000;
const LOOK_AGAIN_MS = 50;
const CHUNK = 100;

/** Undefined when the run ended first. */
type Answer = { readonly verdict: Verdict; readonly at: Timestamp } | undefined;

interface Held {
  readonly row: KeyRecord;
  readonly key: ApiKey;
  readonly at: Timestamp;
  readonly verdict: Verdict;
}

export class ValidationRun {
  readonly #parts: Parts;
  readonly #options: RunOptions;
  readonly #recorder: CheckRecorder;
  readonly #asking: Pool;
  readonly #settling: Pool;
  readonly #abandoned = new AbortController();
  readonly #signal: AbortSignal;
  readonly #answers = new Map<string, Promise<Answer>>();
  readonly #listedKeys = new Set<string>();
  readonly #held: Held[] = [];
  readonly #sentBefore: number;
  /** Each its own signal: hundreds of listeners on one look like a leak. */
  readonly #underWay = new Set<AbortController>();
  #witnesses: Promise<Witnesses> | undefined;
  #listing: Promise<KeyListing> | undefined;
  #warnings: readonly Warning[] = [];
  #finished: Validation[] = [];
  #failure: { readonly thrown: unknown } | undefined;
  #fed = false;
  #isComplete = false;
  #asked = 0;
  #refused = 0;
  #unknownInARow = 0;
  #isSick = false;
  /** By `performance.now()`: OpenRouter has asked us to send nothing before. */
  #holdUntil = 0;

  constructor(parts: Parts, options: RunOptions) {
    const { concurrency, signal, stop = new AbortController().signal, patience } = options;
    this.#parts = { ...parts, log: silent };
    this.#options = { ...options, stop };
    this.#recorder = new CheckRecorder(parts.store, patience);
    this.#asking = new Pool(concurrency);
    this.#settling = new Pool(concurrency * 4);
    this.#signal = firstOf(signal, stop, this.#abandoned.signal);
    this.#signal.addEventListener("abort", () => {
      for (const controller of this.#underWay) controller.abort(this.#signal.reason);
    });
    this.#sentBefore = parts.openRouter.sent();
  }

  get facts(): RunFacts {
    return {
      complete: this.#isComplete,
      providerIsSick: this.#isSick,
      distinctKeys: this.#answers.size + this.#listedKeys.size,
      requests: this.#parts.openRouter.sent() - this.#sentBefore,
      warnings: this.#warnings,
    };
  }

  /** Each result as soon as it is there. Throws what fails for all users. */
  async *results(batches: AsyncIterable<readonly UserId[]>): AsyncGenerator<readonly Validation[]> {
    const stopListening = this.#parts.openRouter.onPause(({ isRateLimited, waitMs }) => {
      if (isRateLimited) this.#holdUntil = Math.max(this.#holdUntil, performance.now() + waitMs);
    });
    void this.#feed(batches);
    try {
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure.thrown;
        const finished = this.#finished;
        if (finished.length > 0) {
          this.#finished = [];
          this.#settling.notify();
          yield finished;
        } else if (this.#fed && this.#settling.isIdle) break;
        else await this.#settling.change();
      }
      yield* this.#heldBack();
      this.#isComplete = !this.#isOver;
    } finally {
      stopListening();
      this.#warnings = [...this.#warnings, ...this.#parts.account.takeWarnings()];
      this.#abandoned.abort(new DOMException("the run is over", "AbortError"));
      this.#settling.notify();
      this.#asking.notify();
    }
  }

  async #feed(batches: AsyncIterable<readonly UserId[]>): Promise<void> {
    try {
      for await (const batch of batches) {
        if (this.#isOver) break;
        await this.#takeAll(batch);
        if (this.#isOver) break;
      }
    } catch (thrown) {
      this.#fail(thrown);
    }
    this.#fed = true;
    this.#settling.notify();
  }

  async #takeAll(batch: readonly UserId[]): Promise<void> {
    const rows = new Map<UserId, KeyRecord | KeyctlError>();
    for (const row of await this.#parts.store.findMany(batch, this.#options.patience())) {
      const twin = rows.get(row.userId);
      rows.set(row.userId, twin === undefined || isKeyctlError(twin) ? row : twoRows(twin, row));
    }
    for (const user of batch) {
      const row = rows.get(user) ?? notStored(user);
      if (isKeyctlError(row)) this.#finish(validationFailed(user, row));
      else await this.#take(row);
      if (this.#isOver) return;
    }
  }

  async #take(row: KeyRecord): Promise<void> {
    if (this.#options.fromListing && (await this.#takeFromListing(row))) return;
    const key = await this.#open(row);
    if (key === undefined || this.#takeOver(row, key)) return;
    if (this.#answers.has(key.hash)) return this.#settle(row, key);
    if (!(await this.#hasRoom())) return;
    const isProbe = this.#unknownInARow >= SICK_IN_A_ROW;
    this.#answers.set(key.hash, this.#answer(key, bornAt(row)));
    this.#settle(row, key);
    if (!isProbe) return;
    await this.#answers.get(key.hash);
    this.#isSick = this.#unknownInARow > SICK_IN_A_ROW;
  }

  /** A row that does not open is its user's error; no or wrong master keys are everybody's. */
  async #open(row: KeyRecord): Promise<ApiKey | undefined> {
    const signal = this.#options.patience();
    if (storedValue(row.keyEncrypted).kind === "sealed") await this.#parts.sealer("open", signal);
    try {
      return await openRow(row, this.#parts, signal);
    } catch (thrown) {
      if (!isKeyctlError(thrown)) throw thrown;
      this.#finish(validationFailed(row.userId, thrown));
      return undefined;
    }
  }

  /** A verdict that stands beside another key than the one that it is about is nobody's. */
  #takeOver(row: KeyRecord, key: ApiKey): boolean {
    const { notValidatedSinceMs, limits } = this.#options;
    const { lastCheck } = row;
    if (notValidatedSinceMs === undefined || lastCheck === null || row.keyHash !== key.hash) return false;
    if (Date.parse(lastCheck.at) < this.#now() - notValidatedSinceMs) return false;
    const judgement = {
      verdict: storedVerdict(lastCheck),
      at: lastCheck.at,
      resumed: true,
      recorded: true,
      warnings: [],
    };
    this.#finish(ofRow(row, key, judgement, limits));
    return true;
  }

  /** A key that is listed is judged unopened. */
  async #takeFromListing(row: KeyRecord): Promise<boolean> {
    const value = storedValue(row.keyEncrypted);
    const hash = value.kind === "clear" ? value.key.hash : row.keyHash;
    this.#witnesses ??= witnesses(this.#parts);
    this.#listing ??= this.#readListing(await this.#witnesses);
    const listing = await this.#listing;
    const verdict = hash === null || value.kind === "unreadable" ? undefined : listing.verdictOf(hash);
    if (verdict === undefined || hash === null) return false;
    this.#listedKeys.add(hash);
    const key = value.kind === "clear" ? value.key : undefined;
    await this.#place();
    this.#settling.start(() => this.#judge(row, key, verdict, listing.at));
    return true;
  }

  async #readListing({ keys, now }: Witnesses): Promise<KeyListing> {
    const budget = () => budgetOf(this.#options.timeoutMs, this.#signal);
    const listing = await KeyListing.read(keys, budget, now());
    this.#warnings = listing.warnings;
    return listing;
  }

  /** Never rejects. */
  #answer(key: ApiKey, born: number | undefined): Promise<Answer> {
    return new Promise((resolve) => {
      this.#asking.start(async () => {
        try {
          resolve(await this.#ask(key, born));
        } catch (thrown) {
          if (!this.#options.stop?.aborted) this.#fail(thrown);
          resolve(undefined);
        }
      });
    });
  }

  async #ask(key: ApiKey, born: number | undefined): Promise<Answer> {
    this.#witnesses ??= witnesses(this.#parts);
    const verdict = await this.#examine(key, await this.#witnesses, born);
    if (verdict.status === "unknown" && this.#isOver) return undefined;
    this.#asked += 1;
    if (isUnconfirmed(verdict)) this.#refused += 1;
    this.#unknownInARow = verdict.status === "unknown" && verdict.isAboutProvider ? this.#unknownInARow + 1 : 0;
    return { verdict, at: new Date(this.#now()).toISOString() };
  }

  async #examine(key: ApiKey, all: Witnesses, born: number | undefined): Promise<Verdict> {
    this.#signal.throwIfAborted();
    const controller = new AbortController();
    this.#underWay.add(controller);
    try {
      return await examine(key, all, budgetOf(this.#options.timeoutMs, controller.signal), born);
    } finally {
      this.#underWay.delete(controller);
    }
  }

  #settle(row: KeyRecord, key: ApiKey): void {
    this.#settling.start(async () => {
      const answer = await this.#answers.get(key.hash);
      if (answer === undefined) return;
      const { verdict, at } = answer;
      if (isUnconfirmed(verdict)) this.#held.push({ row, key, verdict, at });
      else await this.#judge(row, key, verdict, at);
    });
  }

  /** Never rejects. */
  async #judge(row: KeyRecord, key: ApiKey | undefined, verdict: Verdict, at: Timestamp): Promise<void> {
    try {
      const recording = await this.#recorder.record(row, verdict, at);
      this.#finish(ofRow(row, key, { verdict, at, resumed: false, ...recording }, this.#options.limits));
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  async *#heldBack(): AsyncGenerator<readonly Validation[]> {
    const isMass = this.#asked >= MASS.fewest && this.#refused > this.#asked * MASS.share;
    while (this.#held.length > 0) {
      for (const { row, key, verdict, at } of this.#held.splice(0, CHUNK)) {
        await this.#judge(row, key, isMass ? MASS_REFUSAL : verdict, at);
      }
      if (this.#failure !== undefined) throw this.#failure.thrown;
      yield this.#finished;
      this.#finished = [];
    }
  }

  /** False when no more is to be asked. A key that is asked alone, after many without an answer, is the probe. */
  async #hasRoom(): Promise<boolean> {
    for (;;) {
      await this.#place();
      if (this.#isOver) return false;
      const isSuspect = this.#unknownInARow >= SICK_IN_A_ROW;
      const holdMs = this.#holdUntil - performance.now();
      if (isSuspect ? !this.#asking.isIdle : this.#asking.isFull) await this.#asking.change();
      else if (holdMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(holdMs, LOOK_AGAIN_MS)));
      else return true;
    }
  }

  /** Waits while more results are under way than are taken. */
  async #place(): Promise<void> {
    while (!this.#isOver && (this.#settling.isFull || this.#finished.length >= MOST_WAITING)) {
      await this.#settling.change();
    }
  }

  get #isOver(): boolean {
    return this.#isSick || this.#failure !== undefined || this.#signal.aborted;
  }

  #finish(validation: Validation): void {
    this.#finished.push(validation);
    this.#settling.notify();
  }

  #fail(thrown: unknown): void {
    this.#failure ??= { thrown };
    this.#settling.notify();
    this.#asking.notify();
  }

  #now(): number {
    return this.#parts.clock.now().getTime();
  }
}

const MASS_REFUSAL: Verdict = {
  status: "unknown",
  reason: "mass_refusal",
  witness: null,
  detail: "OpenRouter refused more than half of all keys, which is more likely its mistake than theirs",
  isAboutProvider: true,
  remedy: undefined,
};
