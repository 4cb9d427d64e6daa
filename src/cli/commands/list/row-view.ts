import { isFromFuture, withoutFutureChecks } from "../../../core/model/clock-skew.ts";
import { KeyctlError } from "../../../core/model/errors.ts";
import { expiryMs, isOver, publicExpiry, UNKNOWN_EXPIRY } from "../../../core/model/expiry.ts";
import { isOfNoUser, maskOfRecord, noUserError, storedValue } from "../../../core/model/key-record.ts";
import type { KeyRecord } from "../../../core/model/key-record.ts";
import { knownExpiry, knownLimit, limitOverTime } from "../../../core/model/known-terms.ts";
import { risksOf } from "../../../core/model/risks.ts";
import type { KeyRisks } from "../../../core/model/risks.ts";
import { storedKeyWarnings } from "../../../core/model/stored-key-warnings.ts";
import type { Warning } from "../../../core/model/warning.ts";
import { printable } from "../../../core/text/printable.ts";
import { userFlag } from "../../../core/text/shell-quote.ts";
import { formatSpan } from "../../format-duration.ts";
import { errorDocument } from "../../invocation.ts";
import { dollars, limitFields } from "../../views/verdict-view.ts";
import { KEY_COLUMN, USER_COLUMN } from "../../views/columns.ts";

const SIGNS = { valid: "✓", invalid: "✗" } as const;
const WORDS = { valid: "valid", invalid: "invalid" } as const;
const NOT_KNOWN = "-";

export const COLUMNS = [
  USER_COLUMN,
  KEY_COLUMN,
  { title: "ORIGIN", usual: 16 },
  { title: "AGE", usual: 4 },
  { title: "CHECKED" },
  { title: "EXPIRES", isOptional: true },
  { title: "LIMIT", isOptional: true },
];
export const RISKS_COLUMN = { title: "RISKS" };

/** A row with its warnings and risks at one moment. */
export interface ListedRow {
  /** A check that is dated in the future is left out, as if it had never happened. */
  readonly row: KeyRecord;
  readonly kind: "sealed" | "clear" | "unreadable";
  readonly warnings: readonly Warning[];
  readonly risks: KeyRisks;
  /** In milliseconds since 1970. */
  readonly now: number;
}

export function listed(stored: KeyRecord, now: number): ListedRow {
  const row = withoutFutureChecks(stored, now);
  const { kind } = storedValue(row.keyEncrypted);
  return { row, kind, warnings: storedKeyWarnings(stored, now), risks: risksOf(row), now };
}

/** Off a terminal, times are RFC 3339, for programs. */
export function cells({ row, now }: ListedRow, isTerminal: boolean): readonly string[] {
  const { userId, origin, createdAt, lastCheck } = row;
  const since = (time: string) => (isTerminal || isFromFuture(time, now) ? age(time, now) : time);
  const verdict = isTerminal ? SIGNS : WORDS;
  const checked = lastCheck === null ? "never" : `${verdict[lastCheck.verdict]} ${since(lastCheck.at)}`;
  const mask = maskOfRecord(row) ?? "unreadable";
  return [userId, mask, origin, since(createdAt), checked, expiryOf(row, now, isTerminal), limitOf(row)];
}

export function cellOfRisks({ risks }: ListedRow): string {
  return risks.known.join(", ");
}

function age(since: string, now: number): string {
  return isFromFuture(since, now) ? NOT_KNOWN : formatSpan(now - Date.parse(since));
}

function expiryOf(row: KeyRecord, now: number, isTerminal: boolean): string {
  const expiresAt = knownExpiry(row);
  if (expiresAt === undefined) return NOT_KNOWN;
  if (expiresAt === null) return "never";
  const end = expiryMs(expiresAt);
  if (end === "unknown") return UNKNOWN_EXPIRY;
  if (!isTerminal) return expiresAt;
  return isOver(expiresAt, now) ? "expired" : formatSpan(end - now);
}

function limitOf(row: KeyRecord): string {
  const { limit } = limitOverTime(knownLimit(row), row.limitDue);
  if (limit === undefined) return NOT_KNOWN;
  return limit === null ? "none" : dollars(limit);
}

/** Every field of a row, without a value. */
export const NOTHING_LISTED = {
  user_id: null,
  key: null,
  key_hash: null,
  origin: null,
  generation: null,
  settled: null,
  encrypted: null,
  created_at: null,
  updated_at: null,
  last_validated: null,
  verdict: null,
  reason: null,
  limit: null,
  limit_now: null,
  limit_restore_at: null,
  limit_reset: null,
  expires_at: null,
  checked_at: null,
  limit_remaining: null,
  blocked_by: null,
  last_used_at: null,
  auto_renewed: null,
  last_renewal_at: null,
  risks: [],
  risks_unknown: [],
  /** Since when the user is blocked, and why; such a user has no key. */
  blocked: null,
  warnings: [],
  error: null,
} as const;

export function document({ row, kind, warnings, risks }: ListedRow, signal: NodeJS.Signals | undefined): object {
  const { lastCheck } = row;
  return {
    ...NOTHING_LISTED,
    user_id: row.userId,
    key: maskOfRecord(row),
    key_hash: row.keyHash,
    origin: row.origin,
    generation: row.generation,
    settled: row.settled,
    encrypted: kind === "sealed",
    created_at: row.createdAt,
    updated_at: row.updatedAt,
    last_validated: row.lastValidated,
    verdict: lastCheck?.verdict ?? null,
    reason: lastCheck?.reason ?? null,
    ...limitFields(limitOverTime(knownLimit(row), row.limitDue)),
    limit_reset: row.limitReset,
    expires_at: publicExpiry(knownExpiry(row)),
    checked_at: lastCheck?.at ?? null,
    limit_remaining: lastCheck?.limitRemaining ?? null,
    blocked_by: lastCheck?.blockedBy ?? null,
    last_used_at: lastCheck?.lastUsedAt ?? null,
    auto_renewed: row.autoRenewed,
    last_renewal_at: row.lastRenewalAt,
    risks: risks.known,
    risks_unknown: risks.unknown,
    warnings,
    error: kind === "unreadable" ? errorDocument(unreadable(row), signal) : null,
  };
}

function unreadable(row: KeyRecord): KeyctlError {
  if (isOfNoUser(row)) return noUserError(row);
  const { userId } = row;
  return new KeyctlError("ROW_UNREADABLE", `what is stored for user ${printable(userId)} is not a key`, {
    hint: `keyctl save ${userFlag(userId)} --replace`,
  });
}
