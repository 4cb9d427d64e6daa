import type { Command } from "commander";
import { KeyctlError } from "../../../core/model/errors.ts";
import type { KeyManager } from "../../../core/manager/manager.ts";
import { clampTimeout } from "../../../core/async/deadline.ts";
import { printable } from "../../../core/text/printable.ts";
import { reportCopy, sayFailures } from "./report.ts";
import type { CopyRun } from "./report.ts";
import { CopyTally } from "./counts.ts";
import type { CopyStage } from "./counts.ts";
import { addCreateOption } from "../create-option.ts";
import type { CreateFlags } from "../create-option.ts";
import { addReasonOption } from "../reason-option.ts";
import type { ReasonFlags } from "../reason-option.ts";
import { flagDuration } from "../../time-flags.ts";
import type { Invocation, Session, Run } from "../../invocation.ts";
import { runWithReport } from "../../bulk/bulk-report.ts";
import { yieldToEventLoop } from "../../../core/async/sleep.ts";

const PARTS: Readonly<Record<CopyStage, string>> = {
  journals: "copy: journals",
  copy: "copy",
  verify: "copy: verifying",
};

interface CopyFlags extends CreateFlags, ReasonFlags {
  readonly to?: string;
  readonly dryRun?: true;
  /** In milliseconds. */
  readonly stopAfter?: number;
}

export function configureCommand(command: Command, run: Run): void {
  addReasonOption(addCreateOption(command))
    .option("--to <uri>", "the destination: mongodb://<host>/<database> or sqlite:<path>")
    .option("--dry-run", "show what would be copied; write nothing")
    .option("--stop-after <duration>", "stop cleanly after this time", flagDuration("--stop-after"))
    .addHelpText(
      "after",
      `
Copies what is not there yet; a key that is there stays. Rows move as they are,
so both stores need the same master keys; a key in plain text is sealed on its
way into an embedded store, and named. The journal of the keys that keyctl
made goes first. In the end every entry of it is looked up in the destination,
and every row is opened there. Run again, it continues where it stopped. A URI
with a password goes into KEYCTL_COPY_TO, or into the file of
KEYCTL_COPY_TO_FILE.

Examples:
  keyctl copy --to mongodb://db.prod/keyctl --dry-run
  keyctl copy --to mongodb://db.prod/keyctl
  keyctl copy --to sqlite:backup.db --create
  keyctl copy --store mongodb://db.prod/keyctl --to sqlite:backup.db --create`,
    )
    .action(run((invocation, flags: CopyFlags) => copy(invocation, flags)));
}

async function copy(invocation: Invocation, flags: CopyFlags): Promise<KeyctlError | null> {
  const run = newRun(flags);
  return runWithReport(invocation.terminal, {
    isDryRun: run.dryRun,
    work: () => work(invocation, flags, run),
    outcome: () => run.tally.error(run.complete),
    summarize: (end) => reportCopy(invocation, run, end),
    done: ({ elapsedMs }) => ({
      line: run.tally.describe(elapsedMs),
      gap: run.complete ? null : "copied keys stay in the destination",
      hint: "keyctl copy > <file>   keeps the output; keys that are already there are not copied again",
    }),
  });
}

function newRun({ dryRun, stopAfter, reason }: CopyFlags): CopyRun {
  return {
    tally: new CopyTally(dryRun === true),
    dryRun: dryRun === true,
    reason,
    timeOver: stopAfter === undefined ? undefined : AbortSignal.timeout(clampTimeout(stopAfter)),
    stores: null,
    total: 0,
    requireSealed: false,
    toTotal: null,
    complete: false,
    named: 0,
  };
}

async function work(invocation: Invocation, { to, create }: CopyFlags, run: CopyRun): Promise<void> {
  const { signal } = invocation;
  await invocation.withDestination(to, { mayCreateStore: false, logs: "none" }, async (source, destination) => {
    run.stores = { source: source.store, destination: destination.store };
    run.requireSealed = source.subject.requireSealed;
    run.total = await countSource(source, signal);
    const needs = { mayCreateStore: !run.dryRun, create: create === true, logs: "none" } as const;
    // Checked before the destination is opened: a destination that cannot be filled is not created.
    await source.manager.requireMasterKeys({ signal });
    await destination.withManager(needs, async ({ manager }) => {
      await goThrough(invocation, source.manager, manager, run);
      run.toTotal = await manager.count({ signal });
    });
  });
}

async function countSource({ manager, store, storeExists }: Session, signal: AbortSignal): Promise<number> {
  const place = `${printable(store.name)} (${store.from === "default" ? "" : "from "}${store.from})`;
  const hint = "--store <uri>   names the store to copy from";
  if (!storeExists) throw new KeyctlError("EMPTY_SELECTION", `there is no store at ${place}`, { hint });
  const count = await manager.count({ signal });
  if (count === 0 && !(await hasBlockedUsers(manager, signal)))
    throw new KeyctlError("EMPTY_SELECTION", `there are no keys in ${place}`, { hint });
  return count;
}

async function hasBlockedUsers(manager: KeyManager, signal: AbortSignal): Promise<boolean> {
  for await (const _ of manager.blockedUsers({ signal })) return true;
  return false;
}

async function goThrough(
  invocation: Invocation,
  source: KeyManager,
  destination: KeyManager,
  run: CopyRun,
): Promise<void> {
  const { progress, signal } = invocation;
  const { tally, dryRun, reason, timeOver } = run;
  let stage: CopyStage | undefined;
  for await (const outcomes of source.copyTo(destination, { dryRun, reason, signal })) {
    for (const outcome of outcomes) tally.add(outcome);
    // Each stage goes through the users again. The number of users with a journal is known only at the end.
    if (stage !== tally.stage) {
      stage = tally.stage;
      progress.begin({ what: PARTS[stage], total: stage === "journals" ? undefined : run.total });
    }
    await sayFailures(invocation, outcomes, run);
    progress.update(tally.steps);
    await yieldToEventLoop();
    signal.throwIfAborted();
    if (timeOver?.aborted === true) return;
  }
  run.complete = true;
}
