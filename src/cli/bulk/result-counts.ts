import { KeyctlError } from "../../core/model/errors.ts";
import { formatSpan } from "../duration.ts";
import { formatNumber } from "../../core/text/format.ts";
import type { Warning } from "../../core/model/warning.ts";
import type { BulkSummary, UserResult } from "./user-command.ts";

export interface ResultCountsOptions<Result extends UserResult> {
  /** A name for each way to end well. */
  readonly endings: readonly string[];
  /** Which of them a result is. */
  readonly endingOf: (result: Result) => string;
  /** Counted apart: users for whom the run may create no more keys. Default false. */
  readonly countsLeft?: boolean;
  /** Nothing is changed by this run. Default false. */
  readonly isDryRun?: boolean;
  /** What else helps where users failed. */
  readonly hint?: (errorCodes: ReadonlySet<string>) => string | undefined;
}

/** Counts users, by a name for each way to end well. */
export class ResultCounts<Result extends UserResult> implements BulkSummary<Result> {
  readonly #options: ResultCountsOptions<Result>;
  readonly #endings: Map<string, number>;
  readonly #warnings = new Map<string, Warning>();
  readonly #errorCodes = new Set<string>();
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
    for (const warning of result.warnings) this.#warnings.set(warning.code + warning.message, warning);
    if (result.error === null) {
      this.#endings.set(endingOf(result), (this.#endings.get(endingOf(result)) ?? 0) + 1);
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

  counts() {
    const { countsLeft = false, isDryRun = false } = this.#options;
    return {
      ...(isDryRun ? { dry_run: true } : {}),
      total: this.#done,
      done: this.#done,
      ...Object.fromEntries(this.#endings),
      ...(countsLeft ? { left: this.#left } : {}),
      failed: this.#failed,
    };
  }

  get warnings(): readonly Warning[] {
    return [...this.#warnings.values()];
  }

  error(complete: boolean, allowEmpty: boolean): KeyctlError | null {
    if (this.#failed > 0) {
      const more = this.#options.hint?.(this.#errorCodes);
      return new KeyctlError("SOME_FAILED", `${formatNumber(this.#failed)} of ${users(this.#done)} failed`, {
        hint: `each line says why${more === undefined ? "" : `; ${more}`}`,
      });
    }
    if (!complete) {
      return new KeyctlError("SOME_UNKNOWN", `the time was over after ${users(this.#done)}`, {
        hint: "run it again without --stop-after, or with a longer one",
        retryable: true,
      });
    }
    if (this.#left > 0) return this.#leftWithoutKey();
    if (this.#done > 0 || allowEmpty) return null;
    return new KeyctlError("EMPTY_SELECTION", "no user was selected", {
      hint: "--allow-empty   if that is as it should be",
    });
  }

  #leftWithoutKey(): KeyctlError {
    const isDryRun = this.#options.isDryRun === true;
    const verb = isDryRun ? "would be" : this.#left === 1 ? "is" : "are";
    const all = this.#left + (this.#endings.get("to_create") ?? 0);
    return new KeyctlError(
      "PROVISION_CAP",
      `${users(this.#left)} ${verb} left without a key: this run may create no more`,
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
    return `${users(this.#done)} in ${formatSpan(elapsedMs)}${parts.length === 0 ? "" : `: ${parts.join(", ")}`}${nothing}`;
  }
}

function users(count: number): string {
  return `${formatNumber(count)} ${count === 1 ? "user" : "users"}`;
}
