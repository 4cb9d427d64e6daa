import type { Command } from "commander";
import { RUN_FATAL_CODES } from "../../core/model/errors.ts";
import type { KeyManager } from "../../core/manager/manager.ts";
import { unblockFailed } from "../../core/model/results.ts";
import type { ResultBatches, UnblockResult } from "../../core/model/results.ts";
import type { UserBatches } from "../../core/model/user-id.ts";
import { printable } from "../../core/text/printable.ts";
import { oneByOne } from "../bulk/one-by-one.ts";
import { ResultCounts } from "../bulk/result-counts.ts";
import { addNamedSelection } from "../bulk/selection.ts";
import { addBulkOptions } from "../bulk/user-command.ts";
import type { BulkFlags, UserCommand } from "../bulk/user-command.ts";
import { forUsers } from "../bulk/user-command-runner.ts";
import type { Invocation, Run } from "../invocation.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { USER_COLUMN } from "../views/columns.ts";
import { sayWarnings } from "../views/key-view.ts";
import { addReasonOption } from "./reason-option.ts";
import type { ReasonFlags } from "./reason-option.ts";

interface UnblockFlags extends BulkFlags, ReasonFlags {}

export function configureCommand(command: Command, run: Run): void {
  addReasonOption(addBulkOptions(addNamedSelection(command)))
    .addHelpText(
      "after",
      `
Lets keys be stored for a user whom keyctl purge --block has blocked. It brings
no key back: the next sync looks for one, as for a new user. Users are always
named, since nobody lifts every block at once by mistake; keyctl list --risk
blocked names those who are blocked.

Examples:
  keyctl unblock --user alice
  keyctl unblock --user alice --user bob --reason "came back"
  keyctl unblock --users-file users.txt --json`,
    )
    .action(run((invocation, flags: UnblockFlags) => forUsers(invocation, flags, unblockCommand(invocation, flags))));
}

function unblockCommand({ terminal, signal }: Invocation, { reason }: UnblockFlags): UserCommand<UnblockResult> {
  const options = { signal, reason };
  return {
    name: "unblock",
    isForNamedUsers: true,
    needs: { mayCreateStore: false, logs: "all" },
    one: (manager, user) => manager.unblock(user, options),
    many: (manager, batches, _selection, stop) => unblockMany(manager, oneByOne(batches, stop), options),
    failed: unblockFailed,
    document: ({ userId, unblocked, warnings }) => ({ user_id: userId, unblocked, warnings }),
    show: (result) => show(terminal, result),
    hasChanged: ({ unblocked }) => unblocked,
    columns: [USER_COLUMN, { title: "RESULT" }],
    cells: ({ userId, unblocked, error }) => [userId, error?.message ?? (unblocked ? "unblocked" : "was not blocked")],
    score: () =>
      new ResultCounts({
        endings: ["unblocked", "was_not_blocked"],
        endingOf: ({ unblocked }) => (unblocked ? "unblocked" : "was_not_blocked"),
      }),
  };
}

/** Throws a failure that concerns all users. */
async function* unblockMany(
  manager: KeyManager,
  users: UserBatches,
  options: { readonly signal: AbortSignal; readonly reason: string | undefined },
): ResultBatches<UnblockResult> {
  for await (const batch of users) {
    for (const user of batch) {
      const result = await manager.unblock(user, options);
      if (result.error !== null && RUN_FATAL_CODES.has(result.error.code)) throw result.error;
      yield [result];
    }
  }
}

async function show(terminal: Terminal, { userId, unblocked, warnings, error }: UnblockResult): Promise<void> {
  sayWarnings(terminal, warnings);
  if (error !== null) return;
  const user = printable(userId);
  if (!unblocked) return terminal.result(`${user} is not blocked`);
  await terminal.result(`${user} is ${terminal.paint.bold("unblocked")}`);
  terminal.note("this brings no key back: the next sync looks for one, as for a new user");
}
