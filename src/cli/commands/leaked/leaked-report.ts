import { isKeyctlError, KeyctlError, RUN_FATAL_CODES } from "../../../core/model/errors.ts";
import type { ErrorCode } from "../../../core/model/errors.ts";
import { GOES_ON } from "../../../core/model/leaked-results.ts";
import type { LeakedResult } from "../../../core/model/leaked-results.ts";
import { counted, formatNumber } from "../../../core/text/format.ts";
import { gapOf } from "../../bulk/bulk-report.ts";
import type { RunEnd } from "../../bulk/bulk-report.ts";
import { WarningSummary } from "../../bulk/warning-summary.ts";
import { formatSpan } from "../../format-duration.ts";
import { errorDocument } from "../../invocation.ts";
import type { Invocation, StoreName } from "../../invocation.ts";
import type { Done } from "../../terminal/end-of-run.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import { USER_COLUMN } from "../../views/columns.ts";
import { storeLabel } from "../../views/store-label.ts";
import type { LeakedFlags } from "./leaked-flags.ts";
import type { LeakedLine } from "./leaked-lines.ts";
import { LeakedRun } from "./leaked-run.ts";
import { leakedCells, leakedDocument } from "./leaked-view.ts";

/** The key may still work, or whether it does is not known. */
const NOT_CONFIRMED: ReadonlySet<ErrorCode> = new Set(["ATTENTION", "REVOKE_PENDING", "VERDICT_UNKNOWN"]);

/** Handles many keys, and reports each in the order of the input. */
export class LeakedReport {
  readonly #invocation: Invocation;
  readonly #flags: LeakedFlags;
  readonly #table: TablePrinter;
  readonly #warnings = new WarningSummary();
  #store: StoreName | null = null;
  #done = 0;
  #contained = 0;
  /** Of a dry run: these keys are deleted or refused already. */
  #nothingToDo = 0;
  #replaced = 0;
  #notConfirmed = 0;
  #left = 0;
  #failed = 0;
  /** Lines that hold no whole key; they are among the failed ones. */
  #faulty = 0;
  #notStarted = 0;

