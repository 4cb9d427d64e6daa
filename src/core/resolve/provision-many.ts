import type { KeyRecord } from "../model/key-record.ts";
import { keyExists } from "./provision-on-request.ts";
import { termsFor } from "../model/provision-terms.ts";
import { provisionFailed } from "../model/results.ts";
import type { ProvisionResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import { createMissing } from "./create-missing.ts";
import type { KeyBudget } from "./key-budget.ts";
import type { Context } from "../context.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import { managementKeyMissing } from "../model/management-key.ts";

export interface ProvisionManyTask {
  readonly terms: Partial<WantedTerms>;
  readonly budget: KeyBudget;
  /** How many keys are created at the same time. */
  readonly concurrency: number;
  readonly newSignal: () => AbortSignal;
  /** No more keys are begun. */
  readonly stop: AbortSignal | undefined;
  readonly provisionOne: (user: UserId) => Promise<ProvisionResult>;
}

/** Creates a key for each user who has none, whatever the sources hold. Throws what fails for all users. */
export async function* provisionMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  { terms, budget, concurrency, newSignal, stop, provisionOne }: ProvisionManyTask,
): AsyncGenerator<readonly ProvisionResult[]> {
  for await (const batch of batches) {
    if (stop?.aborted === true) return;
    requireMeans(context, terms);
    const stored = await settledRows(batch, context, newSignal());
    const members = batch.map((userId) => {
      const row = stored.get(userId);
      return { userId, known: row === undefined ? undefined : provisionFailed(userId, keyExists(row)) };
    });
    yield* createMissing(members, {
      create: provisionOne,
      mayHaveCreated: ({ error }) => error?.code !== "KEY_EXISTS",
      refuse: provisionFailed,
      budget,
      concurrency,
      stop,
    });
  }
}

/** What `provision` would do for a user, and what the new key might do. */
export interface ProvisionPreview extends Pick<ProvisionResult, "userId" | "warnings" | "error"> {
  readonly action: "create" | "none";
  /** Null where nothing could be found out. */
  readonly terms: WantedTerms | null;
}

/** As `provisionMany`; creates nothing. */
export async function* previewProvisionMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  { terms, newSignal }: Pick<ProvisionManyTask, "terms" | "newSignal">,
): AsyncGenerator<readonly ProvisionPreview[]> {
  for await (const batch of batches) {
    const wanted = requireMeans(context, terms);
    const stored = await settledRows(batch, context, newSignal());
    yield batch.map((userId) => {
      const row = stored.get(userId);
      const error = row === undefined ? null : keyExists(row);
      return { userId, action: row === undefined ? "create" : "none", terms: wanted, warnings: [], error };
    });
  }
}

/** Throws USAGE, CONFIG_EMPTY, CONFIG_INVALID or MANAGEMENT_KEY_MISSING: what each user would fail with. */
function requireMeans({ provisioning, hasManagementKey }: Context, terms: Partial<WantedTerms>): WantedTerms {
  const wanted = termsFor(provisioning, terms);
  if (!hasManagementKey()) throw managementKeyMissing("no key can be created");
  return wanted;
}

/** The rows of those who have a key for certain; what is not settled may turn out to be none. */
async function settledRows(
  users: readonly UserId[],
  { store }: Context,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, KeyRecord>> {
  const rows = users.length === 0 ? [] : await store.findMany(users, signal);
  return new Map(rows.filter(({ settled, generation }) => settled || generation === 0).map((row) => [row.userId, row]));
}
