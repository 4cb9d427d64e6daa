import type { Command } from "commander";
import { batched } from "../../../core/async/batched.ts";
import { yieldToEventLoop } from "../../../core/async/sleep.ts";
import { KeyctlError } from "../../../core/model/errors.ts";
import type { HistoryEvent } from "../../../core/model/history-event.ts";
import type { HistoryQuery } from "../../../core/manager/manager-options.ts";
import { counted } from "../../../core/text/format.ts";
import { printable } from "../../../core/text/printable.ts";
import { addUserOption, oneUser } from "../../bulk/selection.ts";
import { formatExactly } from "../../format-duration.ts";
import type { Invocation, Run, Session } from "../../invocation.ts";
import { flagPast } from "../../time-flags.ts";
import type { TimeFlag } from "../../time-flags.ts";
import { unlessReaderGone } from "../../terminal/end-of-run.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import { storeLabel } from "../../views/store-label.ts";
import { parseHash } from "../hash-option.ts";
import { EVENT_COLUMNS, eventCells, eventDocument } from "./event-view.ts";

interface HistoryFlags {
  readonly user?: readonly string[];
  readonly since?: TimeFlag;
  readonly hash?: string;
  readonly limit?: number;
}

/** Few, so that the first of many are printed soon. */
const BATCH = 50;

export function configureCommand(command: Command, run: Run): void {
  addUserOption(command, "only events of this user")
    .option("--since <duration|date>", "only events since then", flagPast("--since"))
    .option("--hash <sha256>", "only events about the key with this hash", parseHash)
    .option("--limit <n>", "only the newest n events", parseLimitOfEvents)
    .addHelpText(
      "after",
      `
Says what happened to the keys, newest first: who created, saved, imported,
replaced, rotated, renewed, revoked or purged a key, blocked or unblocked a
user, or printed bare keys of many, with which command and for which --reason.
Keys are masks. One of --user, --since and --hash is needed; several hold
together. Off a terminal and with --json, times are exact.

Examples:
  keyctl history --user alice
  keyctl history --since 7d --json
  keyctl history --hash <sha256>
  keyctl history --since 400d --limit 20`,
    )
    .action(run((invocation, flags: HistoryFlags) => history(invocation, flags)));
}

async function history(invocation: Invocation, flags: HistoryFlags): Promise<KeyctlError | null> {
  const query = queryOf(flags);
  const { terminal, progress, signal, withManager } = invocation;
  const table = new TablePrinter(terminal, EVENT_COLUMNS);
  let count = 0;
  return unlessReaderGone(async () => {
    await withManager({ mayCreateStore: false, logs: "none" }, async (session) => {
      const newest = new Newest(session.manager.history(query, { signal }), flags.limit);
      progress.begin({ what: "history", unit: "events" });
      for await (const events of batched(newest.events(), BATCH)) {
        progress.update((count += events.length));
        if (terminal.options.json) await terminal.documents(events.map(eventDocument));
        else await table.print(events.map((event) => eventCells(event, terminal.columns !== undefined)));
        await yieldToEventLoop();
        signal.throwIfAborted();
      }
      await table.end();
      if (!terminal.options.json) sayCount(invocation, session, { flags, count, areAll: newest.areAll });
    });
    return null;
  });
}

/** Throws USAGE: the whole history of all users is too long to be meant. */
function queryOf({ user, since, hash }: HistoryFlags): HistoryQuery {
  if (user === undefined && since === undefined && hash === undefined) {
    throw new KeyctlError("USAGE", "the history of whom, or since when? give --user, --since or --hash", {
      hint: "keyctl history --since 7d",
    });
  }
  return {
    userId: user === undefined ? undefined : oneUser("history", user),
    keyHash: hash,
    since: since?.at,
  };
}

/** The newest of many events. */
class Newest {
  /** False once an event was left out. */
  areAll = true;
  readonly #all: AsyncIterable<HistoryEvent>;
  readonly #limit: number;

  constructor(all: AsyncIterable<HistoryEvent>, limit = Number.POSITIVE_INFINITY) {
    this.#all = all;
    this.#limit = limit;
  }

  async *events(): AsyncGenerator<HistoryEvent> {
    let count = 0;
    for await (const event of this.#all) {
      this.areAll = count < this.#limit;
      if (!this.areAll) return;
      count += 1;
      yield event;
    }
  }
}

interface Shown {
  readonly flags: HistoryFlags;
  readonly count: number;
  readonly areAll: boolean;
}

function sayCount(
  { terminal }: Invocation,
  { store, storeExists }: Session,
  { flags: { user = [], since, hash }, count, areAll }: Shown,
): void {
  const place = storeLabel(store);
  if (!storeExists) return terminal.footer(`no store exists yet at ${place}`);
  if (count > 0) {
    return terminal.footer(`${counted(count, "event")} in ${place}${areAll ? "" : "; there are older ones"}`);
  }
  const of = [
    ...user.map((id) => ` of user ${printable(id)}`),
    ...(hash === undefined ? [] : [` about the key with the hash ${hash}`]),
    ...(since === undefined ? [] : [wordsOf(since)]),
  ];
  terminal.footer(`no event${of.join("")} in ${place}`);
}

function wordsOf({ at, milliseconds, isDate }: TimeFlag): string {
  return isDate ? ` since ${at.toISOString()}` : ` in the last ${formatExactly(milliseconds)}`;
}

function parseLimitOfEvents(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new KeyctlError("USAGE", "--limit takes a number of events, from 1 on", { hint: "--limit 20" });
}
