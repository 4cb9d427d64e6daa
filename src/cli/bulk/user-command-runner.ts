import { KeyctlError } from "../../core/model/errors.ts";
import { toKeyctlError } from "../../core/async/deadline.ts";
import { inHome } from "../../files/home-folder.ts";
import { userDocument } from "../invocation.ts";
import type { Invocation } from "../invocation.ts";
import { selectionOf } from "./selection.ts";
import { showResult } from "../terminal/end-of-run.ts";
import type { UserResult, BulkFlags, UserCommand } from "./user-command.ts";

/** The only way for commands to process users: one result, or one line per user and a summary. */
export async function forUsers<Result extends UserResult>(
  invocation: Invocation,
  flags: BulkFlags,
  command: UserCommand<Result>,
): Promise<KeyctlError | null> {
  const { usersFile } = flags;
  const path = usersFile && inHome(usersFile, invocation.environment);
  const selection = selectionOf(
    { ...flags, ...(path === undefined ? {} : { usersFile: path }) },
    { asMany: flags.output !== undefined || command.asMany === true, named: command.isForNamedUsers === true },
  );
  if (selection.kind === "one") return forOne(invocation, selection.user, command);
  const { forMany } = await import("./run-many.ts");
  return forMany(invocation, selection, flags, command);
}

async function forOne<Result extends UserResult>(
  { terminal, withManager, receivedSignal }: Invocation,
  user: string,
  command: UserCommand<Result>,
): Promise<KeyctlError | null> {
  const attempt = async () => {
    try {
      return await withManager(command.needs, ({ manager }) => command.one(manager, user));
    } catch (thrown) {
      return command.failed(user, toKeyctlError(thrown));
    }
  };
  const result = await attempt();
  const { error } = result;
  const document = userDocument(command.document(result), error, receivedSignal());
  const line = command.hasChanged?.(result) === true ? command.cells(result).join(", ") : null;
  return showResult(terminal, error, line, () =>
    terminal.options.json ? terminal.document(document, command.reveals) : command.show(result),
  );
}
