import type { ApiKey } from "../model/api-key.ts";
import { CheckRecorder } from "./check-recorder.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { KeyctlError } from "../model/errors.ts";
import { decideVerdict, isUnconfirmed } from "./decide-verdict.ts";
import type { VerdictSources } from "./decide-verdict.ts";
import { createdAtMs, storedValue, duplicateRowsError } from "../model/key-record.ts";
import type { KeyRecord, Timestamp } from "../model/key-record.ts";
import { silent } from "../model/log-event.ts";
import { anySignal, deadlineIn } from "../async/deadline.ts";
import { KeyListing } from "./key-listing.ts";
import { WorkerPool } from "../async/worker-pool.ts";
import { openRow } from "../sealing/open-row.ts";
import type { UserId } from "../model/user-id.ts";
import { notStored, validationOfRow, validationFailed, witnesses } from "./validate-key.ts";
import type { ValidateContext, Validation } from "./validate-key.ts";
import { storedVerdict } from "../model/verdict.ts";
import type { Verdict } from "../model/verdict.ts";
import type { Context } from "../context.ts";
import type { Warning } from "../model/warning.ts";

/**
 * The law of many verdicts: each distinct key is asked once, and a provider that is sick condemns nobody. Refusals that
 * no second witness has confirmed wait until all keys were asked; when they are more than half, they are nobody's verdict.
 */
export interface RunOptions extends ValidateContext {
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

const MASS_REFUSAL_LIMIT = { fewest: 20, share: 1 / 2 } as const;
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
  readonly #context: Context;
  readonly #options: RunOptions;
  readonly #recorder: CheckRecorder;
  readonly #asking: WorkerPool;
  readonly #settling: WorkerPool;
  readonly #abandoned = new AbortController();
  readonly #signal: AbortSignal;
  readonly #answers = new Map<string, Promise<Answer>>();
  readonly #listedKeys = new Set<string>();
  readonly #unconfirmed: Held[] = [];
  readonly #sentBefore: number;
  /** Each its own signal: hundreds of listeners on one look like a leak. */
  readonly #underWay = new Set<AbortController>();
  #witnesses: Promise<VerdictSources> | undefined;
  #listing: Promise<KeyListing> | undefined;
  #warnings: readonly Warning[] = [];
  #finished: Validation[] = [];
  #failure: { readonly thrown: unknown } | undefined;
  #inputEnded = false;
  #isComplete = false;
  #asked = 0;
  #refused = 0;
  #unknownInARow = 0;
  #isSick = false;
  /** By `performance.now()`: OpenRouter has asked us to send nothing before. */
  #holdUntil = 0;

