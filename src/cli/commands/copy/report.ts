import type { KeyctlError } from "../../../core/model/errors.ts";
import { maskOfRecord } from "../../../core/model/key-record.ts";
import { printable } from "../../../core/text/printable.ts";
import type { HistoryOutcome } from "../../../core/copy/copy-history.ts";
import type { CopyOutcome } from "../../../core/copy/copy-rows.ts";
import { shellQuote } from "../../../core/text/shell-quote.ts";
import type { CopyTally } from "./counts.ts";
import { counted, formatNumber } from "../../../core/text/format.ts";
import type { RunEnd } from "../../bulk/bulk-report.ts";
import { errorDocument } from "../../invocation.ts";
import type { Invocation, StoreName } from "../../invocation.ts";
import type { Terminal } from "../../terminal/terminal.ts";

/** The maximum number of failures that are named on the screen. */
const NAMED = 10;

/** The state of a run: the data of its report, however the run ends. */
export interface CopyRun {
  readonly tally: CopyTally;
  readonly dryRun: boolean;
  /** Why it is copied, for the history. */
  readonly reason: string | undefined;
  readonly timeOver: AbortSignal | undefined;
  stores: { readonly source: StoreName; readonly destination: StoreName } | null;
  /** The number of rows in the source at the start. */
  total: number;
  /** Whether the source must hold no key in plain text. */
  requireSealed: boolean;
  /** The number of rows in the destination at the end. */
  toTotal: number | null;
  complete: boolean;
  /** The number of failures for the screen so far, including those above the maximum. */
  named: number;
}

/** Reports failures as soon as they are known. */
export async function sayFailures(
  { terminal, receivedSignal }: Invocation,
  outcomes: readonly CopyOutcome[],
  run: CopyRun,
): Promise<void> {
  const failures = outcomes.filter((outcome) => outcome.kind !== "history").filter(({ error }) => error !== null);
  if (!terminal.options.json) {
    const shown = failures.slice(0, Math.max(0, NAMED - run.named));
    for (const { error } of shown) if (error !== null) terminal.warning(error.message);
    run.named += failures.length;
    return;
  }
  await terminal.documents(
    failures.map((failed) => ({
      type: "user",
      ...subjectOf(failed),
      error: errorDocument(failed.error, receivedSignal()),
    })),
  );
}

/** The user whose row, journal or block failed, with the key and the outcome. */
function subjectOf(failed: Exclude<CopyOutcome, HistoryOutcome>): object {
  if (failed.kind !== "row") {
    return { user_id: failed.userId, key: null, key_hash: null, outcome: `${failed.kind}_${failed.outcome}` };
  }
  const { row, outcome } = failed;
  return { user_id: row.userId, key: maskOfRecord(row), key_hash: row.keyHash, outcome };
}

/** The summary, as JSON or for people. */
export async function reportCopy(
  invocation: Invocation,
  run: CopyRun,
  { failure, error, elapsedMs }: RunEnd,
): Promise<void> {
  if (invocation.terminal.options.json) await document(invocation, run, elapsedMs, error);
  else await show(invocation, run, elapsedMs, failure);
}

async function document(
  { terminal, receivedSignal }: Invocation,
  { tally, stores, total, toTotal, requireSealed, dryRun, complete }: CopyRun,
  elapsed: number,
  error: KeyctlError | null,
): Promise<void> {
  await terminal.document({
    type: "summary",
    command: "copy",
    store: stores?.source.name ?? null,
    to: stores?.destination.name ?? null,
    total,
    ...tally.document,
    to_total: toTotal,
    dry_run: dryRun,
    elapsed_ms: elapsed,
    complete,
    warnings: tally.warnings(requireSealed),
    error: errorDocument(error, receivedSignal()),
  });
}

async function show(
  { terminal }: Invocation,
  { tally, stores, dryRun, toTotal, requireSealed, named }: CopyRun,
  elapsed: number,
  failure: KeyctlError | null,
): Promise<void> {
  if (stores === null || (tally.done === 0 && tally.blocks === undefined)) return;
  const { source, destination } = stores;
  if (named > NAMED) terminal.footer(`… and ${formatNumber(named - NAMED)} more; --json lists them all`);
  terminal.footer(`from ${nameOf(source)} to ${nameOf(destination)}`);
  for (const { message } of tally.warnings(requireSealed)) terminal.warning(message);
  if (!requireSealed && tally.sealed > 0)
    terminal.note(`${counted(tally.sealed, "key was", "keys were")} stored in plain text and sealed in the copy`);
  await terminal.result(tally.describe(elapsed));
  if (dryRun) terminal.note("nothing was written");
  else if (tally.proof !== undefined) await terminal.result(tally.proof);
  if (tally.journals !== undefined) await terminal.result(tally.journals);
  if (tally.blocks !== undefined) await terminal.result(tally.blocks);
  if (toTotal !== null) terminal.footer(`${counted(toTotal, "key")} in the destination`);
  if (failure !== null) terminal.note("copied keys stay in the destination; run it again to continue");
  if (tally.inClear > 0 && !dryRun) sayClear(terminal, tally.inClear, destination);
}

function nameOf({ name, from }: StoreName): string {
  return `${printable(name)} (${from === "default" ? "" : "from "}${from})`;
}

function sayClear(terminal: Terminal, count: number, { name }: StoreName): void {
  const which = `${counted(count, "key is", "keys are")} stored in plain text`;
  // The name of a MongoDB store omits the password and the options of its URI.
  const [when, store] = name.startsWith("sqlite:")
    ? ["", ` --store ${shellQuote(name)}`]
    : ["once KEYCTL_STORE names the copy, ", ""];
  terminal.hint(`${which}; ${when}this encrypts them there:\n      keyctl rekey --keep-key${store}`);
}
