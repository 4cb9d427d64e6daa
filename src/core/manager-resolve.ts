import type { CallOptions } from "./async/deadline.ts";
import type { ManagerContext, ProvisionOptions } from "./manager-options.ts";
import { isThere } from "./model/management-key.ts";
import { provisionFailed, syncFailed } from "./model/results.ts";
import type { ProvisionResult, SyncResult } from "./model/results.ts";
import type { OpenWork } from "./open-work.ts";
import { SharedUserRuns } from "./protocol/shared-user-runs.ts";
import { resolve } from "./resolve/resolve-key.ts";
import type { ResolveOptions } from "./resolve/resolve-key.ts";

/** The calls that find or create the key of one user. Concurrent calls of one kind for one user share one run. */
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
    return this.#work.run(userId, { ...options, timeoutMs }, syncFailed, (user, waiting) =>
      this.#resolving.run(
        user,
        name,
        (onStage, signal) => resolve(user, this.#context, { ...wanted, onStage }, signal),
        waiting,
      ),
    );
  }

  async provision(userId: string, { terms = {}, ...options }: ProvisionOptions): Promise<ProvisionResult> {
    const timeoutMs = options.timeoutMs ?? this.#context.makingTimeoutMs;
    return this.#work.run(userId, { ...options, timeoutMs }, provisionFailed, async (user, waiting) => {
      const { provisionKey } = await import("./resolve/provision-on-request.ts");
      return this.#provisioning.run(
        user,
        "make",
        (onStage, signal) => provisionKey(user, { given: terms, onStage }, this.#context, signal),
        waiting,
      );
    });
  }
}
