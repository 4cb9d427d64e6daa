import type { CallOptions } from "../async/deadline.ts";
import type { SaveOptions } from "../change/save-with-check.ts";
import { contextFor } from "./event-calls.ts";
import type { LeakedOptions, ManagerContext, PreviewPurgeOptions } from "./manager-options.ts";
import type { PurgeManyOptions, PurgeOptions } from "./manager-options.ts";
import type { ApiKey } from "../model/api-key.ts";
import type { LeakedResult } from "../model/leaked-results.ts";
import { purgeFailed, purgePreviewFailed, saveFailed, unblockFailed } from "../model/results.ts";
import type { CheckedSaveResult, PurgePreview, PurgeResult, ResultBatches, UnblockResult } from "../model/results.ts";
import type { UserIdBatches } from "../model/user-id.ts";
import type { OpenWork } from "../open-work.ts";

/** The calls that store, remove and block at a person's request. */
export class ChangingCalls {
  readonly #context: ManagerContext;
  readonly #work: OpenWork;

  constructor(context: ManagerContext, work: OpenWork) {
    this.#context = context;
    this.#work = work;
  }

  async save(userId: string, key: string | ApiKey, options: SaveOptions): Promise<CheckedSaveResult> {
    return this.#work.run(userId, options, saveFailed, async (user, signal) => {
      const { saveWithCheck } = await import("../change/save-with-check.ts");
      return saveWithCheck(user, { ...options, key }, contextFor(this.#context, options), signal);
    });
  }

  async purge(userId: string, options: PurgeOptions): Promise<PurgeResult> {
    return this.#work.run(userId, options, purgeFailed, async (user, signal) =>
      (await this.#batch(options)).purgeOne(user, signal),
    );
  }

  async *purgeMany(batches: UserIdBatches, options: PurgeManyOptions): ResultBatches<PurgeResult> {
    yield* (await this.#batch(options)).purgeAll(batches, this.#work);
  }

  async previewPurge(userId: string, options: PreviewPurgeOptions): Promise<PurgePreview> {
    return this.#work.run(userId, options, purgePreviewFailed, async (user, signal) =>
      (await this.#batch(options)).preview(user, options.looksAhead ?? true, signal),
    );
  }

  async *previewPurgeMany(batches: UserIdBatches, options: PreviewPurgeOptions): ResultBatches<PurgePreview> {
    yield* (await this.#batch(options)).previewAll(batches, options.looksAhead ?? true, this.#work);
  }

  async leaked(keyOrHash: string | ApiKey, options: LeakedOptions): Promise<LeakedResult> {
    return this.#work.loaded(this.#leaked, (calls) => calls.contain(keyOrHash, options));
  }

  async unblock(userId: string, options: CallOptions): Promise<UnblockResult> {
    return this.#work.run(userId, options, unblockFailed, async (user, signal) => {
      const { unblockUser } = await import("../change/unblock-user.ts");
      return unblockUser(user, contextFor(this.#context, options), signal);
    });
  }

  #leaked = async () => new (await import("./leaked-calls.ts")).LeakedCalls(this.#context, this.#work);

  async #batch(options: PurgeOptions & PurgeManyOptions) {
    const { PurgeBatch } = await import("./purge-batch.ts");
    return new PurgeBatch(contextFor(this.#context, options), options);
  }
}
