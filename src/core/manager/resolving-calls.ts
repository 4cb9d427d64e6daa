import type { CallOptions } from "../async/deadline.ts";
import { contextFor } from "./event-calls.ts";
import type { ManagerContext, ProvisionOptions, SyncOptions } from "./manager-options.ts";
import { isThere } from "../model/management-key.ts";
import { explainFailed, provisionFailed, syncFailed } from "../model/results.ts";
import type { Explanation, ProvisionResult, SyncResult } from "../model/results.ts";
import type { OpenWork } from "../open-work.ts";
import { SharedUserRuns } from "../protocol/shared-user-runs.ts";
import type { SyncPreview } from "../resolve/preview-sync.ts";
import { resolve } from "../resolve/resolve-key.ts";
import type { ResolveOptions } from "../resolve/resolve-key.ts";
import { resolveStored } from "../resolve/resolve-many.ts";

/** The calls that find, explain or create the key of one user. Concurrent calls of one kind for one user share one run. */
export class ResolvingCalls {
  readonly #context: ManagerContext;
  readonly #work: OpenWork;
  readonly #resolving: SharedUserRuns<SyncResult>;
  readonly #provisioning: SharedUserRuns<ProvisionResult>;

  constructor(context: ManagerContext, work: OpenWork) {
    this.#context = context;
    this.#work = work;
    const { detaches, onOvertime = () => {} } = context;
    this.#resolving = new SharedUserRuns(detaches, onOvertime);
    this.#provisioning = new SharedUserRuns(detaches, onOvertime);
    work.waitAtClose(() => this.#resolving.drain());
    work.waitAtClose(() => this.#provisioning.drain());
  }

  /** Creating a key takes longer than finding one, so the default time limit is longer if a key may be created. */
  async sync(userId: string, wanted: Omit<ResolveOptions, "onStage">, options: CallOptions): Promise<SyncResult> {
    const { makingTimeoutMs, timeoutMs: findingMs, hasManagementKey } = this.#context;
    const { autoProvision, isDeliberate } = wanted;
    const timeoutMs = options.timeoutMs ?? (autoProvision && isThere(hasManagementKey) ? makingTimeoutMs : findingMs);
    const name = `sync ${autoProvision} ${isDeliberate}`;
    return this.#work.run(userId, { ...options, timeoutMs }, syncFailed, async (user, waiting) => {
      const context = contextFor(this.#context, options);
      return this.#resolving.run(
        user,
        name,
        (onStage, signal) => this.#work.noted(() => resolve(user, context, { ...wanted, onStage }, signal)),
        waiting,
      );
    });
  }

  async stored(userId: string, options: CallOptions): Promise<SyncResult> {
    return this.#work.run(userId, options, syncFailed, (user, signal) => resolveStored(user, this.#context, signal));
  }

  async explain(userId: string, options: SyncOptions): Promise<Explanation> {
    const { autoProvision = this.#context.autoProvision } = options;
    return this.#work.run(userId, options, explainFailed, async (user, signal) => {
      const { explain } = await import("../resolve/explain-resolution.ts");
      return explain(user, this.#context, autoProvision, signal);
    });
  }

  async previewSync(userId: string, options: SyncOptions): Promise<SyncPreview> {
    const { autoProvision = this.#context.autoProvision } = options;
    const { previewSync, syncPreviewFailed } = await import("../resolve/preview-sync.ts");
    return this.#work.run(userId, options, syncPreviewFailed, async (user, signal) =>
      previewSync(user, this.#context, autoProvision, signal),
    );
  }

  async provision(userId: string, { terms = {}, ...options }: ProvisionOptions): Promise<ProvisionResult> {
    const timeoutMs = options.timeoutMs ?? this.#context.makingTimeoutMs;
    return this.#work.run(userId, { ...options, timeoutMs }, provisionFailed, async (user, waiting) => {
      const context = contextFor(this.#context, options);
      const { provisionKey } = await import("../resolve/provision-on-request.ts");
      return this.#provisioning.run(
        user,
        "make",
        (onStage, signal) => this.#work.noted(() => provisionKey(user, { given: terms, onStage }, context, signal)),
        waiting,
      );
    });
  }
}
