import { isFromFuture } from "./clock-skew.ts";
import { expiryMs } from "./expiry.ts";
import { storedValue } from "./key-record.ts";
import type { KeyRecord, LastCheck } from "./key-record.ts";
import { knownExpiry } from "./known-terms.ts";
import { checkInWords } from "./verdict.ts";
import type { Warning, WarningCode } from "./warning.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";

/**
 * **Invariant:** a stored key is handed out whatever is known about it, together with what is known as warnings. Pure,
 * and without an allocation for a row without warnings: a run over a million rows calls it for each.
 */

const NONE: readonly Warning[] = [];
const SEALED_BEGINNING = "eyJ";

/**
 * @param now in milliseconds since 1970
 * @param keyHash the hash of the key in the row, if it was opened: facts that are recorded for another key are ignored
 */
export function storedKeyWarnings(row: KeyRecord, now: number, keyHash = row.keyHash): readonly Warning[] {
  const { keyHash: known, keyEncrypted } = row;
  const isPlain = !keyEncrypted.startsWith(SEALED_BEGINNING) && storedValue(keyEncrypted).kind === "clear";
  const isAboutIt = known === null || known === keyHash;
  let warnings = isAboutIt ? futureTimeWarnings(row, now) : NONE;
  if (isAboutIt) warnings = withMore(warnings, endWarning(row, now));
  if (isAboutIt) warnings = withMore(warnings, checkWarning(row, now));
  return isPlain ? withMore(warnings, plainTextWarning(row)) : warnings;
}

/** Warns of a time in the future, which counts as never. */
export function futureTimeWarnings(row: KeyRecord, now: number): readonly Warning[] {
  const { lastCheck, lastValidated, createdAt } = row;
  const at = lastCheck?.at ?? lastValidated;
  let warnings = NONE;
  if (isFromFuture(createdAt, now)) {
    const message = `${keyOf(row)} was stored on ${day(createdAt)}, which is in the future: its age is unknown; check the clocks: keyctl doctor`;
    warnings = withMore(warnings, { code: "TIME_IN_FUTURE", message });
  }
  if (at === null || !isFromFuture(at, now)) return warnings;
  const message = `the last check of ${keyOf(row)} is of ${day(at)}, which is in the future, and counts as never: ${validate(row)}`;
  return withMore(warnings, { code: "TIME_IN_FUTURE", message });
}

/** The warnings without those that a new check of the key supersedes. */
export function withoutChecked(warnings: readonly Warning[]): readonly Warning[] {
  return warnings.filter(({ code }) => !SAID_BY_CHECK.has(code));
}

const SAID_BY_CHECK: ReadonlySet<WarningCode> = new Set([
  "KEY_EXPIRED",
  "KEY_KNOWN_INVALID",
  "EXPIRY_UNKNOWN",
  "TIME_IN_FUTURE",
]);

function endWarning(row: KeyRecord, now: number): Warning | undefined {
  const expiresAt = knownExpiry(row);
  const end = expiryMs(expiresAt);
  if (end === "unknown") {
    return {
      code: "EXPIRY_UNKNOWN",
      message: `when ${keyOf(row)} expires cannot be read, so it may be any time: ${validate(row)}`,
    };
  }
  if (end > now) return undefined;
  return { code: "KEY_EXPIRED", message: `${keyOf(row)} expired on ${day(expiresAt ?? "")}: ${renew(row)}` };
}

function checkWarning(row: KeyRecord, now: number): Warning | undefined {
  const { lastCheck } = row;
  if (lastCheck?.verdict !== "invalid" || isFromFuture(lastCheck.at, now)) return undefined;
  const found = printable(checkInWords(lastCheck));
  return {
    code: "KEY_KNOWN_INVALID",
    message: `${keyOf(row)} is not valid: its last check, on ${day(lastCheck.at)}, found it ${found}; ${remedyOf(row, lastCheck)}`,
  };
}

function plainTextWarning(row: KeyRecord): Warning {
  return { code: "KEY_IN_PLAIN_TEXT", message: `${keyOf(row)} is stored in plain text; keyctl rekey   encrypts it` };
}

function withMore(warnings: readonly Warning[], warning: Warning | undefined): readonly Warning[] {
  return warning === undefined ? warnings : [...warnings, warning];
}

function keyOf({ userId }: KeyRecord): string {
  return `the key of user ${printable(userId)}`;
}

function validate({ userId }: KeyRecord): string {
  return `keyctl validate ${userFlag(userId)}   asks OpenRouter`;
}

function renew({ userId }: KeyRecord): string {
  return `keyctl renew ${userFlag(userId)}   replaces it if OpenRouter confirms that`;
}

/** No new key takes the place of a management key, and that of a disabled key only on request. */
function remedyOf(row: KeyRecord, { reason }: LastCheck): string {
  if (reason === "management_key") return validate(row);
  if (reason === "disabled") return `keyctl renew ${userFlag(row.userId)} --include-disabled   replaces it`;
  return renew(row);
}

function day(time: string): string {
  return printable(time.slice(0, 10));
}
