import { printable } from "../../core/text/printable.ts";
import type { Validation } from "../../core/validate/validate-key.ts";
import type { KeyTerms, Verdict } from "../../core/model/verdict.ts";
import { formatAgo } from "../format-duration.ts";
import { sayWarnings } from "./key-view.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** The JSON document, without its error. */
export function validationDocument(validation: Validation): object {
  const { userId, key, keyHash, verdict, checkedAt, recorded, attention, warnings } = validation;
  const terms = termsOf(verdict);
  return {
    user_id: userId,
    key,
    key_hash: keyHash,
    ...verdictFields(verdict),
    witness: verdict?.witness ?? null,
    checked_at: checkedAt,
    recorded,
    limit: terms?.limit ?? null,
    limit_remaining: terms?.limitRemaining ?? null,
    limit_reset: terms?.limitReset ?? null,
    expires_at: terms?.expiresAt ?? null,
    attention,
    warnings,
  };
}

export function verdictFields(verdict: Verdict | null) {
  return {
    verdict: verdict?.status ?? null,
    valid: verdict === null || verdict.status === "unknown" ? null : verdict.status === "valid",
    reason: verdict?.reason ?? null,
  };
}

/** A card for people; the error says the rest. */
export async function showValidation(terminal: Terminal, validation: Validation): Promise<void> {
  const { userId, key, verdict, attention, warnings } = validation;
  sayWarnings(terminal, warnings);
  if (verdict === null) return;
  const reason = verdict.reason === null ? "" : ` (${printable(verdict.reason.replaceAll("_", " "))})`;
  const terms = termsOf(verdict);
  const card = [
    ...(userId === null ? [] : [["User", printable(userId)] as const]),
    ["Key", key ?? "unreadable"] as const,
    ["Verdict", terminal.paint.bold(verdict.status) + reason] as const,
    ...(terms === undefined ? [] : describeTerms(terms)),
  ];
  await terminal.result(card.map(([title, text]) => `${terminal.paint.dim(title.padEnd(10))} ${text}`).join("\n"));
  if (attention.includes("EXPIRES_SOON")) terminal.note("the key expires soon");
  if (attention.includes("LIMIT_USED_UP")) terminal.note("the key has too little of its limit left");
  if (attention.includes("NO_LIMIT")) terminal.note("the key has no limit: it can spend without bound");
}

function termsOf(verdict: Verdict | null): KeyTerms | undefined {
  return verdict === null || verdict.status === "unknown" ? undefined : verdict;
}

function describeTerms(terms: KeyTerms): readonly (readonly [title: string, text: string])[] {
  const { limit, limitRemaining, limitReset, expiresAt } = terms;
  if (limit === undefined) return [];
  const left = typeof limitRemaining === "number" ? `, ${dollars(limitRemaining)} left` : "";
  const reset = limitReset === null ? "" : `, ${printable(limitReset)}`;
  return [
    ["Limit", limit === null ? "none" : `${dollars(limit)}${left}${reset}`],
    ["Expires", expiresAt === null ? "never" : printable(expiresAt.slice(0, 10))],
  ];
}

function dollars(amount: number): string {
  return `$${Number.isInteger(amount) ? amount : amount.toFixed(2)}`;
}

/** `2 days ago`, `never`. */
export function lastValid({ lastValidated }: Validation): string {
  return lastValidated === null ? "never" : formatAgo(Date.now() - Date.parse(lastValidated));
}
