import { expiryMs } from "../../model/expiry.ts";
import { KeyctlError } from "../../model/errors.ts";
import type { KeyRecord, LimitDue, LimitReset } from "../../model/key-record.ts";
import type { RotateTask } from "../../model/rotate-results.ts";
import { parseLimitReset } from "../../model/provision-terms.ts";
import type { WantedTerms } from "../../model/provision-rules.ts";
import type { UpstreamKey } from "../../ports/openrouter.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";

/**
 * The terms of a key that replaces another one. **Invariant:** a rotation gives no budget back and drops no limit: the new key
 * may spend what was left, and gets the whole limit when the old one would have got it back.
 */

export interface NewTerms {
  readonly terms: WantedTerms;
  readonly includeByokInLimit: boolean | null;
  /** Null: `terms.limit` is the full limit. */
  readonly limitDue: LimitDue | null;
}

/** Five minutes after the end of the period: a clock that is ahead restores a limit late, not early. */
const CLOCKS_DIFFER_MS = 300_000;
const DAY_MS = 86_400_000;

/**
 * @param upstream the key to be replaced as OpenRouter describes it; undefined for a deleted key, whose row knows the rest
 * @param given the terms of a key about which neither knows anything
 * @param now in milliseconds since 1970
 */
export function newTermsOf(
  row: KeyRecord,
  upstream: UpstreamKey | undefined,
  { task, given, now }: { readonly task: RotateTask; readonly given: () => WantedTerms; readonly now: number },
): NewTerms {
  const label = row.label;
  if (upstream === undefined && row.generation === 0) {
    const terms = { ...given(), label };
    const { limit = terms.limit } = amountOf(task) ?? {};
    return {
      terms: { ...terms, limit, ...lifetimeGiven(task) },
      includeByokInLimit: null,
      limitDue: null,
    };
  }
  const { limit, limitDue } = limitOf(row, upstream, task, now);
  return {
    terms: {
      label,
      limit,
      limitReset: limit === null ? null : resetOf(row, upstream),
      ...(lifetimeGiven(task) ?? { expiresInMs: lifetimeOf(row, upstream) }),
      workspace: upstream?.workspace ?? null,
    },
    includeByokInLimit: upstream?.includeByokInLimit ?? null,
    limitDue,
  };
}

function lifetimeGiven({
  expiresInMs,
  expiresAt,
}: RotateTask): Pick<WantedTerms, "expiresInMs" | "expiresAt"> | undefined {
  if (expiresAt !== undefined) return { expiresInMs: null, expiresAt };
  return expiresInMs === undefined ? undefined : { expiresInMs };
}

/** The limit that was given as an amount or as none. */
function amountOf({ limit }: RotateTask): { readonly limit: number | null } | undefined {
  return typeof limit === "string" ? undefined : { limit };
}

/** Decided before the key is created, and never again. Throws PROVIDER_UNAVAILABLE if OpenRouter does not say what is left. */
function limitOf(
  row: KeyRecord,
  upstream: UpstreamKey | undefined,
  task: RotateTask,
  now: number,
): { readonly limit: number | null; readonly limitDue: LimitDue | null } {
  const amount = amountOf(task);
  if (amount !== undefined) return { ...amount, limitDue: null };
  // A person has removed the limit.
  if (upstream?.limit === null) return { limit: null, limitDue: null };
  const full = row.limitDue?.limit ?? (upstream === undefined ? row.limit : upstream.limit);
  if (full === undefined) throw notStated(row, "its limit");
  if (full === null || task.limit === "full") return { limit: full, limitDue: null };
  // A deleted key does not show what is left of its limit: no more than what it had.
  if (upstream === undefined) return { limit: row.limit, limitDue: row.limitDue };
  const left = upstream.limitRemaining;
  if (left === null || left === undefined) throw notStated(row, "what is left of its limit");
  if (row.limitDue === null && left >= full) return { limit: full, limitDue: null };
  const reset = resetOf(row, upstream);
  const atReset = reset === null ? null : { limit: full, at: endOfPeriod(reset, now) };
  return { limit: Math.max(0, left), limitDue: row.limitDue ?? atReset };
}

function resetOf(row: KeyRecord, upstream: UpstreamKey | undefined): LimitReset | null {
  if (upstream === undefined) return row.limitReset;
  if (upstream.limitReset === null) return null;
  const reset = parseLimitReset(upstream.limitReset);
  if (reset === undefined) throw resetUnknown(row);
  return reset;
}

/** Limits reset at midnight UTC: every day, on Monday, or on the first of the month. */
export function endOfPeriod(reset: LimitReset, now: number): string {
  const date = new Date(now);
  const midnight = Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate());
  const end = {
    daily: midnight + DAY_MS,
    weekly: midnight + ((8 - date.getUTCDay()) % 7 || 7) * DAY_MS,
    monthly: Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1),
  }[reset];
  return new Date(end + CLOCKS_DIFFER_MS).toISOString();
}

/** In milliseconds; null: it never expires. Throws PROVIDER_UNAVAILABLE for an expiry that cannot be read. */
function lifetimeOf(row: KeyRecord, upstream: UpstreamKey | undefined): number | null {
  const expiresAt = upstream === undefined ? row.expiresAt : upstream.expiresAt;
  const end = expiryMs(expiresAt);
  if (end === "unknown" || expiresAt === undefined) throw notStated(row, "when it expires", " --expires-in 90d");
  if (end === Number.POSITIVE_INFINITY) return null;
  const lifetime = end - Date.parse(upstream?.createdAt ?? row.createdAt);
  if (Number.isFinite(lifetime) && lifetime > 0) return lifetime;
  throw notStated(row, "when it was created", " --expires-in 90d");
}

function resetUnknown({ userId }: KeyRecord): KeyctlError {
  const message = `the limit of the key of user ${printable(userId)} is reset in a way that keyctl does not know; nothing was changed`;
  return new KeyctlError("PROVIDER_UNAVAILABLE", message, {
    hint: "let it reset daily, weekly, monthly or never at https://openrouter.ai/keys",
  });
}

function notStated({ userId }: KeyRecord, what: string, flag = " --limit 10"): KeyctlError {
  const message = `OpenRouter does not say of the key of user ${printable(userId)}: ${what}; nothing was changed`;
  return new KeyctlError("PROVIDER_UNAVAILABLE", message, { hint: `keyctl rotate ${userFlag(userId)}${flag}` });
}