  constructor(invocation: Invocation, flags: LeakedFlags) {
    this.#invocation = invocation;
    this.#flags = flags;
    this.#table = new TablePrinter(invocation.terminal, [
      { title: "KEY" },
      USER_COLUMN,
      { title: "SPENT", isOptional: true },
      { title: "RESULT" },
    ]);
  }

  async work(lines: AsyncGenerator<LeakedLine>): Promise<void> {
    try {
      await this.#work(lines);
    } catch (thrown) {
      throw isKeyctlError(thrown) ? this.#ofAll(thrown) : thrown;
    }
  }

  /** What it means for the keys that nothing was done about them. */
  #ofAll(error: KeyctlError): KeyctlError {
    const { code, message, hint, retryable } = error;
    if (code === "INTERRUPTED") return new KeyctlError(code, message, { hint: hint ?? GOES_ON, retryable });
    if (this.#store !== null || !RUN_FATAL_CODES.has(code)) return error;
    const byHand = "disable the keys now at https://openrouter.ai/keys";
    const whole = `${message}; the leaked keys may still work`;
    return new KeyctlError(code, whole, { hint: hint === null ? byHand : `${hint}; or ${byHand}`, retryable });
  }

  async #work(lines: AsyncGenerator<LeakedLine>): Promise<void> {
    const { withManager, progress, signal } = this.#invocation;
    await withManager({ mayCreateStore: false, logs: "none" }, async ({ manager, store }) => {
      this.#store = store;
      progress.begin({ what: "leaked", unit: "keys" });
      const run = new LeakedRun(manager, this.#flags, signal);
      for await (const { line, result } of run.results(lines)) {
        if (result === undefined) this.#notStarted += 1;
        else await this.#report(line, result);
        progress.update(this.#done);
      }
      if (run.fatal !== null) throw run.fatal;
    });
  }

  async #report(line: number | null, result: LeakedResult): Promise<void> {
    const { terminal, receivedSignal } = this.#invocation;
    const { error, warnings, action, replacedBy } = result;
    const isDryRun = this.#flags.dryRun === true;
    this.#done += 1;
    this.#warnings.add(warnings);
    if (action === "rotate" && replacedBy !== null) this.#replaced += 1;
    if (error === null && isDryRun && action === "none") this.#nothingToDo += 1;
    else if (error === null) this.#contained += 1;
    else if (NOT_CONFIRMED.has(error.code)) this.#notConfirmed += 1;
    else if (error.code === "PROVISION_CAP") this.#left += 1;
    else this.#failed += 1;
    if (error?.code === "BAD_KEY_FORMAT") this.#faulty += 1;
    if (!terminal.options.json) return this.#table.print([leakedCells(terminal, result, isDryRun)]);
    const document = { type: "key", line, ...leakedDocument(result, isDryRun) };
    await terminal.documents([{ ...document, error: errorDocument(error, receivedSignal()) }]);
  }

  /** The worst of what happened to the keys: 9, then 6, then 10. Each says how many keys may still work. */
  outcome(): KeyctlError | null {
    const left = this.#left + this.#notConfirmed;
    const others = this.#left > 0 ? `${counted(left, "key")} may still work: this run may handle no more` : null;
    if (this.#failed > 0) return this.#someFailed(left, others);
    if (others !== null) return new KeyctlError("PROVISION_CAP", others, { hint: this.#forAll, retryable: true });
    if (this.#notConfirmed > 0) {
      const which = this.#done === 1 ? "the key" : `${formatNumber(left)} of ${counted(this.#done, "key")}`;
      const hint = "see the lines above; the same command goes on";
      return new KeyctlError("ATTENTION", `${which} may still work`, { hint });
    }
    if (this.#done > 0 || this.#flags.allowEmpty === true) return null;
    return new KeyctlError("EMPTY_SELECTION", "no key was given: nothing came on standard input", {
      hint: "--allow-empty   accepts that",
    });
  }

  #someFailed(left: number, others: string | null): KeyctlError {
    const failed = this.#done === 1 ? "the line failed" : `${this.#failedOfAll} failed`;
    const more = others ?? (left > 0 ? `${counted(left, "key")} may still work` : null);
    const lines = this.#faulty > 0 ? "; give one key (sk-or-v1-…) or 64 hex characters a line, and nothing else" : "";
    const again = others === null ? "" : `; ${this.#forAll}   handles all`;
    return new KeyctlError("SOME_FAILED", more === null ? failed : `${failed}, and ${more}`, {
      hint: `see the lines above${lines}${again}`,
    });
  }

  get #failedOfAll(): string {
    return `${formatNumber(this.#failed)} of ${counted(this.#done, "key")}`;
  }

  /** The same command, which may handle all keys. */
  get #forAll(): string {
    return this.#invocation.commandAgain(`--max-keys ${this.#done}`, "--max-keys");
  }

  async summarize(end: RunEnd): Promise<void> {
    const { failure, error, elapsedMs } = end;
    const { terminal, receivedSignal } = this.#invocation;
    await this.#table.end();
    if (this.#store === null && failure !== null) throw failure;
    const { all: warnings } = this.#warnings;
    if (terminal.options.json) {
      return terminal.document({
        type: "summary",
        command: "leaked",
        store: this.#store?.name ?? null,
        ...(this.#flags.dryRun === true ? { dry_run: true, nothing_to_do: this.#nothingToDo } : {}),
        total: this.#done + this.#notStarted,
        done: this.#done,
        contained: this.#contained,
        replaced: this.#replaced,
        not_confirmed: this.#notConfirmed,
        left: this.#left,
        failed: this.#failed,
        shard: null,
        elapsed_ms: elapsedMs,
        complete: failure === null,
        warnings,
        error: errorDocument(error, receivedSignal()),
      });
    }
    for (const { message } of warnings) terminal.warning(message);
    terminal.footer(this.#line(end));
    if (this.#store !== null) terminal.footer(`store: ${storeLabel(this.#store)}`);
  }

  done(end: RunEnd): Done {
    return {
      line: this.#line(end),
      gap: gapOf(end),
      hint: "keyctl leaked --stdin --json > <file>   keeps the result of every key",
    };
  }

  /** `12 keys in 3s: 10 contained, 8 replaced, 2 not confirmed`. */
  #line({ elapsedMs }: RunEnd): string {
    const isDryRun = this.#flags.dryRun === true;
    const parts = [
      [this.#contained, isDryRun ? "to contain" : "contained"],
      [this.#nothingToDo, "deleted or refused already"],
      [this.#replaced, "replaced"],
      [this.#notConfirmed, "not confirmed"],
      [this.#left, "left"],
      [this.#failed, "failed"],
      [this.#notStarted, "not started"],
    ] as const;
    const counts = parts.flatMap(([count, what]) => (count > 0 ? [`${formatNumber(count)} ${what}`] : []));
    const nothing = isDryRun ? "; nothing was changed" : "";
    return `${counted(this.#done, "key")} in ${formatSpan(elapsedMs)}${counts.length === 0 ? "" : `: ${counts.join(", ")}`}${nothing}`;
  }
}
