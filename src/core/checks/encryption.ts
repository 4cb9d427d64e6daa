import type { Census, Sample } from "../census.ts";
import { formatNumber } from "../number.ts";
import { printable } from "../printable.ts";
import { userFlag } from "../shell-quote.ts";
import { are, attention, keys, pass, wrong } from "./verdict.ts";
import type { Verdict } from "./verdict.ts";

export function encryptionVerdicts(census: Census, total: number, deep: boolean): readonly Verdict[] {
  const { clear, unreadable, twins, withManagementKey, unopened, isComplete } = census;
  const problems = [
    ...(clear > 0 ? [wrong(`${keys(clear)} ${are(clear)} stored in clear`, "keyctl rekey")] : []),
    ...ofSample(
      unreadable,
      "row holds no key",
      "rows hold no key",
      (user) => `keyctl save ${userFlag(user)} --replace`,
    ),
    ...ofSample(unopened, "row does not open", "rows do not open", (user) => `keyctl save ${userFlag(user)} --replace`),
    ...ofSample(
      twins,
      "user has two rows",
      "users have two rows",
      () => "delete the ones that are not wanted with another tool; keyctl touches neither",
    ),
    ...ofSample(
      withManagementKey,
      "user has the management key, which is not handed out",
      "users have the management key, which is not handed out",
      (user) => `keyctl save ${userFlag(user)} --replace`,
    ),
    ...(isComplete ? [] : [cutOff(census, total, deep)]),
    ...(deep && unopened === null && census.sealed > 0 ? [notOpened()] : []),
  ];
  if (problems.length > 0) return problems;
  if (census.total === 0) return [pass("no keys yet")];
  const [all, open] = census.total === 1 ? ["sealed", "it opens"] : ["all sealed", "all of them open"];
  return [pass(`${keys(census.total)}, ${all}${deep ? `, and ${open}` : ""}`)];
}

function ofSample(
  sample: Sample | null,
  one: string,
  many: string,
  hint: (first: string) => string,
): readonly Verdict[] {
  const [first] = sample?.first ?? [];
  if (sample === null || first === undefined) return [];
  const { count } = sample;
  const named = sample.first.map(printable).join(", ");
  const more = count > sample.first.length ? ` and ${formatNumber(count - sample.first.length)} more` : "";
  return [wrong(`${formatNumber(count)} ${count === 1 ? one : many}: ${named}${more}`, hint(first))];
}

function cutOff({ total }: Census, all: number, deep: boolean): Verdict {
  return attention(
    `only ${formatNumber(total)} of ${formatNumber(all)} rows were looked at: the time was over`,
    `keyctl doctor${deep ? " --deep" : ""} --timeout 10m`,
  );
}

function notOpened(): Verdict {
  return attention(
    "no row was opened: there are no master keys that fit this database",
    "keyctl help environment   lists the places that master keys are read from",
  );
}
