import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { clampTimeout } from "../../core/async/deadline.ts";
import { printable } from "../../core/text/printable.ts";
import { retireCommand } from "../../core/sealing/retire-master-key.ts";
import type { RekeyProgress, RekeyTask } from "../../core/sealing/reseal-rows.ts";
import type { RowFailure } from "../../core/sealing/row-inspector.ts";
import { formatSpan } from "../format-duration.ts";
import { flagDuration } from "../time-flags.ts";
import { counted, formatNumber } from "../../core/text/format.ts";
import { runWithReport } from "../bulk/bulk-report.ts";
import { errorDocument } from "../invocation.ts";
import type { Invocation, Run, StoreName } from "../invocation.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { Warning } from "../../core/model/warning.ts";
import { PlainKeys } from "../views/plain-keys.ts";
import { yieldToEventLoop } from "../../core/async/sleep.ts";

interface RekeyFlags {
  readonly init?: true;
  readonly keepKey?: true;
  readonly dryRun?: true;
  readonly retire?: string;
  readonly stopAfter?: number;
}

/** The maximum number of failures that are named on the screen. */
const NAMED = 10;

export function configureCommand(command: Command, run: Run): void {
  command
    .option("--init", "create the first master key of a database; change no row")
    .option("--keep-key", "create no new master key; encrypt with the active one")
    .option("--dry-run", "change nothing; count what would change")
    .option("--retire <kid>", "take an old master key that nothing uses out of the set; changes no row")
    .option(
      "--stop-after <duration>",
      "stop cleanly after this time; the next run continues",
      flagDuration("--stop-after"),
    )
    .addHelpText(
      "after",
      `
Adds a master key in front of the set, where keyctl can write it, and seals
every key with it. Keys in plain text are sealed too, and named: another program
may have put them there. Everything that is sealed can be read meanwhile.
The older master keys stay in the set until --retire takes them out, which it
refuses while a row of this database uses one: other databases and backups that
are sealed with it do not open without it. When a
run was stopped or killed, or a new master key was put in front by hand, it
continues with that one.

Examples:
  keyctl rekey --dry-run
  keyctl rekey
  keyctl rekey --keep-key
  keyctl rekey --init
  keyctl rekey --retire=<kid>`,
    )
    .action(run((invocation, flags: RekeyFlags) => rekey(invocation, flags)));
}

async function rekey(invocation: Invocation, flags: RekeyFlags): Promise<KeyctlError | null> {
  const task = taskOf(flags);
  const state: State = {
    task,
    store: null,
    last: undefined,
    named: 0,
    plain: new PlainKeys(),
    isWritable: false,
    recommends: false,
  };
  return runWithReport(invocation.terminal, {
    isDryRun: task.dryRun,
    work: () => work(invocation, flags, state),
    outcome: () => errorOf(state.last),
    summarize: ({ error, elapsedMs }) => report(invocation, state, error, elapsedMs),
    done: ({ elapsedMs }) => ({
      line: state.last === undefined ? "no key was changed" : sentence(task, state.last, elapsedMs),
      gap: state.last?.complete === true ? null : "the run stopped early",
      hint: "keyctl rekey --keep-key > <file>   checks once more, and keeps the output",
    }),
  });
}

interface State {
  readonly task: RekeyTask;
  store: StoreName | null;
  last: RekeyProgress | undefined;
  /** The number of failures for the screen so far, including those above the maximum. */
  named: number;
  readonly plain: PlainKeys;
  /** Whether keyctl can write the place of the master keys, and so remove one. */
  isWritable: boolean;
  /** Whether to recommend KEYCTL_REQUIRE_SEALED: it is not set, so keys in plain text are accepted. */
  recommends: boolean;
}

function taskOf({ init, keepKey, dryRun, retire, stopAfter }: RekeyFlags): RekeyTask {
  if (retire !== undefined) {
    if (init === true || keepKey === true || dryRun === true || stopAfter !== undefined) {
      throw new KeyctlError("USAGE", "--retire goes with no other option of rekey", {
        hint: "keyctl rekey --retire=<kid>",
      });
    }
    return { kind: "retire", kid: retire, dryRun: false };
  }
  if (init === true && (keepKey === true || dryRun === true)) {
    throw new KeyctlError("USAGE", "--init cannot be combined with --keep-key or --dry-run", {
      hint: "keyctl rekey --init",
    });
  }
  const kind = init === true ? "init" : keepKey === true ? "keep-key" : "new-key";
  return { kind, dryRun: dryRun === true };
}

async function work(invocation: Invocation, { stopAfter }: RekeyFlags, state: State): Promise<void> {
  const { terminal, progress, withManager, signal } = invocation;
  const timeOver = stopAfter === undefined ? undefined : AbortSignal.timeout(clampTimeout(stopAfter));
  const isFirst = state.task.kind === "init";
  await withManager({ mayCreateStore: isFirst, create: isFirst || undefined, logs: "none" }, async (opened) => {
    state.store = opened.store;
    state.recommends = !opened.subject.requireSealed;
    state.isWritable = (await opened.subject.masterKeyPlace()).isWritable;
    if (!opened.storeExists) throw noStore(opened.store);
    progress.begin({ what: "rekey", unit: "keys" });
    for await (const step of opened.manager.rekey({ ...state.task, signal })) {
      if (step.pauseMs > 0) {
        terminal.note(waitsFor(step.pauseMs));
        continue;
      }
      state.last = step;
      await sayFailures(invocation, step.failures, state);
      for (const user of step.plain) state.plain.add(user);
      progress.update(step.done, step.total);
      await yieldToEventLoop();
      signal.throwIfAborted();
      if (timeOver?.aborted === true) break;
    }
  });
}

