import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { MOST_AT_ONCE } from "../../core/model/number-options.ts";

/** @param done what happens to the keys: `checked` */
export function addConcurrencyOption(command: Command, done: string): Command {
  return command.option("--concurrency <n>", `many users: keys ${done} at once (default 20)`, (text) => {
    const number = /^\d{1,3}$/.test(text) ? Number(text) : 0;
    if (number >= 1 && number <= MOST_AT_ONCE) return number;
    throw new KeyctlError("USAGE", `--concurrency takes a number from 1 to ${MOST_AT_ONCE}`, {
      hint: "--concurrency 50",
    });
  });
}

/** A number of users or keys, or a share of them: `5` or `5%`. */
export type CountOrShare = { readonly count: number } | { readonly percent: number };

/** Undefined for anything else, and for more than all of them. */
export function parseCountOrShare(text: string): CountOrShare | undefined {
  const [, amount, percent] = /^(\d{1,9})(%?)$/.exec(text) ?? [];
  if (amount === undefined) return undefined;
  const number = Number(amount);
  if (percent === "") return { count: number };
  return number <= 100 ? { percent: number } : undefined;
}
