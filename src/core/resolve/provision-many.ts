import { importSpooled } from "../protocol/spool-gate.ts";
import { spoolFailures } from "../protocol/spool-gate.ts";
import type { OnSpooled } from "../protocol/spool-gate.ts";
import { isInUse } from "./sealed-record.ts";
import { keyExists } from "./provision-on-request.ts";
import { termsFor } from "../model/provision-terms.ts";
import { provisionFailed } from "../model/results.ts";
import type { ProvisionResult } from "../model/results.ts";
import { storedValue } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { UserId } from "../model/user-id.ts";
import { createMissing } from "../protocol/create-missing.ts";
import type { Member } from "../protocol/create-missing.ts";
import type { KeyBudget } from "../protocol/key-budget.ts";
import { blockedError, isTombstone, keyIn } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import type { PartlyGiven } from "../model/partly-given.ts";
import { assertManagementKey } from "./creation-obstacles.ts";
import type { KeyctlError } from "../model/errors.ts";

export interface ProvisionManyTask {
  readonly terms: PartlyGiven<WantedTerms>;
  readonly budget: KeyBudget;
  /** How many keys are created at once. */
  readonly concurrency: number;
  readonly newSignal: () => AbortSignal;
  /** Begins no further creation. */
  readonly stop: AbortSignal | undefined;
  readonly provisionOne: (user: UserId) => Promise<ProvisionResult>;
}

/**
 * Creates a key for each user without one, whatever the sources hold. A user who has a key keeps it, so that a run can be
 * repeated. Throws a failure that concerns all users.
 */
export async function* provisionMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  { terms, budget, concurrency, newSignal, stop, provisionOne }: ProvisionManyTask,
): AsyncGenerator<readonly ProvisionResult[]> {
  for await (const batch of batches) {
    if (stop?.aborted === true) return;
    requireMeans(context, terms);
    const ways = { onSpooled: importSpooled, failed: provisionFailed, existing: hadKey };
    const members = await membersOf(batch, ways, context, newSignal());
    yield* createMissing(members, {
      create: async (user) => withoutRefusal(user, await provisionOne(user), context, newSignal),
      isCreated: ({ created }) => created,
      refuse: provisionFailed,
      budget,
      concurrency,
      stop,
    });
  }
}

function hadKey(row: KeyRecord): ProvisionResult {
  return { userId: row.userId, created: false, key: null, row, warnings: [], error: null };
}

/** Another program may have created the key in the meantime. */
async function withoutRefusal(
  user: UserId,
  result: ProvisionResult,
  { store }: Context,
  newSignal: () => AbortSignal,
): Promise<ProvisionResult> {
  if (result.error?.code !== "KEY_EXISTS") return result;
  const row = keyIn(await store.find(user, newSignal()));
  return row === undefined || isUnreadable(row) ? result : hadKey(row);
}

export interface MemberResults<Result> {
  readonly onSpooled: OnSpooled;
  readonly failed: (user: UserId, error: KeyctlError) => Result;
  /** The result of a user with a key. */
  readonly existing: (row: KeyRecord) => Result;
}

/** The result is known for users with a key, and for users with a damaged file in the spool. */
export async function membersOf<Result>(
  batch: readonly UserId[],
  { onSpooled, failed, existing }: MemberResults<Result>,
  context: Context,
  signal: AbortSignal,
): Promise<readonly Member<Result>[]> {
  const failures = await spoolFailures(batch, context, onSpooled, signal);
  const known = new Map(failures.map(([user, error]) => [user, failed(user, error)]));
  for (const row of batch.length === 0 ? [] : await context.store.findMany(batch, signal)) {
    if (isTombstone(row)) known.set(row.userId, failed(row.userId, blockedError(row)));
    if (isTombstone(row) || known.has(row.userId) || !(await isInUse(row, context, signal))) continue;
    known.set(row.userId, isUnreadable(row) ? failed(row.userId, keyExists(row)) : existing(row));
  }
  return batch.map((userId) => ({ userId, known: known.get(userId) }));
}

/** Nobody can use such a key, so its user needs attention. */
function isUnreadable({ keyEncrypted }: KeyRecord): boolean {
  return storedValue(keyEncrypted).kind === "unreadable";
}

/**
 * The terms of the new keys. Throws USAGE, CONFIG_EMPTY, CONFIG_INVALID, CONFIG_CONFLICT or MANAGEMENT_KEY_MISSING: the
 * error that each user would fail with.
 */
export function requireMeans(context: Context, terms: PartlyGiven<WantedTerms>): WantedTerms {
  const wanted = termsFor(context.provisioning, terms);
  assertManagementKey(context);
  return wanted;
}