  constructor(context: Context, options: RunOptions) {
    const { concurrency, signal, stop = new AbortController().signal, newSignal } = options;
    this.#context = { ...context, log: silent };
    this.#options = { ...options, stop };
    this.#recorder = new CheckRecorder(context.store, newSignal);
    this.#asking = new WorkerPool(concurrency);
    this.#settling = new WorkerPool(concurrency * 4);
    this.#signal = anySignal(signal, stop, this.#abandoned.signal);
    this.#signal.addEventListener("abort", () => {
      for (const controller of this.#underWay) controller.abort(this.#signal.reason);
    });
    this.#sentBefore = context.openRouter.sent();
  }

  get facts(): RunFacts {
    return {
      complete: this.#isComplete,
      providerIsSick: this.#isSick,
      distinctKeys: this.#answers.size + this.#listedKeys.size,
      requests: this.#context.openRouter.sent() - this.#sentBefore,
      warnings: this.#warnings,
    };
  }

  /** Each result as soon as it is there. Throws what fails for all users. */
  async *results(batches: AsyncIterable<readonly UserId[]>): AsyncGenerator<readonly Validation[]> {
    const stopListening = this.#context.openRouter.onPause(({ isRateLimited, waitMs }) => {
      if (isRateLimited) this.#holdUntil = Math.max(this.#holdUntil, performance.now() + waitMs);
    });
    void this.#feed(batches);
    try {
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure.thrown;
        const finished = this.#finished;
        if (finished.length > 0) {
          this.#finished = [];
          this.#settling.wake();
          yield finished;
        } else if (this.#inputEnded && this.#settling.isIdle) break;
        else await this.#settling.waitForChange();
      }
      yield* this.#heldBack();
      this.#isComplete = !this.#isOver;
    } finally {
      stopListening();
      this.#warnings = [...this.#warnings, ...this.#context.account.takeWarnings()];
      this.#abandoned.abort(new DOMException("the run is over", "AbortError"));
      this.#settling.wake();
      this.#asking.wake();
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
    this.#inputEnded = true;
    this.#settling.wake();
  }

  async #takeAll(batch: readonly UserId[]): Promise<void> {
    const rows = new Map<UserId, KeyRecord | KeyctlError>();
    for (const row of await this.#context.store.findMany(batch, this.#options.newSignal())) {
      const twin = rows.get(row.userId);
      rows.set(row.userId, twin === undefined || isKeyctlError(twin) ? row : duplicateRowsError(twin, row));
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
    this.#answers.set(key.hash, this.#answer(key, createdAtMs(row)));
    this.#settle(row, key);
    if (!isProbe) return;
    await this.#answers.get(key.hash);
    this.#isSick = this.#unknownInARow > SICK_IN_A_ROW;
  }

  /** A row that does not open is its user's error; no or wrong master keys are everybody's. */
  async #open(row: KeyRecord): Promise<ApiKey | undefined> {
    const signal = this.#options.newSignal();
    if (storedValue(row.keyEncrypted).kind === "sealed") await this.#context.sealer("open", signal);
    try {
      return await openRow(row, this.#context, signal);
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
    this.#finish(validationOfRow(row, key, judgement, limits));
    return true;
  }

  /** A key that is listed is judged unopened. */
  async #takeFromListing(row: KeyRecord): Promise<boolean> {
    const value = storedValue(row.keyEncrypted);
    const hash = value.kind === "clear" ? value.key.hash : row.keyHash;
    this.#witnesses ??= witnesses(this.#context);
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

  async #readListing({ keys, now }: VerdictSources): Promise<KeyListing> {
    const budget = () => deadlineIn(this.#options.timeoutMs, this.#signal);
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
    this.#witnesses ??= witnesses(this.#context);
    const verdict = await this.#examine(key, await this.#witnesses, born);
    if (verdict.status === "unknown" && this.#isOver) return undefined;
    this.#asked += 1;
    if (isUnconfirmed(verdict)) this.#refused += 1;
    this.#unknownInARow = verdict.status === "unknown" && verdict.isAboutProvider ? this.#unknownInARow + 1 : 0;
    return { verdict, at: new Date(this.#now()).toISOString() };
  }

  async #examine(key: ApiKey, all: VerdictSources, born: number | undefined): Promise<Verdict> {
    this.#signal.throwIfAborted();
    const controller = new AbortController();
    this.#underWay.add(controller);
    try {
      return await decideVerdict(key, all, deadlineIn(this.#options.timeoutMs, controller.signal), born);
    } finally {
      this.#underWay.delete(controller);
    }
  }

  #settle(row: KeyRecord, key: ApiKey): void {
    this.#settling.start(async () => {
      const answer = await this.#answers.get(key.hash);
      if (answer === undefined) return;
      const { verdict, at } = answer;
      if (isUnconfirmed(verdict)) this.#unconfirmed.push({ row, key, verdict, at });
      else await this.#judge(row, key, verdict, at);
    });
  }

  /** Never rejects. */
  async #judge(row: KeyRecord, key: ApiKey | undefined, verdict: Verdict, at: Timestamp): Promise<void> {
    try {
      const recording = await this.#recorder.record(row, verdict, at);
      this.#finish(validationOfRow(row, key, { verdict, at, resumed: false, ...recording }, this.#options.limits));
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  async *#heldBack(): AsyncGenerator<readonly Validation[]> {
    const isMass = this.#asked >= MASS_REFUSAL_LIMIT.fewest && this.#refused > this.#asked * MASS_REFUSAL_LIMIT.share;
    while (this.#unconfirmed.length > 0) {
      for (const { row, key, verdict, at } of this.#unconfirmed.splice(0, CHUNK)) {
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
      if (isSuspect ? !this.#asking.isIdle : this.#asking.isFull) await this.#asking.waitForChange();
      else if (holdMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(holdMs, LOOK_AGAIN_MS)));
      else return true;
    }
  }

  /** Waits while more results are under way than are taken. */
  async #place(): Promise<void> {
    while (!this.#isOver && (this.#settling.isFull || this.#finished.length >= MOST_WAITING)) {
      await this.#settling.waitForChange();
    }
  }

  get #isOver(): boolean {
    return this.#isSick || this.#failure !== undefined || this.#signal.aborted;
  }

  #finish(validation: Validation): void {
    this.#finished.push(validation);
    this.#settling.wake();
  }

  #fail(thrown: unknown): void {
    this.#failure ??= { thrown };
    this.#settling.wake();
    this.#asking.wake();
  }

  #now(): number {
    return this.#context.clock.now().getTime();
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
