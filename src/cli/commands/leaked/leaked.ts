import type { Command } from "commander";
import { toKeyctlError } from "../../../core/async/deadline.ts";
import { isKeyctlError, KeyctlError } from "../../../core/model/errors.ts";
import { leakedFailed, notDisabled } from "../../../core/model/leaked-results.ts";
import type { LeakedKey, LeakedResult } from "../../../core/model/leaked-results.ts";
import { runWithReport } from "../../bulk/bulk-report.ts";
import { errorDocument } from "../../invocation.ts";
import type { Invocation, Run } from "../../invocation.ts";
import { showResult } from "../../terminal/end-of-run.ts";
import { addLeakedOptions, refuseLeakedContradictions } from "./leaked-flags.ts";
import type { LeakedFlags } from "./leaked-flags.ts";
import { leakedLines, permittedLines, resumed } from "./leaked-lines.ts";
import type { LeakedLine } from "./leaked-lines.ts";
import { LeakedReport } from "./leaked-report.ts";
import { leakedDocument, showLeaked } from "./leaked-view.ts";

export function configureCommand(command: Command, run: Run): void {
  addLeakedOptions(command).action(run((invocation, flags: LeakedFlags) => leaked(invocation, flags)));
}

async function leaked(invocation: Invocation, flags: LeakedFlags): Promise<KeyctlError | null> {
  refuseLeakedContradictions(flags);
  const lines = await permittedLines(invocation, flags, leakedLines(invocation, flags));
  const [first, second] = [await lines.next(), await lines.next()];
  const isOne = first.done !== true && second.done === true && isSingle(first.value);
  if (isOne) return leakedOne(invocation, flags, first.value.given);
  const begun = [first, second].flatMap((next) => (next.done === true ? [] : [next.value]));
  const report = new LeakedReport(invocation, flags);
  return runWithReport(invocation.terminal, {
    isDryRun: flags.dryRun === true,
    work: () => report.work(resumed(begun, lines)),
    outcome: () => report.outcome(),
    summarize: (end) => report.summarize(end),
    done: (end) => report.done(end),
  });
}

/** A faulty line of a file is one of many: it has a number. */
function isSingle({ given, line }: LeakedLine): boolean {
  return line === null || !isKeyctlError(given);
}

async function leakedOne(
  { terminal, signal, withManager, receivedSignal }: Invocation,
  { since, reason, ...flags }: LeakedFlags,
  given: LeakedKey | KeyctlError,
): Promise<KeyctlError | null> {
  const dryRun = flags.dryRun === true;
  let found: LeakedResult | undefined;
  const attempt = async (): Promise<KeyctlError | null> => {
    if (isKeyctlError(given)) return given;
    try {
      await withManager({ mayCreateStore: false, logs: dryRun ? "none" : "all" }, async ({ manager }) => {
        found = await manager.leaked(given.key ?? given.hash, { signal, since, dryRun, reason });
      });
    } catch (thrown) {
      return endedBy(toKeyctlError(thrown), found, given);
    }
    return found?.error ?? null;
  };
  const error = await attempt();
  const result = found ?? leakedFailed(isKeyctlError(given) ? null : given.hash, error);
  const line = result.disabledAt === null ? null : `${result.keyHash}, disabled`;
  return showResult(terminal, error, line, () =>
    terminal.options.json
      ? terminal.document({ ...leakedDocument(result, dryRun), error: errorDocument(error, receivedSignal()) })
      : showLeaked(terminal, result, dryRun),
  );
}

/** After a signal, and where the database does not open: what was done is said as well. */
function endedBy(error: KeyctlError, found: LeakedResult | undefined, { hash }: LeakedKey): KeyctlError {
  if (found === undefined) return notDisabled(error, hash);
  const { code, message, retryable } = error;
  if (found.error?.code === code) return found.error;
  const hint = found.error?.hint ?? null;
  const end = found.error === null ? "before that, the key was contained" : found.error.message;
  return new KeyctlError(code, `${message}; ${end}`, hint === null ? { retryable } : { hint, retryable });
}
