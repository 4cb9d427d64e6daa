import { publicExpiry } from "../../../core/model/expiry.ts";
import type {
  CarriedRestrictions,
  RotatedPrevious,
  RotatePreview,
  RotateResult,
} from "../../../core/model/rotate-results.ts";
import type { Timestamp } from "../../../core/model/key-record.ts";
import { counted } from "../../../core/text/format.ts";
import { formatExactly } from "../../format-duration.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import { hangingLines } from "../../terminal/word-wrap.ts";
import { sayWarnings, spendingOf } from "../../views/key-view.ts";
import { describeExpiry, dollars } from "../../views/verdict-view.ts";

const MINUTE_MS = 60_000;
const INDENT = "  ";
const THEN_FINISH = "then:  keyctl rotate --finish";
/** Holds words together that are not broken over two lines. */
const GLUE = "\u00A0";

/** The JSON document, without its error. */
export function rotateDocument(result: RotateResult): object {
  const { restrictions, previous } = result;
  return {
    user_id: result.userId,
    key: result.key?.masked ?? null,
    key_hash: result.keyHash,
    source: result.key === null ? null : "database",
    origin: result.origin,
    generation: result.generation,
    limit: result.limit,
    limit_now: result.limitNow,
    limit_restore_at: result.limitRestoreAt,
    limit_reset: result.limitReset,
    expires_at: publicExpiry(result.expiresAt),
    verified: result.verified,
    restrictions:
      restrictions === null ? null : { guardrail: restrictions.guardrail, allow_lists: restrictions.allowLists },
    previous: previous === null ? null : previousDocument(previous),
    warnings: result.warnings,
  };
}

export function previousDocument({ key, keyHash, origin, revocation, revokeAt }: RotatedPrevious): object {
  return { key, key_hash: keyHash, origin, revocation, revoke_at: revokeAt };
}

/** The same document for a rotation that was not done: nothing is known about its new key. */
export function previewDocument({ userId, action, current, warnings }: RotatePreview): object {
  const previous =
    current === null
      ? null
      : { key: current.key, key_hash: current.keyHash, origin: current.origin, revocation: null, revoke_at: null };
  return {
    user_id: userId,
    key: null,
    key_hash: null,
    source: null,
    origin: null,
    generation: null,
    limit: null,
    limit_now: null,
    limit_restore_at: null,
    limit_reset: null,
    expires_at: null,
    verified: false,
    restrictions: null,
    previous,
    dry_run: true,
    action,
    warnings,
  };
}

/** What is in use now, and what became of the old key. Prints nothing for a rotation that changed nothing. */
export async function showRotation(terminal: Terminal, result: RotateResult): Promise<void> {
  sayWarnings(terminal, result.warnings);
  const { key, previous, restrictions } = result;
  if (key === null) return;
  const { paint, columns } = terminal;
  const carried = restrictions === null ? undefined : carriedOver(restrictions);
  const terms = `${spendingNow(result)}; ${endOf(result)}`;
  const lines = [
    ...block(`${paint.green("✔")} `, `new key ${key.masked} created, verified, in use (${terms})`, columns),
    ...(carried === undefined ? [] : block(INDENT, carried, columns)),
    ...(previous === null ? [] : block(INDENT, fateInWords(previous), columns)),
  ];
  await terminal.result(lines.join("\n"));
}

/** The command is never broken: people copy it. */
function block(mark: string, text: string, columns?: number): readonly string[] {
  const whole = text.replace(THEN_FINISH, THEN_FINISH.replaceAll(" ", GLUE));
  return hangingLines(mark, whole, columns).map((line) => line.replaceAll(GLUE, " "));
}

/** `$3.20 left this month, then $10`. */
function spendingNow({ limit, limitNow, limitRestoreAt, limitReset }: RotateResult): string {
  if (limit === null || limitNow === null || limitNow === limit) {
    return spendingOf({ limit, limitReset: periodIn(limitReset) });
  }
  const left = `${dollars(limitNow)} left`;
  if (limitRestoreAt === null) return `${left} of ${dollars(limit)}`;
  return `${left} ${PERIODS[periodIn(limitReset) ?? "monthly"]}, then ${dollars(limit)}`;
}

const PERIODS = { daily: "today", weekly: "this week", monthly: "this month" } as const;

function periodIn(limitReset: string | null): keyof typeof PERIODS | null {
  return limitReset === "daily" || limitReset === "weekly" || limitReset === "monthly" ? limitReset : null;
}

function endOf({ expiresAt }: RotateResult): string {
  return expiresAt === null ? "does not expire" : `expires ${describeExpiry(expiresAt)}`;
}

/** Undefined if nothing is attached to the key. */
function carriedOver({ guardrail, allowLists }: CarriedRestrictions): string | undefined {
  const parts = [
    ...(guardrail === "carried" ? ["its guardrail"] : []),
    ...(allowLists === null || allowLists === 0 ? [] : [counted(allowLists, "allow-list")]),
  ];
  return parts.length === 0 ? undefined : `with ${parts.join(" and ")}, as the old key`;
}

/** `old key ***************77e0 is deleted at OpenRouter`. */
function fateInWords({ key, revocation, revokeAt }: RotatedPrevious): string {
  const old = key === null ? "the old key" : `old key ${key}`;
  if (revocation === "scheduled" && revokeAt !== null)
    return `${old} works until ${untilWhen(revokeAt)}; ${THEN_FINISH}`;
  return `${old} ${FATES[revocation]}`;
}

const FATES: Readonly<Record<RotatedPrevious["revocation"], string>> = {
  done: "is deleted at OpenRouter",
  scheduled: "is deleted at OpenRouter later",
  pending: "is not confirmed to be deleted at OpenRouter",
  kept: "stays active at OpenRouter",
  not_ours: "is left as it is at OpenRouter: keyctl did not create it",
};

/** `02:24 (10 minutes)` in local time; with the date unless that is today's. */
function untilWhen(at: Timestamp): string {
  const left = Date.parse(at) - Date.now();
  const unit = left < 2 * MINUTE_MS ? 1000 : MINUTE_MS;
  return `${clockTime(new Date(at))}${left > 0 ? ` (${formatExactly(Math.round(left / unit) * unit)})` : ""}`;
}

function clockTime(at: Date): string {
  const time = `${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}`;
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.getFullYear()}-${twoDigits(at.getMonth() + 1)}-${twoDigits(at.getDate())} ${time}`;
}

function twoDigits(part: number): string {
  return String(part).padStart(2, "0");
}

/** One user's line in a bulk run. */
export function rotationOutcome({ key, previous, error }: RotateResult): string {
  if (error !== null) return error.message;
  if (key === null || previous === null) return "rotated";
  const { revocation, revokeAt } = previous;
  if (revocation === "scheduled" && revokeAt !== null) {
    return `rotated; the old key works until ${clockTime(new Date(revokeAt))}`;
  }
  return `rotated; the old key ${FATES[revocation]}`;
}
