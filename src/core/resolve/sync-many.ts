import { Candidates } from "./source-candidates.ts";
import { ABSENT, decide, permissionOf, refusalIn } from "./decide.ts";
import type { Decision } from "./decide.ts";
import { RUN_FATAL_CODES, STORE_FAILURES } from "../model/errors.ts";
import type { KeyctlError } from "../model/errors.ts";
import { syncFailed } from "../model/results.ts";
import type { SyncResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import type { Warning } from "../model/warning.ts";
import { createMissing, mayHaveCreated } from "../protocol/create-missing.ts";
import { assertManagementKey } from "./creation-obstacles.ts";
import type { KeyBudget } from "../protocol/key-budget.ts";
import type { Context } from "../context.ts";
import { resolveMany, resolveStored } from "./resolve-many.ts";
import type { ResolvedBatch } from "./resolve-many.ts";
import { usableOf } from "./usable-candidates.ts";
import { isThere } from "../model/management-key.ts";
import { importSpooled } from "../protocol/spool-gate.ts";

export interface SyncManyTask {
  /** `stored`: read only the database. `known`: save nothing, but report sources that hold another key. */
  readonly reach: "stored" | "known" | "sources";
  /** Whether a key is created for each user without one. */
  readonly provision: boolean;
  readonly budget: KeyBudget;
  /** How many keys are created at once. */
  readonly concurrency: number;
  /** Resolves one user after the other, each with its log lines. */
  readonly isLogged: boolean;
  readonly newSignal: () => AbortSignal;
  /** Begins no further creation and, with `isLogged`, no further user. */
  readonly stop: AbortSignal | undefined;
  /** Resolves one user, and creates a key if that is allowed. */
  readonly resolveOne: (user: UserId, autoProvision: boolean) => Promise<SyncResult>;
}

/**
 * Resolves many users, batch by batch: first from the database and the sources, then by creating keys. Throws a failure
 * that concerns all users.
 */
export async function* syncMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  task: SyncManyTask,
): AsyncGenerator<readonly SyncResult[]> {
  const { reach, newSignal } = task;
  const candidates =
    reach === "sources"
      ? await Candidates.read(context.sources)
      : await Candidates.readBeside(reach === "stored" ? [] : context.sources);
  if (task.isLogged && reach !== "stored") return yield* syncOneByOne(batches, context, candidates, task);
  const adopt = reach === "sources";
  const resolving = { candidates, adopt, onSpooled: adopt ? importSpooled : null, newSignal };
  for await (const batch of resolveMany(batches, context, resolving)) {
    yield* createForMissing(batch, context, {
      ...task,
      create: (user) => task.resolveOne(user, true),
      isCreated: ({ source }) => source === "auto-provisioned",
      failed: syncFailed,
    });
  }
}

/** The results of a batch. `missing` are the users without a row. */
export interface Batch<Result> extends Pick<ResolvedBatch, "missing" | "candidates"> {
  readonly results: readonly Result[];
}

export interface MissingKeysTask<Result> extends Pick<
  SyncManyTask,
  "reach" | "provision" | "budget" | "concurrency" | "stop"
> {
  readonly create: (user: UserId, terms: WantedTerms) => Promise<Result>;
  readonly isCreated: (result: Result) => boolean;
  readonly failed: (user: UserId, error: KeyctlError, warnings: readonly Warning[]) => Result;
}

/** Creates a key for each user without one, if that is the decision. Throws a failure that concerns all users. */
export async function* createForMissing<Result extends Pick<SyncResult, "userId" | "error">>(
  { results, missing, candidates }: Batch<Result>,
  context: Context,
  { create, isCreated, failed, budget, concurrency, ...task }: MissingKeysTask<Result>,
): AsyncGenerator<readonly Result[]> {
  // If nothing is taken from the sources, a fault of a source is not an error of a user.
  if (missing.size === 0 || task.reach !== "sources") return void (yield results);
  const decision = decideForMany(context, candidates, task);
  if (decision.kind === "fail") throw decision.error;
  const members = results.map((result) => ({
    userId: result.userId as UserId,
    known: missing.has(result.userId) ? undefined : result,
  }));
  if (decision.kind !== "create") {
    const refusal = refusalIn(decision);
    const withReason = (user: UserId) => failed(user, candidates.noKey(user, refusal), candidates.warnings);
    yield refusal === null ? results : members.map(({ userId, known }) => known ?? withReason(userId));
    return;
  }
  yield* createMissing(members, {
    async create(user) {
      assertManagementKey(context);
      return create(user, decision.terms);
    },
    isCreated,
    refuse: (user, error) => failed(user, error, candidates.warnings),
    budget,
    concurrency,
    stop: task.stop,
  });
}

/** For a user without a row. A person asked for keys, so a missing management key is an error. */
function decideForMany(
  context: Context,
  candidates: Candidates,
  { provision }: Pick<SyncManyTask, "provision">,
): Decision {
  return decide(ABSENT, candidates, permissionOf(context, provision ? "may" : "off"));
}

/** With `known`, a user who was purged in the meantime does not get a key again. */
async function* syncOneByOne(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  read: Candidates,
  task: SyncManyTask,
): AsyncGenerator<readonly SyncResult[]> {
  const { reach, budget, newSignal, resolveOne } = task;
  const { candidates } = reach === "sources" ? await usableOf(read, context, newSignal()) : { candidates: read };
  const isAbsent = async (user: UserId) => (await resolveStored(user, context, newSignal())).error?.code === "NO_KEY";
  const one = async (user: UserId): Promise<Batch<SyncResult> & { readonly failure: KeyctlError | null }> => {
    const noKey = () => ({
      results: [syncFailed(user, candidates.noKey(user), candidates.warnings)],
      missing: new Set([user]),
      candidates,
      failure: null,
    });
    if (reach === "known" && (await isAbsent(user))) return noKey();
    const isDecided = reach === "sources" && decideForMany(context, candidates, task).kind === "create";
    const mayCreate = isDecided && isThere(context.hasManagementKey) && budget.take();
    const result = await resolveOne(user, mayCreate);
    if (mayCreate) {
      budget.settle(result.error === null ? result.source === "auto-provisioned" : mayHaveCreated(result.error));
    }
    const code = result.error?.code;
    if (code === "NO_KEY" || (code === "MANAGEMENT_KEY_AS_USER_KEY" && (await isAbsent(user)))) return noKey();
    const failure = result.error !== null && RUN_FATAL_CODES.has(result.error.code) ? result.error : null;
    // A key that was created may wait for the store.
    if (failure !== null && !(failure.mayHaveHappened && STORE_FAILURES.has(failure.code))) throw failure;
    return { results: [result], missing: new Set(), candidates, failure };
  };
  const saves = decide(ABSENT, candidates, OFF).kind === "save";
  for await (const users of batches) {
    // As in a run without log lines, which needs the sealer before it has a result.
    if (saves && reach === "sources" && users.length > 0) await context.sealer("prepare", newSignal());
    for (const user of users) {
      if (task.stop?.aborted === true) return;
      const batch = await one(user);
      // A user without a key gets the same error as in a run without log lines.
      yield* createForMissing(batch, context, {
        ...task,
        create: async () => batch.results[0] ?? syncFailed(user, candidates.noKey(user)),
        isCreated: () => true,
        failed: syncFailed,
        concurrency: 1,
      });
      if (batch.failure !== null) throw batch.failure;
    }
  }
}

const OFF = { kind: "off" } as const;
