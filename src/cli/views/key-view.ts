import type { ExternalSource } from "../../core/model/log-event.ts";
import { shellQuote, userFlag } from "../../core/text/shell-quote.ts";
import type { Invocation } from "../invocation.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { SyncResult } from "../../core/model/results.ts";
import type { WantedTerms } from "../../core/model/provision-rules.ts";
import type { Warning } from "../../core/model/warning.ts";

/** The fields of a document about the key that a user has now. */
export function syncFields({ userId, key, keyHash, source, origin, synced, shadowed }: SyncResult) {
  return { user_id: userId, key: key?.masked ?? null, key_hash: keyHash, source, origin, synced, shadowed };
}

export function sayWarnings(terminal: Terminal, warnings: readonly Warning[]): void {
  for (const warning of warnings) terminal.warn(warning);
}

/** Keys that lost, and the last four characters of each, in the same order. */
interface Losers {
  readonly userId: string;
  readonly shadowed: readonly ExternalSource[];
  readonly shadowedTails: readonly string[];
}

/** How to use the keys that lost. */
export function sayShadowed({ terminal, keyPlaces }: Invocation, { userId, shadowed, shadowedTails }: Losers): void {
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

/** What a key may spend: `$5 monthly`, `no limit`. */
export function spendingOf({ limit, limitReset }: Pick<WantedTerms, "limit" | "limitReset">): string {
  if (limit === null) return "no limit";
  return `$${limit}${limitReset === null ? "" : ` ${limitReset}`}`;
}
