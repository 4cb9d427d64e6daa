import { isFromFuture } from "../../core/model/clock-skew.ts";
import { publicExpiry } from "../../core/model/expiry.ts";
import { limitOverTime } from "../../core/model/known-terms.ts";
import type { LimitOverTime } from "../../core/model/known-terms.ts";
import { printable } from "../../core/text/printable.ts";
import type { LimitDue } from "../../core/model/key-record.ts";
import { attentionWords } from "../../core/validate/attention-texts.ts";
import type { Validation } from "../../core/validate/validate-key.ts";
import type { KeyTerms, Verdict } from "../../core/model/verdict.ts";
import { formatAgo } from "../format-duration.ts";
import { sayWarnings } from "./key-view.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** The JSON document, without its error. */
export function validationDocument(validation: Validation): object {
  const { userId, key, keyHash, verdict, checkedAt, recorded, limitDue, attention, warnings } = validation;
  const terms = termsOf(verdict);
  return {
    user_id: userId,
    key,
    key_hash: keyHash,
    ...verdictFields(verdict),
    witness: verdict?.witness ?? null,
    checked_at: checkedAt,
    recorded,
    ...limitFields(limitOverTime(terms?.limit, terms === undefined ? null : limitDue)),
    limit_remaining: terms?.limitRemaining ?? null,
    limit_reset: terms?.limitReset ?? null,
    expires_at: publicExpiry(terms?.expiresAt),
    blocked_by: terms?.blockedBy ?? null,
    last_used_at: terms?.lastUsedAt ?? null,
    attention,
    warnings,
  };
}

/** The fields of a limit in a document. */
export function limitFields({ limit, limitNow, limitRestoreAt }: LimitOverTime) {
  return { limit: limit ?? null, limit_now: limitNow ?? null, limit_restore_at: limitRestoreAt };
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
  const { userId, key, verdict, limitDue, attention, warnings } = validation;
  sayWarnings(terminal, warnings);
  if (verdict === null) return;
  const reason = verdict.reason === null ? "" : ` (${printable(verdict.reason.replaceAll("_", " "))})`;
  const terms = termsOf(verdict);
  const card = [
    ...(userId === null ? [] : [["User", printable(userId)] as const]),
    ["Key", key ?? "unreadable"] as const,
    ["Verdict", terminal.paint.bold(verdict.status) + reason] as const,
    ...(terms === undefined ? [] : describeTerms(terms, limitDue)),
  ];
  await terminal.result(card.map(([title, text]) => `${terminal.paint.dim(title.padEnd(10))} ${text}`).join("\n"));
  if (terms === undefined) return;
  for (const name of attention) terminal.note(`the key ${attentionWords([name], terms)}`);
}

function termsOf(verdict: Verdict | null): KeyTerms | undefined {
  return verdict === null || verdict.status === "unknown" ? undefined : verdict;
}

function describeTerms(
  terms: KeyTerms,
  limitDue: LimitDue | null,
): readonly (readonly [title: string, text: string])[] {
  const { expiresAt, blockedBy } = terms;
  const { limit } = limitOverTime(terms.limit, limitDue);
  return [
    ...(limit === undefined ? [] : [["Limit", describeLimit({ ...terms, limit })] as const]),
    ...(typeof blockedBy === "string"
      ? [["Budget", `used up (${printable(blockedBy.replaceAll("_", " "))})`] as const]
      : []),
    ...(expiresAt === undefined ? [] : [["Expires", describeExpiry(expiresAt)] as const]),
  ];
}

/** `$10, $3.20 left, monthly` or `none`. */
export function describeLimit({
  limit,
  limitRemaining,
  limitReset,
}: Pick<KeyTerms, "limitRemaining" | "limitReset"> & { readonly limit: number | null }): string {
  if (limit === null) return "none";
  const left = typeof limitRemaining === "number" ? `, ${dollars(limitRemaining)} left` : "";
  return `${dollars(limit)}${left}${limitReset === null ? "" : `, ${printable(limitReset)}`}`;
}

/** `2026-12-31`, `never` or `unknown`. */
export function describeExpiry(expiresAt: string | null): string {
  return publicExpiry(expiresAt)?.slice(0, 10) ?? "never";
}

export function dollars(amount: number): string {
  return `$${Number.isInteger(amount) ? amount : amount.toFixed(2)}`;
}

/** `2 days ago`, `never`; off a terminal an RFC 3339 time. */
export function lastValid({ lastValidated }: Validation, isTerminal: boolean): string {
  const now = Date.now();
  if (!isTerminal && lastValidated !== null) return lastValidated;
  return lastValidated === null || isFromFuture(lastValidated, now)
    ? "never"
    : formatAgo(now - Date.parse(lastValidated));
}
