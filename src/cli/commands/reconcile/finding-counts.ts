import type { Finding, FindingClass } from "../../../core/reconcile/finding.ts";
import { describeDuties, NO_DUTIES, withDuty } from "../../../core/model/duties.ts";
import type { DutyCounts } from "../../../core/model/rotate-results.ts";
import { counted, formatNumber } from "../../../core/text/format.ts";

/**
 * Classes that are listed but do not count as warnings: keys that are kept for a while or for good, keys of other stores, and
 * keys that are not decided yet.
 */
const NO_WORRY: ReadonlySet<FindingClass> = new Set(["kept", "retiring", "other_deployment", "undecided"]);

/** How many keys were listed, and how many of them are as they should be. */
export interface Comparison {
  readonly listed: number;
  readonly tally: { readonly matched: number; readonly kept: number };
}

/** **Invariant:** every listed key counts once; the numbers of `keys` add up to `listed`. */
export class FindingCounts {
  /** Planned: keys to delete and rows to remove. */
  #keysToRemove = 0;
  #rowsToRemove = 0;
  #limitsToRestore = 0;
  #keysRemoved = 0;
  #rowsRemoved = 0;
  #limitsRestored = 0;
  /** What rotations have left to do, which is a part of what is planned and needs no permission. */
  #due = NO_DUTIES;
  #reported = 0;
  readonly #classes = new Map<FindingClass, number>();

  plan({ class: kind, action, dueAt }: Finding): void {
    if (action === "delete") this.#keysToRemove += 1;
    else if (action === "remove_row") this.#rowsToRemove += 1;
    else if (action === "restore_limit") this.#limitsToRestore += 1;
    else this.#classes.set(kind, this.of(kind) + 1);
    if (action === "none" && !NO_WORRY.has(kind)) this.#reported += 1;
    if (action === "none" || dueAt === null) return;
    this.#due = withDuty(this.#due, kind === "limit_due" ? "restore_limit" : "retire", dueAt, Date.now());
  }

  fixed({ action, done }: Finding): void {
    if (done && action === "delete") this.#keysRemoved += 1;
    if (done && action === "remove_row") this.#rowsRemoved += 1;
    if (done && action === "restore_limit") this.#limitsRestored += 1;
  }

  /** The findings of this class that nothing is done about. */
  of(kind: FindingClass): number {
    return this.#classes.get(kind) ?? 0;
  }

  get #toFix(): number {
    return this.#keysToRemove + this.#rowsToRemove + this.#limitsToRestore;
  }

  get #fixed(): number {
    return this.#keysRemoved + this.#rowsRemoved + this.#limitsRestored;
  }

  get #dueCount(): number {
    return this.#due.retire + this.#due.limits;
  }

  /** What needs a permission if it is much. */
  get toAsk(): number {
    return this.#toFix - this.#dueCount;
  }

  /** What a rotation left to do within the last hour or before. */
  get due(): DutyCounts {
    return this.#due;
  }

  /** What is still to be done; what is only due counts where everything was to be done. */
  left(fixes: boolean): number {
    return Math.max(0, this.#toFix - this.#fixed - (fixes ? 0 : this.#dueCount));
  }

  /** Findings that somebody has to look at. */
  get reported(): number {
    return this.#reported;
  }

  document({ listed, tally: { matched, kept } }: Comparison) {
    return {
      listed,
      matched,
      kept,
      to_fix: this.#toFix,
      due: this.#dueCount,
      fixed: this.#fixed,
      reported: this.#reported,
      noted: this.of("other_deployment") + this.of("undecided") + this.of("retiring"),
      to_delete: this.#keysToRemove,
      undecided: this.of("undecided"),
      other_deployment: this.of("other_deployment"),
      unexplained: this.#unexplained,
      not_ours: this.#foreign({ listed, tally: { matched, kept } }),
    };
  }

  /** `4 keys at OpenRouter: 3 matched, 0 kept, 0 to remove, 1 not created by keyctl; 0 warnings`. */
  describe(comparison: Comparison, fixes: boolean): string {
    const { listed, tally } = comparison;
    const removed = fixes
      ? `${formatNumber(this.#keysRemoved)} of ${formatNumber(this.#keysToRemove)} removed`
      : `${formatNumber(this.#keysToRemove)} to remove`;
    const due = describeDuties(this.#due);
    const keys = [`${formatNumber(tally.matched)} matched`, `${formatNumber(tally.kept)} kept`, removed];
    const more = [
      [this.of("undecided"), "undecided"],
      [this.of("other_deployment"), "of other databases"],
      [this.#unexplained, "without a row or a record"],
      [this.#foreign(comparison), "not created by keyctl"],
    ] as const;
    keys.push(...more.filter(([count]) => count > 0).map(([count, what]) => `${formatNumber(count)} ${what}`));
    const rows = fixes
      ? `; ${formatNumber(this.#rowsRemoved)} of ${counted(this.#rowsToRemove, "row")} removed`
      : `; ${counted(this.#rowsToRemove, "row")} to remove`;
    const dueNow = fixes || due === undefined ? "" : `; ${due}`;
    const rest = `${this.#rowsToRemove === 0 ? "" : rows}${dueNow}; ${counted(this.#reported, "warning")}`;
    return `${counted(listed, "key")} at OpenRouter: ${keys.join(", ")}${rest}`;
  }

  /** Listed keys that are named as this store's, but stand in no row or in no record. */
  get #unexplained(): number {
    return this.of("unknown_nonce") + this.of("no_row");
  }

  #foreign({ listed, tally: { matched, kept } }: Comparison): number {
    const ours = matched + kept + this.#keysToRemove + this.of("undecided") + this.#unexplained;
    return Math.max(0, listed - ours - this.of("other_deployment"));
  }
}
