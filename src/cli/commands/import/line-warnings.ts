import type { Warning, WarningCode } from "../../../core/model/warning.ts";
import { counted, formatNumber, plural } from "../../../core/text/format.ts";
import { printable } from "../../../core/text/printable.ts";
import type { LineResult } from "./line-result.ts";

/** The maximum number of lines that a warning names. */
const MAX_NAMED = 10;

type Sentence = (count: number) => string;

/** Warnings about a line: those of a run become one each, which names the lines. */
const OF_A_LINE: Readonly<Partial<Record<WarningCode, Sentence>>> = {
  KEY_SHAPE: (count) =>
    `${counted(count, "key")} ${plural(count, "does", "do")} not look like those that OpenRouter creates (sk-or-v1- and 64 hex characters)`,
  KEY_SHARED: (count) =>
    `${counted(count, "line")} ${plural(count, "gives", "give")} a user the key of another user: give each user a key of their own`,
};

/** The warnings about lines, in constant memory. */
export class LineWarnings {
  readonly #lines = new Map<WarningCode, { count: number; readonly named: string[] }>();

  /** Returns the warnings that are not about a line. */
  add({ number, userId, warnings }: Pick<LineResult, "number" | "userId" | "warnings">): readonly Warning[] {
    for (const { code } of warnings) {
      if (OF_A_LINE[code] === undefined) continue;
      const lines = this.#lines.get(code) ?? { count: 0, named: [] };
      lines.count += 1;
      if (lines.named.length < MAX_NAMED) lines.named.push(nameOfLine(number, userId));
      this.#lines.set(code, lines);
    }
    return warnings.filter(({ code }) => OF_A_LINE[code] === undefined);
  }

  get all(): readonly Warning[] {
    return [...this.#lines].flatMap(([code, { count, named }]) => {
      const sentence = OF_A_LINE[code];
      if (sentence === undefined) return [];
      const more = count > named.length ? ` and ${formatNumber(count - named.length)} more; --json lists them all` : "";
      return [{ code, message: `${sentence(count)}: ${named.join(", ")}${more}` }];
    });
  }
}

/** `line 7 (user alice)`. */
export function nameOfLine(number: number, userId: string | null): string {
  const user = userId === null || userId === "" ? "" : ` (user ${printable(userId)})`;
  return `line ${formatNumber(number)}${user}`;
}
