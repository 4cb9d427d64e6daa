import { confirm, input, password } from "@inquirer/prompts";
import { isKeyctlError, KeyctlError } from "../core/errors.ts";

/** Asks on stderr, so that stdout stays for results. Rejects with INTERRUPTED on Ctrl-C. */
export interface Prompt {
  readonly confirm: (question: string) => Promise<boolean>;
  readonly secret: (question: string) => Promise<string>;
  readonly text: (question: string) => Promise<string>;
}

export function promptOnStderr(signal: AbortSignal): Prompt {
  const context = { output: process.stderr, signal, clearPromptOnDone: false };
  return {
    confirm: (message) => ask(() => confirm({ message, default: false }, context), signal),
    secret: (message) =>
      ask(
        () => password({ message, toggleMask: false, theme: { style: { maskedText: "(not shown)" } } }, context),
        signal,
      ),
    text: (message) => ask(() => input({ message }, context), signal),
  };
}

async function ask<Answer>(question: () => Promise<Answer>, signal: AbortSignal): Promise<Answer> {
  try {
    return await question();
  } catch (thrown) {
    if (isKeyctlError(signal.reason)) throw signal.reason;
    if (thrown instanceof Error && thrown.name === "ExitPromptError")
      throw new KeyctlError("INTERRUPTED", "interrupted");
    throw thrown;
  }
}
