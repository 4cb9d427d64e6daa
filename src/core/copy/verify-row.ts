import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { duplicateRowsError, hashOfRecord } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { silent } from "../model/log-event.ts";
import { printable } from "../text/printable.ts";
import { openRow } from "../sealing/open-row.ts";
import type { SealingSetup } from "../sealing/verify-master-keys.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";

/** One of the two stores, with its master keys. */
export interface CopyEnd extends Context {
  readonly lock: SealingSetup;
}

export interface Sides {
  readonly source: CopyEnd;
  readonly destination: CopyEnd;
}

/** The reason why the destination's rows of this user do not prove the row of the source; null if they do. */
export async function verifyRow(
  row: KeyRecord,
  [found, twin]: readonly KeyRecord[],
  { source, destination }: Sides,
  signal: AbortSignal,
): Promise<KeyctlError | null> {
  if (found === undefined) return changedMeanwhile(row.userId, "is not in the destination");
  if (twin !== undefined) return duplicateRowsError(found, twin);
  const key = await opened(found, destination, signal);
  if (isKeyctlError(key)) return key;
  if (found.keyEncrypted === row.keyEncrypted) return null;
  const original = await opened(row, source, signal);
  const isSame = isKeyctlError(original) ? hashOfRecord(row) === key.hash : original.equals(key);
  return isSame ? null : changedMeanwhile(row.userId, "differs in the destination");
}

/** The key of a row, or ROW_UNREADABLE as a value. Throws every failure that is not about this row. */
async function opened(row: KeyRecord, side: CopyEnd, signal: AbortSignal): Promise<ApiKey | KeyctlError> {
  try {
    return await openRow(row, { ...side, log: silent }, signal);
  } catch (thrown) {
    if (isKeyctlError(thrown) && thrown.code === "ROW_UNREADABLE") return thrown;
    throw thrown;
  }
}

function changedMeanwhile(user: UserId, how: string): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} ${how}: it was changed in the meantime`, {
    hint: "copy again",
    retryable: true,
  });
}