function waitsFor(pauseMs: number): string {
  return `waiting ${formatSpan(pauseMs)} for programs that may still write a key sealed with that master key`;
}

function noStore({ name }: StoreName): KeyctlError {
  return new KeyctlError("EMPTY_SELECTION", `no store exists yet at ${printable(name)}`, {
    hint: "check --store or KEYCTL_STORE; a new one needs no rekey",
  });
}

async function sayFailures(
  { terminal, receivedSignal }: Invocation,
  failures: readonly RowFailure[],
  state: State,
): Promise<void> {
  if (terminal.options.json) {
    const documents = failures.map(({ userId, error }) => ({
      type: "user",
      user_id: userId,
      error: errorDocument(error, receivedSignal()),
    }));
    return terminal.documents(documents);
  }
  for (const { error } of failures.slice(0, Math.max(0, NAMED - state.named))) terminal.warning(error.message);
  state.named += failures.length;
}

function warningsOf({ task, plain, last }: State): readonly Warning[] {
  return [...plain.warnings(task.dryRun ? "and would be sealed" : "and sealed now"), ...(last?.warnings ?? [])];
}

function errorOf(last: RekeyProgress | undefined): KeyctlError | null {
  if (last?.complete !== true) {
    return new KeyctlError("SOME_UNKNOWN", `timed out after ${counted(last?.done ?? 0, "key")}`, {
      hint: "keyctl rekey   continues",
      retryable: true,
    });
  }
  if (last.unreadable === 0) return null;
  const message = `${formatNumber(last.unreadable)} of ${counted(last.total, "key")} cannot be decrypted and were left unchanged`;
  return new KeyctlError("SOME_FAILED", message, {
    hint: "keyctl save --user <id> --replace   stores that key again, or restore the row or its master key",
  });
}

async function report(
  { terminal, receivedSignal }: Invocation,
  state: State,
  error: KeyctlError | null,
  elapsedMs: number,
): Promise<void> {
  const { task, store, last, named } = state;
  if (terminal.options.json) {
    return terminal.conclude({
      type: "summary",
      command: "rekey",
      store: store?.name ?? null,
      dry_run: task.dryRun,
      total: last?.total ?? 0,
      done: last?.done ?? 0,
      resealed: last?.resealed ?? 0,
      in_clear: last?.inClear ?? 0,
      unreadable: last?.unreadable ?? 0,
      active_kid: last?.activeKid ?? null,
      removable_kids: last?.removableKids ?? [],
      ...(task.kind === "retire" ? { retired_kid: last?.complete === true ? (task.kid ?? null) : null } : {}),
      elapsed_ms: elapsedMs,
      complete: last?.complete ?? false,
      warnings: warningsOf(state),
      error: errorDocument(error, receivedSignal()),
    });
  }
  if (named > NAMED) terminal.footer(`… and ${formatNumber(named - NAMED)} more; --json lists them all`);
  for (const { message } of warningsOf(state)) terminal.warning(message);
  if (last === undefined) return;
  await terminal.result(sentence(task, last, elapsedMs));
  if (last.complete) sayWhatIsNext(terminal, state, last);
}

function sentence({ kind, kid: retired, dryRun }: RekeyTask, last: RekeyProgress, elapsedMs: number): string {
  if (kind === "retire")
    return `master key ${retired ?? ""} is retired; the active master key is ${last.activeKid ?? ""}`;
  const kid = last.activeKid ?? "a new one";
  if (kind === "init")
    return `the database ${last.wasSealed ? "was" : "is"} sealed ${last.wasSealed ? "already " : ""}with master key ${kid}`;
  const clear = dryRun && last.inClear > 0 ? `, ${formatNumber(last.inClear)} of them stored in plain text` : "";
  const anew = `${formatNumber(last.resealed)} ${dryRun ? "would be re-encrypted" : "re-encrypted"}${clear}`;
  return `${counted(last.done, "key")} in ${formatSpan(elapsedMs)}: ${anew}; the active master key is ${kid}`;
}

function sayWhatIsNext(
  terminal: Terminal,
  { task: { kind, dryRun }, recommends, isWritable }: State,
  last: RekeyProgress,
): void {
  if (kind === "init" && last.inClear > 0) {
    terminal.note(
      `${counted(last.inClear, "key")} stored in plain text stay so, since other programs may still read them`,
    );
    terminal.hint("keyctl rekey --keep-key   encrypts them, once every reader is keyctl");
  }
  if (recommends && kind !== "retire" && !dryRun && last.inClear === 0 && last.unreadable === 0)
    terminal.hint(
      "KEYCTL_REQUIRE_SEALED=1 in every program that reads this database refuses keys that others write in plain text",
    );
  for (const kid of last.removableKids) terminal.note(`nothing in this database uses master key ${kid} any more`);
  const [first] = last.removableKids;
  if (kind === "retire")
    terminal.note(
      `what other machines keep of it stays, and so do backups that are sealed with it, which need a copy of it`,
    );
  if (first === undefined) return;
  const way = isWritable ? `:\n      ${retireCommand(first)}` : "";
  terminal.hint(
    "a minute after every machine has the new master key: keyctl rekey --keep-key   checks once more;\n" +
      `      then what no other database and no backup uses may be taken out of ${printable(last.place)}${way}`,
  );
}
