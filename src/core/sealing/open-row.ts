import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { isOfNoUser, noUserError, storedValue } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { isManagementKey, managementKeyStored } from "../model/management-key.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { Context } from "../context.ts";

/** The key in a row. Throws ROW_UNREADABLE, MASTER_KEY_MISSING, MASTER_KEY_WRONG. */
export async function openRow(row: KeyRecord, { sealer, log }: Context, signal: AbortSignal): Promise<ApiKey> {
  const value = storedValue(row.keyEncrypted);
  if (value.kind === "clear") return value.key;
  try {
    if (isOfNoUser(row)) throw noUserError(row);
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
  context: Context,
  signal: AbortSignal,
  managementKeys = context.managementKeyHashes(),
): Promise<ApiKey> {
  const key = await openRow(row, context, signal);
  if (!isManagementKey(key, managementKeys)) return key;
  context.log({ kind: "malformed", from: "database" });
  throw managementKeyStored(row.userId);
}

/** A value that names a master key which is not at hand is reason to look for it again: a rekey may be under way. */
async function sealerFor(value: string, sealer: Context["sealer"], signal: AbortSignal): Promise<Sealer> {
  const known = await sealer("open", signal);
  const kid = known.kidOf(value);
  return kid === undefined || known.kids.includes(kid) ? known : sealer({ kid }, signal);
}
