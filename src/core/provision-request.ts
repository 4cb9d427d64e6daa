import { KeyctlError } from "./errors.ts";
import { maskOfRecord } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import type { Stage } from "./makings.ts";
import { managementKeyMissing } from "./key-listing.ts";
import { printable } from "./printable.ts";
import { termsFor } from "./provision-terms.ts";
import { provision } from "./provisioning.ts";
import type { WantedTerms } from "./provisioning.ts";
import type { ProvisionResult } from "./results.ts";
import { ATTEMPTS, contended, importSpooled } from "./resolution.ts";
import type { Parts } from "./resolution.ts";
import { isCurrent } from "./settling.ts";
import { userFlag } from "./shell-quote.ts";
import type { UserId } from "./user-id.ts";

/**
 * Throws KEY_EXISTS for a user who has one; key.txt and the environment are not asked.
 * @param given what the key may do; the rest is as KEYCTL_PROVISION_… say
 */
export async function provisionKey(
  user: UserId,
  given: Partial<WantedTerms>,
  parts: Parts,
  onStage: (stage: Stage) => void,
  signal: AbortSignal,
): Promise<ProvisionResult> {
  const { store, log } = parts;
  const terms = termsFor(parts.provisioning, given);
  if (!parts.hasManagementKey()) throw managementKeyMissing("no key can be made");
  await importSpooled(user, parts, signal);
  let row = await store.find(user, signal);
  for (let tries = 1; tries <= ATTEMPTS; tries += 1) {
    if (row !== undefined && (await isCurrent(row, parts, signal))) throw keyExists(row);
    const made =
      row === undefined
        ? await provision(user, parts, { mayMake: true, isAuto: false, terms, onStage }, tries, signal)
        : undefined;
    if (made?.status === "made") {
      log({ kind: "saved", origin: made.row.origin, key: made.key });
      return { userId: user, key: made.key, row: made.row, warnings: made.warnings, error: null };
    }
    row = made?.status === "found" ? made.row : await store.find(user, signal);
  }
  throw contended(user);
}

export function keyExists(row: KeyRecord): KeyctlError {
  const shown = maskOfRecord(row) ?? "unreadable";
  return new KeyctlError(
    "KEY_EXISTS",
    `user ${printable(row.userId)} has a key already (${shown}, from ${printable(row.origin)})`,
    { hint: `keyctl get ${userFlag(row.userId)}   shows it` },
  );
}
