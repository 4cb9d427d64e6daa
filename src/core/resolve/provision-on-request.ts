import { KeyctlError } from "../model/errors.ts";
import { maskOfRecord } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Stage } from "../protocol/shared-user-runs.ts";
import { printable } from "../text/printable.ts";
import { termsFor } from "../model/provision-terms.ts";
import { provision } from "../protocol/provision-key.ts";
import type { ProvisionResult } from "../model/results.ts";
import { confirmGeneration } from "../protocol/settle-row.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { UserId } from "../model/user-id.ts";
import { findKey } from "../protocol/find-key.ts";
import type { Context } from "../context.ts";
import { retryOnConflict } from "../protocol/contention.ts";
import { importSpooled } from "../protocol/spool-gate.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import type { PartlyGiven } from "../model/partly-given.ts";
import { managementKeyMissing } from "../model/management-key.ts";

/**
 * Creates a key for a user without one; key.txt and the environment are not read. Throws KEY_EXISTS for a user with a
 * key.
 * @param given the terms of the key; KEYCTL_PROVISION_… set the rest
 */
export async function provisionKey(
  user: UserId,
  { given, onStage }: { readonly given: PartlyGiven<WantedTerms>; readonly onStage: (stage: Stage) => void },
  context: Context,
  signal: AbortSignal,
): Promise<ProvisionResult> {
  const { store, log } = context;
  const terms = termsFor(context.provisioning, given);
  if (!context.hasManagementKey()) throw managementKeyMissing("no key can be created");
  await importSpooled(user, context, signal);
  let row = await findKey(store, user, signal);
  return retryOnConflict(user, async (tries) => {
    if (row !== undefined && (await confirmGeneration(row, context, signal))) throw keyExists(row);
    const made =
      row === undefined
        ? await provision(user, { mayMake: true, isAuto: false, terms, tries, onStage }, context, signal)
        : undefined;
    if (made?.status === "made") {
      log({ kind: "saved", origin: made.row.origin, key: made.key });
      return { userId: user, created: true, key: made.key, row: made.row, warnings: made.warnings, error: null };
    }
    row = made?.status === "found" ? made.row : await findKey(store, user, signal);
    return "conflict";
  });
}

export function keyExists(row: KeyRecord): KeyctlError {
  const shown = maskOfRecord(row) ?? "unreadable";
  return new KeyctlError(
    "KEY_EXISTS",
    `user ${printable(row.userId)} already has a key (${shown}, from ${printable(row.origin)})`,
    { hint: `keyctl get ${userFlag(row.userId)}   shows it` },
  );
}
