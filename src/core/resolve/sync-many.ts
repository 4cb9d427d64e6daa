import { Candidates } from "./source-candidates.ts";
import { RUN_FATAL_CODES, STORE_FAILURES } from "../model/errors.ts";
import type { Source } from "../model/log-event.ts";
import { termsFor } from "../model/provision-terms.ts";
import { syncFailed } from "../model/results.ts";
import type { SyncResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import { createMissing } from "./create-missing.ts";
import type { KeyBudget } from "./key-budget.ts";
import type { Context } from "../context.ts";
import { resolveMany, resolveStored } from "./resolve-many.ts";
import { managementKeyMissing } from "../model/management-key.ts";
import { usableOf } from "./usable-candidates.ts";

const CREATED_AT_ONCE = 8;

export interface SyncManyTask {
  /** `stored`: read the database only; `known`: save nothing, but say which sources hold another key. */
  readonly reach: "stored" | "known" | "sources";
  /** Whether a key is created for each user who has none. */
  readonly provision: boolean;
  readonly budget: KeyBudget;
  /** One user after the other, each with their log lines. */
  readonly isLogged: boolean;
  readonly newSignal: () => AbortSignal;
  /** No more keys are begun, and with `isLogged` no more users. */
  readonly stop: AbortSignal | undefined;
  /** Resolves one user, and creates a key where that is allowed. */
  readonly resolveOne: (user: UserId, autoProvision: boolean) => Promise<SyncResult>;
}

/**
 * Resolves many users, batch by batch: what the database and the sources hold first, and then the keys that are to be
 * created. Throws what fails for all users.
 */
export async function* syncMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  task: SyncManyTask,
): AsyncGenerator<readonly SyncResult[]> {
  const { reach, provision, budget, newSignal, stop, resolveOne } = task;
  if (task.isLogged && reach !== "stored") return yield* syncOneByOne(batches, context, task);
  const candidates =
    reach === "sources"
      ? await Candidates.read(context.sources)
      : await Candidates.readBeside(reach === "stored" ? [] : context.sources);
  const creates = provision && reach === "sources" && candidates.winner === undefined && candidates.refusal === null;
  for await (const batch of resolveMany(batches, context, { candidates, adopt: reach === "sources", newSignal })) {
    if (!creates || !batch.some(isWithoutKey)) {
      yield batch;
      continue;
    }
    requireManagementKey(context);
    const members = batch.map((result) => ({
      userId: result.userId as UserId,
      known: isWithoutKey(result) ? undefined : result,
    }));
    yield* createMissing(members, {
      create: (user) => resolveOne(user, true),
      mayHaveCreated: ({ source, error }) =>
        error === null ? source === "auto-provisioned" : !isWithoutKey({ error }),
      refuse: (user, error) => syncFailed(user, error, candidates.warnings),
      budget,
      concurrency: CREATED_AT_ONCE,
      stop,
    });
  }
}

/** A user of `known` who was purged meanwhile does not get a key back. */
async function* syncOneByOne(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  { reach, provision, budget, newSignal, stop, resolveOne }: SyncManyTask,
): AsyncGenerator<readonly SyncResult[]> {
  const one = async (user: UserId): Promise<SyncResult> => {
    const stored = reach === "known" ? await resolveStored(user, context, newSignal()) : null;
    if (stored !== null && stored.error !== null) return stored;
    const mayCreate = provision && reach === "sources" && budget.take();
    const result = await resolveOne(user, mayCreate);
    if (mayCreate) budget.settle(result.error === null ? result.source === "auto-provisioned" : !isWithoutKey(result));
    const isLeft = provision && reach === "sources" && !mayCreate && isWithoutKey(result);
    return isLeft ? syncFailed(user, budget.usedUp(), result.warnings) : result;
  };
  if (provision) requireManagementKey(context);
  for await (const batch of batches) {
    for (const user of batch) {
      if (stop?.aborted === true) return;
      const result = await one(user);
      const code = result.error?.code;
      if (code === undefined || !RUN_FATAL_CODES.has(code)) {
        yield [result];
        continue;
      }
      // A key that was created may wait for the store.
      if (provision && STORE_FAILURES.has(code)) yield [result];
      throw result.error;
    }
  }
}

/** What sync would do for a user. `source` is where the key is or would come from. */
export interface SyncPreview extends Pick<SyncResult, "userId" | "shadowed" | "warnings"> {
  readonly action: "create" | "none";
  readonly key: SyncResult["key"];
  readonly keyHash: string | null;
  readonly source: Source | null;
  readonly origin: string | null;
  readonly error: SyncResult["error"];
}

/** As `syncMany` with `sources`; saves and creates nothing. */
export async function* previewSyncMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  { reach, provision, newSignal }: Pick<SyncManyTask, "reach" | "provision" | "newSignal">,
): AsyncGenerator<readonly SyncPreview[]> {
  const read = await Candidates.read(context.sources);
  const { candidates } = reach === "sources" ? await usableOf(read, context, newSignal()) : { candidates: read };
  const preview = (result: SyncResult): SyncPreview => {
    const { winner } = candidates;
    if (!isWithoutKey(result) || reach !== "sources") return { ...result, action: "none" };
    if (winner !== undefined) {
      const { name, key } = winner;
      const { shadowed } = candidates.shadowedBy(key);
      return { ...result, key, keyHash: key.hash, source: name, shadowed, action: "none", error: null };
    }
    if (!provision || (candidates.refusal ?? context.provisioning.refusal) !== null)
      return { ...result, action: "none" };
    requireManagementKey(context);
    return { ...result, source: "auto-provisioned", action: "create", error: null };
  };
  for await (const batch of resolveMany(batches, context, { candidates, adopt: false, newSignal }))
    yield batch.map(preview);
}

function isWithoutKey({ error }: Pick<SyncResult, "error">): boolean {
  return error?.code === "NO_KEY";
}

/** Throws MANAGEMENT_KEY_MISSING, CONFIG_EMPTY or CONFIG_INVALID: what each user would fail with. */
function requireManagementKey({ hasManagementKey, provisioning }: Context): void {
  termsFor(provisioning);
  if (!hasManagementKey()) throw managementKeyMissing("no key can be created");
}
