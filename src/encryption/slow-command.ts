import { KeyctlError } from "../core/model/errors.ts";

/** The error for a command that prints master keys and did not end within the caller's time. */
export function tooSlow(from: string): KeyctlError {
  return new KeyctlError("CONFIG_INVALID", `the command in ${from} did not end in time`, {
    hint: "run it by hand to see how long it takes, and give it more time with --timeout; it has at most 10 s",
  });
}
