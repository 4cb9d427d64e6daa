import { anySignal, deadlineIn } from "../../async/deadline.ts";
import { isKeyctlError } from "../../model/errors.ts";
import type { Timestamp } from "../../model/key-record.ts";
import type { LeakedResult } from "../../model/leaked-results.ts";
import type { Warning } from "../../model/warning.ts";
import type { Activity, FindResult, UpstreamKeys } from "../../ports/openrouter.ts";

/**
 * What a key spent. OpenRouter tells it for each of the last 30 completed days by UTC, and what the key spent today. What it
 * cannot tell is a warning, and never part of a sum.
 */

export type LeakedUsage = Pick<LeakedResult, "name" | "usageSince" | "usedFrom" | "lastUsedAt" | "warnings">;

const DAY_MS = 86_400_000;
const DAYS_SHOWN = 30;
/** For all requests: the user waits for a new key meanwhile. */
const READING_MS = 5_000;
const MICRO = 1_000_000;

type Unanswered = { readonly status: "unknown"; readonly detail: string };

/**
 * @param since in milliseconds since 1970; its whole day by UTC is counted. Null: as far back as OpenRouter tells
 * @param now by OpenRouter's clock, if that is known
 */
export async function usageOf(
  upstreamId: string,
  { since, now }: { readonly since: number | null; readonly now: number },
  keys: Pick<UpstreamKeys, "find" | "activity">,
  signal: AbortSignal,
): Promise<LeakedUsage> {
  const deadline = () => deadlineIn(READING_MS, anySignal(signal));
  const [entry, activity] = await Promise.all([
    answered(() => keys.find(upstreamId, deadline())),
    answered(() => keys.activity(upstreamId, deadline())),
  ]);
  return summed(entry, activity, { since, now });
}

/** Rejects only for a bug, and when the caller stops waiting. */
async function answered<Answer>(ask: () => Promise<Answer>): Promise<Answer | Unanswered> {
  try {
    return await ask();
  } catch (thrown) {
    if (!isKeyctlError(thrown)) throw thrown;
    return { status: "unknown", detail: `was not asked: ${thrown.message}` };
  }
}

function summed(
  entry: FindResult | Unanswered,
  activity: Activity | Unanswered,
  { since, now }: { readonly since: number | null; readonly now: number },
): LeakedUsage {
  const key = entry.status === "found" ? entry.key : undefined;
  const name = key?.name ?? null;
  const today = dayOf(now);
  const first = dayOf(now - DAYS_SHOWN * DAY_MS);
  const wanted = since === null ? first : dayOf(since);
  const created = key?.createdAt?.slice(0, today.length);
  // Before it was created, a key spent nothing.
  const isCutOff = wanted < first && (created === undefined || created < first);
  const from = isCutOff ? first : wanted;
  const lastUsedAt = key?.lastUsedAt ?? null;
  const usedFrom: Timestamp = `${from}T00:00:00.000Z`;
  if (activity.status !== "known") {
    const detail = activity.status === "hidden" ? "does not show this management key the activity" : activity.detail;
    const message = `what was spent with the key is not known: OpenRouter ${detail}; the link shows its requests`;
    return { name, usageSince: null, usedFrom, lastUsedAt, warnings: [{ code: "USAGE_UNKNOWN", message }] };
  }
  if (entry.status === "gone" && activity.days.length === 0) {
    const message = "what was spent with the key is not known: OpenRouter does not have the key any more";
    return { name, usageSince: null, usedFrom, lastUsedAt, warnings: [{ code: "USAGE_UNKNOWN", message }] };
  }
  const days = activity.days.filter(({ date }) => date >= from && date < today);
  const earlier = days.reduce((sum, { usage }) => sum + usage, 0);
  const usageSince = Math.round((earlier + (key?.usageToday ?? 0)) * MICRO) / MICRO;
  const gaps = [
    ...(isCutOff ? [`before ${first}, because OpenRouter tells ${DAYS_SHOWN} days`] : []),
    ...(key?.usageToday === undefined ? [`on ${today}, because OpenRouter tells only completed days of this key`] : []),
  ];
  return { name, usageSince, usedFrom, lastUsedAt, warnings: gaps.map(incomplete) };
}

function incomplete(gap: string): Warning {
  return { code: "USAGE_INCOMPLETE", message: `what was spent with the key is counted without what it spent ${gap}` };
}

function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, "2026-11-25".length);
}
