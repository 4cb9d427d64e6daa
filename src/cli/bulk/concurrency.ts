import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { inGroup, MANY_USERS } from "../help-format.ts";
import { MOST_AT_ONCE } from "../../core/model/number-options.ts";

/** @param what what `--concurrency` counts: `keys checked` */
export function addConcurrencyOption(command: Command, what: string, usual: number): Command {
  return inGroup(command, MANY_USERS, (group) =>
    group.option("--concurrency <n>", `${what} at once (default ${usual})`, parseConcurrency),
  );
}

function parseConcurrency(text: string): number {
  const number = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= MOST_AT_ONCE) return number;
  throw new KeyctlError("USAGE", `--concurrency takes a number from 1 to ${MOST_AT_ONCE}`, {
    hint: "--concurrency 50",
  });
}
