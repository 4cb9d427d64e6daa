import type { Listed, Records } from "../accesses.ts";
import { revokeOwed } from "./owed.ts";
import { doing, ended, listOf, to } from "../step.ts";
import type { Moves, Place, Step } from "../step.ts";

/**
 * FINISH, after the row is settled: the keys whose grace is over, without a listing. **Order:** mark the key for
 * deletion, remove a row that holds it, delete it. Any number of processes may do this at once.
 */
interface DueKey extends Listed {
  /** Marked for deletion already: perhaps by a finish that died. */
  readonly isOwed: boolean;
}

export function readDue(): Step {
  return doing({ access: "journal.records" }, (records) => finishing(dueIn(records)));
}

function dueIn(records: Records): readonly DueKey[] {
  const { outcomes, retirements, owedAfterAll } = records;
  return records.dues.flatMap(({ generation, isOver }) => {
    const outcome = outcomes[generation] ?? null;
    if (outcome === null || outcome === "abandoned" || retirements[generation]?.revoke === true) return [];
    const isOwed = owedAfterAll.includes(generation);
    return isOwed || isOver ? [{ hash: outcome.saved, generation, isOwed }] : [];
  });
}

function finishing(keys: readonly DueKey[]): Moves {
  const [key, ...rest] = keys;
  if (key === undefined) return ended("finished");
  const after = finishing(rest);
  // A mark that is older than a day is left to reconcile.
  return key.isOwed ? [...listOf(after), revoking(key, after)] : to(oweDue, { key, after });
}

interface Finishing {
  readonly key: Listed;
  readonly after: Moves;
}

function oweDue({ key, after }: Finishing): Step {
  return doing({ access: "journal.insert del", generation: key.generation }, () => revoking(key, after));
}

function revoking({ hash, generation }: Listed, after: Moves): Place {
  return to(revokeOwed, { key: { hash, generation }, after });
}
