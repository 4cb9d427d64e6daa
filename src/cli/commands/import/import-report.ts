import type { KeyctlError } from "../../../core/model/errors.ts";
import { formatNumber } from "../../../core/text/format.ts";
import { printable } from "../../../core/text/printable.ts";
import type { Warning } from "../../../core/model/warning.ts";
import type { RunEnd } from "../../bulk/bulk-report.ts";
import { documentFile } from "../../bulk/output-file.ts";
import { errorDocument, userDocument } from "../../invocation.ts";
import type { Invocation, StoreName } from "../../invocation.ts";
import { storeLabel } from "../../views/store-label.ts";
import type { ImportCounts } from "./import-counts.ts";
import type { LineResult } from "./line-result.ts";
import { nameOfLine } from "./line-warnings.ts";

/** The maximum number of failures that are named on the screen. */
const NAMED = 10;

/** The state of a run: the data of its report, however the run ends. */
export interface ImportRun {
  readonly counts: ImportCounts;
  readonly isDryRun: boolean;
  readonly allowEmpty: boolean;
  readonly timeOver: AbortSignal | undefined;
  /** About the input. */
  readonly warnings: readonly Warning[];
  store: StoreName | null;
  hasInput: boolean;
  complete: boolean;
}

interface ImportReport {
  print(results: readonly LineResult[]): Promise<void>;
  finish(end: RunEnd): Promise<void>;
  /** Removes the draft of --output, unless it is finished. */
  abandon(): void;
}

/** One document a line with --json or --output; on the screen the failures and a summary. Throws USAGE for --output. */
export function importReport(invocation: Invocation, output: string | undefined, run: ImportRun): ImportReport {
  const { terminal, environment, receivedSignal, atEnd } = invocation;
  const file = documentFile(output, environment, atEnd);
  const printsDocuments = terminal.options.json && file === undefined;
  const documentOf = (result: LineResult) =>
    userDocument({ type: "user", ...fieldsOf(result, run.isDryRun) }, result.error, receivedSignal());
  let failures = 0;
  let isFinished = false;
  return {
    async print(results) {
      for (const result of file === undefined ? [] : results) file?.write(terminal.textOf([documentOf(result)]));
      if (printsDocuments) return terminal.documents(results.map(documentOf));
      for (const { number, userId, error } of results) {
        if (error === null) continue;
        failures += 1;
        if (failures <= NAMED) terminal.warning(`${placeOf(number, userId, error)}: ${error.message}`);
      }
    },
    async finish({ error, elapsedMs }) {
      const summary = { ...summaryOf(run, elapsedMs), error: errorDocument(error, receivedSignal()) };
      isFinished = true;
      file?.write(terminal.textOf([terminal.withRunWarnings(summary)]));
      file?.finish();
      if (printsDocuments) await terminal.document(summary);
      else await show(invocation, run, { error, elapsedMs, more: failures - NAMED });
    },
    abandon: () => (isFinished ? undefined : file?.abandon()),
  };
}

/** The message of an error may name the user itself. */
function placeOf(number: number, userId: string | null, { message }: KeyctlError): string {
  return nameOfLine(number, userId === null || message.includes(printable(userId)) ? null : userId);
}

function fieldsOf({ number, userId, outcome, key, keyHash, origin, warnings }: LineResult, isDryRun: boolean): object {
  return {
    line: number,
    user_id: userId,
    key: key?.masked ?? null,
    key_hash: keyHash,
    source: origin,
    origin,
    outcome,
    ...(isDryRun ? { dry_run: true } : {}),
    warnings,
  };
}

function summaryOf({ counts, isDryRun, store, complete, warnings }: ImportRun, elapsedMs: number) {
  const { done, ...outcomes } = counts.document;
  return {
    type: "summary",
    command: "import",
    store: store?.name ?? null,
    ...(isDryRun ? { dry_run: true } : {}),
    total: complete ? done : null,
    done,
    ...outcomes,
    elapsed_ms: elapsedMs,
    complete,
    warnings: [...warnings, ...counts.warnings],
  };
}

async function show(
  { terminal }: Invocation,
  { counts, isDryRun, store, warnings }: ImportRun,
  { elapsedMs, more }: { readonly error: KeyctlError | null; readonly elapsedMs: number; readonly more: number },
): Promise<void> {
  if (more > 0) terminal.footer(`… and ${formatNumber(more)} more; --json lists them all`);
  for (const warning of [...warnings, ...counts.warnings]) terminal.warn(warning);
  if (store === null || counts.done === 0) return;
  await terminal.result(counts.describe(elapsedMs));
  terminal.footer(storeLabel(store));
  if (isDryRun) terminal.note("nothing was written");
}
