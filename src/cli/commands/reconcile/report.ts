import { KeyctlError } from "../../../core/model/errors.ts";
import type { Reconciliation } from "../../../core/reconcile/reconciliation.ts";
import { sayWarnings } from "../../views/key-view.ts";
import { counted, plural } from "../../../core/text/format.ts";
import { dollars } from "../../views/verdict-view.ts";
import { formatAge, formatSpan } from "../../format-duration.ts";
import { overdueError } from "../../../core/model/duties.ts";
import { Declined } from "../../terminal/unanswered.ts";
import { FindingCounts } from "./finding-counts.ts";
import { remedyOf } from "./remedies.ts";
import { errorDocument } from "../../invocation.ts";
import type { Invocation, Session, StoreName } from "../../invocation.ts";
import { storeLabel } from "../../views/store-label.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import { gapOf } from "../../bulk/bulk-report.ts";
import type { RunEnd } from "../../bulk/bulk-report.ts";
import type { Done } from "../../terminal/end-of-run.ts";
import type { Warning } from "../../../core/model/warning.ts";
import type { OnStep, WorkStep } from "../../../core/model/work-step.ts";
import type { Finding, FindingClass } from "../../../core/reconcile/finding.ts";
import { USER_COLUMN } from "../../views/columns.ts";

export interface ReconcileRequest {
  readonly fixes: boolean;
  /** The number of keys that was confirmed with --confirm. */
  readonly confirm: number | undefined;
  readonly adoptAccount: boolean;
  readonly includeKept: boolean;
  /** Lists what is otherwise only counted. */
  readonly verbose: boolean;
  readonly userId: string | undefined;
  /** Why keys are removed, for the history. */
  readonly reason: string | undefined;
}

/** The limit for `--fix` without a question: this number of keys or this share of our keys, whichever is larger. */
const UNASKED = { keys: 10, share: 0.01 } as const;

/** Classes that are one line each, with a number. Documents have each key of another store. */
const ONLY_COUNTED: ReadonlySet<FindingClass> = new Set(["kept", "other_deployment"]);

/** Plans, asks if necessary, fixes, and reports everything. */
export class ReconcileReport {
  readonly #invocation: Invocation;
  readonly #task: ReconcileRequest;
  readonly #table: TablePrinter;
  /** The planned removals, shown before a question. */
  readonly #tasks: Finding[] = [];
  #store: StoreName | undefined;
  #reconciliation: Reconciliation | undefined;
  readonly #counts = new FindingCounts();
  /** What mends the first finding that somebody has to look at. */
  #remedy: string | null = null;
  #failed: KeyctlError | null = null;
  #warnings: readonly Warning[] = [];

