import { managementKeyRefused } from "../management-key.ts";
import { formatNumber } from "../number.ts";
import type { Credits } from "../upstream.ts";
import type { ManagementKeyFacts, OpenRouterFacts } from "../upstream-facts.ts";
import { attention, failure, pass, wrong } from "./verdict.ts";
import type { Verdict } from "./verdict.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const CONNECT = "check the network, the proxy and KEYCTL_OPENROUTER_URL, then: keyctl doctor";
/** By more than this, what is called stale or expired here is not so there. */
const MOST_SKEW_MS = MINUTE_MS;

export function openRouterVerdict(facts: OpenRouterFacts): Verdict {
  if (facts.status === "unknown") {
    const isAway = facts.reason === "unreachable" || facts.reason === "timed_out";
    return attention(facts.detail, isAway ? CONNECT : "see https://status.openrouter.ai, and try again: keyctl doctor");
  }
  const { elapsedMs, skewMs } = facts;
  const reachable = `reachable, ${formatNumber(Math.max(1, elapsedMs))} ms`;
  if (skewMs === undefined) return pass(reachable);
  const span = spanOf(Math.abs(skewMs));
  if (Math.abs(skewMs) <= MOST_SKEW_MS) return pass(`${reachable}, clock within ${span}`);
  return attention(
    `${reachable}, but the clock of this machine is ${span} ${skewMs > 0 ? "ahead" : "behind"}`,
    "set the clock of this machine, by NTP: expiry and age are counted by it",
  );
}

export function managementKeyVerdict(facts: ManagementKeyFacts): Verdict {
  switch (facts.status) {
    case "missing":
      return attention("none: sync cannot provision, purge --revoke refuses", "set OPENROUTER_PROVISIONING_KEY_FILE");
    case "not-asked":
      return attention("not tried: OpenRouter could not be asked", CONNECT);
    case "unknown":
      return attention(`not known to work: OpenRouter ${facts.detail}`, "keyctl doctor --timeout 2m");
    case "refused":
      return failure(managementKeyRefused(facts.detail));
    case "accepted":
      if (facts.key.isManagementKey) return acceptedVerdict(facts.credits);
      return wrong(
        "an ordinary key, which makes and removes no keys",
        "set OPENROUTER_PROVISIONING_KEY to one of https://openrouter.ai/settings/management-keys",
      );
  }
}

function acceptedVerdict(credits: Credits | null): Verdict {
  if (credits === null || credits.status === "unknown") return pass("accepted; its credits could not be read");
  if (credits.status === "unavailable") return pass("accepted");
  const left = credits.total - credits.used;
  const ofAll = `of ${money(credits.total)} in credits`;
  if (left > 0) return pass(`accepted, ${money(left)} ${ofAll} left`);
  return attention(`accepted, but nothing ${ofAll} is left`, "add credits at https://openrouter.ai/settings/credits");
}

function money(dollars: number): string {
  const cents = Math.floor(dollars * 100);
  return `$${formatNumber(Math.floor(cents / 100))}.${String(cents % 100).padStart(2, "0")}`;
}

/** At least `1 s`. */
function spanOf(milliseconds: number): string {
  if (milliseconds < 2 * MINUTE_MS) return `${Math.max(1, Math.ceil(milliseconds / SECOND_MS))} s`;
  if (milliseconds < 2 * HOUR_MS) return `${Math.round(milliseconds / MINUTE_MS)} min`;
  return `${formatNumber(milliseconds / HOUR_MS)} h`;
}
