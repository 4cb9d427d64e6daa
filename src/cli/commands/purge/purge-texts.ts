import type { PurgeResult } from "../../../core/model/results.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import { counted, plural } from "../../../core/text/format.ts";

/** The texts about a purge besides its result: the other deleted keys, and the source of the key of the next sync. */

export function keyCount(count: number): string {
  return `${count} ${plural(count, "key")}`;
}

export function earlierKeys(count: number): string {
  return `${count} ${plural(count, "earlier key")}`;
}

/** Whether keys were deleted at OpenRouter for a user who had none in the database. */
export function hadEarlierKeys({ purged, revocation }: PurgeResult): boolean {
  return !purged && revocation === "done";
}

/** One user's result in the table of a bulk run. */
export function outcomeOf(result: PurgeResult): string {
  const { purged, revocation, revokedKeys, blocked, wasBlocked, error } = result;
  const block = blocked ? `; ${wasBlocked ? "blocked already" : "blocked"}` : "";
  if (error !== null) return error.message + block;
  if (hadEarlierKeys(result)) return `${earlierKeys(revokedKeys)} deleted at OpenRouter${block}`;
  if (!purged) return `had no key${block}`;
  const more = revocation === "done" && revokedKeys > 1 ? `, with ${earlierKeys(revokedKeys - 1)}` : "";
  return `purged; ${REVOCATION_TEXT[revocation ?? "kept"]}${more}${block}`;
}

/** The state of a purged key at OpenRouter. */
export const REVOCATION_TEXT: Readonly<Record<NonNullable<PurgeResult["revocation"]>, string>> = {
  done: "deleted at OpenRouter",
  pending: "not confirmed at OpenRouter",
  kept: "it stays active at OpenRouter",
  not_ours: "it stays active at OpenRouter",
};

/** The hint on purged keys that stay active at OpenRouter: `command` deletes those that keyctl created. */
export function howToEnd(
  { ours, foreign }: { readonly ours: number; readonly foreign: number },
  command: string,
): string | undefined {
  const page = "https://openrouter.ai/keys";
  if (ours + foreign === 0) return undefined;
  if (ours === 0)
    return `delete ${plural(foreign, "it", "them")} at ${page} if nobody else uses ${plural(foreign, "it", "them")}`;
  const rest = foreign === 0 ? "" : `; ${counted(foreign, "key")} that keyctl did not create: ${page}`;
  return `${command}   deletes ${plural(ours, "it", "them")} there${rest}`;
}

/** How to keep out the keys that the next sync would bring back: `command` blocks the user. */
export function howToBlock(command: string): string {
  return `${command}   keeps every key out, until keyctl unblock`;
}

export function noteNextSync(terminal: Terminal, returnsFrom: PurgeResult["returnsFrom"]): void {
  for (const name of returnsFrom) {
    if (name === "auto-provisioned") {
      terminal.note("the next sync of this user creates a new, paid key; --no-provision prevents that");
      continue;
    }
    terminal.note(`${placeOf(name)} holds a key: the next sync of this user stores that key`);
  }
}

/** The remark about the next sync for many users, in one sentence. */
export function remarkOnNextSync(returnsFrom: PurgeResult["returnsFrom"]): string | undefined {
  const [first] = returnsFrom;
  if (first === undefined) return undefined;
  if (first === "auto-provisioned") return "the next sync of any one of them creates a new, paid key";
  return `the next sync stores the key that ${placeOf(first)} holds`;
}

function placeOf(name: string): string {
  return name === "environment" ? "OPENROUTER_API_KEY" : name;
}
