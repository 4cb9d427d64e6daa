import { memoizeAsync } from "../async/memoize.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import { provisionFailed } from "../model/results.ts";
import type { ProvisionResult } from "../model/results.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { UserId } from "../model/user-id.ts";
import { assertSpoolReadable, foreseen } from "../protocol/preview-store.ts";
import { warningsOf } from "../protocol/provision-key.ts";
import type { Context } from "../context.ts";
import { createMissing } from "../protocol/create-missing.ts";
import { assertCanCreate } from "./creation-obstacles.ts";
import { keyExists } from "./provision-on-request.ts";
import { membersOf, requireMeans } from "./provision-many.ts";
import type { ProvisionManyTask } from "./provision-many.ts";

/** What `provision` would do for a user, and the terms of the new key. */
export interface ProvisionPreview extends Pick<ProvisionResult, "userId" | "warnings" | "error"> {
  readonly action: "create" | "none";
  /** Null if the terms are not known. */
  readonly terms: WantedTerms | null;
  /** The key that the user has already. */
  readonly row: KeyRecord | null;
}

interface PreviewProvisionTask extends Pick<ProvisionManyTask, "terms" | "budget" | "newSignal"> {
  /** A user who has a key gets KEY_EXISTS. */
  readonly refusesExisting: boolean;
}

const NOTHING = { action: "none", warnings: [], error: null } as const;

/** As `provisionMany`; creates nothing. */
export async function* previewProvisionMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  { terms, budget, refusesExisting, newSignal }: PreviewProvisionTask,
): AsyncGenerator<readonly ProvisionPreview[]> {
  const view = { ...foreseen(context), assertCanSeal: memoizeAsync(context.assertCanSeal) };
  for await (const batch of batches) {
    const wanted = requireMeans(context, terms);
    const failed = (user: UserId, error: KeyctlError) => previewFailed(user, error, wanted);
    const existing = (row: KeyRecord) =>
      refusesExisting ? failed(row.userId, keyExists(row)) : { ...NOTHING, userId: row.userId, terms: wanted, row };
    const members = await membersOf(batch, { onSpooled: assertSpoolReadable, failed, existing }, view, newSignal());
    yield* createMissing(members, {
      create: (user) => previewOf(user, view, wanted, newSignal()),
      isCreated: () => true,
      refuse: failed,
      budget,
      concurrency: 1,
      stop: undefined,
    });
  }
}

/** For a user without a row. */
async function previewOf(
  user: UserId,
  view: Context,
  terms: WantedTerms,
  signal: AbortSignal,
): Promise<ProvisionPreview> {
  try {
    await assertCanCreate(user, view, signal);
    return { userId: user, action: "create", terms, row: null, warnings: warningsOf(terms), error: null };
  } catch (thrown) {
    if (isKeyctlError(thrown)) return previewFailed(user, thrown, terms);
    throw thrown;
  }
}

function previewFailed(user: UserId, error: KeyctlError, terms: WantedTerms): ProvisionPreview {
  const { userId, warnings } = provisionFailed(user, error);
  return { userId, action: "none", terms, row: null, warnings, error };
}
