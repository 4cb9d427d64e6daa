import type { KeyContent, Previous, Retirement, Row, RowContent } from "../accesses.ts";
import type { Command } from "../command.ts";
import { removing } from "./removal.ts";
import { doing, to } from "../step.ts";
import type { Moves, Step } from "../step.ts";

/**
 * REVOKE PREDECESSOR, at once or with a grace: what every actor does before a row's note about its predecessor is
 * dropped. **Order:** only after the row's own outcome is `saved`.
 */
interface Retiring {
  readonly previous: Previous;
  readonly after: Moves;
}

/** A predecessor that the protocol did not create has no records. */
export function retiringPredecessor(
  { generation, previous }: Pick<RowContent, "generation" | "previous">,
  after: Moves,
  { breach }: Command,
): Moves {
  if (previous === null || previous.generation === 0) return after;
  if (previous.graceMs === null) return to(retire, { previous, after });
  if (breach === "draft-grace") return to(retireAsDraft, { previous, after });
  return to(readCommit, { successor: generation, previous, after });
}

/** The grace counts from the outcome of the row, so every actor computes the same time. */
function readCommit({ successor, ...memory }: Retiring & { readonly successor: number }): Step {
  return doing({ access: "journal.read out", generation: successor }, () => to(grantGrace, memory));
}

function grantGrace(memory: Retiring): Step {
  return doing({ access: "journal.insert due", generation: memory.previous.generation }, () => to(retire, memory));
}

/** With a grace `revoke` is false: a program that does not know graces keeps the key too long, never too short. */
function retire(memory: Retiring): Step {
  const { previous, after } = memory;
  const { generation, revoke } = previous;
  return doing({ access: "journal.insert rev", generation, retirement: superseded(revoke) }, (stands) =>
    revoke && !stands.revoke ? to(owe, memory) : after,
  );
}

/** The predecessor was recorded as kept, and the row's note requests its revocation. */
function owe({ previous, after }: Retiring): Step {
  return doing({ access: "journal.insert del", generation: previous.generation }, () => after);
}

/**
 * A broken variant: one record says that the key is to be revoked, and when. Where a purge has recorded that the key is
 * kept, only `del` is left, and that means now.
 */
function retireAsDraft(memory: Retiring): Step {
  const { previous, after } = memory;
  const now = removing([previous.hash], after);
  return doing(
    { access: "journal.insert rev", generation: previous.generation, retirement: superseded(false) },
    (stands) => (stands.reason === "purged" ? to(owe, { previous, after: now }) : to(dateDraft, memory)),
  );
}

function dateDraft({ previous, after }: Retiring): Step {
  return doing({ access: "journal.insert due", generation: previous.generation }, () => after);
}

export function superseded(revoke: boolean): Retirement {
  return { reason: "superseded", revoke, block: false };
}

/** The note of a row about the key that it replaces. */
export function noteOf(old: Row, { revoke, graceMs }: Pick<Previous, "revoke" | "graceMs">): Previous {
  return { ...contentOf(old), revoke, graceMs };
}

/** The row of a key without open work. */
export function settledRow(key: KeyContent): RowContent {
  return { ...contentOf(key), settled: true, previous: null };
}

/** A row of a key that was created without a predecessor, or was given. */
export function plainRow({ generation, hash }: Pick<KeyContent, "generation" | "hash">): RowContent {
  return settledRow({ generation, hash, limitDue: null, restrictions: null });
}

function contentOf({ generation, hash, limitDue, restrictions }: KeyContent): KeyContent {
  return { generation, hash, limitDue, restrictions };
}
