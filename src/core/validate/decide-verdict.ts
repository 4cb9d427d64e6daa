import type { ApiKey } from "../model/api-key.ts";
import type { OpenRouter, Unknown, UpstreamKey, UpstreamKeys } from "../ports/openrouter.ts";
import { isTimeout } from "../async/deadline.ts";
import { sleep } from "../async/sleep.ts";
import { MAX_CLOCK_SKEW_MS } from "../model/clock-skew.ts";
import { isOver } from "../model/expiry.ts";
import { NOT_SAID } from "../model/verdict.ts";
import type { InvalidReason, Verdict, Witness } from "../model/verdict.ts";
import type { Deadline } from "../async/deadline.ts";

/**
 * **Invariant:** only OpenRouter's own answer about this key is a verdict. A refusal is confirmed by a second request;
 * with a second witness, that witness decides. No answer is `unknown`, and absence from a list is no verdict.
 */
export interface VerdictSources {
  readonly openRouter: OpenRouter;
  /** The second witness; undefined without a management key. */
  readonly keys: UpstreamKeys | undefined;
  /** In milliseconds since 1970, by this machine's clock. */
  readonly now: () => number;
}

/** The time by OpenRouter's clock, by which keys expire, if its answers tell it; else the time of this machine. */
export function timeAtOpenRouter({ openRouter, now }: Pick<VerdictSources, "openRouter" | "now">): number {
  return openRouter.serverTime() ?? now();
}

/**
 * Rejects with MANAGEMENT_KEY_REFUSED, CONFIG_INVALID, or the reason of the budget's signal.
 * @param bornAt when keyctl created the key, in milliseconds since 1970; not given for other keys
 */
export async function decideVerdict(
  key: ApiKey,
  sources: VerdictSources,
  deadline: Deadline,
  bornAt = Number.NEGATIVE_INFINITY,
): Promise<Verdict> {
  const { openRouter, keys, now } = sources;
  let first = await openRouter.checkKey(key, deadline);
  if (first.status === "refused" && isNew(bornAt, now()) && !(await isListedAsInvalid(key, sources, deadline))) {
    do {
      if (deadline.remainingMs() <= LOOK_AGAIN_MS || !(await sleepInTime(LOOK_AGAIN_MS, deadline.signal)))
        return TOO_NEW;
      first = await openRouter.checkKey(key, deadline);
    } while (first.status === "refused" && isNew(bornAt, now()));
  }
  const check = first.status === "refused" ? await openRouter.checkKey(key, deadline) : first;
  if (check.status === "unknown") return unknownVerdict(check);
  if (check.status === "accepted") {
    const { limit, limitRemaining, limitReset, expiresAt, blockedBy, isManagementKey } = check;
    const terms = { limit, limitRemaining, limitReset, expiresAt, blockedBy, lastUsedAt: undefined };
    return isManagementKey ? invalid("management_key", "key", terms) : valid("key", terms);
  }
  if (keys === undefined) return invalid("refused", "key", NOT_SAID);
  const finding = await keys.find(key.hash, deadline);
  if (finding.status === "unknown") return unknownVerdict(finding, OF_ONE_ENTRY);
  if (finding.status === "gone") return invalid("deleted", "hash", NOT_SAID);
  const verdict = verdictOfEntry(finding.key, "hash", timeAtOpenRouter(sources));
  return verdict.status === "valid" ? CONTRADICTION : verdict;
}

/** The verdict from the listed entry of a key: the first rule that applies. */
export function verdictOfEntry(entry: UpstreamKey, witness: Witness, now: number): Verdict {
  const { limit, limitRemaining, limitReset, expiresAt, lastUsedAt } = entry;
  const terms = { limit, limitRemaining, limitReset, expiresAt, lastUsedAt, blockedBy: undefined };
  const fate = INVALID_RULES.find(({ applies }) => applies(entry, now));
  return fate === undefined ? valid(witness, terms) : invalid(fate.reason, witness, terms);
}

/** Without a second witness, a refusal may be a fault of the provider. */
export function isUnconfirmed({ reason, witness }: Verdict): boolean {
  return reason === "refused" && witness === "key";
}

const INVALID_RULES: readonly {
  readonly reason: InvalidReason;
  readonly applies: (entry: UpstreamKey, now: number) => boolean;
}[] = [
  { reason: "disabled", applies: ({ disabled }) => disabled },
  { reason: "expired", applies: ({ expiresAt }, now) => isOver(expiresAt, now) },
];

/** A new key may be refused for some seconds before it works everywhere. */
const NEW_MS = 30_000;

function isNew(bornAt: number, now: number): boolean {
  return now < bornAt + NEW_MS && bornAt <= now + MAX_CLOCK_SKEW_MS;
}

const LOOK_AGAIN_MS = 1_000;

/** The entry of a new key that is disabled or has expired says so at once. Its absence says nothing yet. */
async function isListedAsInvalid(key: ApiKey, sources: VerdictSources, deadline: Deadline): Promise<boolean> {
  const found = await sources.keys?.find(key.hash, deadline);
  if (found?.status !== "found") return false;
  return verdictOfEntry(found.key, "hash", timeAtOpenRouter(sources)).status === "invalid";
}

/** False: the time of the caller was over first. */
async function sleepInTime(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(milliseconds, signal);
    return true;
  } catch (thrown) {
    if (isTimeout(thrown)) return false;
    throw thrown;
  }
}

const TOO_NEW: Verdict = {
  status: "unknown",
  reason: "provider_error",
  witness: null,
  detail: "OpenRouter does not know the key yet: it was created a moment ago",
  isAboutProvider: false,
  remedy: undefined,
};

const CONTRADICTION: Verdict = {
  status: "unknown",
  reason: "provider_error",
  witness: null,
  detail: "OpenRouter refused the key twice, but lists it as active",
  isAboutProvider: false,
  remedy: undefined,
};

/**
 * HTTP statuses that concern only this key: its spending or its permissions. Others concern OpenRouter or the network.
 */
const OF_ONE_KEY: ReadonlySet<number | null> = new Set([402, 403]);
/** The same for a key's entry. Its absence (404) proves nothing if the management key may be of another account. */
const OF_ONE_ENTRY: ReadonlySet<number | null> = new Set([...OF_ONE_KEY, 404]);

function unknownVerdict({ reason, httpStatus, attempts, detail, remedy }: Unknown, ofOne = OF_ONE_KEY): Verdict {
  const times = attempts > 1 ? ` (asked ${attempts} times)` : "";
  return {
    status: "unknown",
    reason,
    witness: null,
    detail: `OpenRouter ${detail}${times}`,
    isAboutProvider: !ofOne.has(httpStatus),
    remedy,
  };
}

function valid(witness: Witness, terms: typeof NOT_SAID): Verdict {
  return { status: "valid", reason: null, witness, ...terms };
}

function invalid(reason: InvalidReason, witness: Witness, terms: typeof NOT_SAID): Verdict {
  return { status: "invalid", reason, witness, ...terms };
}
