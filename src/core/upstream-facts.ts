import { budgetOf } from "./budget.ts";
import type { Outcome, Within } from "./examination.ts";
import type { ManagementKey } from "./management-key.ts";
import type { Clock } from "./ports.ts";
import type { AcceptedKey, Credits, KeyCheck, OpenRouter, OpenRouterOnUse, Reach, Unknown } from "./upstream.ts";

/** What doctor asks OpenRouter with. */
export interface UpstreamSubject {
  readonly openRouter: OpenRouterOnUse;
  /** Throws CONFIG_… errors. */
  readonly managementKey: () => ManagementKey | undefined;
  readonly clock: Clock;
}

export interface UpstreamOutcomes {
  readonly openRouter: Outcome<OpenRouterFacts>;
  readonly managementKey: Outcome<ManagementKeyFacts>;
}

export type OpenRouterFacts =
  | {
      readonly status: "reached";
      readonly elapsedMs: number;
      /** How far this machine's clock is ahead of OpenRouter's, negative: behind; undefined when that was not said. */
      readonly skewMs: number | undefined;
    }
  | Unknown;

/** What OpenRouter says of the management key. */
export type ManagementKeyFacts =
  /** There is none. */
  | { readonly status: "missing" }
  /** OpenRouter was not there to be asked. */
  | { readonly status: "not-asked" }
  /** Credits are asked for with a management key only: to any other key, OpenRouter says that there are none. */
  | { readonly status: "accepted"; readonly key: AcceptedKey; readonly credits: Credits | null }
  | Exclude<KeyCheck, AcceptedKey>;

/** In milliseconds, of each question. */
const LIMIT_MS = 8_000;
/** A time comes to the second. */
const SECOND_MS = 1_000;

/** First whether it is there, once and without a key: where it is not, no time is spent on asking again. */
export async function askUpstream(subject: UpstreamSubject, within: Within): Promise<UpstreamOutcomes> {
  const { openRouter, managementKey, clock } = subject;
  const key = await within(LIMIT_MS, async () => managementKey());
  const reached = await within(LIMIT_MS, async (patience) => reach(await openRouter.open(), clock, patience));
  if (key.status !== "known") return { openRouter: reached, managementKey: key };
  return { openRouter: reached, managementKey: await checked(key.value, subject, reached, within) };
}

async function checked(
  key: ManagementKey | undefined,
  { openRouter }: UpstreamSubject,
  reached: Outcome<OpenRouterFacts>,
  within: Within,
): Promise<Outcome<ManagementKeyFacts>> {
  if (key === undefined) return { status: "known", value: { status: "missing" } };
  const isThere = reached.status === "known" && reached.value.status === "reached";
  if (!isThere) return { status: "known", value: { status: "not-asked" } };
  const check = await within(LIMIT_MS, async (patience) =>
    (await openRouter.open()).checkKey(key, budgetOf(LIMIT_MS, patience)),
  );
  if (check.status !== "known") return check;
  const { value } = check;
  if (value.status !== "accepted") return { status: "known", value };
  const credits = value.isManagementKey ? await creditsOf(key, openRouter, within) : null;
  return { status: "known", value: { status: "accepted", key: value, credits } };
}

/** Null where they could not be asked for: that says nothing of the key, which was accepted. */
async function creditsOf(key: ManagementKey, openRouter: OpenRouterOnUse, within: Within): Promise<Credits | null> {
  const credits = await within(LIMIT_MS, async (patience) =>
    (await openRouter.open()).keysUnder(key).credits(budgetOf(LIMIT_MS, patience)),
  );
  return credits.status === "known" ? credits.value : null;
}

async function reach(openRouter: OpenRouter, clock: Clock, patience: AbortSignal): Promise<OpenRouterFacts> {
  const answer: Reach = await openRouter.reach(budgetOf(LIMIT_MS, patience));
  if (answer.status !== "reached") return answer;
  const { elapsedMs, serverTime } = answer;
  // The answer was made somewhere on the way: half of it is the best guess.
  const ours = clock.now().getTime() - elapsedMs / 2;
  return { status: "reached", elapsedMs, skewMs: serverTime && skewBetween(ours, serverTime.getTime()) };
}

/** Their time is any within that second: what is left of the difference is certain. */
function skewBetween(ours: number, theirs: number): number {
  if (ours < theirs) return ours - theirs;
  return Math.max(0, ours - theirs - SECOND_MS);
}
