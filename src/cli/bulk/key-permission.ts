import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { counted, plural } from "../../core/text/format.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { spendingOf } from "../views/key-view.ts";
import type { Invocation } from "../invocation.ts";
import { cannotPrompt, Declined } from "../terminal/unanswered.ts";
import { inGroup, MANY_USERS } from "../help-format.ts";
import type { Many } from "./selection.ts";
import type { WantedTerms } from "../../core/model/provision-rules.ts";

/** Above this number, a run without a terminal requires --max-keys. */
const MAX_UNASKED = 10;

export interface KeyPermissionFlags {
  readonly maxKeys?: number;
}

export function addMaxKeysOption(command: Command, verb = "create"): Command {
  return inGroup(command, MANY_USERS, (group) =>
    group.option("--max-keys <n>", `${verb} up to n keys without asking`, parseMaxKeys),
  );
}

/** For one user, --max-keys is not allowed. Throws USAGE. */
export function refuseMaxKeys({ maxKeys }: KeyPermissionFlags): void {
  if (maxKeys === undefined) return;
  throw isForMany("--max-keys");
}

/** A flag that means nothing for one user. */
export function isForMany(flag: string): KeyctlError {
  return new KeyctlError("USAGE", `${flag} is for many users`, { hint: "omit it for one user" });
}

/** What the run would do for a user. Every action but `none` costs a key. */
interface Preview {
  readonly action: "create" | "rotate" | "none";
}

export interface KeyPermissionTask {
  readonly selection: Many;
  readonly users: () => AsyncIterable<readonly UserId[]>;
  readonly preview: (batches: AsyncIterable<readonly UserId[]>) => AsyncIterable<readonly Preview[]>;
  /** What happens to the keys. */
  readonly done: "created" | "rotated" | "renewed";
  /** The statement about this number of keys that a person agrees to. */
  readonly statement: (count: number) => string;
}

/**
 * How many keys a bulk run may create: the value of --max-keys, the number that a person confirmed, or a few. Called before
 * anything is created. Throws CONFIRMATION_NEEDED.
 */
export async function permittedKeys(
  { terminal, prompt, commandAgain }: Invocation,
  { maxKeys }: KeyPermissionFlags,
  { selection, users, preview, done, statement }: KeyPermissionTask,
): Promise<number> {
  if (maxKeys !== undefined) return maxKeys;
  let count = 0;
  for await (const batch of preview(users())) count += batch.filter(({ action }) => action !== "none").length;
  if (count === 0) return 0;
  const hint = commandAgain(`--max-keys ${count}`);
  const isInputTaken = selection.kind === "file" && selection.path === "-";
  if (!terminal.options.isInteractive || isInputTaken) {
    if (count <= MAX_UNASKED) return count;
    throw new KeyctlError(
      "CONFIRMATION_NEEDED",
      `${counted(count, "key")} would be ${done} at OpenRouter, and keyctl ${cannotPrompt(terminal, isInputTaken)}; nothing was changed`,
      { hint },
    );
  }
  const { confirm } = await prompt();
  if (await confirm(`${statement(count)} Go on?`)) return count;
  throw new Declined(hint);
}

/** The statement about new keys with these terms. */
export function statementOfCreation(count: number, terms: WantedTerms): string {
  const spending = terms.limit === null ? "without a spending limit" : `up to ${spendingOf(terms)}`;
  return `This creates ${counted(count, "key")} at OpenRouter, ${plural(count, "", "each ")}${spending}.`;
}

export function parseMaxKeys(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new KeyctlError("USAGE", "--max-keys takes a number of keys", { hint: `--max-keys ${MAX_UNASKED}` });
}
