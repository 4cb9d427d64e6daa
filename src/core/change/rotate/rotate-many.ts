import { anySignal } from "../../async/deadline.ts";
import { sleep } from "../../async/sleep.ts";
import { isTombstone } from "../../model/tombstone.ts";
import type { Context } from "../../context.ts";
import { KeyctlError } from "../../model/errors.ts";
import { expiryMs } from "../../model/expiry.ts";
import type { KeyRecord } from "../../model/key-record.ts";
import { knownExpiry } from "../../model/known-terms.ts";
import { rotateFailed } from "../../model/rotate-results.ts";
import type { RotatePreview, RotateResult } from "../../model/rotate-results.ts";
import { parseUserId } from "../../model/user-id.ts";
import type { UserIdBatches, UserId } from "../../model/user-id.ts";
import { counted } from "../../text/format.ts";
import { createMissing } from "../../protocol/create-missing.ts";
import type { KeyBudget } from "../../protocol/key-budget.ts";

/** Which stored keys a run rotates; a user whose key is left out has no result. */
export interface RotateFilter {
  /** Keys that were stored at least so long ago, in milliseconds. */
  readonly olderThanMs?: number | undefined;
  /** Keys that have expired or expire within this time, in milliseconds. */
  readonly expiresWithinMs?: number | undefined;
  /** Keys whose last check found them invalid. */
  readonly verdict?: "invalid" | undefined;
}

/** The run ends when so many rotations failed, or this share of those that ended. */
export type MaxFailures = { readonly count: number } | { readonly percent: number };

export interface RotateManyTask {
  readonly filter: RotateFilter;
  readonly budget: KeyBudget;
  readonly concurrency: number;
  /** How many users are begun a second; `Infinity` for any number. */
  readonly ratePerSecond: number;
  readonly maxFailures: MaxFailures | undefined;
  readonly newSignal: () => AbortSignal;
  readonly stop: AbortSignal | undefined;
  readonly rotateOne: (user: UserId) => Promise<RotateResult>;
  readonly previewOne: (user: UserId) => Promise<RotatePreview>;
}

/** A share of failures says something once so many rotations have ended. */
const MIN_SAMPLE = 5;

/** Rotates the keys of many users. Throws a failure that concerns all users, and SOME_FAILED if too many rotations failed. */
export async function* rotateMany(
  batches: UserIdBatches,
  context: Context,
  task: RotateManyTask,
): AsyncGenerator<readonly RotateResult[]> {
  const { budget, concurrency, newSignal, stop } = task;
  const failures = new FailureLimit(task.maxFailures);
  const pace = new Pace(task.ratePerSecond);
  const stopped = stop === undefined ? failures.signal : anySignal(stop, failures.signal);
  for await (const batch of selected(batches, task.filter, context, newSignal)) {
    const rotations = createMissing(
      batch.map((userId) => ({ userId, known: undefined })),
      {
        create: async (user) => {
          await pace.next(stopped);
          if (stopped.aborted) return undefined;
          const result = await task.rotateOne(user);
          failures.count(result);
          return result;
        },
        isCreated: () => true,
        refuse: rotateFailed,
        budget,
        concurrency,
        stop: stopped,
      },
    );
    for await (const results of rotations) yield await withOwnFailures(results, task.previewOne);
    if (stopped.aborted) break;
  }
  failures.throwIfReached();
}

/** A user who has no key to rotate is not left over: no larger number of keys would rotate it. */
async function withOwnFailures(
  results: readonly RotateResult[],
  previewOne: RotateManyTask["previewOne"],
): Promise<readonly RotateResult[]> {
  const all: RotateResult[] = [];
  for (const result of results) {
    const isLeft = result.error?.code === "PROVISION_CAP";
    const { error } = isLeft ? await previewOne(parseUserId(result.userId)) : { error: null };
    all.push(error === null ? result : rotateFailed(result.userId, error));
  }
  return all;
}

