import type { Warning } from "../core/ports.ts";
import type { SyncResult } from "../core/results.ts";
import { shellQuote, userFlag } from "../core/shell-quote.ts";
import type { Column } from "./table.ts";
import type { Invocation } from "./runner.ts";
import type { Terminal } from "./terminal.ts";

/** How sync and get show a user's key. */
export const keyColumns: readonly Column[] = [{ title: "USER", shrinks: true }, { title: "KEY" }, { title: "SOURCE" }];

/** The fields that the documents of sync and get share. */
export function keyDocument(result: Omit<SyncResult, "synced">) {
  const { userId, key, keyHash, source, origin, shadowed, warnings } = result;
  return { user_id: userId, key: key?.masked ?? null, key_hash: keyHash, source, origin, shadowed, warnings };
}

export function sayWarnings(terminal: Terminal, warnings: readonly Warning[]): void {
  for (const { message } of warnings) terminal.warning(message);
}

/** How to use the keys that lost. */
export function sayShadowed(
  { terminal, keyPlaces }: Invocation,
  { userId, shadowed, shadowedTails }: SyncResult,
): void {
  shadowed.forEach((name, index) => {
    const place = keyPlaces[name];
    const save =
      place.kind === "file"
        ? `keyctl save ${userFlag(userId)} --from-file ${shellQuote(place.path)} --replace`
        : `printenv ${place.name} | keyctl save ${userFlag(userId)} --stdin --replace`;
    const holder = place.kind === "file" ? shellQuote(isBare(place.path) ? `./${place.path}` : place.path) : place.name;
    terminal.hint(`${holder} holds another key, ending ${shadowedTails[index]}; to use it instead:\n      ${save}`);
  });
}

function isBare(path: string): boolean {
  return !/[/\\]/.test(path);
}

/** One key for many users cannot be told apart at OpenRouter: not its limit, not its use. */
export function sharedKeyWarning(users: number): readonly Warning[] {
  return users < 2 ? [] : [{ code: "KEY_SHARED", message: `${users} users were given the same key` }];
}
