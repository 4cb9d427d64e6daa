import { KeyctlError } from "../../../core/model/errors.ts";
import { storedValue } from "../../../core/model/key-record.ts";
import { printable } from "../../../core/text/printable.ts";
import type { CopyOutcome, RowOutcome } from "../../../core/copy/copy-rows.ts";
import { formatSpan } from "../../format-duration.ts";
import { counted, formatNumber, plural } from "../../../core/text/format.ts";
import { PlainKeys } from "../../views/plain-keys.ts";
import type { Warning } from "../../../core/model/warning.ts";

const MOST_NAMES = 5;

const nothing = () => ({ copied: 0, kept: 0, conflict: 0, verified: 0, unverified: 0 });

/** Counts the outcomes of the rows of a copy, of the journals of their users, and of the blocked users. */
export class CopyTally {
  readonly #counts = nothing();
  readonly #journals = nothing();
  readonly #blocked = nothing();
  #historyWarning: Warning | null = null;
  readonly #foreignFields = new Set<string>();
  readonly #sealed = new PlainKeys();
  readonly #dryRun: boolean;
  #stage: CopyStage = "copy";
  #inClear = 0;
  #withForeignFields = 0;

  constructor(dryRun: boolean) {
    this.#dryRun = dryRun;
  }

  add(what: CopyOutcome): void {
    if (what.kind === "history") {
      this.#historyWarning = what.warning;
      return;
    }
    const isProof = what.outcome === "verified" || what.outcome === "unverified";
    this.#stage = isProof ? "verify" : what.kind === "journal" ? "journals" : "copy";
    if (what.kind === "row") this.#addRow(what);
    else (what.kind === "journal" ? this.#journals : this.#blocked)[what.outcome] += 1;
  }

  #addRow({ row, wasPlain, outcome }: RowOutcome): void {
    if (wasPlain === true) this.#sealed.add(row.userId);
    this.#counts[outcome] += 1;
    if (outcome === "copied" && row.foreignFields.length > 0) {
      this.#withForeignFields += 1;
      for (const name of row.foreignFields) this.#foreignFields.add(name);
    }
    const isFirst = outcome !== "verified" && outcome !== "unverified";
    if (isFirst && storedValue(row.keyEncrypted).kind === "clear") this.#inClear += 1;
  }

  /** The number of source rows that were processed. */
  get done(): number {
    return firstLooks(this.#counts);
  }

  get stage(): CopyStage {
    return this.#stage;
  }

  /** The number of users that the current stage has processed. */
  get steps(): number {
    const { verified, unverified, conflict } = this.#counts;
    if (this.#stage === "journals") return firstLooks(this.#journals);
    return this.#stage === "copy" ? this.done : verified + unverified + conflict;
  }

  /** The number of rows with a key in plain text: in the destination, or in the source if nothing is written. */
  get inClear(): number {
    return this.#inClear;
  }

  /** The counts (`done`, `copied`, `kept` and the others) as fields of the JSON summary. */
  get document() {
    const [journals, blocked] = [inWords(this.#journals), inWords(this.#blocked)];
    return { done: this.done, ...inWords(this.#counts), in_clear: this.#inClear, journals, blocked };
  }

  /** The number of users whose keys were sealed during the copy. */
  get sealed(): number {
    return this.#sealed.count;
  }

  /** @param requireSealed whether the source must hold no key in plain text */
  warnings(requireSealed: boolean): readonly Warning[] {
    const history = this.#historyWarning === null ? [] : [this.#historyWarning];
    const sealed = requireSealed ? this.#sealed.warnings("and sealed in the copy") : [];
    return [...sealed, ...this.#fieldsLeft(), ...history];
  }

  #fieldsLeft(): readonly Warning[] {
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

  /** The final error of the command if nothing stopped the run. */
  error(complete: boolean): KeyctlError | null {
    const failed = failuresIn(this.#counts);
    const failedJournals = failuresIn(this.#journals);
    const failedBlocks = failuresIn(this.#blocked);
    if (failed + failedJournals + failedBlocks > 0) {
      const journals = failedJournals === 0 ? "" : `, and the ${journalsOf(failedJournals)}`;
      const blocks = failedBlocks === 0 ? "" : `, and the ${blocksOf(failedBlocks)}`;
      return new KeyctlError(
        "SOME_FAILED",
        `${formatNumber(failed)} of ${counted(this.done, "row")} failed${journals}${blocks}`,
        {
          hint: "see the lines above",
        },
      );
    }
    if (complete) return null;
    return new KeyctlError("SOME_UNKNOWN", `timed out after ${counted(this.done, "row")}`, {
      hint: "run it again without --stop-after, or with a longer one: it continues where it stopped",
      retryable: true,
    });
  }

  /** `5,012 rows in 3s: 5,000 copied, 10 there already, 2 in conflict`. */
  describe(elapsedMs: number): string {
    const parts = this.#parts(this.#counts);
    return `${counted(this.done, "row")} in ${formatSpan(elapsedMs)}${parts === "" ? "" : `: ${parts}`}`;
  }

  /** `the journals of 4,000 users: 3,999 copied, 1 in conflict; 3,999 are there`; undefined without journals. */
  get journals(): string | undefined {
    return this.#lineOf(this.#journals, journalsOf);
  }

  /** `the blocks of 2 users: 2 copied; 2 are there`; undefined without blocked users. */
  get blocks(): string | undefined {
    return this.#lineOf(this.#blocked, blocksOf);
  }

  #lineOf(counts: Counts, nameOf: (count: number) => string): string | undefined {
    const { verified, unverified } = counts;
    const count = firstLooks(counts);
    if (count === 0) return undefined;
    const failed = unverified === 0 ? "" : `, ${counted(unverified, "is", "are")} not`;
    const there = `; ${counted(verified, "is", "are")} there${failed}`;
    return `the ${nameOf(count)}: ${this.#parts(counts)}${verified + unverified === 0 ? "" : there}`;
  }

  #parts({ copied, kept, conflict }: Counts): string {
    const parts = [
      [copied, this.#dryRun ? "to copy" : "copied"],
      [kept, "there already"],
      [conflict, "in conflict"],
    ] as const;
    const named = parts.filter(([count]) => count > 0).map(([count, what]) => `${formatNumber(count)} ${what}`);
    return named.join(", ");
  }

  /** `5,010 rows verified: present and readable`; undefined before the proof. */
  get proof(): string | undefined {
    const { verified, unverified } = this.#counts;
    if (verified + unverified === 0) return undefined;
    const failed = unverified === 0 ? "" : `, ${counted(unverified, "is", "are")} not`;
    return `${counted(verified, "row")} verified: present and readable${failed}`;
  }
}

/** The phase of a copy. */
export type CopyStage = "journals" | "copy" | "verify";
type Counts = Readonly<ReturnType<typeof nothing>>;

function inWords({ copied, kept, conflict, verified, unverified }: Counts) {
  return { copied, kept, conflicts: conflict, verified, unverified };
}

function firstLooks({ copied, kept, conflict }: Counts): number {
  return copied + kept + conflict;
}

function failuresIn({ conflict, unverified }: Counts): number {
  return conflict + unverified;
}

function journalsOf(count: number): string {
  return `${plural(count, "journal")} of ${counted(count, "user")}`;
}

function blocksOf(count: number): string {
  return `${plural(count, "block")} of ${counted(count, "user")}`;
}
