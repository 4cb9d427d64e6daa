import type { UserId } from "../model/user-id.ts";
import { backOff } from "../async/sleep.ts";
import { KeyctlError } from "../model/errors.ts";
import { printable } from "../text/printable.ts";

/** The number of lost races after which a change fails with CONFLICT. */
const MAX_ATTEMPTS = 12;
const FIRST_PAUSE_MS = 4;
const LONGEST_PAUSE_MS = 256;

/**
 * The number of each attempt, from 1. The first retry starts at once, each later one after a random pause that doubles
 * up to LONGEST_PAUSE_MS. The randomness separates commands that lost the same race: forty that change one row at the
 * same time all finish.
 */
export async function* attempts(): AsyncGenerator<number> {
  for (let tries = 1; tries <= MAX_ATTEMPTS; tries += 1) {
    if (tries > 2) await backOff(Math.min(FIRST_PAUSE_MS * 2 ** (tries - 3), LONGEST_PAUSE_MS));
    yield tries;
  }
}

/**
 * The result of the first attempt that loses no race. Throws CONFLICT after the last attempt.
 * @param attempt reads again what it changes, and returns `conflict` for a lost race; `tries` counts from 1
 * @param failure returns the error to throw instead of CONFLICT, if the last attempt failed in another way
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
