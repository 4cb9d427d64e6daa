import type { StoreStats, Sample } from "../store-stats.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";
import { attention, pass, wrong } from "./check-result.ts";
import type { CheckVerdict } from "./check-result.ts";
import { counted, formatNumber, plural } from "../../text/format.ts";

export function encryptionVerdicts(census: StoreStats, total: number, deep: boolean): readonly CheckVerdict[] {
  const { clear, unreadable, twins, withManagementKey, unopened, isComplete } = census;
  const problems = [
    ...(clear > 0
      ? [wrong(`${counted(clear, "key")} ${plural(clear, "is", "are")} stored in clear`, "keyctl rekey")]
      : []),
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
  return [pass(`${counted(census.total, "key")}, ${all}${deep ? `, and ${open}` : ""}`)];
}

function ofSample(
  sample: Sample | null,
  one: string,
  many: string,
  hint: (first: string) => string,
): readonly CheckVerdict[] {
  const [first] = sample?.first ?? [];
  if (sample === null || first === undefined) return [];
  const { count } = sample;
  const named = sample.first.map(printable).join(", ");
  const more = count > sample.first.length ? ` and ${formatNumber(count - sample.first.length)} more` : "";
  return [wrong(`${counted(count, one, many)}: ${named}${more}`, hint(first))];
}

function cutOff({ total }: StoreStats, all: number, deep: boolean): CheckVerdict {
  return attention(
    `only ${formatNumber(total)} of ${formatNumber(all)} rows were looked at: the time was over`,
    `keyctl doctor${deep ? " --deep" : ""} --timeout 10m`,
  );
}

function notOpened(): CheckVerdict {
  return attention(
    "no row was opened: there are no master keys that fit this database",
    "keyctl help environment   lists the places that master keys are read from",
  );
}
