import type { LeakedAction, LeakedResult } from "../../../core/model/leaked-results.ts";
import { printable } from "../../../core/text/printable.ts";
import { userFlag } from "../../../core/text/shell-quote.ts";
import { formatAgo } from "../../format-duration.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import { hangingLines } from "../../terminal/word-wrap.ts";
import { sayWarnings } from "../../views/key-view.ts";
import { dollars } from "../../views/verdict-view.ts";

/** The JSON document, without its error. */
export function leakedDocument(result: LeakedResult, isDryRun: boolean): object {
  const { owner } = result;
  return {
    key_hash: result.keyHash,
    owner: owner === null ? null : { user_id: owner.userId, current: owner.current },
    name: result.name,
    disabled_at: result.disabledAt,
    replaced_by: result.replacedBy,
    usage_since: result.usageSince,
    used_from: result.usedFrom,
    last_used_at: result.lastUsedAt,
    link: result.link,
    ...(isDryRun ? { dry_run: true } : {}),
    action: result.action,
    warnings: result.warnings,
  };
}

/** What became of the key, and what it spent. Prints nothing of a key about which nothing is known. */
export async function showLeaked(terminal: Terminal, result: LeakedResult, isDryRun: boolean): Promise<void> {
  sayWarnings(terminal, result.warnings);
  const { owner, disabledAt, error, link, action } = result;
  const isKnown = owner !== null || disabledAt !== null || result.usageSince !== null;
  if (error !== null && !isKnown) return;
  const { paint, columns } = terminal;
  const mark = error === null ? paint.green("✔") : paint.red("✗");
  const newKey = newKeyOf(result);
  const lines = [
    ...hangingLines(`${mark} `, `${whoseKey(result)} ${fateOf(result, isDryRun)}`, columns),
    ...(newKey === undefined || isDryRun ? [] : hangingLines("  ", newKey, columns)),
    ...(action === "rotate" && newKey !== undefined && !isDryRun ? hangingLines("  ", HELD_IN_MEMORY, columns) : []),
    ...(result.usedFrom === null ? [] : hangingLines("  ", spendingOfLeaked(result), columns)),
    // People copy it: it is never broken.
    ...(isKnown && link !== null ? [`  ${link}`] : []),
  ];
  await terminal.result(lines.join("\n"));
}

const HELD_IN_MEMORY = "programs that run now hold the leaked key, and get a 401 until they read the new one";

/** One key's line in a run of many; the error of a faulty line has its number. */
export function leakedCells({ columns }: Terminal, result: LeakedResult, isDryRun: boolean): readonly string[] {
  const { keyHash, owner, usageSince, error } = result;
  const what = error === null ? fateOf(result, isDryRun) : error.message;
  const key = columns === undefined ? keyHash : keyHash?.slice(0, SHOWN_OF_HASH).concat("…");
  return [key ?? "-", owner?.userId ?? "-", usageSince === null ? "-" : dollars(usageSince), what];
}

/** On a terminal; enough to find the key again. */
const SHOWN_OF_HASH = 12;

function whoseKey({ owner, name }: LeakedResult): string {
  if (owner === null) {
    return name === null ? "a key of no user here" : `the key "${printable(name)}", of no user here,`;
  }
  return `${owner.current ? "the key" : "an earlier key"} of user ${printable(owner.userId)}`;
}

const WOULD: Readonly<Record<LeakedAction, string>> = {
  rotate: "would be disabled, replaced and deleted",
  purge: "would be disabled and deleted",
  disable: "would be disabled, and not replaced",
  none: "is refused by OpenRouter already",
};

const DONE: Readonly<Record<LeakedAction, string>> = {
  rotate: "is disabled, replaced and deleted",
  purge: "is disabled and deleted",
  disable: "is disabled, and not replaced",
  none: "is refused by OpenRouter",
};

function fateOf({ owner, action, disabledAt, replacedBy, error }: LeakedResult, isDryRun: boolean): string {
  if (isDryRun)
    return action === "none" && owner?.current === false ? "is deleted at OpenRouter already" : WOULD[action];
  if (error === null) return disabledAt === null && action === "purge" ? "is deleted" : DONE[action];
  if (disabledAt === null) return "is not contained";
  return action === "rotate" && replacedBy !== null ? "is disabled and replaced" : "is disabled";
}

function newKeyOf({ owner, action, replacedBy }: LeakedResult): string | undefined {
  if (owner === null || replacedBy === null) return undefined;
  const what = action === "rotate" ? "the new key is in use" : "the present key of this user stays";
  return `${what}: keyctl get ${userFlag(owner.userId)}`;
}

/** `spent $3.50 since 2026-10-25 (whole days by UTC); last used 2 hours ago`. */
function spendingOfLeaked({ usageSince, usedFrom, lastUsedAt }: LeakedResult): string {
  const spent = usageSince === null ? "what it spent is not known" : `spent ${dollars(usageSince)}`;
  const since = usageSince === null || usedFrom === null ? "" : ` since ${usedFrom.slice(0, 10)} (whole days by UTC)`;
  const used = lastUsedAt === null ? "" : `; last used ${formatAgo(Math.max(0, Date.now() - Date.parse(lastUsedAt)))}`;
  return `${spent}${since}${used}`;
}
