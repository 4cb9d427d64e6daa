import type { ApiKey } from "./api-key.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import { storedValue } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import { isManagementKey, managementKeyStored } from "./management-key.ts";
import type { Sealer } from "./ports.ts";
import { printable } from "./printable.ts";
import type { Parts } from "./resolution.ts";
import { userFlag } from "./shell-quote.ts";

/** The key in a row. Throws ROW_UNREADABLE, MASTER_KEY_MISSING, MASTER_KEY_WRONG. */
export async function openRow(row: KeyRecord, { sealer, log }: Parts, signal: AbortSignal): Promise<ApiKey> {
  const value = storedValue(row.keyEncrypted);
  if (value.kind === "clear") return value.key;
  try {
    if (value.kind === "sealed") {
      return (await sealerFor(row.keyEncrypted, sealer, signal)).open(row.keyEncrypted, row.userId);
    }
    throw new KeyctlError("ROW_UNREADABLE", `what is stored for user ${printable(row.userId)} is not a key`, {
      hint: `keyctl save ${userFlag(row.userId)} --replace`,
    });
  } catch (thrown) {
    if (isKeyctlError(thrown) && thrown.code === "ROW_UNREADABLE") log({ kind: "malformed", from: "database" });
    throw thrown;
  }
}

/** As `openRow`, of a key that is to be handed out. Throws MANAGEMENT_KEY_AS_USER_KEY as well. */
export async function openForUse(
  row: KeyRecord,
  parts: Parts,
  signal: AbortSignal,
  managementKeys = parts.managementKeyHashes(),
): Promise<ApiKey> {
  const key = await openRow(row, parts, signal);
  if (!isManagementKey(key, managementKeys)) return key;
  parts.log({ kind: "malformed", from: "database" });
  throw managementKeyStored(row.userId);
}

/** A value that names a master key which is not at hand is reason to look for it again: a rekey may be under way. */
async function sealerFor(value: string, sealer: Parts["sealer"], signal: AbortSignal): Promise<Sealer> {
  const known = await sealer("open", signal);
  const kid = known.kidOf(value);
  return kid === undefined || known.kids.includes(kid) ? known : sealer({ kid }, signal);
}
