import type { ApiKey } from "../model/api-key.ts";
import { storedValue, withNewSeal } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";

/**
 * The row for the destination, with its key and the previous key sealed if they are in plain text.
 * **Invariant:** a destination that holds sealed keys only gets no key in plain text.
 * @param sealer the sealer of the destination; null if rows are copied unchanged
 */
export function rowForDestination(row: KeyRecord, sealer: Sealer | null): KeyRecord {
  if (sealer === null) return row;
  const { previous, userId } = row;
  const before = plainKey(previous?.keyEncrypted);
  const key = plainKey(row.keyEncrypted);
  const withPrevious =
    previous === null || before === null
      ? row
      : { ...row, previous: { ...previous, keyEncrypted: sealer.seal(before, userId) } };
  return key === null ? withPrevious : withNewSeal(withPrevious, key, sealer.seal(key, userId), row.updatedAt);
}

function plainKey(keyEncrypted: string | null | undefined): ApiKey | null {
  const value = storedValue(keyEncrypted ?? "");
  return value.kind === "clear" ? value.key : null;
}
