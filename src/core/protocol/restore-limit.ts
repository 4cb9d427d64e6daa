import type { Context } from "../context.ts";
import { deadlineIn } from "../async/deadline.ts";
import { KeyctlError } from "../model/errors.ts";
import type { KeyRecord, LastCheck } from "../model/key-record.ts";
import { withRemedy } from "../ports/openrouter.ts";
import type { AccountKeys } from "./management-access.ts";
import { withTrueGeneration } from "./settle-row.ts";
import { replaceRow } from "./write-row.ts";

/**
 * RESTORE LIMIT: a key that was created with what was left of its predecessor's limit gets the whole of it.
 * **Order:** upstream first, then the row: a crash in between would lose the restoration. All changes of one key set one value,
 * so that a late or doubled one does no harm; one that arrives after the key was replaced never touches its successor.
 */

const CHANGE_MS = 30_000;

/** Whether the row is settled and the time of its lowered limit has come. */
export function isLimitDue({ settled, generation, limitDue }: KeyRecord, now: number): boolean {
  return settled && generation > 0 && limitDue !== null && Date.parse(limitDue.at) <= now;
}

/**
 * For a row whose limit is due. False if the row was changed in the meantime: it must be read again. Throws
 * PROVIDER_UNAVAILABLE.
 */
export async function restoreLimit(
  row: KeyRecord,
  { store, journal, keys }: Pick<Context, "store" | "journal"> & { readonly keys: AccountKeys },
  signal: AbortSignal,
): Promise<boolean> {
  const { limitDue, upstreamHash, keyHash } = row;
  const hash = upstreamHash ?? keyHash;
  if (limitDue === null || hash === null) return true;
  const revision = (row.revision ?? 0) + 1;
  const { generation } = await withTrueGeneration(row, { journal }, signal);
  // Another program has overwritten the key: the limit was that of the key before.
  if (generation === 0) return replaceRow(store, { ...row, limitDue: null, revision }, row, signal);
  const change = await keys.setLimit(hash, limitDue.limit, deadlineIn(CHANGE_MS, signal));
  if (change.status === "unknown") {
    const details = withRemedy(change.remedy, "keyctl rotate --finish   tries again");
    throw new KeyctlError(
      "PROVIDER_UNAVAILABLE",
      `a limit could not be restored: OpenRouter ${change.detail}`,
      details,
    );
  }
  const { limit } = limitDue;
  const lastCheck = row.lastCheck === null ? null : checkWithLimit(row.lastCheck, limit);
  return replaceRow(store, { ...row, limit, limitDue: null, lastCheck, revision }, row, signal);
}

/** The last check was about the lowered limit; what is left of the full one was not said. */
function checkWithLimit({ limitRemaining: _ofLowered, ...check }: LastCheck, limit: number): LastCheck {
  return check.limit === undefined ? check : { ...check, limit };
}
