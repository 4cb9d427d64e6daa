import { isKeyctlError } from "../model/errors.ts";
import { appendEntry } from "../protocol/write-journal.ts";
import { foldJournal, classifyKey } from "./classify-key.ts";
import type { JournalState, KeyState } from "./classify-key.ts";
import type { KeyOfEvent } from "../model/history-event.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { blockToFinish, takeOutRow } from "../protocol/write-row.ts";
import {
  withTrueGeneration,
  confirmGeneration,
  markSettled,
  revokePredecessor,
  settledRow,
} from "../protocol/settle-row.ts";
import { isStored } from "../protocol/delete-upstream.ts";
import { removeConfirmed, removeOwed } from "../protocol/remove-owed.ts";
import { isLimitDue, restoreLimit } from "../protocol/restore-limit.ts";
import { keyIn } from "../model/tombstone.ts";
import type { UpstreamKey } from "../ports/openrouter.ts";
import type { UserId } from "../model/user-id.ts";
import { retryOnConflict } from "../protocol/contention.ts";
import type { OwnedKeys } from "./claims.ts";
import type { Finding } from "./finding.ts";
import { findingOf, limitDue, purgePending, toRemove } from "./finding.ts";
import { isRemovableKept } from "./kept-keys.ts";
import type { ReconcileContext } from "./reconcile-context.ts";

/** What became of a key: `left` is as it should be, or cannot be classified now. */
interface Repair {
  readonly status: "removed" | "left";
  readonly judgement: KeyState;
}

/** The row after a repair, and the row that an interrupted purge left. */
interface RepairedRow {
  readonly row: KeyRecord | undefined;
  readonly purged?: KeyRecord;
}

/** SETTLE; also finishes a purge that died before it removed the row. */
async function repairRow(user: UserId, context: ReconcileContext): Promise<RepairedRow> {
  const { store, journal, newSignal } = context;
  return retryOnConflict(user, async () => {
    const row = keyIn(await store.find(user, newSignal()));
    if (row === undefined) return { row };
    if (!row.settled) {
      if (!(await confirmGeneration(row, context, newSignal()))) return "conflict";
      await revokePredecessor(row, context, newSignal());
      if (!(await markSettled(row, context, newSignal()))) return "conflict";
    }
    const settled = row.settled ? await withTrueGeneration(row, context, newSignal()) : settledRow(row);
    if (settled.generation === 0) return { row: settled };
    const retirement = await journal.entry(user, "rev", settled.generation, newSignal());
    if (retirement === undefined) return { row: settled };
    await takeOutRow(settled, await blockToFinish(retirement, context, newSignal()), context, newSignal());
    return { row: undefined, purged: settled };
  });
}

/** RESTORE LIMIT, if its time has come. A limit that could not be restored does not stop the removals. */
async function repairLimit(user: UserId, context: ReconcileContext): Promise<readonly Finding[]> {
  const { store, clock, newSignal } = context;
  return retryOnConflict(user, async () => {
    const row = keyIn(await store.find(user, newSignal()));
    if (row === undefined || !isLimitDue(row, clock.now().getTime())) return [];
    try {
      return (await restoreLimit(row, context, newSignal())) ? [{ ...limitDue(row), done: true }] : "conflict";
    } catch (thrown) {
      if (!isKeyctlError(thrown) || !LEAVES_OTHERS.has(thrown.code)) throw thrown;
      return [{ ...limitDue(row), error: thrown }];
    }
  });
}

/** Repairs one listed key. After a lost insert its records have changed, and the key is classified again. */
async function repairKey(
  key: UpstreamKey,
  user: UserId,
  row: KeyRecord | undefined,
  context: ReconcileContext,
): Promise<Repair> {
  const { journal, clock, deployment, newSignal } = context;
  return retryOnConflict(user, async () => {
    const facts = foldJournal(await journal.entries(user, newSignal()));
    const judgement = classifyKey(key, facts, row, { deployment, now: clock.now().getTime() });
    const end = await ENDINGS[judgement.kind](key, user, judgement, { ...context, facts });
    return end === "judge-again" ? "conflict" : end;
  });
}

/** With the records by which the key was classified. */
interface RepairContext extends ReconcileContext {
  readonly facts: JournalState;
}

type RepairOutcome = (
  key: UpstreamKey,
  user: UserId,
  judgement: KeyState,
  context: RepairContext,
) => Promise<Repair | "judge-again">;

const leave: RepairOutcome = async (_key, _user, judgement) => ({ status: "left", judgement });

