import type { ApiKey } from "../model/api-key.ts";
import { CheckRecorder } from "./check-recorder.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { KeyctlError } from "../model/errors.ts";
import { isUnconfirmed } from "./decide-verdict.ts";
import type { VerdictSources } from "./decide-verdict.ts";
import { createdAtMs, storedValue, duplicateRowsError } from "../model/key-record.ts";
import type { KeyRecord, Timestamp } from "../model/key-record.ts";
import { isFromFuture } from "../model/clock-skew.ts";
import { silent } from "../model/log-event.ts";
import { anySignal, deadlineIn } from "../async/deadline.ts";
import { KeyListing } from "./key-listing.ts";
import { WorkerPool } from "../async/worker-pool.ts";
import { openRow } from "../sealing/open-row.ts";
import { KeyAnswers } from "./key-answers.ts";
import { parsedBatches } from "../model/user-id.ts";
import type { UserBatches, UserId } from "../model/user-id.ts";
import { notStored, validationOfRow, validationFailed } from "./validate-key.ts";
import type { ValidateContext, Validation } from "./validate-key.ts";
import { futureTimeWarnings } from "../model/stored-key-warnings.ts";
import { storedVerdict } from "../model/verdict.ts";
import type { Verdict } from "../model/verdict.ts";
import { blockedError, isTombstone } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import type { Warning } from "../model/warning.ts";

export interface ValidationRunOptions extends ValidateContext {
  readonly concurrency: number;
  /** A definite verdict that is younger than this is reused, in milliseconds. */
  readonly notValidatedSinceMs?: number | undefined;
  /** Take verdicts from the list of all keys, and check only keys that are not listed. */
  readonly fromListing: boolean;
  /** Cancels the run. */
  readonly signal: AbortSignal;
  /** Ends the run without an error. Checks in flight have no result. */
  readonly stop?: AbortSignal | undefined;
}

export interface RunFacts {
  /** False if the run ended before all users had a result. */
  readonly complete: boolean;
  /** OpenRouter stopped answering, so the run ended early. */
  readonly providerIsSick: boolean;
  readonly distinctKeys: number;
  readonly requests: number;
  readonly warnings: readonly Warning[];
}

/** The limit of results that wait for the caller. */
const MAX_WAITING = 1_000;
const CHUNK = 100;

interface Held {
  readonly row: KeyRecord;
  readonly key: ApiKey;
  readonly at: Timestamp;
  readonly verdict: Verdict;
}

export class ValidationRun {
  readonly #context: Context;
  readonly #options: ValidationRunOptions;
  readonly #recorder: CheckRecorder;
  readonly #settling: WorkerPool;
  readonly #abandoned = new AbortController();
  readonly #signal: AbortSignal;
  readonly #answers: KeyAnswers;
  readonly #listedKeys = new Set<string>();
  readonly #unconfirmed: Held[] = [];
  readonly #sentBefore: number;
  #listing: Promise<KeyListing> | undefined;
  #warnings: readonly Warning[] = [];
  #finished: Validation[] = [];
  #failure: { readonly thrown: unknown } | undefined;
  #inputEnded = false;
  #isComplete = false;

