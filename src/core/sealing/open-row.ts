import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { isOfNoUser, noUserError, storedValue } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { isManagementKey, managementKeyStored } from "../model/management-key.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { Context } from "../context.ts";

/**
 * The key in a row. Throws ROW_UNREADABLE, MASTER_KEY_MISSING, MASTER_KEY_WRONG.
 * **Invariant:** every key that is handed out from a row is read here, so `requireSealed` applies to all of them.
 */
export async function openRow(
  row: KeyRecord,
  { sealer, log, requireSealed }: Context,
  signal: AbortSignal,
): Promise<ApiKey> {
  const value = storedValue(row.keyEncrypted);
  if (value.kind === "clear" && !requireSealed) return value.key;
  try {
    if (isOfNoUser(row)) throw noUserError(row);
    if (value.kind === "clear") throw inPlainText(row, value.key);
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

/** As `openRow`, for a key that is handed out. Also throws MANAGEMENT_KEY_AS_USER_KEY. */
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

/** A person must find out the origin of such a key: any program that can write to the database can write such a row. */
function inPlainText({ userId }: KeyRecord, key: ApiKey): KeyctlError {
  const message = `the key of user ${printable(userId)}, ${key.masked}, is stored in plain text and is not used: this database holds sealed keys, and another program may have put it there`;
  return new KeyctlError("ROW_UNREADABLE", message, {
    hint:
      `see whether https://openrouter.ai/keys lists a key of yours that ends so; if it does: keyctl rekey --keep-key   seals it\n` +
      `      if not: keyctl save ${userFlag(userId)} --replace   stores the right one`,
  });
}

/**
 * If the value names a master key that is not available, the master keys are loaded again: a rekey may be under way.
 */
async function sealerFor(value: string, sealer: Context["sealer"], signal: AbortSignal): Promise<Sealer> {
  const known = await sealer("open", signal);
  const kid = known.kidOf(value);
  return kid === undefined || known.kids.includes(kid) ? known : sealer({ kid }, signal);
}
