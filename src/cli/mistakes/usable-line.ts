import type { Command } from "commander";
import { parseUserId } from "../../core/model/user-id.ts";
import { oneUser, selectionOf } from "../bulk/selection.ts";
import type { SelectionOptions } from "../bulk/selection.ts";

/** A command line that parses may still name users in a way that is refused. Throws USAGE, BAD_USER_ID. */
export function assertUsable(command: Command): void {
  const selection = command.opts<SelectionOptions>();
  const { user, usersFile, all } = selection;
  const isForMany = command.options.some(({ long }) => long === "--users-file");
  for (const one of user ?? []) parseUserId(one);
  if (isForMany && [user, usersFile, all].some((way) => way !== undefined)) selectionOf(selection);
  if (!isForMany && user !== undefined) oneUser(command.name(), user);
}