  /** @internal */
  constructor(context: Context, options: ValidationRunOptions) {
    const { concurrency, signal, stop = new AbortController().signal, newSignal } = options;
    this.#context = { ...context, log: silent };
    this.#options = { ...options, stop };
    this.#recorder = new CheckRecorder(context.store, newSignal);
    this.#settling = new WorkerPool(concurrency * 4);
    this.#signal = anySignal(signal, stop, this.#abandoned.signal);
    this.#answers = new KeyAnswers(this.#context, {
      concurrency,
      timeoutMs: options.timeoutMs,
      signal: this.#signal,
      isOver: () => this.#isOver,
      onFailure: (thrown) => {
        if (!stop.aborted) this.#fail(thrown);
      },
    });
    this.#sentBefore = context.openRouter.sent();
  }

  get facts(): RunFacts {
    return {
      complete: this.#isComplete,
      providerIsSick: this.#answers.health.isDown,
      distinctKeys: this.#answers.count + this.#listedKeys.size,
      requests: this.#context.openRouter.sent() - this.#sentBefore,
      warnings: this.#warnings,
    };
  }

  /** Yields each result as soon as it is known. Throws a failure that concerns all users. */
  async *results(batches: UserBatches): AsyncGenerator<readonly Validation[]> {
    const stopListening = this.#context.openRouter.onPause((pause) => this.#answers.health.onPause(pause));
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
      this.#answers.wake();
    }
  }

  async #feed(batches: UserBatches): Promise<void> {
    try {
      for await (const batch of parsedBatches(batches)) {
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
      const other = rows.get(row.userId);
      const one = isTombstone(row) ? blockedError(row) : row;
      rows.set(row.userId, other === undefined ? one : duplicateRowsError(isKeyctlError(other) ? row : other, row));
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
    if (this.#answers.of(key.hash) !== undefined) return this.#settle(row, key);
    if (!(await this.#hasRoom())) return;
    const isProbe = this.#answers.health.needsProbe;
    this.#answers.ask(key, createdAtMs(row));
    this.#settle(row, key);
    if (!isProbe) return;
    await this.#answers.of(key.hash);
    this.#answers.health.settleProbe();
  }

  /** A row that cannot be opened is the error of its user. Missing or wrong master keys are thrown for all users. */
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

  /** Reuses a recorded verdict. One whose row names the hash of another key is not reused: it is about that key. */
  #takeOver(row: KeyRecord, key: ApiKey): boolean {
    const { notValidatedSinceMs, limits } = this.#options;
    const { lastCheck } = row;
    if (notValidatedSinceMs === undefined || lastCheck === null || row.keyHash !== key.hash) return false;
    const now = this.#now();
    if (Date.parse(lastCheck.at) < now - notValidatedSinceMs || isFromFuture(lastCheck.at, now)) return false;
    const verdict = storedVerdict(lastCheck);
    const known = { verdict, at: lastCheck.at, now, resumed: true, recorded: true, warnings: [] };
    this.#finish(validationOfRow(row, key, known, limits));
    return true;
  }

  /** A listed key gets its verdict without being decrypted. */
  async #takeFromListing(row: KeyRecord): Promise<boolean> {
    const value = storedValue(row.keyEncrypted);
    if (value.kind === "clear" && this.#context.requireSealed) return false;
    const hash = value.kind === "clear" ? value.key.hash : row.keyHash;
    this.#listing ??= this.#readListing(await this.#answers.sources());
    const listing = await this.#listing;
    const verdict = hash === null || value.kind === "unreadable" ? undefined : listing.verdictOf(hash);
    if (verdict === undefined || hash === null) return false;
    this.#listedKeys.add(hash);
    const key = value.kind === "clear" ? value.key : undefined;
    await this.#place();
    this.#settling.start(() => this.#judge(row, key, verdict, listing.at));
    return true;
  }

  async #readListing(sources: VerdictSources): Promise<KeyListing> {
    const listing = await KeyListing.read(sources, () => deadlineIn(this.#options.timeoutMs, this.#signal));
    this.#warnings = listing.warnings;
    return listing;
  }

  #settle(row: KeyRecord, key: ApiKey): void {
    this.#settling.start(async () => {
      const answer = await this.#answers.of(key.hash);
      if (answer === undefined) return;
      const { verdict, at } = answer;
      if (isUnconfirmed(verdict)) this.#unconfirmed.push({ row, key, verdict, at });
      else await this.#judge(row, key, verdict, at);
    });
  }

  /** Never rejects. */
  async #judge(row: KeyRecord, key: ApiKey | undefined, verdict: Verdict, at: Timestamp): Promise<void> {
    try {
      const { recorded, warnings: unrecorded } = await this.#recorder.record(row, verdict, at);
      const now = Date.parse(at);
      const warnings = [...futureTimeWarnings(row, now), ...unrecorded];
      const judged = { verdict, at, now, resumed: false, recorded, warnings };
      this.#finish(validationOfRow(row, key, judged, this.#options.limits));
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  async *#heldBack(): AsyncGenerator<readonly Validation[]> {
    while (this.#unconfirmed.length > 0) {
      for (const { row, key, verdict, at } of this.#unconfirmed.splice(0, CHUNK)) {
        await this.#judge(row, key, this.#answers.health.verdictOfHeld(verdict), at);
      }
      if (this.#failure !== undefined) throw this.#failure.thrown;
      yield this.#finished;
      this.#finished = [];
    }
  }

  /** False if no more keys may be checked. */
  async #hasRoom(): Promise<boolean> {
    for (;;) {
      await this.#place();
      if (this.#isOver) return false;
      if (await this.#answers.isReady()) return true;
    }
  }

  /** Waits while too many results are in flight or wait for the caller. */
  async #place(): Promise<void> {
    while (!this.#isOver && (this.#settling.isFull || this.#finished.length >= MAX_WAITING)) {
      await this.#settling.waitForChange();
    }
  }

  get #isOver(): boolean {
    return this.#answers.health.isDown || this.#failure !== undefined || this.#signal.aborted;
  }

  #finish(validation: Validation): void {
    this.#finished.push(validation);
    this.#settling.wake();
  }

  #fail(thrown: unknown): void {
    this.#failure ??= { thrown };
    this.#settling.wake();
    this.#answers.wake();
  }

  #now(): number {
    return this.#context.clock.now().getTime();
  }
}
