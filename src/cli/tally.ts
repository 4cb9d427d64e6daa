import { KeyctlError } from "../core/errors.ts";
import type { Warning } from "../core/ports.ts";
import { formatSpan } from "./duration.ts";
import type { Score, UserResult } from "./for-users.ts";
import { formatNumber } from "./number.ts";

/** Counts users, by a name for each way to end well. */
export class Tally<Result extends UserResult> implements Score<Result> {
  readonly #endings: Map<string, number>;
  readonly #endingOf: (result: Result) => string;
  readonly #warnings = new Map<string, Warning>();
  #failed = 0;
  #done = 0;

  constructor(endings: readonly string[], endingOf: (result: Result) => string) {
    this.#endingOf = endingOf;
    this.#endings = new Map(endings.map((ending) => [ending, 0]));
  }

  add(result: Result): void {
    this.#done += 1;
    for (const warning of result.warnings) this.#warnings.set(warning.code + warning.message, warning);
    if (result.error !== null) this.#failed += 1;
    else this.#endings.set(this.#endingOf(result), (this.#endings.get(this.#endingOf(result)) ?? 0) + 1);
  }

  get done(): number {
    return this.#done;
  }

  counts() {
    return { total: this.#done, done: this.#done, ...Object.fromEntries(this.#endings), failed: this.#failed };
  }

  get warnings(): readonly Warning[] {
    return [...this.#warnings.values()];
  }

  error(complete: boolean, allowEmpty: boolean): KeyctlError | null {
    if (this.#failed > 0) {
      return new KeyctlError("SOME_FAILED", `${formatNumber(this.#failed)} of ${users(this.#done)} failed`, {
        hint: "each line says why",
      });
    }
    if (!complete) {
      return new KeyctlError("SOME_UNKNOWN", `the time was over after ${users(this.#done)}`, {
        hint: "run it again without --stop-after, or with a longer one",
        retryable: true,
      });
    }
    if (this.#done > 0 || allowEmpty) return null;
    return new KeyctlError("EMPTY_SELECTION", "no user was selected", {
      hint: "--allow-empty   if that is as it should be",
    });
  }

  /** `3 users in 2s: 2 synced, 1 failed`. */
  describe(elapsedMs: number): string {
    const parts = [...this.#endings, ["failed", this.#failed] as const]
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${formatNumber(count)} ${name.replaceAll("_", " ")}`);
    return `${users(this.#done)} in ${formatSpan(elapsedMs)}${parts.length === 0 ? "" : `: ${parts.join(", ")}`}`;
  }
}

function users(count: number): string {
  return `${formatNumber(count)} ${count === 1 ? "user" : "users"}`;
}