const ENDINGS: Readonly<Record<KeyState["kind"], RepairOutcome>> = {
  keep: leave,
  async kept(key, user, judgement, context) {
    if (context.includeKept !== true) return { status: "left", judgement };
    const n = numberOf(judgement);
    const outcome = await context.journal.entry(user, "out", n, context.newSignal());
    if (!(await isRemovableKept(outcome, context))) return { status: "left", judgement };
    await appendEntry(user, { kind: "del", n }, context, context.newSignal());
    return removed(key, user, judgement, context);
  },
  "no-row": leave,
  unknown: leave,
  "decided-against": removeUnlessHeld,
  async undecided(key, user, judgement, context) {
    if (judgement.kind !== "undecided" || judgement.isFresh) return { status: "left", judgement };
    // Abandoned first, then deleted.
    const entry = { kind: "out", n: judgement.n, outcome: "abandoned" } as const;
    const stands = await appendEntry(user, entry, context, context.newSignal());
    if (stands.outcome !== "abandoned") return "judge-again";
    context.history.note({ event: "abandoned", userId: user, key: keyOf(key, judgement), isFinished: true });
    return removeUnlessHeld(key, user, judgement, context);
  },
  async superseded(key, user, judgement, context) {
    const n = numberOf(judgement);
    // A rotation that came between the reading of the row and of the records: the note in its row knows of a grace.
    if (await settledAsPrevious(user, n, context)) return "judge-again";
    const entry = { kind: "rev", n, reason: "superseded", revoke: true, block: false } as const;
    const stands = await appendEntry(user, entry, context, context.newSignal());
    return stands.revoke ? removed(key, user, judgement, context) : "judge-again";
  },
  async retiring(_key, user, judgement, context) {
    if (judgement.kind !== "retiring" || !judgement.isDue) return { status: "left", judgement };
    await appendEntry(user, { kind: "del", n: judgement.n }, context, context.newSignal());
    return "judge-again";
  },
  owed: (key, user, judgement, context) => removed(key, user, judgement, context),
};

const removed: RepairOutcome = async ({ hash }, user, judgement, context) => {
  const n = numberOf(judgement);
  const { out, rev } = context.facts;
  const outcome = out.get(n);
  const keyHash = outcome?.outcome === "saved" ? outcome.hash : null;
  await removeOwed({ user, n, keyHash, upstreamId: hash, blocks: rev.get(n)?.block === true }, context);
  return { status: "removed", judgement };
};

/** SETTLE of a row whose predecessor is generation n. False if there is no such row. */
async function settledAsPrevious(user: UserId, n: number, context: ReconcileContext): Promise<boolean> {
  const { store, newSignal } = context;
  const row = keyIn(await store.find(user, newSignal()));
  if (row === undefined || row.settled || row.previous?.generation !== n) return false;
  if (await confirmGeneration(row, context, newSignal())) await revokePredecessor(row, context, newSignal());
  return true;
}

async function removeUnlessHeld(
  key: UpstreamKey,
  user: UserId,
  judgement: KeyState,
  context: ReconcileContext,
): Promise<Repair> {
  const isHeld = await isStored(key.hash, context.store, context.newSignal);
  if (isHeld) return { status: "left", judgement };
  await removeConfirmed({ upstreamId: key.hash }, context);
  context.history.note({ event: "revoked", userId: user, key: keyOf(key, judgement), isFinished: true });
  return { status: "removed", judgement };
}

/** A key in no row and no outcome: only OpenRouter's id of it is known. */
function keyOf({ hash }: UpstreamKey, judgement: KeyState): KeyOfEvent {
  return { keyHash: hash, keyTail: null, generation: numberOf(judgement) };
}

function numberOf(judgement: KeyState): number {
  if ("n" in judgement) return judgement.n;
  throw new Error("a key of nobody's was to be removed");
}

/** Repairs each key by the records at that time; a key that could not be removed does not stop the others. */
export async function repair({ user, keys }: OwnedKeys, context: ReconcileContext): Promise<readonly Finding[]> {
  const { row, purged } = await repairRow(user, context);
  const findings: Finding[] = purged === undefined ? [] : [{ ...purgePending(purged), done: true }];
  if (row !== undefined && isLimitDue(row, context.clock.now().getTime())) {
    findings.push(...(await repairLimit(user, context)));
  }
  const now = context.clock.now().getTime();
  const kept = await keptKeys({ user, keys }, row, context);
  for (const key of keys) {
    const removal = toRemove(key, user, kept.has(key) ? "kept" : "orphan");
    try {
      const { status, judgement } = await repairKey(key, user, row, context);
      const isRemoved = status === "removed";
      const found = isRemoved && kept.has(key) ? [removal] : findingOf(key, user, judgement, now);
      findings.push(...found.map((finding) => ({ ...finding, done: isRemoved })));
    } catch (thrown) {
      if (!isKeyctlError(thrown) || !LEAVES_OTHERS.has(thrown.code)) throw thrown;
      findings.push({ ...removal, error: thrown });
    }
  }
  return findings;
}

/** The keys that are removed although they were kept on purpose. */
async function keptKeys(
  { user, keys }: OwnedKeys,
  row: KeyRecord | undefined,
  { includeKept = false, journal, deployment, newSignal }: ReconcileContext,
): Promise<ReadonlySet<UpstreamKey>> {
  if (!includeKept) return new Set();
  const facts = foldJournal(await journal.entries(user, newSignal()));
  return new Set(keys.filter((key) => classifyKey(key, facts, row, { deployment, now: 0 }).kind === "kept"));
}

const LEAVES_OTHERS: ReadonlySet<string> = new Set(["REVOKE_PENDING", "CONFLICT", "PROVIDER_UNAVAILABLE"]);
