import type { Hash } from "../accesses.ts";
import type { Command } from "../command.ts";
import { doing, listOf, to, waiting } from "../step.ts";
import type { Moves, Step } from "../step.ts";

/**
 * DELETE UPSTREAM. **Order:** the changes upstream are the last steps for a key: disable it, take it out of guardrails
 * and allow-lists, delete it. A live key without its guardrail would be less restricted.
 */
interface Removal {
  readonly hashes: readonly Hash[];
  readonly after: Moves;
}

export function removing(hashes: readonly Hash[], after: Moves): Moves {
  return hashes.length === 0 ? after : to(disableKey, { hashes, after });
}

function disableKey(memory: Removal, { restrictions, detaches = false }: Command): Step {
  const { hashes, after } = memory;
  const [hash = "", ...rest] = hashes;
  // The next reconcile finds a key whose removal was not confirmed.
  const leave = () => removing(rest, after);
  const disabled =
    restrictions === null && !detaches
      ? to(deleteKey, memory)
      : [to(detachKey, memory), waiting(to(deleteKey, memory))];
  return doing({ access: "upstream.disable", hash }, (answer) => (answer === "gone" ? leave() : disabled), leave);
}

/** The lists of a key, one by one. */
function detachKey(memory: Removal): Step {
  const [hash = "", ...rest] = memory.hashes;
  const next = () => [to(deleteKey, memory), waiting(to(detachKey, memory))];
  return doing({ access: "upstream.detach", hash }, next, () => [
    to(deleteKey, memory),
    ...listOf(removing(rest, memory.after)),
  ]);
}

function deleteKey({ hashes, after }: Removal): Step {
  const [hash = "", ...rest] = hashes;
  const next = () => removing(rest, after);
  return doing({ access: "upstream.delete", hash }, next, next);
}

/** A broken variant: a key in its grace loses its restrictions. */
export function detachTooEarly({ hash, after }: { readonly hash: Hash; readonly after: Moves }): Step {
  const next = () => after;
  return doing({ access: "upstream.detach", hash }, next, next);
}

/**
 * A key that was matched by its name is kept if any row or any `out` holds its hash: it is then in use, whatever its
 * name is.
 */
export function removingMatches(hashes: readonly Hash[], after: Moves): Moves {
  return hashes.length === 0 ? after : to(spareRecorded, { hashes, after });
}

function spareRecorded({ hashes, after }: Removal): Step {
  return doing({ access: "journal.holding", hashes }, (held) => {
    const left = hashes.filter((hash) => held.every((one) => one.hash !== hash));
    return left.length === 0 ? after : to(spareStored, { hashes: left, after });
  });
}

/** Checks one key after the other. */
export function spareStored({ hashes, after, free = [] }: Removal & { readonly free?: readonly Hash[] }): Step {
  const [hash = "", ...rest] = hashes;
  return doing({ access: "row.holding", hashes: [hash] }, (held) => {
    const left = held.length > 0 ? free : [...free, hash];
    return rest.length === 0 ? removing(left, after) : to(spareStored, { hashes: rest, after, free: left });
  });
}
