import type { LiveOperations, Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { place } from "./placing.ts";
import { removingMatches } from "./removal.ts";
import { verifyNewKey } from "./rotate.ts";
import { found, startOver } from "./settle.ts";
import { bounded, doing, ended, to, waiting } from "../step.ts";
import type { Move, Step } from "../step.ts";

/** RECORD OPERATION and CREATE KEY, which rotate shares: one operation at a time makes one generation. */
interface Making {
  readonly generation: number;
  /** The row that a rotation replaces. */
  readonly old: Row | null;
  /** False: somebody's fresh operation is waited for, but none is abandoned and none begun. */
  readonly opens: boolean;
}

const NO_KEY = ended("NO_KEY");

/** What became of the user's last operation. */
export function readLastOperation(memory: Omit<Making, "generation">, command: Command): Step {
  return doing({ access: "journal.last op" }, (generation) =>
    generation === 0 ? decided({ generation, ...memory }, command) : to(readLastOutcome, { generation, ...memory }),
  );
}

/** An operation without an outcome is somebody's at work, or stale: only the clock says which, so both are tried. */
function readLastOutcome(memory: Making, command: Command): Step {
  const { generation } = memory;
  return doing({ access: "journal.read out", generation }, (outcome) => {
    if (outcome !== null) return decided(memory, command);
    if (command.breach === "op-without-out") return to(openOperation, memory);
    return [bounded(waiting(to(poll(memory), memory))), stale(memory)];
  });
}

/** A rotation has its row; everybody else waits for a row or an outcome, whichever comes first. */
function poll({ old }: Making) {
  return old === null ? pollRow : readLastOutcome;
}

function pollRow(memory: Making, command: Command): Step {
  return doing({ access: "row.find" }, (row) =>
    row === null ? bounded(to(readLastOutcome, memory)) : found({ row, listed: null }, command),
  );
}

function stale({ generation, opens }: Making): Move {
  return opens ? to(abandonSuspect, { generation }) : NO_KEY;
}

function decided(memory: Making, command: Command): Move {
  if (command.kind === "rotate") return to(openOperation, memory);
  return command.breach === "no-reread" ? opening(memory, command) : to(readRowAgain, memory);
}

/** The row once more, after the journal. It saves a paid POST; safety does not need it. */
function readRowAgain(memory: Making, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row !== null) return found({ row, listed: null }, command);
    return memory.opens ? opening(memory, command) : NO_KEY;
  });
}

function opening(memory: Making, command: Command): Move {
  return capOf(command) === null ? to(openOperation, memory) : to(lookAtCap, memory);
}

/** Of a key that nobody asked for. */
function capOf({ kind, cap, deliberate }: Command): number | null {
  return kind === "rotate" || deliberate ? null : cap;
}

/** Where the cap is used up, nothing is written. It saves two records; safety does not need it. */
function lookAtCap(memory: Making, command: Command): Step {
  const cap = capOf(command) ?? 0;
  return doing({ access: "journal.live operations", atMost: cap }, (live) =>
    live.saved + live.open < cap ? to(openOperation, memory) : crowded(live, cap),
  );
}

/** Some that are under way may yet come to nothing: who has patience starts over. */
function crowded({ saved }: Pick<LiveOperations, "saved">, cap: number): readonly Move[] {
  const full = ended("PROVISION_CAP");
  return saved >= cap ? [full] : [bounded(waiting(to(readLastOperation, { old: null, opens: true }))), full];
}

/** RECORD OPERATION: allowed only when the last operation has an outcome. This is a rule of safety. */
function openOperation({ generation, old }: Making, command: Command): Step {
  const next = { generation: generation + 1, old };
  const { deliberate } = command;
  return doing({ access: "journal.insert op", generation: next.generation, deliberate }, (result) => {
    if (result === "lost") return startOver();
    return capOf(command) === null || command.breach === "cap-check-first" ? to(post, next) : to(countMine, next);
  });
}

/** The hourly cap: insert, then count, mine included. Whoever is last sees all the others, so that there are never more than the cap. */
function countMine(memory: Omit<Making, "opens">, command: Command): Step {
  const { generation } = memory;
  const cap = capOf(command) ?? 0;
  return doing(
    { access: "journal.live operations", atMost: cap + 1 },
    ({ saved, open }) => (saved + open <= cap ? to(post, memory) : to(abandonOverCap, { generation, saved })),
    () => to(abandonUnmade, { generation }),
  );
}

/** What came to nothing does not count. */
function abandonOverCap(
  { generation, saved }: Pick<Making & LiveOperations, "generation" | "saved">,
  command: Command,
) {
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, () =>
    crowded({ saved }, capOf(command) ?? 0),
  );
}

/** CREATE KEY: once. */
function post({ generation, old }: Omit<Making, "opens">, command: Command): Step {
  const unmade = () => to(abandonUnmade, { generation });
  return doing(
    { access: "upstream.post", generation },
    (posted) => {
      if (posted === "ambiguous") return to(abandonSuspect, { generation });
      if (posted === "refused") return unmade();
      const made = { generation, hash: posted.created };
      return command.kind === "rotate" && old !== null ? to(verifyNewKey, { ...made, old }) : place(made);
    },
    unmade,
  );
}

/** Nothing was made, so there is nothing to list. */
function abandonUnmade({ generation }: Pick<Making, "generation">): Step {
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, () => [
    startOver(),
    ended("PROVIDER_UNAVAILABLE"),
  ]);
}

/** Decided against first, looked for after that: nobody can save it any more. */
function abandonSuspect({ generation }: Pick<Making, "generation">): Step {
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? to(listByName, { generation }) : startOver(),
  );
}

function listByName({ generation }: Pick<Making, "generation">): Step {
  return doing({ access: "upstream.list named", generation }, (hashes) => removingMatches(hashes, startOver()));
}
