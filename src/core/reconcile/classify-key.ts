import { isFresh } from "../ports/journal.ts";
import type { Entry, EntryOf, Recorded } from "../ports/journal.ts";
import { parseKeyName, userPrefixOf } from "../model/key-name.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { UpstreamKey } from "../ports/openrouter.ts";

/**
 * **Invariant:** a key is classified by records that were read after it was listed. Each record is written once and never
 * changes. A key is deleted only because it was abandoned, is marked for deletion, or was followed by a saved one; never
 * because a record is missing, an operation is newer, or a row holds a newer key.
 */

/** The journal of one user: the entries of each kind by their number. */
export interface JournalState {
  readonly op: ReadonlyMap<number, EntryOf<"op"> & { readonly at: string }>;
  readonly out: ReadonlyMap<number, EntryOf<"out"> & { readonly at: string }>;
  readonly rev: ReadonlyMap<number, EntryOf<"rev">>;
  readonly due: ReadonlyMap<number, EntryOf<"due">>;
  readonly del: ReadonlySet<number>;
  /** The generations whose keys are proven to be deleted upstream. */
  readonly gone: ReadonlySet<number>;
}

export function foldJournal(entries: readonly Recorded[]): JournalState {
  const of = <Kind extends Entry["kind"]>(kind: Kind) =>
    new Map(
      entries.flatMap((entry) => (entry.kind === kind ? [[entry.n, entry as Recorded<EntryOf<Kind>>] as const] : [])),
    );
  const [del, gone] = [new Set(of("del").keys()), new Set(of("gone").keys())];
  return { op: of("op"), out: of("out"), rev: of("rev"), due: of("due"), del, gone };
}

export type KeyState =
  /** In the row, or about to be. */
  | { readonly kind: "keep"; readonly n: number }
  /** Replaced with a grace. When that is over, the key is deleted. */
  | { readonly kind: "retiring"; readonly n: number; readonly retireAt: string; readonly isDue: boolean }
  /** Replaced or purged, and kept upstream on purpose. */
  | { readonly kind: "kept"; readonly n: number }
  /** Recorded as in use, but in no row: the row was removed by hand. */
  | { readonly kind: "no-row"; readonly n: number }
  | { readonly kind: "undecided"; readonly n: number; readonly isFresh: boolean }
  | { readonly kind: "decided-against"; readonly n: number }
  /** `retireAt`: its grace was over then; null without a grace. */
  | { readonly kind: "owed"; readonly n: number; readonly retireAt: string | null }
  | { readonly kind: "superseded"; readonly n: number }
  /** Named like a key of this store, but created by none of its operations. The store may have been restored from a backup. */
  | { readonly kind: "unknown" };

export function classifyKey(
  key: Pick<UpstreamKey, "hash" | "name">,
  facts: JournalState,
  row: KeyRecord | undefined,
  { deployment, now }: { readonly deployment: string; readonly now: number },
): KeyState {
  const n = generationOf(key, facts, deployment);
  if (n === undefined) return { kind: "unknown" };
  const outcome = facts.out.get(n);
  if (outcome === undefined) {
    return { kind: "undecided", n, isFresh: isFresh(facts.op.get(n)?.at ?? "", now) };
  }
  if (!isSavedAs(outcome, key.hash)) return { kind: "decided-against", n };
  const retirement = facts.rev.get(n);
  const due = facts.due.get(n);
  if (retirement?.revoke === true || facts.del.has(n)) return { kind: "owed", n, retireAt: due?.retireAt ?? null };
  if (due !== undefined) {
    return { kind: "retiring", n, retireAt: due.retireAt, isDue: Date.parse(due.retireAt) <= now };
  }
  if (retirement !== undefined) return { kind: "kept", n };
  const isFollowed = [...facts.out].some(([later, { outcome: what }]) => later > n && what === "saved");
  if (isFollowed) return { kind: "superseded", n };
  const isPrevious = row !== undefined && !row.settled && row.previous?.generation === n;
  return { kind: row?.generation === n || isPrevious ? "keep" : "no-row", n };
}

/** The generation that recorded this key, whatever its name is now; else the generation in its name, if the name is ours. */
function generationOf(
  key: Pick<UpstreamKey, "hash" | "name">,
  { op, out }: JournalState,
  deployment: string,
): number | undefined {
  for (const [n, outcome] of out) if (isSavedAs(outcome, key.hash)) return n;
  const name = parseKeyName(key.name);
  if (name?.deployment !== deployment) return undefined;
  const operation = op.get(name.n);
  const isTheirs = operation !== undefined && userPrefixOf(operationOwner(operation)) === name.userPrefix;
  return isTheirs && operation.nonce === name.nonce ? name.n : undefined;
}

function operationOwner(operation: EntryOf<"op">): Recorded["userId"] {
  // Every recorded entry names its user.
  return (operation as Recorded<EntryOf<"op">>).userId;
}

function isSavedAs(outcome: EntryOf<"out">, hash: string): boolean {
  return outcome.outcome === "saved" && (outcome.hash === hash || outcome.upstreamHash === hash);
}

/** What settling the row would add to the records, for a plan. */
export function projectSettlement(row: KeyRecord | undefined, facts: JournalState): JournalState {
  if (row === undefined || row.settled) return facts;
  const { generation: n, keyHash, upstreamHash, previous, createdAt: at } = row;
  const out = new Map(facts.out);
  if (n > 0 && keyHash !== null && !out.has(n))
    out.set(n, { kind: "out", n, outcome: "saved", hash: keyHash, upstreamHash, at });
  const isCurrent = n === 0 || out.get(n)?.outcome === "saved";
  if (!isCurrent || previous === null || previous.generation === 0) return { ...facts, out };
  const p = previous.generation;
  const { graceMs } = previous;
  const due = new Map(facts.due);
  if (graceMs !== null && !due.has(p)) {
    const committedAt = Date.parse(out.get(n)?.at ?? at);
    due.set(p, { kind: "due", n: p, retireAt: new Date(committedAt + graceMs).toISOString() });
  }
  const revoke = previous.revoke && graceMs === null;
  const rev = new Map(facts.rev);
  if (!rev.has(p)) rev.set(p, { kind: "rev", n: p, reason: "superseded", revoke, block: false });
  return { ...facts, out, rev, due, del: revoke ? new Set([...facts.del, p]) : facts.del };
}
