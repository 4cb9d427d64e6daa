import { KeyctlError } from "../../../core/model/errors.ts";
import type { Reconciliation } from "../../../core/reconcile/reconciliation.ts";
import { describeDuties, NO_DUTIES, overdueError, withDuty } from "../../../core/model/duties.ts";
import { userFlag } from "../../../core/text/shell-quote.ts";
import { sayWarnings } from "../../views/key-view.ts";
import { counted, formatNumber } from "../../../core/text/format.ts";
import { formatSpan } from "../../format-duration.ts";
import { errorDocument } from "../../invocation.ts";
import type { Invocation, Session, StoreName } from "../../invocation.ts";
import { storeLabel } from "../../views/store-label.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import type { RunEnd } from "../../bulk/bulk-report.ts";
import type { Done } from "../../terminal/end-of-run.ts";
import type { Finding, FindingClass } from "../../../core/reconcile/finding.ts";

export interface ReconcileRequest {
  readonly fixes: boolean;
  /** The number of keys that was confirmed with --confirm. */
  readonly confirm: number | undefined;
  readonly adoptAccount: boolean;
  readonly userId: string | undefined;
}

/** The limit for `--fix` without a question: this number of keys or this share of our keys, whichever is larger. */
const UNASKED = { keys: 10, share: 0.01 } as const;

/** Classes that are listed but do not count as warnings: keys of other stores, and keys that are not decided yet. */
const NO_WORRY: ReadonlySet<FindingClass> = new Set(["other_deployment", "undecided", "retiring"]);

/** Plans, asks if necessary, fixes, and reports everything. */
export class ReconcileReport {
  readonly #invocation: Invocation;
  readonly #task: ReconcileRequest;
  readonly #table: TablePrinter;
  /** The planned removals, shown before a question. */
  readonly #tasks: Finding[] = [];
  #store: StoreName | undefined;
  #reconciliation: Reconciliation | undefined;
  #toFix = 0;
  /** What rotations have left to do, which is a part of `#toFix` and needs no permission. */
  #due = NO_DUTIES;
  #fixed = 0;
  #reported = 0;
  #noted = 0;
  #failed: KeyctlError | null = null;

