import type { UserId } from "../model/user-id.ts";
import { backOff } from "../async/sleep.ts";
import { KeyctlError } from "../model/errors.ts";
import { printable } from "../text/printable.ts";

/** How often a lost race begins anew before it is called a conflict. */
const MAX_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 4;

/**
 * The number of each attempt, from 1. The first retry begins at once, and each later one after a pause that doubles, of
 * random length, so that those who lost together do not meet again.
 */
export async function* attempts(): AsyncGenerator<number> {
  for (let tries = 1; tries <= MAX_ATTEMPTS; tries += 1) {
    if (tries > 2) await backOff(FIRST_PAUSE_MS * 2 ** (tries - 3));
    yield tries;
  }
}

/**
 * What the first attempt gives that loses no race; `conflict` is one that does. Throws CONFLICT after the last one.
 * @param attempt reads anew what it changes; `tries` counts from 1
 */
export async function retryOnConflict<Outcome>(
  user: UserId,
  attempt: (tries: number) => Promise<Outcome | "conflict">,
): Promise<Outcome> {
  for await (const tries of attempts()) {
    const outcome = await attempt(tries);
    if (outcome !== "conflict") return outcome;
  }
  throw conflictError(user);
}

export function conflictError(user: UserId): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} keeps changing`, {
    hint: "another program is changing it; try again when it is done",
    retryable: true,
  });
}
