import { printable } from "../../../core/text/printable.ts";
import { attentionWords } from "../../../core/validate/attention-texts.ts";
import type { Validation } from "../../../core/validate/validate-key.ts";
import type { Attention } from "../../../core/model/verdict.ts";
import { formatNumber, plural } from "../../../core/text/format.ts";
import type { Invocation, StoreName } from "../../invocation.ts";
import { storeLabel } from "../../views/store-label.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import type { VerdictScore } from "./counts.ts";
import { dollars, lastValid } from "../../views/verdict-view.ts";
import type { BulkView } from "../../bulk/user-command.ts";
import { KEY_COLUMN, USER_COLUMN } from "../../views/columns.ts";

/** The maximum number of users named on a terminal. Without a terminal, all are named. */
const NAMED = 10;
const COLUMNS = [
  USER_COLUMN,
  KEY_COLUMN,
  { title: "VERDICT", usual: 7 },
  { title: "REASON", usual: 14 },
  { title: "LAST VALID" },
];
const TITLE_WIDTH = 8;

/** The limits of `validate`, in words and USD. */
export interface LimitWords {
  readonly warnWithin: string;
  readonly minRemaining: number;
}

/** Prints the totals of a bulk run, and every key that may be the reason of its exit code. */
export function verdictScreen(
  { terminal, commandAgain }: Pick<Invocation, "terminal" | "commandAgain">,
  score: VerdictScore,
  store: () => StoreName | null,
  limits: LimitWords,
): BulkView<Validation> {
  const table = new TablePrinter(terminal, COLUMNS);
  const isTerminal = terminal.columns !== undefined;
  // On a terminal only the first ones of each kind are kept.
  const named = { invalid: [], unknown: [], attention: [] } as Record<Kind, Validation[]>;
  const counts = { invalid: 0, unknown: 0, attention: 0 };
  return {
    async print(results) {
      const bad = results.filter(({ error }) => error !== null);
      if (!isTerminal) return table.print(bad.map((one) => cells(one, false)));
      for (const one of bad) {
        const kind = kindOf(one);
        counts[kind] += 1;
        if (named[kind].length < NAMED) named[kind].push(one);
      }
    },
    async finish(elapsedMs) {
      await terminal.result(summary(score, store(), elapsedMs, limits).join("\n"));
      // The worst ones first.
      const shown = KINDS.flatMap((kind) => named[kind]).slice(0, NAMED);
      if (shown.length > 0) await terminal.result("");
      await table.print(shown.map((one) => cells(one, true)));
      await table.end();
      const more = KINDS.reduce((sum, kind) => sum + counts[kind], 0) - shown.length;
      const isListed = score.statuses.failed + counts.unknown + counts.attention === 0;
      const rest = isListed ? "keyctl list --verdict invalid" : `${commandAgain("")} > <file>`;
      if (more > 0) terminal.footer(`… ${formatNumber(more)} more: ${terminal.complete(rest)}`);
    },
  };
}

type Kind = "invalid" | "unknown" | "attention";
const KINDS = ["invalid", "unknown", "attention"] as const satisfies readonly Kind[];

/** A key that could not be read counts as one that does not work. */
function kindOf({ verdict }: Validation): Kind {
  if (verdict === null || verdict.status === "invalid") return "invalid";
  return verdict.status === "unknown" ? "unknown" : "attention";
}

function cells(validation: Validation, isTerminal: boolean): readonly string[] {
  const { userId, key, verdict, attention, error } = validation;
  const why =
    verdict === null
      ? (error?.message ?? "")
      : verdict.status === "valid"
        ? attentionWords(
            attention.filter((name) => name !== "NO_LIMIT"),
            verdict,
          )
        : (verdict.reason ?? "");
  return [
    userId ?? "",
    key ?? "-",
    verdict?.status ?? "failed",
    why.replaceAll("_", " "),
    lastValid(validation, isTerminal),
  ];
}

function summary(
  score: VerdictScore,
  store: StoreName | null,
  elapsedMs: number,
  limits: LimitWords,
): readonly string[] {
  const { valid, invalid, unknown, failed } = score.statuses;
  const rows = [
    ["valid", valid, worries(score, limits)],
    ["invalid", invalid, reasons(score.reasons.invalid)],
    ["unknown", unknown, reasons(score.reasons.unknown)],
    ["failed", failed, score.blocked > 0 ? `blocked ${formatNumber(score.blocked)}` : ""],
  ] as const;
  const width = Math.max(...rows.map(([, number]) => formatNumber(number).length));
  const lines = rows
    .filter(([, number]) => number > 0)
    .map(([name, number, rest]) =>
      `  ${name.padEnd(TITLE_WIDTH)}  ${formatNumber(number).padStart(width)}   ${rest}`.trimEnd(),
    );
  const place = store === null ? [] : [`store: ${storeLabel(store)}`];
  return [score.describe(elapsedMs), ...place, ...(lines.length === 0 ? [] : ["", ...lines])];
}

function worries({ attention, usedUp }: VerdictScore, { warnWithin, minRemaining }: LimitWords): string {
  const words: Readonly<Record<Exclude<Attention, "LIMIT_USED_UP">, (count: number) => string>> = {
    EXPIRES_SOON: (count) => `${plural(count, "expires", "expire")} ${warnWithin}`,
    EXPIRED: (count) => `${plural(count, "is", "are")} past ${plural(count, "its", "their")} end`,
    EXPIRY_UNKNOWN: (count) => `${plural(count, "ends", "end")} at an unknown time`,
    NO_LIMIT: (count) => `${plural(count, "has", "have")} no limit`,
  };
  const little = (attention.get("LIMIT_USED_UP") ?? 0) - usedUp;
  return [...attention]
    .flatMap(([name, count]) => {
      if (name !== "LIMIT_USED_UP") return [`${formatNumber(count)} ${words[name](count)}`];
      const used = `${formatNumber(usedUp)} ${plural(usedUp, "has", "have")} used up ${plural(usedUp, "its", "their")} limit`;
      const low = `${formatNumber(little)} ${plural(little, "has", "have")} less than ${dollars(minRemaining)} left`;
      return [...(usedUp > 0 ? [used] : []), ...(little > 0 ? [low] : [])];
    })
    .join(", ");
}

function reasons(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .toSorted(([, one], [, other]) => other - one)
    .map(([reason, count]) => `${printable(reason.replaceAll("_", " "))} ${formatNumber(count)}`)
    .join(", ");
}
