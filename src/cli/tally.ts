import { KeyctlError } from "../core/errors.ts";
import type { Warning } from "../core/ports.ts";
import { formatSpan } from "./duration.ts";
import type { UserResult } from "./for-users.ts";
import { formatNumber } from "./number.ts";

/** What became of the users of a bulk run, in numbers. */
export class Tally {
  readonly #endings: Map<string, number>;
  readonly #warnings = new Map<string, Warning>();
  #failed = 0;
  #done = 0;

  constructor(endings: readonly string[]) {
    this.#endings = new Map(endings.map((ending) => [ending, 0]));
  }

  add<Result extends UserResult>(result: Result, endingOf: (result: Result) => string): void {
    this.#done += 1;
    for (const warning of result.warnings) this.#warnings.set(warning.code + warning.message, warning);
    if (result.error !== null) this.#failed += 1;
    else this.#endings.set(endingOf(result), (this.#endings.get(endingOf(result)) ?? 0) + 1);
  }

  get done(): number {
    return this.#done;
  }

  get counts() {
    return { total: this.#done, done: this.#done, ...Object.fromEntries(this.#endings), failed: this.#failed };
  }

  /** Each worry once, however many users it is about. */
  get warnings(): readonly Warning[] {
    return [...this.#warnings.values()];
  }

  /** What the run as a whole ends with when nothing stopped it. */
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
