import type { ApiKey } from "../model/api-key.ts";
import { storedValue, withNewSeal } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";

/**
 * **Invariant:** a destination that is to hold sealed keys gets none in plain text.
 * The row as it is to stand there: sealed on its way, the key before the current one as well.
 * @param sealer of the destination; null where rows go there as they are
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
