import { previewPurge } from "../change/preview-purge.ts";
import { confirmPurge, confirmPurges, purgeKey } from "../change/purge-key.ts";
import type { Purge, PurgeCompletion } from "../change/purge-key.ts";
import { purgeMany } from "../change/purge-many.ts";
import { deadlineSignal, toKeyctlError } from "../async/deadline.ts";
import { eraseAndWarn } from "../protocol/erase-and-warn.ts";
import type { ManagerContext, PurgeManyOptions, PurgeOptions } from "./manager-options.ts";
import { RUN_FATAL_CODES } from "../model/errors.ts";
import { purgeFailed, purgePreviewFailed } from "../model/results.ts";
import type { PurgePreview, PurgeResult, ResultBatches } from "../model/results.ts";
import type { UserIdBatches, UserId } from "../model/user-id.ts";
import type { OpenWork } from "../open-work.ts";
import type { UpstreamSnapshot } from "../reconcile/upstream-snapshot.ts";
import { NextSync } from "../resolve/next-sync.ts";

/**
 * The purges of one call, and what reconcile does for users without a row. The list of all keys is read once for all of
 * them, and the obstacles of the next sync are checked once.
 */
export class PurgeBatch {
  readonly #context: ManagerContext;
  readonly #options: PurgeOptions & PurgeManyOptions;
  readonly #nextSync: NextSync;
  #snapshot: Promise<UpstreamSnapshot> | undefined;

  constructor(context: ManagerContext, options: PurgeOptions & PurgeManyOptions) {
    this.#context = context;
    this.#options = options;
    this.#nextSync = new NextSync(context, context.autoProvision);
  }

  async purgeOne(user: UserId, signal: AbortSignal): Promise<PurgeResult> {
    const result = await confirmPurge(await this.#purge(user, signal), signal);
    if (!result.purged) return result;
    const warnings = await eraseAndWarn(this.#context.store, { isThorough: false }, signal);
    return { ...result, warnings: [...result.warnings, ...warnings] };
  }

  async *purgeAll(batches: UserIdBatches, work: OpenWork): ResultBatches<PurgeResult> {
    const purged = purgeMany(batches, {
      purge: async (user) => {
        try {
          return await work.track(this.#options, (signal) => work.noted(() => this.#purge(user, signal)));
        } catch (thrown) {
          return { status: "ended", result: purgeFailed(user, toKeyctlError(thrown)) };
        }
      },
      confirm: (purges) => work.track(this.#options, (signal) => confirmPurges(purges, signal)),
    });
    let hasPurged = false;
    for await (const results of work.resultsOf(purged)) {
      hasPurged ||= results.some((result) => result.purged);
      yield results;
    }
    if (!hasPurged) return;
    const { onStillOnDisk = () => {} } = this.#options;
    const warnings = await work.track(this.#options, (signal) =>
      eraseAndWarn(this.#context.store, { isThorough: false }, signal),
    );
    for (const warning of warnings) onStillOnDisk(warning);
  }

  /** The keys that a purge would remove; changes nothing. */
  async preview(user: UserId, looksAhead: boolean, signal: AbortSignal): Promise<PurgePreview> {
    const { revoke = "no", block = false } = this.#options;
    return previewPurge(
      user,
      { revoke, blocks: block, nextSync: looksAhead ? this.#nextSync : null },
      this.#context,
      signal,
    );
  }

  async *previewAll(batches: UserIdBatches, looksAhead: boolean, work: OpenWork): ResultBatches<PurgePreview> {
    for await (const batch of batches) {
      for (const userId of batch) {
        const preview = await work.run(userId, this.#options, purgePreviewFailed, (user, signal) =>
          this.preview(user, looksAhead, signal),
        );
        if (preview.error !== null && RUN_FATAL_CODES.has(preview.error.code)) throw preview.error;
        yield [preview];
      }
    }
  }

  #purge(user: UserId, signal: AbortSignal): Promise<Purge> {
    const { onlyHash, revoke = "no", block = false } = this.#options;
    const { clock, history } = this.#context;
    const blocked = block ? { at: clock.now().toISOString(), reason: history.reason } : null;
    const finish = (absent: UserId, waiting: AbortSignal) => this.#finish(absent, waiting);
    return purgeKey(
      user,
      { onlyHash, revoke, block: blocked, nextSync: this.#nextSync, finish },
      this.#context,
      signal,
    );
  }

  /** Finishes earlier purges of a user without a row. Called only with `revoke`. */
  async #finish(user: UserId, signal: AbortSignal): Promise<PurgeCompletion> {
    const { upstreamSnapshot, reconcileContext } = await import("../reconcile/reconciliation.ts");
    const { finishPurges } = await import("../reconcile/finish-purges.ts");
    const context = await reconcileContext(this.#context, () => signal);
    // The snapshot belongs to the whole run: the time of one user does not suffice for all keys. A failure is not
    // cached.
    const newSignal = () => deadlineSignal({ signal: this.#options.signal }, this.#context.timeoutMs);
    this.#snapshot ??= upstreamSnapshot({ ...context, newSignal }, () => {}).catch((thrown) => {
      this.#snapshot = undefined;
      throw thrown;
    });
    return finishPurges(user, await this.#snapshot, context);
  }
}
