import { KeyctlError } from "../../core/model/errors.ts";

/** A person answered a question with no. The exit code is that of an error; on a terminal it is a note. */
export class Declined extends KeyctlError {
  readonly isDeclined = true;

  constructor(hint: string) {
    super("CONFIRMATION_NEEDED", "nothing was changed", { hint });
  }
}

/** Recognised by its field, like the reader of a closed pipe: each bundled file has its own copy of the class. */
export function isDeclined(error: KeyctlError): boolean {
  return "isDeclined" in error && error.isDeclined === true;
}

interface Asked {
  readonly options: { readonly unaskedBecause?: string };
}

/** `cannot prompt: ` and the reason why no person can answer. */
export function cannotPrompt({ options }: Asked, isInputTaken = false, input = "the users"): string {
  return `cannot prompt: ${isInputTaken ? `standard input holds ${input}` : (options.unaskedBecause ?? "no terminal")}`;
}