  constructor(invocation: Invocation, task: ReconcileRequest) {
    this.#invocation = invocation;
    this.#task = task;
    this.#table = new TablePrinter(invocation.terminal, [
      { title: "FINDING" },
      { title: "USER", shrinks: true },
      { title: "KEY", shrinks: true },
      { title: "ACTION" },
    ]);
  }

  /** Compares and, with --fix, removes. */
  async work({ manager, store }: Session): Promise<void> {
    this.#store = store;
    const { signal, terminal } = this.#invocation;
    const { fixes, userId, adoptAccount } = this.#task;
    this.#reconciliation = await manager.reconcile({ userId, fixes, adoptAccount, signal });
    if (adoptAccount) terminal.note("the database is bound to the account of this management key");
    await this.#plan(this.#reconciliation);
    if (fixes) await this.#fix(this.#reconciliation);
  }

  /** With --fix, a planned removal is printed when it is done. */
  async #plan(reconciliation: Reconciliation): Promise<void> {
    for await (const finding of reconciliation.plan()) {
      const isTask = finding.action !== "none";
      if (isTask) this.#countTask(finding);
      else if (NO_WORRY.has(finding.class)) this.#noted += 1;
      else this.#reported += 1;
      if (!isTask || !this.#task.fixes) await this.#print(finding);
      else this.#tasks.push(finding);
    }
  }

  #countTask({ class: kind, dueAt }: Finding): void {
    this.#toFix += 1;
    if (dueAt === null) return;
    this.#due = withDuty(this.#due, kind === "limit_due" ? "restore_limit" : "retire", dueAt, Date.now());
  }

  get #dueCount(): number {
    return this.#due.retire + this.#due.limits;
  }

  async #fix(reconciliation: Reconciliation): Promise<void> {
    await this.#confirm(reconciliation);
    for await (const finding of reconciliation.fix()) {
      if (finding.done) this.#fixed += 1;
      this.#failed ??= finding.error;
      await this.#print(finding);
    }
  }

  async #confirm({ ours }: Reconciliation): Promise<void> {
    const { confirm } = this.#task;
    const count = this.#toFix - this.#dueCount;
    const hint = `${this.#command} --fix --confirm ${count}`;
    if (confirm !== undefined) {
      if (confirm === count) return;
      throw new KeyctlError(
        "COUNT_CHANGED",
        `${counted(count, "key")} would be removed, not ${confirm}; nothing was changed`,
        {
          hint,
        },
      );
    }
    if (count <= Math.max(UNASKED.keys, ours * UNASKED.share)) return;
    const { terminal, prompt } = this.#invocation;
    const refused = new KeyctlError(
      "CONFIRMATION_NEEDED",
      `${counted(count, "key")} would be removed; nothing was changed`,
      {
        hint,
      },
    );
    if (!terminal.options.isInteractive) throw refused;
    for (const task of this.#tasks) await this.#print(task);
    await this.#table.end();
    const ask = await prompt();
    if (!(await ask.confirm(`Remove ${counted(count, "key")} at OpenRouter?`))) throw refused;
  }

  async #print(finding: Finding): Promise<void> {
    const { terminal, receivedSignal } = this.#invocation;
    const { class: kind, userId, keyHash, name, action, dueAt, done, error } = finding;
    if (terminal.options.json) {
      return terminal.documents([
        {
          type: "finding",
          class: kind,
          user_id: userId,
          key_hash: keyHash,
          name,
          action,
          due_at: dueAt,
          done,
          error: errorDocument(error, receivedSignal()),
        },
      ]);
    }
    const which = name ?? keyHash ?? "-";
    const later =
      dueAt === null || action !== "none" ? "" : `to be deleted in ${formatSpan(Date.parse(dueAt) - Date.now())}`;
    const end = error?.message ?? (done ? DONE[action] : TO_DO[action] || later);
    await this.#table.print([[kind.replaceAll("_", " "), userId ?? "-", which, end]]);
  }

  /** Ends the report after the store was closed: until then, a signal may stop the run. */
  async summarize({ failure, error, elapsedMs }: RunEnd): Promise<void> {
    const { terminal, receivedSignal } = this.#invocation;
    const [reconciliation, store] = [this.#reconciliation, this.#store];
    // Nothing was compared.
    if (reconciliation === undefined || store === undefined) throw failure;
    const { listed, tally, warnings, isStable } = reconciliation;
    if (!isStable) {
      terminal.warning("keys changed while they were listed: rows whose key was not listed are not reported");
    }
    await this.#table.end();
    if (terminal.options.json) {
      return terminal.document({
        type: "summary",
        command: "reconcile",
        store: store.name,
        dry_run: !this.#task.fixes,
        listed,
        matched: tally.matched,
        kept: tally.kept,
        to_fix: this.#toFix,
        due: this.#dueCount,
        fixed: this.#fixed,
        reported: this.#reported,
        noted: this.#noted,
        elapsed_ms: elapsedMs,
        complete: failure === null,
        warnings,
        error: errorDocument(error, receivedSignal()),
      });
    }
    terminal.footer(this.#line);
    terminal.footer(`store: ${storeLabel(store)}`);
    sayWarnings(terminal, warnings);
  }

  done({ failure }: RunEnd): Done {
    return {
      line: this.#line,
      gap: failure === null ? null : "the run stopped early",
      hint: `${this.#command} > <file>   lists what is left`,
    };
  }

  get #line(): string {
    const { listed = 0, tally = { matched: 0, kept: 0 } } = this.#reconciliation ?? {};
    const due = describeDuties(this.#due);
    const removed = this.#task.fixes
      ? [`${this.#fixed} of ${this.#toFix} removed`]
      : [`${this.#toFix - this.#dueCount} to remove`, ...(due === undefined ? [] : [due])];
    const counts = [`${formatNumber(tally.matched)} matched`, `${formatNumber(tally.kept)} kept`, ...removed];
    return `${counted(listed, "key")} at OpenRouter: ${counts.join(", ")}, ${counted(this.#reported, "warning")}`;
  }

  get #command(): string {
    const { userId } = this.#task;
    return userId === undefined ? "keyctl reconcile" : `keyctl reconcile ${userFlag(userId)}`;
  }

  outcome(): KeyctlError | null {
    const left = this.#toFix - this.#fixed - (this.#task.fixes ? 0 : this.#dueCount);
    if (this.#failed !== null) return this.#failed;
    if (left <= 0 && this.#reported === 0) return this.#task.fixes ? null : overdueError(this.#due);
    const hint = left > 0 ? `${this.#command} --fix` : "keyctl help reconcile";
    const parts = [
      ...(left > 0 ? [`${counted(left, "key")} to remove`] : []),
      ...(this.#reported > 0 ? [counted(this.#reported, "warning")] : []),
    ];
    return new KeyctlError("ATTENTION", parts.join(", "), { hint });
  }
}

const DONE: Readonly<Record<Finding["action"], string>> = {
  delete: "deleted",
  remove_row: "removed",
  restore_limit: "limit restored",
  none: "",
};
const TO_DO: Readonly<Record<Finding["action"], string>> = {
  delete: "to be deleted",
  remove_row: "its row is to be removed",
  restore_limit: "its limit is to be restored",
  none: "",
};
