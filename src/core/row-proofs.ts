import type { ApiKey } from "./api-key.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import { twoRows } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import { silent } from "./log.ts";
import { printable } from "./printable.ts";
import { openRow } from "./open-row.ts";
import type { Parts } from "./resolution.ts";
import type { Lock } from "./unlock.ts";
import type { UserId } from "./user-id.ts";

/** One of two stores, and what opens it. */
export interface Side extends Parts {
  readonly lock: Lock;
}

export interface Sides {
  readonly source: Side;
  readonly destination: Side;
}

/** Why a row of the source is not proven by what is there for its user in the destination; null when it is. */
export async function flawOf(
  row: KeyRecord,
  [found, twin]: readonly KeyRecord[],
  { source, destination }: Sides,
  signal: AbortSignal,
): Promise<KeyctlError | null> {
  if (found === undefined) return changedMeanwhile(row.userId, "is not in the destination");
  if (twin !== undefined) return twoRows(found, twin);
  const key = await opened(found, destination, signal);
  if (isKeyctlError(key)) return key;
  if (found.keyEncrypted === row.keyEncrypted) return null;
  const original = await opened(row, source, signal);
  const isSame = isKeyctlError(original) ? row.keyHash === key.hash : original.equals(key);
  return isSame ? null : changedMeanwhile(row.userId, "is another one in the destination");
}

/** The key of a row, or why it cannot be read. Throws what is no row's fault. */
async function opened(row: KeyRecord, side: Side, signal: AbortSignal): Promise<ApiKey | KeyctlError> {
  try {
    return await openRow(row, { ...side, log: silent }, signal);
  } catch (thrown) {
    if (isKeyctlError(thrown) && thrown.code === "ROW_UNREADABLE") return thrown;
    throw thrown;
  }
}

function changedMeanwhile(user: UserId, how: string): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} ${how}: it was changed meanwhile`, {
    hint: "copy again",
    retryable: true,
  });
}
