import type { Shadowed } from "../core/log.ts";
import type { Warning } from "../core/ports.ts";
import type { SyncResult } from "../core/results.ts";
import { shellQuote, userFlag } from "../core/shell-quote.ts";
import type { Column } from "./table.ts";
import type { GlobalOptions } from "./runner.ts";
import type { Terminal } from "./terminal.ts";

/** How sync and get show a user's key. */
export const keyColumns: readonly Column[] = [{ title: "USER", shrinks: true }, { title: "KEY" }, { title: "SOURCE" }];

/** The fields that the documents of sync and get share. */
export function keyDocument(result: Omit<SyncResult, "synced">) {
  const { userId, key, keyHash, source, origin, shadowed, warnings } = result;
  return { user_id: userId, key: key?.masked ?? null, key_hash: keyHash, source, origin, shadowed, warnings };
}

/** Says what a log line has not said already. */
export function sayWarnings(terminal: Terminal, warnings: readonly Warning[]): void {
  for (const { code, message } of warnings) {
    if (!code.endsWith("_IGNORED") || terminal.options.quiet) terminal.warning(message);
  }
}

/** How to use the key that lost. */
export function shadowedHint(name: Shadowed, user: string, { keyFile }: GlobalOptions): string {
  if (name === "environment") {
    return `OPENROUTER_API_KEY holds another key; to use it instead:\n      printenv OPENROUTER_API_KEY | keyctl save ${userFlag(user)} --stdin --replace`;
  }
  const path = shellQuote(keyFile ?? "key.txt");
  return `${path} holds another key; to use it instead:\n      keyctl save ${userFlag(user)} --from-file ${path} --replace`;
}

/** One key for many users cannot be told apart at OpenRouter: not its limit, not its use. */
export function sharedKeyWarning(users: number): readonly Warning[] {
  return users < 2 ? [] : [{ code: "KEY_SHARED", message: `${users} users were given the same key` }];
}
