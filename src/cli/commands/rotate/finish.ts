import type { KeyctlError } from "../../../core/model/errors.ts";
import type { Duty } from "../../../core/model/rotate-results.ts";
import { counted } from "../../../core/text/format.ts";
import { printable } from "../../../core/text/printable.ts";
import { gapOf, runWithReport } from "../../bulk/bulk-report.ts";
import type { RunEnd } from "../../bulk/bulk-report.ts";
import { formatShortAgo, formatSpan } from "../../format-duration.ts";
import { errorDocument } from "../../invocation.ts";
import type { Invocation, StoreName } from "../../invocation.ts";
import type { Done } from "../../terminal/end-of-run.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import { storeLabel } from "../../views/store-label.ts";

/** Does what is due: removes old keys whose grace is over, and restores limits after their reset. */
export function finish(invocation: Invocation, reason: string | undefined): Promise<KeyctlError | null> {
  const report = new FinishReport(invocation, reason);
  return runWithReport(invocation.terminal, {
    isDryRun: false,
    work: () => report.work(),
    outcome: () => report.outcome,
    summarize: (end) => report.summarize(end),
    done: (end) => report.done(end),
  });
}

class FinishReport {
  readonly #invocation: Invocation;
  readonly #reason: string | undefined;
  readonly #table: TablePrinter;
  #store: StoreName | null = null;
  readonly #done: Record<Duty["kind"], number> = { retire: 0, restore_limit: 0 };
  #failed = 0;
  /** The first failure. */
  outcome: KeyctlError | null = null;

  constructor(invocation: Invocation, reason: string | undefined) {
    this.#invocation = invocation;
    this.#reason = reason;
    this.#table = new TablePrinter(invocation.terminal, [
      { title: "USER", shrinks: true },
      { title: "DUTY" },
      { title: "DUE" },
      { title: "RESULT", shrinks: true },
    ]);
  }

  async work(): Promise<void> {
    const { withManager, signal } = this.#invocation;
    await withManager({ mayCreateStore: false, logs: "none" }, async ({ manager, store, storeExists }) => {
      this.#store = store;
      if (!storeExists) return;
      for await (const duty of manager.finishDue({ signal, reason: this.#reason })) {
        if (duty.done) this.#done[duty.kind] += 1;
        else this.#failed += 1;
        this.outcome ??= duty.error;
        await this.#print(duty);
      }
    });
  }

  async #print(duty: Duty): Promise<void> {
    const { terminal, receivedSignal } = this.#invocation;
    const { kind, userId, keyHash, dueAt, done, error } = duty;
    if (terminal.options.json) {
      const fields = { type: "duty", kind, user_id: userId, key_hash: keyHash, due_at: dueAt, done };
      return terminal.documents([{ ...fields, error: errorDocument(error, receivedSignal()) }]);
    }
    const due = formatShortAgo(Date.now() - Date.parse(dueAt));
    await this.#table.print([[printable(userId), TO_DO[kind], due, error?.message ?? DONE[kind]]]);
  }

  async summarize(end: RunEnd): Promise<void> {
    const { failure, error, elapsedMs } = end;
    const { terminal, receivedSignal } = this.#invocation;
    await this.#table.end();
    if (this.#store === null && failure !== null) throw failure;
    if (terminal.options.json) {
      return terminal.document({
        type: "summary",
        command: "rotate",
        store: this.#store?.name ?? null,
        total: this.#total,
        done: this.#total - this.#failed,
        retired: this.#done.retire,
        limits_restored: this.#done.restore_limit,
        failed: this.#failed,
        shard: null,
        elapsed_ms: elapsedMs,
        complete: failure === null,
        warnings: [],
        error: errorDocument(error, receivedSignal()),
      });
    }
    terminal.footer(this.#line(end));
    if (this.#store !== null) terminal.footer(`store: ${storeLabel(this.#store)}`);
  }

  done(end: RunEnd): Done {
    return {
      line: this.#line(end),
      gap: gapOf(end),
      hint: "keyctl rotate --finish   does what is left",
    };
  }

  get #total(): number {
    return this.#done.retire + this.#done.restore_limit + this.#failed;
  }

  /** `2 old keys removed, 1 limit restored in 3s`. */
  #line({ failure, elapsedMs }: RunEnd): string {
    const { retire, restore_limit: restored } = this.#done;
    const parts = [
      ...(retire > 0 ? [`${counted(retire, "old key")} removed`] : []),
      ...(restored > 0 ? [`${counted(restored, "limit")} restored`] : []),
      ...(this.#failed > 0 ? [`${counted(this.#failed, "duty", "duties")} left`] : []),
    ];
    if (parts.length > 0) return `${parts.join(", ")} in ${formatSpan(elapsedMs)}`;
    return failure === null ? "nothing is due" : "nothing was finished";
  }
}

const TO_DO: Readonly<Record<Duty["kind"], string>> = { retire: "remove old key", restore_limit: "restore limit" };
const DONE: Readonly<Record<Duty["kind"], string>> = { retire: "removed", restore_limit: "restored" };
