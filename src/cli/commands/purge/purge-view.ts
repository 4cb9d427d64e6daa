import { printable } from "../../../core/text/printable.ts";
import type { PurgePreview, PurgeResult } from "../../../core/model/results.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import { sayWarnings } from "../../views/key-view.ts";
import { revocationWanted } from "./purge-flags.ts";
import type { PurgeFlags } from "./purge-flags.ts";
import { earlierKeys, howToEnd, keyCount, noteNextSync, REVOCATION_TEXT } from "./purge-texts.ts";
import { userFlag } from "../../../core/text/shell-quote.ts";
import { plural } from "../../../core/text/format.ts";

export function purgeDocument(result: PurgeResult): object {
  const { userId, former, purged, revocation, revokedKeys, returnsFrom, warnings } = result;
  return {
    user_id: userId,
    key: former?.key ?? null,
    key_hash: former?.keyHash ?? null,
    origin: former?.origin ?? null,
    purged,
    revocation,
    revoked_keys: revokedKeys,
    returns_from: returnsFrom,
    warnings,
  };
}

export function actionOf({ former, retained, error }: PurgePreview): "purge" | "none" {
  return error === null && (former !== null || retained > 0) ? "purge" : "none";
}

/** Completes `purge would …`. */
export function forecastOf(preview: PurgePreview, flags: PurgeFlags): string {
  const { former, retained } = preview;
  if (actionOf(preview) === "none") return "find no key";
  const kept =
    retained === 0 ? "" : `${keyCount(retained)} of this user that ${plural(retained, "is", "are")} kept there`;
  if (former === null) return `delete at OpenRouter ${kept}`;
  const upstream = kept === "" ? " and at OpenRouter" : ` and at OpenRouter, with ${kept}`;
  return `delete ${former.key ?? "an unreadable key"} here${revocationWanted(flags) === "no" ? "" : upstream}`;
}

export async function showPurge(
  terminal: Terminal,
  { userId, former, purged, revocation, revokedKeys, returnsFrom, warnings, error }: PurgeResult,
): Promise<void> {
  sayWarnings(terminal, warnings);
  if (error !== null && !purged) return;
  if (!purged) {
    const earlier =
      revocation === "done"
        ? `; ${keyCount(revokedKeys)} of this user ${plural(revokedKeys, "was", "were")} deleted at OpenRouter`
        : "";
    await terminal.result(`${printable(userId)} has no key in the database${earlier}`);
    return noteNextSync(terminal, returnsFrom);
  }
  const more = revocation === "done" && revokedKeys > 1 ? `, with ${earlierKeys(revokedKeys - 1)} of this user` : "";
  await terminal.result(
    `${former?.key ?? "an unreadable key"} ${terminal.paint.bold("purged")} (${revocation === "done" ? "and " : ""}${REVOCATION_TEXT[revocation ?? "kept"]}${more})`,
  );
  noteNextSync(terminal, returnsFrom);
  if (revocation !== "kept") return;
  const isOurs = former?.isOurs === true;
  const hint = howToEnd({ ours: isOurs ? 1 : 0, foreign: isOurs ? 0 : 1 }, `keyctl purge ${userFlag(userId)} --revoke`);
  if (hint !== undefined) terminal.hint(hint);
}
