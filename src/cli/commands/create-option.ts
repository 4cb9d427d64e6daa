import type { Command } from "commander";

export interface CreateFlags {
  readonly create?: true;
}

/** For commands that make stores. Without it, a store that is named must exist: a typo is not an empty store. */
export function addCreateOption(command: Command): Command {
  return command.option("--create", "make the store that is named, if it is not there yet");
}
