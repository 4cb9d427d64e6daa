import { KeyctlError, isKeyctlError } from "../model/errors.ts";
import { appendEntry } from "../protocol/write-journal.ts";
import { foldJournal, classifyKey } from "./classify-key.ts";
import type { KeyState } from "./classify-key.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { removeRow } from "../protocol/write-row.ts";
import {
  withTrueGeneration,
  confirmGeneration,
  markSettled,
  recordGone,
  revokePredecessor,
  settledRow,
} from "../protocol/settle-row.ts";
import { isStored, removeUpstream } from "../protocol/delete-upstream.ts";
import type { UpstreamKey } from "../ports/openrouter.ts";
import type { UserId } from "../model/user-id.ts";
import { retryOnConflict } from "../protocol/contention.ts";
import { deadlineIn } from "../async/deadline.ts";
import type { OwnedKeys } from "./claims.ts";
import type { Finding } from "./finding.ts";
import { purgePending, findingOf, toRemove } from "./finding.ts";
import { isRemovableKept } from "./kept-keys.ts";
import type { ReconcileContext } from "./reconcile-context.ts";

/** What became of a key: `left` is as it should be, or cannot be classified now. */
type Repair = { readonly status: "removed" } | { readonly status: "left"; readonly judgement: KeyState };

const REMOVAL_MS = 30_000;

/** The row after a repair, and the row that an interrupted purge left. */
interface RepairedRow {
  readonly row: KeyRecord | undefined;
  readonly purged?: KeyRecord;
}

/** SETTLE; also finishes a purge that died before it removed the row. */
async function repairRow(user: UserId, context: ReconcileContext): Promise<RepairedRow> {
  const { store, journal, newSignal } = context;
  return retryOnConflict(user, async () => {
    const row = await store.find(user, newSignal());
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
    await removeRow(store, user, settled, newSignal());
    return { row: undefined, purged: settled };
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
    const end = await ENDINGS[judgement.kind](key, user, judgement, context);
    return end === "judge-again" ? "conflict" : end;
  });
}

type RepairOutcome = (
  key: UpstreamKey,
  user: UserId,
  judgement: KeyState,
  context: ReconcileContext,
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
    return removeOwed(key, user, n, context);
  },
  "no-row": leave,
  unknown: leave,
  "decided-against": (key, _user, judgement, context) => removeUnlessHeld(key, judgement, context),
  async undecided(key, user, judgement, context) {
    if (judgement.kind !== "undecided" || judgement.isFresh) return { status: "left", judgement };
    // Abandoned first, then deleted.
    const entry = { kind: "out", n: judgement.n, outcome: "abandoned" } as const;
    const stands = await appendEntry(user, entry, context, context.newSignal());
    return stands.outcome === "abandoned" ? removeUnlessHeld(key, judgement, context) : "judge-again";
  },
  async superseded(key, user, judgement, context) {
    const n = numberOf(judgement);
    const entry = { kind: "rev", n, reason: "superseded", revoke: true } as const;
    const stands = await appendEntry(user, entry, context, context.newSignal());
    return stands.revoke ? removeOwed(key, user, n, context) : "judge-again";
  },
  owed: (key, user, judgement, context) => removeOwed(key, user, numberOf(judgement), context),
};

/** **Order:** the row first: a row that still holds the key is removed before the key. */
async function removeOwed(key: UpstreamKey, user: UserId, n: number, context: ReconcileContext): Promise<Repair> {
  const { store, newSignal } = context;
  return retryOnConflict(user, async () => {
    const found = await store.find(user, newSignal());
    const row = found === undefined ? undefined : await withTrueGeneration(found, context, newSignal());
    if (row !== undefined && holds(row, n, key)) {
      // REVOKE PREDECESSOR, as before every removal of a row.
      await revokePredecessor(row, context, newSignal());
      await removeRow(store, user, row, newSignal());
      return "conflict";
    }
    const mayComeBack = row !== undefined && row.generation > 0 && !row.settled && row.previous?.generation === n;
    // RECORD OUTCOME decides, as for every reader of the row. If the row is rolled back, the key is found in it.
    if (mayComeBack && !(await confirmGeneration(row, context, newSignal()))) return "conflict";
    const end = await removeNow(key, context);
    await recordGone(user, n, context, newSignal());
    return end;
  });
}

function holds(row: KeyRecord, n: number, { hash }: UpstreamKey): boolean {
  return row.generation === n || (row.generation === 0 && row.keyHash === hash);
}

async function removeUnlessHeld(key: UpstreamKey, judgement: KeyState, context: ReconcileContext): Promise<Repair> {
  const isHeld = await isStored(key.hash, context.store, context.newSignal);
  return isHeld ? { status: "left", judgement } : removeNow(key, context);
}

/** Throws REVOKE_PENDING if the deletion could not be confirmed. */
async function removeNow({ hash }: UpstreamKey, { keys, newSignal }: ReconcileContext): Promise<Repair> {
  const removal = await removeUpstream(hash, keys, deadlineIn(REMOVAL_MS, newSignal()));
  if (removal.status !== "unknown") return { status: "removed" };
  throw new KeyctlError("REVOKE_PENDING", `a key to be removed may still work: OpenRouter ${removal.detail}`, {
    hint: "keyctl reconcile --fix   tries again",
    retryable: true,
  });
}

function numberOf(judgement: KeyState): number {
  if ("n" in judgement) return judgement.n;
  throw new Error("a key of nobody's was to be removed");
}

/** Repairs each key by the records at that time; a key that could not be removed does not stop the others. */
export async function repair({ user, keys }: OwnedKeys, context: ReconcileContext): Promise<readonly Finding[]> {
  const { row, purged } = await repairRow(user, context);
  const findings: Finding[] = purged === undefined ? [] : [{ ...purgePending(purged), done: true }];
  const now = context.clock.now().getTime();
  const kept = await keptKeys({ user, keys }, row, context);
  for (const key of keys) {
    const removal = toRemove(key, user, kept.has(key) ? "kept" : "orphan");
    try {
      const end = await repairKey(key, user, row, context);
      findings.push(
        ...(end.status === "removed" ? [{ ...removal, done: true }] : findingOf(key, user, end.judgement, now)),
      );
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

const LEAVES_OTHERS: ReadonlySet<string> = new Set(["REVOKE_PENDING", "CONFLICT"]);
