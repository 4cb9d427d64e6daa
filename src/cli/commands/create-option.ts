import type { Command } from "commander";

export interface CreateFlags {
  readonly create?: true;
}

/** For commands that make stores. Without it, a store that is named must exist: a typo is not an empty store. */
export function addCreateOption(command: Command): Command {
  return command.option("--create", "create the named store if it does not exist");
}
