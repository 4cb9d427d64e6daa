import { printable } from "../../../core/text/printable.ts";
import type { Validation } from "../../../core/validate/validate-key.ts";
import type { Attention } from "../../../core/model/verdict.ts";
import { formatNumber, plural } from "../../../core/text/format.ts";
import type { StoreName } from "../../invocation.ts";
import { storeLabel } from "../../views/store-label.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import type { Terminal } from "../../terminal/terminal.ts";
import type { VerdictScore } from "./counts.ts";
import { lastValid } from "../../views/verdict-view.ts";
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

/** Prints the totals of a bulk run, and the users whose keys are invalid or unreadable. */
export function verdictScreen(
  terminal: Terminal,
  score: VerdictScore,
  store: () => StoreName | null,
  warnWithin: string,
): BulkView<Validation> {
  const table = new TablePrinter(terminal, COLUMNS);
  const isTerminal = terminal.columns !== undefined;
  const named: Validation[] = [];
  return {
    async print(results) {
      const bad = results.filter(({ verdict }) => verdict === null || verdict.status === "invalid");
      if (!isTerminal) return table.print(bad.map(cells));
      named.push(...bad.slice(0, NAMED - named.length));
    },
    async finish(elapsedMs) {
      await terminal.result(summary(score, store(), elapsedMs, warnWithin).join("\n"));
      if (named.length > 0) await terminal.result("");
      await table.print(named.map(cells));
      await table.end();
      const { invalid, failed } = score.statuses;
      const more = isTerminal ? invalid + failed - named.length : 0;
      if (more > 0) terminal.footer(`… ${formatNumber(more)} more: ${moreOf(invalid > 0)}`);
    },
  };
}

function moreOf(hasInvalid: boolean): string {
  return hasInvalid ? "keyctl list --verdict invalid" : "--json lists them all";
}

function cells(validation: Validation): readonly string[] {
  const { userId, key, verdict, error } = validation;
  const why = verdict === null ? (error?.message ?? "") : (verdict.reason ?? "");
  return [userId ?? "", key ?? "-", verdict?.status ?? "failed", why.replaceAll("_", " "), lastValid(validation)];
}

function summary(
  score: VerdictScore,
  store: StoreName | null,
  elapsedMs: number,
  warnWithin: string,
): readonly string[] {
  const { valid, invalid, unknown, failed } = score.statuses;
  const rows = [
    ["valid", valid, worries(score.attention, warnWithin)],
    ["invalid", invalid, reasons(score.reasons.invalid)],
    ["unknown", unknown, reasons(score.reasons.unknown)],
    ["failed", failed, ""],
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

function worries(attention: ReadonlyMap<Attention, number>, warnWithin: string): string {
  const words: Readonly<Record<Attention, (count: number) => string>> = {
    EXPIRES_SOON: (count) => `${plural(count, "expires", "expire")} within ${warnWithin}`,
    EXPIRED: (count) => `${plural(count, "is", "are")} past ${plural(count, "its", "their")} end`,
    EXPIRY_UNKNOWN: (count) => `${plural(count, "ends", "end")} at an unknown time`,
    LIMIT_USED_UP: (count) => `${plural(count, "has", "have")} used up ${plural(count, "its", "their")} limit`,
    NO_LIMIT: (count) => `${plural(count, "has", "have")} no limit`,
  };
  return [...attention].map(([name, count]) => `${formatNumber(count)} ${words[name](count)}`).join(", ");
}

function reasons(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .toSorted(([, one], [, other]) => other - one)
    .map(([reason, count]) => `${printable(reason.replaceAll("_", " "))} ${formatNumber(count)}`)
    .join(", ");
}
