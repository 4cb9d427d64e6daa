import type { Command } from "commander";
import { importFailed } from "../../../core/change/import-keys.ts";
import type { ImportResult } from "../../../core/change/import-keys.ts";
import { batched } from "../../../core/async/batched.ts";
import { anySignal, clampTimeout } from "../../../core/async/deadline.ts";
import { yieldToEventLoop } from "../../../core/async/sleep.ts";
import { KeyctlError } from "../../../core/model/errors.ts";
import { keyFileModeWarning } from "../../../core/model/key-file-mode.ts";
import { printable } from "../../../core/text/printable.ts";
import type { Warning } from "../../../core/model/warning.ts";
import { isPipe } from "../../../files/named-file.ts";
import { canChangeMode, isReadableByOthers } from "../../../files/file-mode.ts";
import { inHome } from "../../../files/home-folder.ts";
import { runWithReport } from "../../bulk/bulk-report.ts";
import { addDryRunOption } from "../../bulk/dry-run.ts";
import { nothingCame } from "../../bulk/users-input.ts";
import { bytesOf, numberedLines, statsOfFile } from "../../bulk/users-file.ts";
import { flagDuration } from "../../time-flags.ts";
import type { Invocation, Run } from "../../invocation.ts";
import { addCreateOption } from "../create-option.ts";
import type { CreateFlags } from "../create-option.ts";
import { addReasonOption } from "../reason-option.ts";
import type { ReasonFlags } from "../reason-option.ts";
import { MAX_RECORD_LENGTH } from "./csv-records.ts";
import { EarlierLines } from "./earlier-lines.ts";
import { ImportCounts } from "./import-counts.ts";
import { csvLines, jsonLines, shownNames } from "./import-lines.ts";
import type { ImportLine, LineReader } from "./import-lines.ts";
import { importReport } from "./import-report.ts";
import type { ImportRun } from "./import-report.ts";
import type { LineResult } from "./line-result.ts";

interface ImportFlags extends CreateFlags, ReasonFlags {
  readonly csv?: string;
  readonly jsonl?: string;
  readonly dryRun?: true;
  readonly output?: string;
  /** In milliseconds. */
  readonly stopAfter?: number;
  readonly allowEmpty?: true;
}

/** Small enough for a commit well under 50 ms, and large enough to make a commit's fsync negligible. */
const BATCH = 500;
const IMPORT_FILE = { what: "import file", hint: "give a file with one user and key per line, or pipe it to --csv -" };

export function configureCommand(command: Command, run: Run): void {
  addReasonOption(addDryRunOption(addCreateOption(command)))
    .option("--csv <path|->", "CSV; its first line names the columns user, key and source")
    .option("--jsonl <path|->", "JSON objects with user, key and source, one per line")
    .option("--output <file|->", "write the JSON documents to this file")
    .option("--stop-after <duration>", "stop cleanly after this time", flagDuration("--stop-after"))
    .option("--allow-empty", "accept an input without a key")
    .addHelpText(
      "after",
      `
Stores the keys of many users. A user's key stays: the same key is kept, and
another one is a conflict. Columns may be in any order, source may be missing,
and other columns are ignored. A line that cannot be used fails, and the others
are imported. Run again, it continues where it stopped. No key is printed.

Examples:
  keyctl import --csv keys.csv --dry-run
  keyctl import --csv keys.csv --json
  keyctl import --jsonl - --output imported.jsonl < keys.jsonl`,
    )
    .action(run((invocation, flags: ImportFlags) => importAll(invocation, flags)));
}

async function importAll(invocation: Invocation, flags: ImportFlags): Promise<KeyctlError | null> {
  const input = inputOf(invocation, flags);
  const isDryRun = flags.dryRun === true;
  const run: ImportRun = {
    counts: new ImportCounts(isDryRun),
    isDryRun,
    allowEmpty: flags.allowEmpty === true,
    timeOver: flags.stopAfter === undefined ? undefined : AbortSignal.timeout(clampTimeout(flags.stopAfter)),
    warnings: input.warnings,
    store: null,
    hasInput: false,
    complete: false,
  };
  const report = importReport(invocation, flags.output, run);
  try {
    return await runWithReport(invocation.terminal, {
      isDryRun,
      work: () => work(invocation, flags, { input, run, print: (results) => report.print(results) }),
      outcome: () => {
        const error = run.counts.error(run.complete, run.allowEmpty);
        return error === null || run.hasInput ? error : nothingCame(error, input.path ?? "standard input");
      },
      summarize: (end) => report.finish(end),
      done: ({ elapsedMs }) => ({
        line: run.counts.describe(elapsedMs),
        gap: run.complete ? null : "imported keys stay",
        hint: "--output <file>   keeps the result of every line; keys that are there are not imported again",
      }),
    });
  } finally {
    report.abandon();
  }
}

