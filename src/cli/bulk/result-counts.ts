import { KeyctlError } from "../../core/model/errors.ts";
import { formatSpan } from "../format-duration.ts";
import { counted, formatNumber, plural } from "../../core/text/format.ts";
import type { Warning } from "../../core/model/warning.ts";
import { WarningSummary } from "./warning-summary.ts";
import type { BulkSummary, UserResult } from "./user-command.ts";

export interface ResultCountsOptions<Result extends UserResult> {
  /** A name for each successful outcome. */
  readonly endings: readonly string[];
  /** The outcome of a result. */
  readonly endingOf: (result: Result) => string;
  /** Counted separately: users for whom the run may create no more keys. Default false. */
  readonly countsLeft?: boolean;
  /** The run changes nothing. Default false. */
  readonly isDryRun?: boolean;
  /** A remark on a successful result, printed once for all of them; no full stop at its end. */
  readonly remark?: (result: Result) => string | undefined;
  /** A further hint if users failed. */
  readonly hint?: (errorCodes: ReadonlySet<string>) => string | undefined;
}

/** Counts users by outcome. */
export class ResultCounts<Result extends UserResult> implements BulkSummary<Result> {
  readonly #options: ResultCountsOptions<Result>;
  readonly #endings: Map<string, number>;
  readonly #warnings = new WarningSummary();
  readonly #errorCodes = new Set<string>();
  readonly #remarks = new Set<string>();
  #failed = 0;
  #left = 0;
  #done = 0;

  constructor(options: ResultCountsOptions<Result>) {
    this.#options = options;
    this.#endings = new Map(options.endings.map((ending) => [ending, 0]));
  }

  add(result: Result): void {
    const { endingOf, countsLeft = false } = this.#options;
    this.#done += 1;
    this.#warnings.add(result.warnings);
    if (result.error === null) {
      this.#endings.set(endingOf(result), (this.#endings.get(endingOf(result)) ?? 0) + 1);
      const remark = this.#options.remark?.(result);
      if (remark !== undefined) this.#remarks.add(remark);
    } else if (countsLeft && result.error.code === "PROVISION_CAP") {
      this.#left += 1;
    } else {
      this.#failed += 1;
      this.#errorCodes.add(result.error.code);
    }
  }

  get done(): number {
    return this.#done;
  }

  counts(rest: number) {
    const { countsLeft = false, isDryRun = false } = this.#options;
    return {
      ...(isDryRun ? { dry_run: true } : {}),
      total: this.#done + rest,
      done: this.#done,
      ...Object.fromEntries(this.#endings),
      ...(countsLeft ? { left: this.#left } : {}),
      failed: this.#failed,
    };
  }

  get warnings(): readonly Warning[] {
    return this.#warnings.all;
  }

  error(complete: boolean, allowEmpty: boolean): KeyctlError | null {
    if (this.#failed > 0) {
      return new KeyctlError("SOME_FAILED", `${formatNumber(this.#failed)} of ${counted(this.#done, "user")} failed`, {
        hint: this.#hintOf(["see the lines above", this.#options.hint?.(this.#errorCodes)]),
      });
    }
    if (!complete) {
      return new KeyctlError("SOME_UNKNOWN", `timed out after ${counted(this.#done, "user")}`, {
        hint: this.#hintOf(["run it again without --stop-after, or with a longer one"]),
        retryable: true,
      });
    }
    if (this.#left > 0) return this.#leftWithoutKey();
    if (this.#done > 0 || allowEmpty) return null;
    return new KeyctlError("EMPTY_SELECTION", "no user was selected", {
      hint: "--allow-empty   accepts that",
    });
  }

  /** Whatever else happened, users may be left without a key for another reason, with a remedy of its own. */
  #hintOf(remedies: readonly (string | undefined)[]): string {
    const ofCap = this.#left > 0 ? `--max-keys ${this.#left}   creates the keys that are left` : undefined;
    return [...remedies, ofCap].filter((remedy) => remedy !== undefined).join("; ");
  }

  #leftWithoutKey(): KeyctlError {
    const isDryRun = this.#options.isDryRun === true;
    const verb = isDryRun ? "would be" : plural(this.#left, "is", "are");
    const all = this.#left + (this.#endings.get("to_create") ?? 0);
    return new KeyctlError(
      "PROVISION_CAP",
      `${counted(this.#left, "user")} ${verb} left without a key: this run may create no more keys`,
      {
        hint: isDryRun ? `--max-keys ${all}   creates all of them` : `run it again with --max-keys ${this.#left}`,
        retryable: true,
      },
    );
  }

  /** `3 users in 2s: 2 synced, 1 failed`. */
  describe(elapsedMs: number): string {
    const parts = [...this.#endings, ["left without a key", this.#left] as const, ["failed", this.#failed] as const]
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${formatNumber(count)} ${name.replaceAll("_", " ")}`);
    const nothing = this.#options.isDryRun === true ? "; nothing was changed" : "";
    const counts = parts.length === 0 ? "" : `: ${parts.join(", ")}`;
    const remarks = [...this.#remarks].map((remark) => `; ${remark}`).join("");
    return `${counted(this.#done, "user")} in ${formatSpan(elapsedMs)}${counts}${nothing}${remarks}`;
  }
}
