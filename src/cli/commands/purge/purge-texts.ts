import type { PurgeResult } from "../../../core/model/results.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import { plural } from "../../../core/text/format.ts";

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
  const { purged, revocation, revokedKeys, error } = result;
  if (error !== null) return error.message;
  if (hadEarlierKeys(result)) return `${earlierKeys(revokedKeys)} deleted at OpenRouter`;
  if (!purged) return "had no key";
  return revocation === "done" && revokedKeys > 1 ? `purged, with ${earlierKeys(revokedKeys - 1)}` : "purged";
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
