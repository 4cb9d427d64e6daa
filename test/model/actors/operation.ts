import type { Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { place } from "./placing.ts";
import { removingMatches } from "./removal.ts";
import { verifyNewKey } from "./rotate.ts";
import { found, startOver } from "./settle.ts";
import { bounded, doing, ended, to, waiting } from "../step.ts";
import type { Move, Step } from "../step.ts";

/** Sync 2 to 5, which rotate shares: one operation at a time makes one generation. */
interface Making {
  readonly generation: number;
  /** The row that a rotation replaces. */
  readonly old: Row | null;
}

const NO_KEY = ended("NO_KEY");

/** Sync 2. */
export function readLastOperation({ old }: Pick<Making, "old">, command: Command): Step {
  return doing({ access: "journal.last op" }, (generation) =>
    generation === 0 ? decided({ generation, old }, command) : to(readLastOutcome, { generation, old }),
  );
}

/** An operation without an outcome is somebody's at work, or stale: only the clock says which, so both are tried. */
function readLastOutcome(memory: Making, command: Command): Step {
  const { generation } = memory;
  return doing({ access: "journal.read out", generation }, (outcome) => {
    if (outcome !== null) return decided(memory, command);
    if (command.breach === "op-without-out") return to(openOperation, memory);
    return [bounded(waiting(to(poll(memory), memory))), stale(memory, command)];
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

/** `get` waits for a fresh operation, but abandons none and starts none. */
function stale({ generation }: Making, { kind }: Command): Move {
  return kind === "get" ? NO_KEY : to(abandonSuspect, { generation });
}

function decided(memory: Making, command: Command): Move {
  return command.kind === "rotate" || command.breach === "no-reread"
    ? to(openOperation, memory)
    : to(readRowAgain, memory);
}

/** Sync 3: after the journal. It saves a paid POST; safety does not need it. */
function readRowAgain(memory: Making, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row !== null) return found({ row, listed: null }, command);
    return command.kind === "get" ? NO_KEY : to(openOperation, memory);
  });
}

/** Sync 4: allowed only when the last operation has an outcome. This is a rule of safety. */
function openOperation({ generation, old }: Making): Step {
  const next = generation + 1;
  return doing({ access: "journal.insert op", generation: next }, (result) =>
    result === "won" ? to(post, { generation: next, old }) : startOver(),
  );
}

/** Sync 5: once. */
function post({ generation, old }: Making, command: Command): Step {
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