interface ImportInput {
  /** Undefined for standard input. */
  readonly path: string | undefined;
  readonly read: typeof csvLines | typeof jsonLines;
  readonly warnings: readonly Warning[];
}

/** Throws USAGE. */
function inputOf({ environment }: Invocation, { csv, jsonl }: ImportFlags): ImportInput {
  const given = csv ?? jsonl;
  if (given === undefined || (csv !== undefined && jsonl !== undefined)) {
    const problem = given === undefined ? "no input is given" : "two inputs are given";
    throw new KeyctlError("USAGE", problem, { hint: "give --csv <path> or --jsonl <path>" });
  }
  const path = given === "-" ? undefined : inHome(given, environment);
  return {
    path,
    read: csv === undefined ? jsonLines : csvLines,
    warnings: path === undefined || isPipe(path) ? [] : modeWarnings(path),
  };
}

function modeWarnings(path: string): readonly Warning[] {
  const { mode, uid } = statsOfFile(path, IMPORT_FILE);
  const openMode = { mode: mode & 0o777, modeCanChange: canChangeMode(path, uid) };
  return isReadableByOthers(mode) ? [keyFileModeWarning(printable(path), openMode)] : [];
}

interface ImportWork {
  readonly input: ImportInput;
  readonly run: ImportRun;
  readonly print: (results: readonly LineResult[]) => Promise<void>;
}

async function work(invocation: Invocation, { create, reason }: ImportFlags, task: ImportWork): Promise<void> {
  const { run } = task;
  const needs = { mayCreateStore: !run.isDryRun, create: create === true, logs: "none" } as const;
  await invocation.withManager(needs, async ({ manager, store }) => {
    run.store = store;
    const options = { dryRun: run.isDryRun, signal: invocation.signal, reason };
    await goThrough(invocation, (entries) => manager.importKeys(entries, options), task);
  });
}

async function goThrough(
  { terminal, progress, signal, inputStream }: Invocation,
  importKeys: ImportEntries,
  { input, run, print }: ImportWork,
): Promise<void> {
  const { counts, isDryRun, timeOver } = run;
  const reader: LineReader = {
    onIgnored: (names) => terminal.note(`not imported: ${shownNames(names)}`),
  };
  const bytes =
    input.path === undefined
      ? inputStream(timeOver, "lines with users and keys, which this terminal shows,")
      : bytesOf(input.path, IMPORT_FILE, timeOver === undefined ? signal : anySignal(signal, timeOver));
  const earlier = new EarlierLines(isDryRun);
  progress.begin({ what: "import", unit: "lines" });
  try {
    const numbered = numberedLines(noticed(bytes, run), MAX_RECORD_LENGTH + 1);
    for await (const lines of batched(flat(input.read(numbered, reader)), BATCH)) {
      const results = await resultsOf(lines, importKeys);
      const shown = results.map((result) => earlier.compared(result));
      for (const result of shown) counts.add(result);
      await print(shown);
      progress.update(counts.done);
      await yieldToEventLoop();
      signal.throwIfAborted();
      if (timeOver?.aborted === true) return;
    }
  } catch (thrown) {
    if (timeOver?.aborted === true && thrown === timeOver.reason) return;
    throw thrown;
  }
  run.complete = true;
}

async function* noticed(bytes: AsyncIterable<Uint8Array>, run: ImportRun): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    run.hasInput = true;
    yield chunk;
  }
}

async function* flat<Item>(batches: AsyncIterable<readonly Item[]>): AsyncGenerator<Item> {
  for await (const batch of batches) yield* batch;
}

type ImportEntries = (batches: AsyncIterable<Entries>) => AsyncIterable<readonly ImportResult[]>;
type Entries = readonly Extract<ImportLine, { readonly error: null }>["entry"][];

/** A result for each line, in the order of the lines. */
async function resultsOf(lines: readonly ImportLine[], importKeys: ImportEntries): Promise<readonly LineResult[]> {
  const entries = lines.flatMap(({ entry }) => (entry === null ? [] : [entry]));
  const results: ImportResult[] = [];
  if (entries.length > 0) for await (const batch of importKeys(once(entries))) results.push(...batch);
  let next = 0;
  return lines.map(({ number, error }) => {
    if (error !== null) return { ...importFailed("", error), number, userId: null };
    const result = results[next++];
    if (result === undefined) throw new Error("a line has no result");
    return { ...result, number };
  });
}

async function* once<Item>(item: Item): AsyncGenerator<Item> {
  yield item;
}
