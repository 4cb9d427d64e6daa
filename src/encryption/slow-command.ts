import { KeyctlError } from "../core/model/errors.ts";

/** A command that prints master keys, and whose caller has run out of time. */
export function tooSlow(from: string): KeyctlError {
  return new KeyctlError("CONFIG_INVALID", `the command in ${from} did not end in time`, {
    hint: "run it by hand to see how long it takes, and give it more time with --timeout; it has at most 10 s",
  });
}
