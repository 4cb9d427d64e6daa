import type { UserId } from "../model/user-id.ts";
import { backOff } from "../async/sleep.ts";
import { KeyctlError } from "../model/errors.ts";
import { printable } from "../text/printable.ts";

/** How often a lost race begins anew before it is called a conflict. */
const MAX_ATTEMPTS = 12;
const FIRST_PAUSE_MS = 4;
const LONGEST_PAUSE_MS = 256;

/**
 * The number of each attempt, from 1. The first retry begins at once, and each later one after a pause that doubles up
 * to a longest, of random length, so that those who lost together do not meet again: forty who change one row at the same
 * time all come to an end.
 */
export async function* attempts(): AsyncGenerator<number> {
  for (let tries = 1; tries <= MAX_ATTEMPTS; tries += 1) {
    if (tries > 2) await backOff(Math.min(FIRST_PAUSE_MS * 2 ** (tries - 3), LONGEST_PAUSE_MS));
    yield tries;
  }
}

/**
 * What the first attempt gives that loses no race; `conflict` is one that does. Throws CONFLICT after the last one.
 * @param attempt reads anew what it changes; `tries` counts from 1
 * @param failure what to throw instead of CONFLICT, where the last attempt failed in another way
 */
export async function retryOnConflict<Outcome>(
  user: UserId,
  attempt: (tries: number) => Promise<Outcome | "conflict">,
  failure: () => KeyctlError | undefined = () => undefined,
): Promise<Outcome> {
  for await (const tries of attempts()) {
    const outcome = await attempt(tries);
    if (outcome !== "conflict") return outcome;
  }
  throw failure() ?? conflictError(user);
}

export function conflictError(user: UserId): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} keeps changing`, {
    hint: "another program is changing it; try again when it is done",
    retryable: true,
  });
}