/** What `rotateMany` would do for each user; changes nothing. */
export async function* previewRotateMany(
  batches: UserIdBatches,
  context: Context,
  task: Pick<RotateManyTask, "filter" | "budget" | "newSignal" | "previewOne">,
): AsyncGenerator<readonly RotatePreview[]> {
  const { budget } = task;
  for await (const batch of selected(batches, task.filter, context, task.newSignal)) {
    const previews: RotatePreview[] = [];
    for (const user of batch) {
      const preview = await task.previewOne(user);
      const isLeft = preview.action === "rotate" && !budget.take();
      previews.push(isLeft ? { ...preview, action: "none", error: budget.usedUp() } : preview);
    }
    yield previews;
  }
}

/** Without a filter, users without a row are kept: their results say so. */
async function* selected(
  batches: UserIdBatches,
  filter: RotateFilter,
  { store, clock }: Pick<Context, "store" | "clock">,
  newSignal: () => AbortSignal,
): AsyncGenerator<readonly UserId[]> {
  const hasFilter = Object.values(filter).some((value) => value !== undefined);
  for await (const batch of batches) {
    if (!hasFilter) {
      yield batch;
      continue;
    }
    const now = clock.now().getTime();
    const rows = await store.findMany(batch, newSignal());
    const chosen = new Set(
      rows.filter((row) => !isTombstone(row) && isSelected(row, filter, now)).map(({ userId }) => userId),
    );
    if (chosen.size > 0) yield batch.filter((user) => chosen.has(user));
  }
}

function isSelected(row: KeyRecord, { olderThanMs, expiresWithinMs, verdict }: RotateFilter, now: number): boolean {
  if (olderThanMs !== undefined && now - Date.parse(row.createdAt) < olderThanMs) return false;
  if (verdict !== undefined && row.lastCheck?.verdict !== verdict) return false;
  if (expiresWithinMs === undefined) return true;
  const end = expiryMs(knownExpiry(row));
  return end !== "unknown" && end - now <= expiresWithinMs;
}

/** Begins no more than so many a second, evenly. */
class Pace {
  readonly #everyMs: number;
  #nextAt = 0;

  constructor(ratePerSecond: number) {
    this.#everyMs = 1000 / ratePerSecond;
  }

  async next(signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const at = Math.max(now, this.#nextAt);
    this.#nextAt = at + this.#everyMs;
    if (at > now) await sleep(at - now, signal).catch(() => {});
  }
}

/**
 * **Invariant:** a run that creates keys which are not accepted stops by itself: when more than half of the verifications, and
 * at least 5, failed.
 */
class FailureLimit {
  readonly #max: MaxFailures | undefined;
  readonly #controller = new AbortController();
  #reached: KeyctlError | undefined;
  #ended = 0;
  #failed = 0;
  #verified = 0;
  #refused = 0;

  constructor(max: MaxFailures | undefined) {
    this.#max = max;
  }

  /** Aborted when no further rotation is to begin. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  count({ verified, error }: RotateResult): void {
    this.#ended += 1;
    if (error !== null) this.#failed += 1;
    if (verified) this.#verified += 1;
    if (error?.code === "NEW_KEY_REFUSED") this.#refused += 1;
    if (this.#refused >= MIN_SAMPLE && this.#refused > this.#verified) {
      this.#reach(`${this.#refused} of ${counted(this.#refused + this.#verified, "new key")} were not accepted`);
    } else if (this.#isOverMax()) {
      this.#reach(`${counted(this.#failed, "rotation")} of ${this.#ended} failed`);
    }
  }

  throwIfReached(): void {
    if (this.#reached !== undefined) throw this.#reached;
  }

  #isOverMax(): boolean {
    if (this.#max === undefined || this.#failed === 0) return false;
    if ("count" in this.#max) return this.#failed >= this.#max.count;
    return this.#ended >= MIN_SAMPLE && this.#failed * 100 >= this.#max.percent * this.#ended;
  }

  #reach(why: string): void {
    if (this.#reached !== undefined) return;
    this.#reached = new KeyctlError("SOME_FAILED", `the run was stopped: ${why}`, {
      hint: "find out why, then run it again: it goes on with the keys that are left",
      retryable: true,
    });
    this.#controller.abort();
  }
}
