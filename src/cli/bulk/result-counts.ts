import { KeyctlError } from "../../core/model/errors.ts";
import { formatSpan } from "../format-duration.ts";
import { counted, formatNumber, plural } from "../../core/text/format.ts";
import type { Warning } from "../../core/model/warning.ts";
import { WarningSummary } from "./warning-summary.ts";
import type { BulkSummary, UserResult } from "./user-command.ts";

/** Completes `users are left …` and `may … no more keys`. */
export interface LeftUsers {
  readonly how: string;
  readonly verb: "create" | "rotate" | "renew";
}

export const LEFT_WITHOUT_KEY: LeftUsers = { how: "without a key", verb: "create" };

export interface ResultCountsOptions<Result extends UserResult> {
  /** A name for each successful outcome. */
  readonly endings: readonly string[];
  /** The outcome of a result. */
  readonly endingOf: (result: Result) => string;
  /** Counted separately: users for whom the run may create no more keys. Default: they count as failed. */
  readonly left?: LeftUsers | undefined;
  /** The run changes nothing. Default false. */
  readonly isDryRun?: boolean;
  /** How many users the selection named, for a command that passes over some of them without a result. */
  readonly selected?: () => number;
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
  /** The hint of all failures, if they have the same one. */
  #sharedHint: string | null | undefined;
  #failed = 0;
  #left = 0;
  #done = 0;

  constructor(options: ResultCountsOptions<Result>) {
    this.#options = options;
    this.#endings = new Map(options.endings.map((ending) => [ending, 0]));
  }

  add(result: Result): void {
    const { endingOf, left } = this.#options;
    this.#done += 1;
    this.#warnings.add(result.warnings);
    if (result.error === null) {
      this.#endings.set(endingOf(result), (this.#endings.get(endingOf(result)) ?? 0) + 1);
      const remark = this.#options.remark?.(result);
      if (remark !== undefined) this.#remarks.add(remark);
    } else if (left !== undefined && result.error.code === "PROVISION_CAP") {
      this.#left += 1;
    } else {
      this.#failed += 1;
      this.#errorCodes.add(result.error.code);
      const { hint } = result.error;
      this.#sharedHint = this.#sharedHint === undefined || this.#sharedHint === hint ? hint : null;
    }
  }

  get done(): number {
    return this.#done;
  }

  counts(rest: number) {
    const { left, selected, isDryRun = false } = this.#options;
    return {
      ...(isDryRun ? { dry_run: true } : {}),
      ...(selected === undefined ? {} : { selected: selected() }),
      total: this.#done + rest,
      done: this.#done,
      ...Object.fromEntries(this.#endings),
      ...(left === undefined ? {} : { left: this.#left }),
      failed: this.#failed,
    };
  }

  get warnings(): readonly Warning[] {
    return this.#warnings.all;
  }

  error(complete: boolean, allowEmpty: boolean): KeyctlError | null {
    if (this.#failed > 0) {
      const more = this.#options.hint?.(this.#errorCodes) ?? this.#sharedHint ?? undefined;
      return new KeyctlError("SOME_FAILED", `${formatNumber(this.#failed)} of ${counted(this.#done, "user")} failed`, {
        hint: this.#hintOf(["see the lines above", more]),
      });
    }
    if (!complete) {
      return new KeyctlError("SOME_UNKNOWN", `timed out after ${counted(this.#done, "user")}`, {
        hint: this.#hintOf(["run it again without --stop-after, or with a longer one"]),
        retryable: true,
      });
    }
    const { left, selected } = this.#options;
    if (left !== undefined && this.#left > 0) return this.#leftOver(left);
    if (this.#done > 0 || allowEmpty || (selected?.() ?? 0) > 0) return null;
    return new KeyctlError("EMPTY_SELECTION", "no user was selected", {
      hint: "--allow-empty   accepts that",
    });
  }

  /** Whatever else happened, users may be left for another reason, with a remedy of its own. */
  #hintOf(remedies: readonly (string | undefined)[]): string {
    const { left } = this.#options;
    const ofCap =
      left !== undefined && this.#left > 0
        ? `--max-keys ${this.#left}   ${left.verb}s the keys that are left`
        : undefined;
    return [...remedies, ofCap].filter((remedy) => remedy !== undefined).join("; ");
  }

  #leftOver({ how, verb }: LeftUsers): KeyctlError {
    const isDryRun = this.#options.isDryRun === true;
    const be = isDryRun ? "would be" : plural(this.#left, "is", "are");
    const all = this.#left + (this.#endings.get(`to_${verb}`) ?? 0);
    return new KeyctlError(
      "PROVISION_CAP",
      `${counted(this.#left, "user")} ${be} left ${how}: this run may ${verb} no more keys`,
      {
        hint: isDryRun ? `--max-keys ${all}   ${verb}s all of them` : `run it again with --max-keys ${this.#left}`,
        retryable: true,
      },
    );
  }

  /** `3 users in 2s: 2 synced, 1 failed`. */
  describe(elapsedMs: number): string {
    const { left, selected } = this.#options;
    const parts = [...this.#endings, [`left ${left?.how}`, this.#left] as const, ["failed", this.#failed] as const]
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${formatNumber(count)} ${name.replaceAll("_", " ")}`);
    const nothing = this.#options.isDryRun === true ? "; nothing was changed" : "";
    const counts = parts.length === 0 ? "" : `: ${parts.join(", ")}`;
    const users = selected === undefined ? "" : ` of ${formatNumber(selected())} selected`;
    const remarks = [...this.#remarks].map((remark) => `; ${remark}`).join("");
    return `${counted(this.#done, "user")}${users} in ${formatSpan(elapsedMs)}${counts}${nothing}${remarks}`;
  }
}
