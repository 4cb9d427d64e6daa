import { isKeyctlError } from "../../core/model/errors.ts";
import type { KeyctlError } from "../../core/model/errors.ts";
import type { Warning } from "../../core/model/warning.ts";
import { errorDocument, userDocument } from "../invocation.ts";
import type { Invocation, StoreName } from "../invocation.ts";
import { TablePrinter } from "../terminal/table-printer.ts";
import { documentFile } from "./output-file.ts";
import type { BulkFlags, BulkView, UserCommand, UserResult } from "./user-command.ts";

type Summary = Readonly<Record<string, unknown>> & { readonly warnings: readonly Warning[] };

interface Description {
  readonly elapsed: number;
  readonly line: string;
}

export interface OutputLines<Result> {
  print(results: readonly Result[]): Promise<void>;
  /** `description` is for people; undefined if there is nothing to report. */
  finish(summary: Summary, error: KeyctlError | null, description: Description | undefined): Promise<void>;
  abandon(): void;
}

/** The output of a bulk run: JSON or a table on stdout, or JSON in a file. */
export async function outputLines<Result extends UserResult>(
  invocation: Invocation,
  flags: BulkFlags,
  command: UserCommand<Result>,
  store: () => StoreName | null,
): Promise<OutputLines<Result>> {
  const { terminal, environment, receivedSignal, atEnd } = invocation;
  const documentOf = (result: Result) =>
    userDocument({ type: "user", ...command.document(result) }, result.error, receivedSignal());
  const file = documentFile(flags.output, environment, atEnd);
  const screen = command.screen?.(store) ?? tableOf(new TablePrinter(terminal, command.columns), command.cells);
  const { json } = terminal.options;
  return {
    async print(results) {
      if (file !== undefined)
        for (const result of results) file.write(terminal.textOf([documentOf(result)], command.reveals));
      else if (json) return terminal.documents(results.map(documentOf), command.reveals);
      // With documents in a file, the screen is for people.
      if (file === undefined || (command.screen !== undefined && !json)) await screen.print(results);
    },
    async finish(summary, error, description) {
      const document = { ...summary, error: errorDocument(error, receivedSignal()) };
      if (json && file === undefined) return terminal.conclude(document);
      file?.write(terminal.textOf([terminal.withRunWarnings(document)]));
      file?.finish();
      try {
        if (description !== undefined || command.screen === undefined) await screen.finish(description?.elapsed ?? 0);
      } catch (thrown) {
        // The file reports how the run ended, and a later signal does not change that.
        if (file === undefined || !isKeyctlError(thrown) || thrown.code !== "INTERRUPTED") throw thrown;
      }
      for (const warning of summary.warnings) terminal.warn(warning);
      if (description !== undefined && command.screen === undefined) terminal.footer(description.line);
      const hints = description === undefined ? [] : (command.closingHints?.() ?? []);
      for (const hint of hints) terminal.hint(hint);
    },
    abandon: () => file?.abandon(),
  };
}

function tableOf<Result>(table: TablePrinter, cells: (result: Result) => readonly string[]): BulkView<Result> {
  return { print: (results) => table.print(results.map(cells)), finish: () => table.end() };
}
