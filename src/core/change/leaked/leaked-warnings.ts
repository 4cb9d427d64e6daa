import type { RotateResult } from "../../model/rotate-results.ts";
import type { UserId } from "../../model/user-id.ts";
import type { Warning } from "../../model/warning.ts";
import { counted, plural } from "../../text/format.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";

/** keyctl did not create the key, so it does not know on what terms to create another one. */
export function userWithoutKey(userId: UserId, when: "now" | "then"): Warning {
  const user = userFlag(userId);
  const message =
    `user ${printable(userId)} ${when === "now" ? "has" : "would have"} no working key ${when}: keyctl save ${user} --replace   stores another one, and   ` +
    `keyctl rotate ${user} --include-foreign --include-disabled   creates one`;
  return { code: "USER_WITHOUT_KEY", message };
}

/** The other users who have the same key, each by name: a later run finds only one of them. */
export function keyShared(others: readonly UserId[], hash: string, when: "now" | "then"): readonly Warning[] {
  const count = others.length;
  if (count === 0) return [];
  const has = when === "now" ? plural(count, "has", "have") : "would have";
  const message = `${counted(count, "other user")} ${plural(count, "has", "have")} the same key, and ${has} no working one ${when}: keyctl list --hash ${hash}   names all of them`;
  return [{ code: "KEY_SHARED", message }, ...others.map((user) => userWithoutKey(user, when))];
}

/** OpenRouter is known to accept a disabled key for a while. */
export function keyNotAsked(): Warning {
  const message =
    "OpenRouter's entry says that the key is disabled or deleted; the key itself was not asked, because only its hash is known: keyctl leaked --stdin   asks it";
  return { code: "KEY_NOT_ASKED", message };
}

/** A new key gets what was left of the limit of the leaked one, which may have been used up. */
export function emptyLimit({ userId, limit, limitNow }: RotateResult): readonly Warning[] {
  if (limit === null || limitNow === null || limitNow > 0) return [];
  const message = `nothing was left of the limit of the leaked key, so the new one cannot spend yet: keyctl rotate ${userFlag(userId)} --limit full   gives it all of the limit`;
  return [{ code: "LIMIT_USED_UP", message }];
}
