import { budgetOf } from "./budget.ts";
import { KeyctlError } from "./errors.ts";
import { record } from "./journal-writes.ts";
import { factsFrom, judge } from "./judgement.ts";
import type { Judgement } from "./judgement.ts";
import type { KeyRecord } from "./key-record.ts";
import { ATTEMPTS, contended } from "./resolution.ts";
import type { Parts } from "./resolution.ts";
import { removeRow } from "./row-writes.ts";
import { asItIs, isCurrent, markSettled, retirePrevious, settledRow } from "./settling.ts";
import { isInARow, removeUpstream } from "./upstream-removal.ts";
import type { UpstreamKey, UpstreamKeys } from "./upstream.ts";
import type { UserId } from "./user-id.ts";

/** What a repair works with; each step has its own time. */
export interface Workshop extends Parts {
  readonly keys: UpstreamKeys;
  readonly deployment: string;
  readonly patience: () => AbortSignal;
}

/** What became of a key: `left` is as it should be, or cannot be judged now. */
export type Repair = { readonly status: "removed" } | { readonly status: "left"; readonly judgement: Judgement };

const REMOVAL_MS = 30_000;

/** The row that stands after a repair, and the one that a purge had left. */
export interface RepairedRow {
  readonly row: KeyRecord | undefined;
  readonly purged?: KeyRecord;
}

/** Reconcile 2: settles the row, and finishes a purge that died before it had removed it. */
export async function repairRow(user: UserId, workshop: Workshop): Promise<RepairedRow> {
  const { store, journal, patience } = workshop;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await store.find(user, patience());
    if (row === undefined) return { row };
    if (!row.settled) {
      if (!(await isCurrent(row, workshop, patience()))) continue;
      await retirePrevious(row, workshop, patience());
      if (!(await markSettled(row, workshop, patience()))) continue;
    }
    const settled = row.settled ? await asItIs(row, workshop, patience()) : settledRow(row);
    if (settled.generation === 0) return { row: settled };
    const retirement = await journal.entry(user, "rev", settled.generation, patience());
    if (retirement === undefined) return { row: settled };
    await removeRow(store, user, settled, patience());
    return { row: undefined, purged: settled };
  }
  throw contended(user);
}

/** Reconcile 3, for one listed key. A lost insert means that its records have changed: it is judged again. */
export async function repairKey(
  key: UpstreamKey,
  user: UserId,
  row: KeyRecord | undefined,
  workshop: Workshop,
): Promise<Repair> {
  const { journal, clock, deployment, patience } = workshop;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const facts = factsFrom(await journal.entries(user, patience()));
    const judgement = judge(key, facts, row, { deployment, now: clock.now().getTime() });
    const end = await ENDINGS[judgement.kind](key, user, judgement, workshop);
    if (end !== "judge-again") return end;
  }
  throw contended(user);
}

type Ending = (
  key: UpstreamKey,
  user: UserId,
  judgement: Judgement,
  workshop: Workshop,
) => Promise<Repair | "judge-again">;

const leave: Ending = async (_key, _user, judgement) => ({ status: "left", judgement });

const ENDINGS: Readonly<Record<Judgement["kind"], Ending>> = {
  keep: leave,
  kept: leave,
  "no-row": leave,
  unknown: leave,
  "decided-against": (key, _user, judgement, workshop) => removeUnlessHeld(key, judgement, workshop),
  async undecided(key, user, judgement, workshop) {
    if (judgement.kind !== "undecided" || judgement.isFresh) return { status: "left", judgement };
    // Decided against first, removed after that.
    const entry = { kind: "out", n: judgement.n, outcome: "abandoned" } as const;
    const stands = await record(user, entry, workshop, workshop.patience());
    return stands.outcome === "abandoned" ? removeUnlessHeld(key, judgement, workshop) : "judge-again";
  },
  async superseded(key, user, judgement, workshop) {
    const n = numberOf(judgement);
    const entry = { kind: "rev", n, reason: "superseded", revoke: true } as const;
    const stands = await record(user, entry, workshop, workshop.patience());
    return stands.revoke ? removeOwed(key, user, n, workshop) : "judge-again";
  },
  owed: (key, user, judgement, workshop) => removeOwed(key, user, numberOf(judgement), workshop),
};

/** Row first: a row that still holds the key goes before the key does. */
async function removeOwed(key: UpstreamKey, user: UserId, n: number, workshop: Workshop): Promise<Repair> {
  const { store, patience } = workshop;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const found = await store.find(user, patience());
    const row = found === undefined ? undefined : await asItIs(found, workshop, patience());
    if (row !== undefined && holds(row, n, key)) {
      // S2, as before every removal of a row.
      await retirePrevious(row, workshop, patience());
      await removeRow(store, user, row, patience());
      continue;
    }
    const mayComeBack = row !== undefined && row.generation > 0 && !row.settled && row.previous?.generation === n;
    // S1 decides, as for everybody who reads the row; where it is put back, it is found in the row.
    if (mayComeBack && !(await isCurrent(row, workshop, patience()))) continue;
    return removeNow(key, workshop);
  }
  throw contended(user);
}

function holds(row: KeyRecord, n: number, { hash }: UpstreamKey): boolean {
  return row.generation === n || (row.generation === 0 && row.keyHash === hash);
}

async function removeUnlessHeld(key: UpstreamKey, judgement: Judgement, workshop: Workshop): Promise<Repair> {
  const isHeld = await isInARow(key.hash, workshop.store, workshop.patience);
  return isHeld ? { status: "left", judgement } : removeNow(key, workshop);
}

/** Throws REVOKE_PENDING for what could not be confirmed. */
async function removeNow({ hash }: UpstreamKey, { keys, patience }: Workshop): Promise<Repair> {
  const removal = await removeUpstream(hash, keys, budgetOf(REMOVAL_MS, patience()));
  if (removal.status !== "unknown") return { status: "removed" };
  throw new KeyctlError("REVOKE_PENDING", `a key that is to go may still work: OpenRouter ${removal.detail}`, {
    hint: "keyctl reconcile --fix   tries again",
    retryable: true,
  });
}

function numberOf(judgement: Judgement): number {
  if ("n" in judgement) return judgement.n;
  throw new Error("a key of nobody's was to be removed");
}
