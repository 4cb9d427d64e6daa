import type { Command } from "commander";

export interface CreateFlags {
  readonly create?: true;
}

/**
 * For commands that create stores. Without --create, a named store must exist: a typo must not create an empty store.
 */
export function addCreateOption(command: Command): Command {
  return command.option("--create", "create the named store if it does not exist");
}
