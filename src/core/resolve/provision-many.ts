import { importSpooled } from "../protocol/spool-gate.ts";
import { spoolFailures } from "./resolve-many.ts";
import type { OnSpooled } from "./resolve-many.ts";
import { isInUse } from "./sealed-record.ts";
import { keyExists } from "./provision-on-request.ts";
import { termsFor } from "../model/provision-terms.ts";
import { provisionFailed } from "../model/results.ts";
import type { ProvisionResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import { createMissing } from "../protocol/create-missing.ts";
import type { Member } from "../protocol/create-missing.ts";
import type { KeyBudget } from "../protocol/key-budget.ts";
import type { Context } from "../context.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import { assertManagementKey } from "./creation-obstacles.ts";
import type { KeyctlError } from "../model/errors.ts";

export interface ProvisionManyTask {
  readonly terms: Partial<WantedTerms>;
  readonly budget: KeyBudget;
  /** How many keys are created at once. */
  readonly concurrency: number;
  readonly newSignal: () => AbortSignal;
  /** Begins no further creation. */
  readonly stop: AbortSignal | undefined;
  readonly provisionOne: (user: UserId) => Promise<ProvisionResult>;
}

/** Creates a key for each user without one, whatever the sources hold. Throws a failure that concerns all users. */
export async function* provisionMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  { terms, budget, concurrency, newSignal, stop, provisionOne }: ProvisionManyTask,
): AsyncGenerator<readonly ProvisionResult[]> {
  for await (const batch of batches) {
    if (stop?.aborted === true) return;
    requireMeans(context, terms);
    const members = await membersOf(batch, { onSpooled: importSpooled, failed: provisionFailed }, context, newSignal());
    yield* createMissing(members, {
      create: provisionOne,
      isCreated: () => true,
      refuse: provisionFailed,
      budget,
      concurrency,
      stop,
    });
  }
}

/** The result is known for users with a key, and for users with a damaged file in the spool. */
export async function membersOf<Result>(
  batch: readonly UserId[],
  {
    onSpooled,
    failed,
  }: { readonly onSpooled: OnSpooled; readonly failed: (user: UserId, error: KeyctlError) => Result },
  context: Context,
  signal: AbortSignal,
): Promise<readonly Member<Result>[]> {
  const errors = new Map(await spoolFailures(batch, context, onSpooled, signal));
  for (const row of batch.length === 0 ? [] : await context.store.findMany(batch, signal)) {
    if (!errors.has(row.userId) && (await isInUse(row, context, signal))) errors.set(row.userId, keyExists(row));
  }
  return batch.map((userId) => {
    const error = errors.get(userId);
    return { userId, known: error === undefined ? undefined : failed(userId, error) };
  });
}

/**
 * The terms of the new keys. Throws USAGE, CONFIG_EMPTY, CONFIG_INVALID, CONFIG_CONFLICT or MANAGEMENT_KEY_MISSING: the
 * error that each user would fail with.
 */
export function requireMeans(context: Context, terms: Partial<WantedTerms>): WantedTerms {
  const wanted = termsFor(context.provisioning, terms);
  assertManagementKey(context);
  return wanted;
}
