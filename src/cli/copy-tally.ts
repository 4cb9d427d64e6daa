import { KeyctlError } from "../core/errors.ts";
import { storedValue } from "../core/key-record.ts";
import type { Warning } from "../core/ports.ts";
import { printable } from "../core/printable.ts";
import type { CopyOutcome } from "../core/row-copies.ts";
import { formatSpan } from "./duration.ts";
import { formatNumber } from "./number.ts";

const MOST_NAMES = 5;

/** What became of the rows of a copy, in numbers. */
export class CopyTally {
  readonly #counts = { copied: 0, kept: 0, conflict: 0, verified: 0, unverified: 0 };
  readonly #foreignFields = new Set<string>();
  readonly #dryRun: boolean;
  #inClear = 0;
  #withForeignFields = 0;

  constructor(dryRun: boolean) {
    this.#dryRun = dryRun;
  }

  add({ row, outcome }: CopyOutcome): void {
    this.#counts[outcome] += 1;
    if (outcome === "copied" && row.foreignFields.length > 0) {
      this.#withForeignFields += 1;
      for (const name of row.foreignFields) this.#foreignFields.add(name);
    }
    const isFirst = outcome !== "verified" && outcome !== "unverified";
    if (isFirst && storedValue(row.keyEncrypted).kind === "clear") this.#inClear += 1;
  }

  /** Rows of the source that were gone through. */
  get done(): number {
    const { copied, kept, conflict } = this.#counts;
    return copied + kept + conflict;
  }

  get isProving(): boolean {
    return this.#counts.verified + this.#counts.unverified > 0;
  }

  /** Of those, how many the proof has come to. */
  get proven(): number {
    const { verified, unverified, conflict } = this.#counts;
    return verified + unverified + conflict;
  }

  /** Rows that hold their key in clear. */
  get inClear(): number {
    return this.#inClear;
  }

  /** `done`, `copied`, `kept` and the rest, as the summary has them. */
  get document() {
    const { copied, kept, conflict, verified, unverified } = this.#counts;
    return { done: this.done, copied, kept, conflicts: conflict, verified, unverified, in_clear: this.#inClear };
  }

  get warnings(): readonly Warning[] {
    const names = [...this.#foreignFields];
    if (names.length === 0) return [];
    const shown = names.slice(0, MOST_NAMES).map(printable).join(", ");
    const [which, stay] =
      this.#withForeignFields === 1
        ? ["1 row has", "it stays"]
        : [`${formatNumber(this.#withForeignFields)} rows have`, "they stay"];
    const message = `${which} fields that keyctl does not know, and ${stay} without them in the copy: ${shown}${names.length > MOST_NAMES ? ", …" : ""}`;
    return [{ code: "FIELDS_LEFT", message }];
  }

  /** What the run as a whole ends with when nothing stopped it. */
  error(complete: boolean): KeyctlError | null {
    const { conflict, unverified } = this.#counts;
    if (conflict + unverified > 0) {
      return new KeyctlError("SOME_FAILED", `${formatNumber(conflict + unverified)} of ${rows(this.done)} failed`, {
        hint: "each line says why",
      });
    }
    if (complete) return null;
    return new KeyctlError("SOME_UNKNOWN", `the time was over after ${rows(this.done)}`, {
      hint: "run it again, without --stop-after or with a longer one: it goes on where it ended",
      retryable: true,
    });
  }

  /** `5,012 rows in 3s: 5,000 copied, 10 there already, 2 in conflict`. */
  describe(elapsedMs: number): string {
    const { copied, kept, conflict } = this.#counts;
    const parts = [
      [copied, this.#dryRun ? "to copy" : "copied"],
      [kept, "there already"],
      [conflict, "in conflict"],
    ] as const;
    const named = parts.filter(([count]) => count > 0).map(([count, what]) => `${formatNumber(count)} ${what}`);
    return `${rows(this.done)} in ${formatSpan(elapsedMs)}${named.length === 0 ? "" : `: ${named.join(", ")}`}`;
  }

  /** `5,010 rows are there and open`; undefined before the proof. */
  get proof(): string | undefined {
    const { verified, unverified } = this.#counts;
    if (!this.isProving) return undefined;
    const failed = unverified === 0 ? "" : `, ${formatNumber(unverified)} ${unverified === 1 ? "is" : "are"} not`;
    return `${rows(verified)} ${verified === 1 ? "is there and opens" : "are there and open"}${failed}`;
  }
}

function rows(count: number): string {
  return `${formatNumber(count)} ${count === 1 ? "row" : "rows"}`;
}
