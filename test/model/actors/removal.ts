import type { Hash } from "../accesses.ts";
import { doing, to } from "../step.ts";
import type { Move, Step } from "../step.ts";

/** **Order:** the changes upstream are the last steps for a key: disable, then delete. */
interface Removal {
  readonly hashes: readonly Hash[];
  readonly after: Move;
}

export function removing(hashes: readonly Hash[], after: Move): Move {
  return hashes.length === 0 ? after : to(disableKey, { hashes, after });
}

function disableKey({ hashes, after }: Removal): Step {
  const [hash = "", ...rest] = hashes;
  // The next reconcile finds a key whose removal was not confirmed.
  const leave = () => removing(rest, after);
  return doing(
    { access: "upstream.disable", hash },
    (answer) => (answer === "gone" ? removing(rest, after) : to(deleteKey, { hashes, after })),
    leave,
  );
}

function deleteKey({ hashes, after }: Removal): Step {
  const [hash = "", ...rest] = hashes;
  const next = () => removing(rest, after);
  return doing({ access: "upstream.delete", hash }, next, next);
}

/**
 * A key that was matched by its name is kept if any row or any `out` holds its hash: it is then in use, whatever its
 * name is.
 */
export function removingMatches(hashes: readonly Hash[], after: Move): Move {
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