  constructor(invocation: Invocation, task: ReconcileRequest) {
    this.#invocation = invocation;
    this.#task = task;
    this.#table = new TablePrinter(invocation.terminal, [
      { title: "FINDING", usual: 16 },
      USER_COLUMN,
      { title: "KEY", shrinks: true },
      { title: "ACTION" },
    ]);
  }

  /** Compares and, with --fix, removes. */
  async work({ manager, store }: Session): Promise<void> {
    this.#store = store;
    const { signal, terminal } = this.#invocation;
    const { fixes, userId, adoptAccount, includeKept, reason } = this.#task;
    const options = { userId, fixes, adoptAccount, includeKept, reason, signal };
    this.#reconciliation = await manager.reconcile({ ...options, onStep: this.#showSteps() });
    if (adoptAccount) terminal.note("the database is bound to the account of this management key");
    try {
      await this.#plan(this.#reconciliation);
      if (fixes) await this.#fix(this.#reconciliation);
    } finally {
      this.#warnings = this.#reconciliation.warnings;
    }
  }

  #showSteps(): OnStep {
    const { progress } = this.#invocation;
    let begun: string | undefined;
    const begin = (part: WorkStep["part"]) => {
      if (begun !== part) progress.begin({ what: `reconcile: ${PARTS[part].what}`, unit: PARTS[part].unit });
      begun = part;
    };
    begin("listing");
    return ({ part, done, total }) => {
      begin(part);
      progress.update(done, total);
    };
  }

  /** With --fix, a planned removal is printed when it is done. */
  async #plan(reconciliation: Reconciliation): Promise<void> {
    for await (const finding of reconciliation.plan()) {
      const isTask = finding.action !== "none";
      const before = this.#counts.reported;
      this.#counts.plan(finding);
      if (this.#counts.reported > before) this.#remedy ??= remedyOf(finding);
      if (isTask && this.#task.fixes) this.#tasks.push(finding);
      else if (isTask || this.#isListed(finding)) await this.#print(finding);
    }
    await this.#printCounted();
  }

  #isListed({ class: kind }: Finding): boolean {
    const { json } = this.#invocation.terminal.options;
    return this.#task.verbose || !ONLY_COUNTED.has(kind) || (json && kind !== "kept");
  }

  async #printCounted(): Promise<void> {
    const { terminal, commandAgain } = this.#invocation;
    if (this.#task.verbose || terminal.options.json) return;
    for (const kind of ONLY_COUNTED) {
      const count = this.#counts.of(kind);
      const end = `${commandAgain("--verbose")}   lists ${plural(count, "it", "them")}`;
      if (count > 0) await this.#table.print([[kind.replaceAll("_", " "), "-", counted(count, "key"), end]]);
    }
  }

  async #fix(reconciliation: Reconciliation): Promise<void> {
    await this.#confirm(reconciliation);
    for await (const finding of reconciliation.fix()) {
      this.#counts.fixed(finding);
      this.#failed ??= finding.error;
      await this.#print(finding);
    }
  }

  async #confirm({ ours }: Reconciliation): Promise<void> {
    const { confirm } = this.#task;
    const count = this.#counts.toAsk;
    const hint = this.#invocation.commandAgain(`--confirm ${count}`, "--confirm");
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
    if (!(await ask.confirm(`Remove ${counted(count, "key")} at OpenRouter?`))) throw new Declined(hint);
  }

  async #print(finding: Finding): Promise<void> {
    const { terminal, receivedSignal } = this.#invocation;
    const { class: kind, userId, keyHash, name, action, dueAt, done, error, listed } = finding;
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
          created_at: listed?.createdAt ?? null,
          limit: listed?.limit ?? null,
          hint: done ? null : remedyOf(finding),
          error: errorDocument(error, receivedSignal()),
        },
      ]);
    }
    const which = name ?? keyHash ?? "-";
    await this.#table.print([[kind.replaceAll("_", " "), userId ?? "-", which, this.#endOf(finding)]]);
  }

  /** Ends the report after the store was closed: until then, a signal may stop the run. */
  async summarize({ failure, error, elapsedMs }: RunEnd): Promise<void> {
    const { terminal, receivedSignal } = this.#invocation;
    const [reconciliation, store] = [this.#reconciliation, this.#store];
    // Nothing was compared.
    if (reconciliation === undefined || store === undefined) throw failure;
    const warnings = this.#warnings;
    if (!reconciliation.isStable) {
      terminal.warning("keys changed while they were listed: rows whose key was not listed are not reported");
    }
    await this.#table.end();
    if (terminal.options.json) {
      return terminal.document({
        type: "summary",
        command: "reconcile",
        store: store.name,
        dry_run: !this.#task.fixes,
        ...this.#counts.document(reconciliation),
        history_removed: reconciliation.historyRemoved,
        elapsed_ms: elapsedMs,
        complete: failure === null,
        warnings,
        error: errorDocument(error, receivedSignal()),
      });
    }
    terminal.footer(this.#line);
    terminal.footer(`store: ${storeLabel(store)}`);
    const { historyRemoved: old } = reconciliation;
    if (old > 0) terminal.note(`${counted(old, "old event was", "old events were")} removed from the history`);
    sayWarnings(terminal, warnings);
  }

  done(end: RunEnd): Done {
    return {
      line: this.#line,
      gap: gapOf(end),
      hint: `${this.#invocation.commandAgain("", "--confirm")} > <file>   lists what is left`,
    };
  }

  get #line(): string {
    const nothing = { listed: 0, tally: { matched: 0, kept: 0 } };
    return this.#counts.describe(this.#reconciliation ?? nothing, this.#task.fixes);
  }

  /** What becomes of a finding; of a kept key also what it may still cost. */
  #endOf(finding: Finding): string {
    const { class: kind, action, dueAt, done, error, listed } = finding;
    if (error !== null) return error.message;
    if (dueAt !== null && action === "none") return `to be deleted in ${formatSpan(Date.parse(dueAt) - Date.now())}`;
    const remedy = this.#invocation.terminal.complete(remedyOf(finding) ?? "");
    const end = action === "none" ? remedy : done ? DONE[action] : TO_DO[action];
    if (kind !== "kept" || listed === null) return end;
    const age = listed.createdAt === null ? [] : [this.#age(listed.createdAt)];
    const limit =
      listed.limit === undefined ? [] : [listed.limit === null ? "no limit" : `limit ${dollars(listed.limit)}`];
    return [...age, ...limit, end].join(", ");
  }

  #age(since: string): string {
    if (this.#invocation.terminal.columns === undefined) return `created ${since}`;
    return formatAge(Math.max(0, Date.now() - Date.parse(since)));
  }

  outcome(): KeyctlError | null {
    const { reported } = this.#counts;
    const left = this.#counts.left(this.#task.fixes);
    if (this.#failed !== null) return this.#failed;
    if (left === 0 && reported === 0) return this.#task.fixes ? null : overdueError(this.#counts.due);
    const { commandAgain } = this.#invocation;
    const advice =
      reported === 1 && this.#remedy !== null ? this.#remedy : "see the lines above; keyctl help reconcile";
    const hint = left > 0 ? commandAgain(this.#task.fixes ? "" : "--fix", "--confirm") : advice;
    const parts = [
      ...(left > 0 ? [`${counted(left, "key")} to remove`] : []),
      ...(reported > 0 ? [counted(reported, "warning")] : []),
    ];
    return new KeyctlError("ATTENTION", parts.join(", "), { hint });
  }
}

const PARTS: Readonly<Record<WorkStep["part"], { readonly what: string; readonly unit: string }>> = {
  listing: { what: "listing at OpenRouter", unit: "keys" },
  comparing: { what: "comparing", unit: "users" },
  rows: { what: "comparing", unit: "rows" },
  removing: { what: "removing", unit: "users" },
};

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
