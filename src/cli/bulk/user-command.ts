import type { SelectionOptions, Many } from "./selection.ts";
import type { Warning } from "../../core/model/warning.ts";
import { KeyctlError } from "../../core/model/errors.ts";
import type { SessionOptions, Session, StoreName } from "../invocation.ts";
import type { UserId } from "../../core/model/user-id.ts";
import type { KeyManager } from "../../core/manager/manager.ts";
import type { Column } from "../terminal/table.ts";
import type { Command } from "commander";
import { inGroup, MANY_USERS } from "../help-format.ts";
import { flagDuration } from "../time-flags.ts";

export interface BulkFlags extends SelectionOptions {
  readonly output?: string;
  /** In milliseconds. */
  readonly stopAfter?: number;
  readonly log?: true;
  readonly allowEmpty?: true;
}

/** One user's result in any command. */
export interface UserResult {
  /** Null if it belongs to no user. */
  readonly userId: string | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

/** A command that does one thing for each user of a selection. */
export interface UserCommand<Result extends UserResult> {
  readonly name: string;
  readonly needs: SessionOptions;
  /** One user is a bulk run as well. */
  readonly asMany?: boolean;
  /** The command has no --all. */
  readonly isForNamedUsers?: boolean;
  /**
   * Asks the questions before a bulk run begins. Resolves to the number of selected users, if it has counted them itself.
   * Throws CONFIRMATION_NEEDED or COUNT_CHANGED.
   */
  readonly confirm?: (
    opened: Session,
    selection: Many,
    users: () => AsyncIterable<readonly UserId[]>,
  ) => Promise<number | undefined>;
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
  /** Created for each bulk run. */
  readonly score: () => BulkSummary<Result>;
  /** The view of a bulk run for people, instead of one line per user. */
  readonly screen?: (store: () => StoreName | null) => BulkView<Result>;
  /** True if documents hold bare keys, because a person asked for them. */
  readonly reveals?: boolean;
  /** Warnings about the run as a whole. */
  readonly runWarnings?: () => readonly Warning[];
  /** Hints under the summary of a bulk run. */
  readonly closingHints?: () => readonly string[];
  /** Whether something was changed: reported if the result itself cannot be written. */
  readonly hasChanged?: (result: Result) => boolean;
  /** The command only reads: a reader that closes its pipe ends a bulk run. */
  readonly onlyReads?: boolean;
}

/** The results of the users of a bulk run. */
export interface BulkSummary<Result> {
  add(result: Result): void;
  readonly done: number;
  /**
   * Its fields in the summary.
   * @param rest how many of the selected users were not begun
   */
  counts(rest: number): object;
  /** Each warning once, however many users it concerns. */
  readonly warnings: readonly Warning[];
  /** The final error of the run if nothing stopped it. What it says of the rest is added to its hint. */
  error(complete: boolean, allowEmpty: boolean): KeyctlError | null;
  /** One line for people. */
  describe(elapsedMs: number): string;
  /** The command itself ended the run before all users were done. */
  readonly isCutShort?: boolean;
}

export interface BulkView<Result> {
  print(results: readonly Result[]): Promise<void>;
  finish(elapsedMs: number): Promise<void>;
}

export function addBulkOptions(command: Command): Command {
  return inGroup(command, MANY_USERS, (group) =>
    group
      .option("--output <file|->", "write the JSON documents to this file")
      .option("--stop-after <duration>", "stop cleanly after this time", flagDuration("--stop-after"))
      .option("--log", "with the log lines of each")
      .option("--allow-empty", "accept an empty selection"),
  );
}
