import type { ManagementKeyFacts, Probe, ReachFacts } from "../collect-facts.ts";
import type { SpoolFacts } from "../spool-facts.ts";
import type { Sight } from "../../protocol/compare-account.ts";
import type { Credits } from "../../ports/openrouter.ts";
import { attention, judged, pass, wrong } from "./check-result.ts";
import type { CheckVerdict } from "./check-result.ts";
import { counted } from "../../text/format.ts";

/** Times of keys are compared with this machine's clock: the hour of the cap, a stale operation, an expiry. */
const MOST_SKEW_MS = 60_000;

export function managementKeyVerdict(facts: ManagementKeyFacts): CheckVerdict {
  const anew = "create one at https://openrouter.ai/settings/management-keys, and set OPENROUTER_PROVISIONING_KEY_FILE";
  if (facts.status === "none") {
    if (!facts.isNeeded) return pass("none, and automatic creation is off (KEYCTL_AUTO_PROVISION)");
    return attention(
      "none: sync cannot provision, purge --revoke refuses",
      "set OPENROUTER_PROVISIONING_KEY_FILE, or KEYCTL_AUTO_PROVISION=0",
    );
  }
  const { check, credits } = facts;
  switch (check.status) {
    case "accepted":
      return check.isManagementKey
        ? pass(`accepted by OpenRouter${balance(credits)}`)
        : wrong("it is an ordinary key, which cannot create or delete keys", anew);
    case "refused":
      return wrong("OpenRouter refuses it", anew);
    case "unknown":
      return attention(
        `could not be checked: OpenRouter ${check.detail}`,
        check.remedy?.hint ?? "keyctl doctor   checks it again",
      );
  }
}

/** For an accepted management key. Undefined if its account is the store's, or there is nothing to compare. */
export function accountVerdict(account: Probe<Sight>, count: Probe<number>): CheckVerdict | undefined {
  const [verdict] = judged(account, (sight) => {
    if (sight.status === "other") {
      const stored = count.status === "known" ? count.value : 0;
      const seen = stored === 0 ? "" : `: it sees 0 of your ${counted(stored, "key")}`;
      return [wrong(`it belongs to another account than this database${seen}`, ADOPT)];
    }
    if (sight.status !== "unknown") return [];
    return [attention(`accepted, but its account is not known: OpenRouter ${sight.detail}`, UNKNOWN)];
  });
  return verdict;
}

const ADOPT =
  "set OPENROUTER_PROVISIONING_KEY_FILE to a management key of the database's account; or   keyctl reconcile --adopt-account";
const UNKNOWN = "until it is known, no key counts as deleted because it is missing; keyctl doctor   checks again";

function balance(credits: Credits | null): string {
  if (credits?.status !== "known") return "";
  return `, $${(credits.total - credits.used).toFixed(2)} of $${credits.total.toFixed(2)} left`;
}

export function openRouterVerdict({ reach, skewMs }: ReachFacts): CheckVerdict {
  if (reach.status === "unknown") {
    const usual = "check the network, HTTPS_PROXY and KEYCTL_OPENROUTER_URL";
    return attention(`OpenRouter ${reach.detail}`, reach.remedy?.hint ?? usual);
  }
  const reachable = `reachable, ${Math.max(1, Math.round(reach.elapsedMs))} ms`;
  if (skewMs === undefined) return pass(reachable);
  const seconds = Math.max(1, Math.ceil(skewMs / 1000));
  if (skewMs <= MOST_SKEW_MS) return pass(`${reachable}, clock within ${seconds} s`);
  return attention(`${reachable}, but its clock and this machine's differ by ${seconds} s`, "set this machine's clock");
}

/** Empty without spooled keys: most machines never have one. */
export function spoolVerdicts({ own, elsewhere }: SpoolFacts): readonly CheckVerdict[] {
  return [
    ...(own === 0
      ? []
      : [attention(`${counted(own, "key")} could not be stored when created`, "keyctl reconcile --fix   stores them")]),
    ...(elsewhere === 0
      ? []
      : [
          attention(
            `${counted(elsewhere, "key")} could not be stored when created, in another database than this one`,
            "keyctl reconcile --fix   with --store and that database, stores them",
          ),
        ]),
  ];
}
