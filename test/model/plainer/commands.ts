import type { Hash, Row } from "../accesses.ts";
import { plainRow } from "../actors/predecessor.ts";
import { removing } from "../actors/removal.ts";
import type { Command } from "../command.ts";
import { doing, ended, to, UNSURE } from "../step.ts";
import type { Holding, Move, Moves, Place, Step } from "../step.ts";
import { listAll } from "./reconcile.ts";

/**
 * A simpler protocol, a typical first draft: the journal decides first, and the row is projected from it. It proves
 * that the check finds the errors of that design. "Patched": readers and projectors read `rev`, losers obey an existing
 * `rev`, and reconcile reads the row before the journal.
 */
export function beginPlainer({ kind }: Command): Place {
  return kind === "reconcile" ? to(listAll, {}) : to(plainRead, {});
}

const again = () => to(plainRead, {});
const gives = (hash: Hash) => ended("has the key", hash);
const isPatched = ({ protocol }: Command) => protocol === "outcome first, patched";

function plainRead(_: object, command: Command): Step {
  return doing({ access: "row.find" }, (row) => (row === null ? plainAbsent(command) : plainFound(row, command)));
}

function plainAbsent({ kind, key }: Command): Move {
  if (kind === "sync") return to(plainJournal, { old: null });
  return kind === "save" && key !== null ? to(plainInsert, { hash: key }) : ended("nothing to do");
}

function plainFound(row: Row, command: Command): Move {
  const { kind } = command;
  if (kind === "sync") return isPatched(command) && row.generation > 0 ? to(plainIsRetired, { row }) : gives(row.hash);
  if (kind === "rotate") return to(plainJournal, { old: row });
  return row.generation > 0
    ? to(plainRetire, { row, hash: "", generation: 0 })
    : to(plainAct, { row, hash: "", generation: 0 });
}

function plainInsert({ hash }: { readonly hash: Hash }): Step {
  const row = plainRow({ generation: 0, hash });
  return doing({ access: "row.insert", row }, ({ answer }) =>
    answer === "done" ? ended("saved") : answer === "refused" ? again() : UNSURE,
  );
}

function plainIsRetired({ row }: Holding): Step {
  return doing({ access: "journal.read rev", generation: row.generation }, (retirement) =>
    retirement === null ? gives(row.hash) : to(plainRemoveRetired, { row }),
  );
}

function plainRemoveRetired({ row }: Holding): Step {
  return doing({ access: "row.remove", seen: row.version }, () => again());
}

interface Making {
  readonly generation: number;
  readonly old: Row | null;
}

/** A saved outcome without a row is projected into a row; an open operation counts as stale. */
function plainJournal({ old }: Pick<Making, "old">, { kind }: Command): Step {
  return doing({ access: "journal.records" }, ({ operations, outcomes, retirements }): Moves => {
    const outcome = outcomes[operations] ?? null;
    if (operations > 0 && outcome === null) return to(plainAbandon, { generation: operations });
    const projects = kind === "sync" && outcome !== null && outcome !== "abandoned" && !retirements[operations];
    if (projects) return to(plainProject, { generation: operations, hash: outcome.saved });
    return to(plainOpen, { generation: operations + 1, old });
  });
}

interface Made {
  readonly generation: number;
  readonly hash: Hash;
}

function plainProject({ generation, hash }: Made, command: Command): Step {
  const row = plainRow({ generation, hash });
  return doing({ access: "row.insert", row }, ({ answer }) => {
    if (answer === "unanswered") return UNSURE;
    return answer === "done" && !isPatched(command) ? gives(hash) : again();
  });
}

function plainOpen({ generation, old }: Making): Step {
  return doing({ access: "journal.insert op", generation, deliberate: false }, (result) =>
    result === "won" ? to(plainPost, { generation, old }) : again(),
  );
}

