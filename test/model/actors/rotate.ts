import type { Hash, Previous, Row, RowContent } from "../accesses.ts";
import { readOwnBack, refuseOwn, saveOutcome } from "./placing.ts";
import type { Placing } from "./placing.ts";
import { doing, ended, to } from "../step.ts";
import type { Step } from "../step.ts";

interface NewKey {
  readonly generation: number;
  readonly hash: Hash;
  readonly old: Row;
}

const CONFLICT = ended("CONFLICT");

/** A new key that does not work is never put into use. */
export function verifyNewKey(made: NewKey): Step {
  return doing({ access: "upstream.verify", hash: made.hash }, (answer) =>
    answer === "works" ? to(swapRow, made) : to(refuseOwn, placing(made)),
  );
}

/** STORE ROW: the old key stays current until RECORD OUTCOME. The row keeps the data to put the old key back. */
function swapRow(made: NewKey): Step {
  const { generation, hash, old } = made;
  const row: RowContent = { generation, hash, settled: false, previous: previousFrom(old) };
  return doing({ access: "row.replace", row, seen: old.version }, (written) => {
    if (written.answer === "refused") return to(refuseOwn, placing(made));
    if (written.answer === "unanswered") return to(readOwnBack, placing(made));
    return to(saveOutcome, { ...placing(made), row: { ...row, version: written.version } });
  });
}

/** An old key that the protocol did not create is kept upstream. */
function placing({ generation, hash, old }: NewKey): Placing {
  const replaced = old.generation === 0 ? null : previousFrom(old);
  return { generation, hash, replaced, won: ended("rotated", hash), lost: CONFLICT, whenAway: "leave" };
}

function previousFrom({ generation, hash }: Row): Previous {
  return { generation, hash, revoke: true };
}
