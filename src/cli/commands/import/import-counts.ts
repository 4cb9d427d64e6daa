import { KeyctlError } from "../../../core/model/errors.ts";
import { counted, formatNumber } from "../../../core/text/format.ts";
import type { Warning } from "../../../core/model/warning.ts";
import { WarningSummary } from "../../bulk/warning-summary.ts";
import { formatSpan } from "../../format-duration.ts";
import type { LineResult } from "./line-result.ts";
import { LineWarnings } from "./line-warnings.ts";

/** Counts the lines of an import by their outcome. */
export class ImportCounts {
  readonly #counts = { imported: 0, kept: 0, conflict: 0, failed: 0 };
  readonly #warnings = new WarningSummary();
  readonly #ofLines = new LineWarnings();
  readonly #isDryRun: boolean;

  constructor(isDryRun: boolean) {
    this.#isDryRun = isDryRun;
  }

  add(result: Pick<LineResult, "outcome" | "number" | "userId" | "warnings">): void {
    this.#counts[result.outcome] += 1;
    this.#warnings.add(this.#ofLines.add(result));
  }

  get done(): number {
    return Object.values(this.#counts).reduce((sum, count) => sum + count, 0);
  }

  get warnings(): readonly Warning[] {
    return [...this.#ofLines.all, ...this.#warnings.all];
  }

  /** As fields of the summary. */
  get document() {
    const { imported, kept, conflict, failed } = this.#counts;
    return { done: this.done, imported, kept, conflicts: conflict, failed };
  }

  /** The final error of the command if nothing stopped it. */
  error(complete: boolean, allowEmpty: boolean): KeyctlError | null {
    const bad = this.#counts.conflict + this.#counts.failed;
    if (bad > 0) {
      const message = `${formatNumber(bad)} of ${counted(this.done, "line")} failed`;
      return new KeyctlError("SOME_FAILED", message, { hint: this.#hint });
    }
    if (!complete) {
      return new KeyctlError("SOME_UNKNOWN", `timed out after ${counted(this.done, "line")}`, {
        hint: "run it again without --stop-after, or with a longer one: what is imported is kept",
        retryable: true,
      });
    }
    if (this.done > 0 || allowEmpty) return null;
    return new KeyctlError("EMPTY_SELECTION", "there is no line with a key", { hint: "--allow-empty   accepts that" });
  }

  get #hint(): string {
    const replace = "keyctl save --user <id> --replace   replaces a key that is there";
    return this.#counts.conflict === 0 ? "see the lines above" : `see the lines above; ${replace}`;
  }

  /** `5,012 lines in 3s: 5,000 imported, 10 there already, 2 in conflict`. */
  describe(elapsedMs: number): string {
    const { imported, kept, conflict, failed } = this.#counts;
    const parts = [
      [imported, this.#isDryRun ? "to import" : "imported"],
      [kept, "there already"],
      [conflict, "in conflict"],
      [failed, "failed"],
    ] as const;
    const named = parts.filter(([count]) => count > 0).map(([count, what]) => `${formatNumber(count)} ${what}`);
    const of = named.length === 0 ? "" : `: ${named.join(", ")}`;
    return `${counted(this.done, "line")} in ${formatSpan(elapsedMs)}${of}`;
  }
}