function plainPost({ generation, old }: Making): Step {
  return doing({ access: "upstream.post", generation, lowered: false }, (posted) =>
    typeof posted === "object"
      ? to(plainSaveOutcome, { generation, hash: posted.created, old })
      : to(plainAbandon, { generation }),
  );
}

function plainSaveOutcome({ generation, hash, old }: Made & Making): Step {
  return doing({ access: "journal.insert out", generation, outcome: { saved: hash } }, (stands) => {
    if (stands === "abandoned") return removing([hash], old === null ? again() : ended("conflict"));
    return old === null ? to(plainProjectOwn, { generation, hash }) : to(plainVerify, { generation, hash, row: old });
  });
}

function plainProjectOwn({ generation, hash }: Made, command: Command): Step {
  const row = plainRow({ generation, hash });
  return doing({ access: "row.insert", row }, ({ answer }) => {
    if (answer === "unanswered") return UNSURE;
    if (answer === "refused") return to(plainWhose, { generation, hash });
    return isPatched(command) ? again() : gives(hash);
  });
}

function plainWhose({ generation, hash }: Made): Step {
  return doing({ access: "row.find" }, (row) =>
    row?.hash === hash
      ? gives(hash)
      : to(plainReject, { generation, hash, after: row === null ? again() : gives(row.hash) }),
  );
}

interface Rejecting extends Made {
  readonly after: Move;
}

function plainReject({ generation, hash, after }: Rejecting, command: Command): Step {
  const retirement = { reason: "superseded", revoke: true, block: false } as const;
  const readsOn = isPatched(command) && command.kind !== "rotate";
  return doing({ access: "journal.insert rev", generation, retirement }, (stands) =>
    stands.revoke || !isPatched(command) ? removing([hash], readsOn ? again() : after) : again(),
  );
}

function plainAbandon({ generation }: Pick<Making, "generation">): Step {
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? to(plainListNamed, { generation }) : again(),
  );
}

function plainListNamed({ generation }: Pick<Making, "generation">): Step {
  return doing({ access: "upstream.list named", generation }, (hashes) => removing(hashes, again()));
}

interface Changing extends Made, Holding {}

function plainVerify({ generation, hash, row }: Changing): Step {
  return doing({ access: "upstream.verify", hash }, (answer) =>
    answer === "works"
      ? to(plainAct, { generation, hash, row })
      : to(plainReject, { generation, hash, after: ended("refused") }),
  );
}

function plainRetire(memory: Changing, { kind, revoke }: Command): Step {
  const { generation, hash } = memory.row;
  const retirement = {
    reason: kind === "purge" ? "purged" : "superseded",
    block: false,
    revoke: revoke !== "no" || kind === "rotate",
  } as const;
  const rotated = ended("rotated", memory.hash);
  return doing({ access: "journal.insert rev", generation, retirement }, () =>
    kind === "rotate" ? removing([hash], rotated) : to(plainAct, memory),
  );
}

/** The change of the row that the command is about. */
function plainAct(memory: Changing, command: Command): Step {
  const { row, generation, hash } = memory;
  const seen = row.version;
  if (command.kind === "purge")
    return doing({ access: "row.remove", seen }, ({ answer }) => plainDone(answer, row, command));
  const isSave = command.kind === "save";
  const next = plainRow(isSave ? { generation: 0, hash: command.key ?? "" } : { generation, hash });
  return doing({ access: "row.replace", row: next, seen }, ({ answer }) => {
    if (isSave) return plainDone(answer, row, command);
    if (answer === "unanswered") return UNSURE;
    if (answer === "refused") return to(plainReject, { generation, hash, after: ended("conflict") });
    return row.generation > 0 ? to(plainRetire, memory) : ended("rotated", hash);
  });
}

function plainDone(answer: "done" | "refused" | "unanswered", row: Row, { revoke }: Command): Moves {
  if (answer === "unanswered") return UNSURE;
  if (answer === "refused") return again();
  return revoke !== "no" && row.generation > 0 ? removing([row.hash], ended("done")) : ended("done");
}
