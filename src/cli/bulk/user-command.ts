import type { SelectionOptions, Many } from "./selection.ts";
import type { Warning } from "../../core/model/warning.ts";
import { KeyctlError } from "../../core/model/errors.ts";
import type { SessionOptions, Session, StoreName } from "../invocation.ts";
import type { UserId } from "../../core/model/user-id.ts";
import type { KeyManager } from "../../core/manager.ts";
import type { Column } from "../terminal/table.ts";
import type { Command } from "commander";
import { flagDuration } from "../format-duration.ts";

export interface BulkFlags extends SelectionOptions {
  readonly output?: string;
  /** In milliseconds. */
  readonly stopAfter?: number;
  readonly log?: true;
  readonly allowEmpty?: true;
}

/** One user's result, whatever the command. */
export interface UserResult {
  /** Null for what is nobody's. */
  readonly userId: string | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

/** A command that does one thing for each user of a selection. */
export interface UserCommand<Result extends UserResult> {
  readonly name: string;
  readonly needs: SessionOptions;
  /** Asks what must be asked before a bulk run begins; throws CONFIRMATION_NEEDED or COUNT_CHANGED. */
  readonly confirm?: (opened: Session, selection: Many, users: () => AsyncIterable<readonly UserId[]>) => Promise<void>;
  readonly one: (manager: KeyManager, user: string) => Promise<Result>;
  readonly many: (
    manager: KeyManager,
    batches: AsyncIterable<readonly UserId[]>,
    selection: Many,
    stop: AbortSignal | undefined,
  ) => AsyncIterable<readonly Result[]>;
  readonly failed: (user: string, error: KeyctlError) => Result;
  /** The JSON document, without its error. */
  readonly document: (result: Result) => object;
  /** Writes one user's result for people. */
  readonly show: (result: Result) => Promise<void>;
  readonly columns: readonly Column[];
  /** One user's line in a bulk run. */
  readonly cells: (result: Result) => readonly string[];
  /** Made for each bulk run. */
  readonly score: () => BulkSummary<Result>;
  /** What people get of a bulk run in place of a line for each user. */
  readonly screen?: (store: () => StoreName | null) => BulkView<Result>;
  /** True when documents hold bare keys, because a person asked for them. */
  readonly reveals?: boolean;
  /** Worries about the run as a whole. */
  readonly runWarnings?: () => readonly Warning[];
  /** Whether something is other than before: said when the result itself cannot be written. */
  readonly hasChanged?: (result: Result) => boolean;
  /** It only reads: a reader that goes away has seen enough, and ends a bulk run. */
  readonly onlyReads?: boolean;
}

/** What became of the users of a bulk run. */
export interface BulkSummary<Result> {
  add(result: Result): void;
  readonly done: number;
  /** What is given of it in the summary. */
  counts(rest: number | undefined): object;
  /** Each worry once, however many users it is about. */
  readonly warnings: readonly Warning[];
  /** What the run as a whole ends with when nothing stopped it. */
  error(complete: boolean, allowEmpty: boolean): KeyctlError | null;
  /** One line for people. */
  describe(elapsedMs: number): string;
  /** The command itself has ended the run before all users were done. */
  readonly isCutShort?: boolean;
  /** True: users that were not come to are counted as well. */
  readonly countsRest?: boolean;
}

export interface BulkView<Result> {
  print(results: readonly Result[]): Promise<void>;
  finish(elapsedMs: number): Promise<void>;
}

export function addBulkOptions(command: Command): Command {
  return command
    .option("--output <file>", "many users: JSON documents go to this file")
    .option("--stop-after <duration>", "many users: end cleanly after this time", flagDuration("--stop-after"))
    .option("--log", "many users: with the log lines of each")
    .option("--allow-empty", "many users: that there are none is no error");
}
