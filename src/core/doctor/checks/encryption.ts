import type { PlainTextRemains } from "../../ports/stores-and-sources.ts";
import { namesIn } from "../store-stats.ts";
import type { StoreStats, Sample } from "../store-stats.ts";
import { printable } from "../../text/printable.ts";
import { shellQuote, userFlag } from "../../text/shell-quote.ts";
import { attention, pass, wrong } from "./check-result.ts";
import type { CheckVerdict } from "./check-result.ts";
import { counted, formatNumber } from "../../text/format.ts";

/** How the rows were checked. */
interface Conditions {
  /** The number of rows in the store. */
  readonly total: number;
  readonly deep: boolean;
  readonly requireSealed: boolean;
  /** Undefined if it is not known. */
  readonly plainText: PlainTextRemains | undefined;
}

export function encryptionVerdicts(census: StoreStats, conditions: Conditions): readonly CheckVerdict[] {
  const { total, deep, requireSealed, plainText } = conditions;
  const { clear, unreadable, twins, withManagementKey, unopened, isComplete } = census;
  const problems = [
    ...inPlainText(clear, requireSealed),
    ...(isComplete && clear.count === 0 && plainText !== undefined ? stillOnDisk(plainText) : []),
    ...ofSample(
      unreadable,
      "row holds no key",
      "rows hold no key",
      (user) => `keyctl save ${userFlag(user)} --replace`,
    ),
    ...ofSample(
      unopened,
      "row cannot be decrypted",
      "rows cannot be decrypted",
      (user) => `keyctl save ${userFlag(user)} --replace`,
    ),
    ...ofSample(
      twins,
      "user has two rows",
      "users have two rows",
      () => "delete the unwanted rows with another tool; keyctl changes neither",
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
  const advice = requireSealed ? "" : "; KEYCTL_REQUIRE_SEALED=1 refuses keys that others write in plain text";
  return [pass(`${counted(census.total, "key")}, ${all}${deep ? `, and ${open}` : ""}${advice}`)];
}

/** In a store that requires sealed keys, another program has written such a row, perhaps with bad intent. */
function inPlainText(sample: Sample, requireSealed: boolean): readonly CheckVerdict[] {
  const { count } = sample;
  if (count === 0) return [];
  const [are, them] = count === 1 ? ["is", "it"] : ["are", "them"];
  if (!requireSealed) return [wrong(`${counted(count, "key")} ${are} stored in plain text`, "keyctl rekey")];
  return [
    wrong(
      `${counted(count, "key")} ${are} stored in plain text and not used: ${namesIn(sample)}; see that https://openrouter.ai/keys lists ${them} as yours`,
      "keyctl rekey",
    ),
  ];
}

/** No row holds such a key now. */
function stillOnDisk({ files, tooLarge }: PlainTextRemains): readonly CheckVerdict[] {
  if (files.length === 0) return [];
  const remedy = tooLarge === null ? "keyctl rekey --keep-key" : `sqlite3 ${shellQuote(tooLarge)} VACUUM`;
  const message = `no row holds a key in plain text, and an older one is still on disk, in ${files.map(printable).join(" and ")}`;
  return [attention(message, `${remedy}   removes it, once no other program holds the database`)];
}

function ofSample(
  sample: Sample | null,
  one: string,
  many: string,
  hint: (first: string) => string,
): readonly CheckVerdict[] {
  const [first] = sample?.first ?? [];
  if (sample === null || first === undefined) return [];
  return [wrong(`${counted(sample.count, one, many)}: ${namesIn(sample)}`, hint(first))];
}

function cutOff({ total }: StoreStats, all: number, deep: boolean): CheckVerdict {
  return attention(
    `only ${formatNumber(total)} of ${formatNumber(all)} rows were checked: timed out`,
    `keyctl doctor${deep ? " --deep" : ""} --timeout 10m`,
  );
}

function notOpened(): CheckVerdict {
  return attention(
    "no row was decrypted: no master key here fits this database",
    "keyctl help environment   lists the places that master keys are read from",
  );
}
