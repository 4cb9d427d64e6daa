import { printable } from "../../../core/text/printable.ts";
import type { PurgePreview, PurgeResult } from "../../../core/model/results.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import { sayWarnings } from "../../views/key-view.ts";
import { blocksAnew, revocationWanted } from "./purge-flags.ts";
import type { PurgeFlags } from "./purge-flags.ts";
import { earlierKeys, howToBlock, howToEnd, keyCount, noteNextSync, REVOCATION_TEXT } from "./purge-texts.ts";
import { userFlag } from "../../../core/text/shell-quote.ts";
import { plural } from "../../../core/text/format.ts";

export function purgeDocument(result: PurgeResult): object {
  const { userId, former, purged, blocked, revocation, revokedKeys, returnsFrom, warnings } = result;
  return {
    user_id: userId,
    key: former?.key ?? null,
    key_hash: former?.keyHash ?? null,
    origin: former?.origin ?? null,
    purged,
    blocked,
    revocation,
    revoked_keys: revokedKeys,
    returns_from: returnsFrom,
    warnings,
  };
}

export function actionOf(preview: PurgePreview, flags: PurgeFlags): "purge" | "none" {
  return removesKeys(preview) || blocksAnew(preview, flags) ? "purge" : "none";
}

export function removesKeys({ former, retained, error }: PurgePreview): boolean {
  return error === null && (former !== null || retained > 0);
}

/** Completes `purge would …`. */
export function forecastOf(preview: PurgePreview, flags: PurgeFlags): string {
  const block = blocksAnew(preview, flags) ? ", and block the user" : "";
  const blocked = preview.wasBlocked ? "; the user is blocked already" : "";
  return `${removesKeys(preview) ? removalOf(preview, flags) : "find no key"}${block}${blocked}`;
}

function removalOf(preview: PurgePreview, flags: PurgeFlags): string {
  const { former, retained } = preview;
  const kept =
    retained === 0 ? "" : `${keyCount(retained)} of this user that ${plural(retained, "is", "are")} kept there`;
  if (former === null) return `delete at OpenRouter ${kept}`;
  const upstream = kept === "" ? " and at OpenRouter" : ` and at OpenRouter, with ${kept}`;
  return `delete ${former.key ?? "an unreadable key"} here${revocationWanted(flags) === "no" ? "" : upstream}`;
}

export async function showPurge(terminal: Terminal, result: PurgeResult): Promise<void> {
  const { userId, former, purged, blocked, revocation, returnsFrom, warnings, error } = result;
  sayWarnings(terminal, warnings);
  if (error !== null && !purged && !blocked) return;
  await terminal.result(purged ? purgedLine(result, terminal) : withoutKeyLine(result));
  noteNextSync(terminal, returnsFrom);
  const again = `keyctl purge ${userFlag(userId)}`;
  const [ours, foreign] = revocation !== "kept" ? [0, 0] : former?.isOurs === true ? [1, 0] : [0, 1];
  const hint = howToEnd({ ours, foreign }, `${again} --revoke`);
  if (hint !== undefined) terminal.hint(hint);
  if (returnsFrom.length > 0) terminal.hint(howToBlock(`${again} --block`));
}

function purgedLine({ userId, former, blocked, revocation, revokedKeys }: PurgeResult, { paint }: Terminal): string {
  const more = revocation === "done" && revokedKeys > 1 ? `, with ${earlierKeys(revokedKeys - 1)} of this user` : "";
  const upstream = `${revocation === "done" ? "and " : ""}${REVOCATION_TEXT[revocation ?? "kept"]}${more}`;
  const block = blocked ? `; ${printable(userId)} is ${paint.bold("blocked")}` : "";
  return `${former?.key ?? "an unreadable key"} ${paint.bold("purged")} (${upstream})${block}`;
}

function withoutKeyLine({ userId, blocked, wasBlocked, revocation, revokedKeys }: PurgeResult): string {
  const block = blocked ? `, and is blocked ${wasBlocked ? "already" : "now"}` : "";
  const earlier =
    revocation === "done"
      ? `; ${keyCount(revokedKeys)} of this user ${plural(revokedKeys, "was", "were")} deleted at OpenRouter`
      : "";
  return `${printable(userId)} has no key in the database${block}${earlier}`;
}
