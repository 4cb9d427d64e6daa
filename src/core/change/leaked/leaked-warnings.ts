import type { RotateResult } from "../../model/rotate-results.ts";
import type { UserId } from "../../model/user-id.ts";
import type { Warning } from "../../model/warning.ts";
import { counted, plural } from "../../text/format.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";

/** keyctl did not create the key, so it does not know on what terms to create another one. */
export function userWithoutKey(userId: UserId): Warning {
  const user = userFlag(userId);
  const message =
    `user ${printable(userId)} has no working key now: keyctl save ${user} --replace   stores another one, and   ` +
    `keyctl rotate ${user} --include-foreign --include-disabled   creates one`;
  return { code: "USER_WITHOUT_KEY", message };
}

export function keyShared(others: number, hash: string): Warning {
  const message = `${counted(others, "other user")} ${plural(others, "has", "have")} the same key, and no working one now: keyctl list --hash ${hash}   names all of them`;
  return { code: "KEY_SHARED", message };
}

/** A new key gets what was left of the limit of the leaked one, which may have been used up. */
export function emptyLimit({ userId, limit, limitNow }: RotateResult): readonly Warning[] {
  if (limit === null || limitNow === null || limitNow > 0) return [];
  const message = `nothing was left of the limit of the leaked key, so the new one cannot spend yet: keyctl rotate ${userFlag(userId)} --limit full   gives it all of the limit`;
  return [{ code: "LIMIT_USED_UP", message }];
}
