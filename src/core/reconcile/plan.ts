import type { UpstreamSnapshot } from "./upstream-snapshot.ts";
import { foldJournal, projectSettlement, classifyKey } from "./classify-key.ts";
import type { KeyState } from "./classify-key.ts";
import { demoteIfOverwritten } from "../protocol/settle-row.ts";
import type { Finding } from "./finding.ts";
import { findingOf, limitDue, purgePending, danglingRow, toRemove } from "./finding.ts";
import { isLimitDue } from "../protocol/restore-limit.ts";
import { isRemovableKept } from "./kept-keys.ts";
import { keyIn } from "../model/tombstone.ts";
import type { OwnedKeys } from "./claims.ts";
import { olderKeys, reportedAsOlder } from "./older-keys.ts";
import type { ReconcileContext } from "./reconcile-context.ts";

export interface PlanCounts {
  matched: number;
  /** Replaced or purged, and kept on purpose or until the end of a grace; without those that are to be removed. */
  kept: number;
}

export interface Plan {
  readonly findings: readonly Finding[];
  /** Something is to be done, if only to settle the row. */
  readonly needsRepair: boolean;
}

/** What a repair would do about a user's keys; changes nothing. */
export async function planFor(
  { user, keys }: OwnedKeys,
  inventory: UpstreamSnapshot,
  context: ReconcileContext,
  tally: PlanCounts,
): Promise<Plan> {
  const { store, journal, clock, deployment, newSignal } = context;
  const found = keyIn(await store.find(user, newSignal()));
  const facts = projectSettlement(found, foldJournal(await journal.entries(user, newSignal())));
  const row = found === undefined ? undefined : demoteIfOverwritten(found, facts.out.get(found.generation));
  const now = clock.now().getTime();
  const isPurgePending = row !== undefined && row.generation > 0 && facts.rev.has(row.generation);
  const standing = isPurgePending ? undefined : row;
  const judged = keys.map((key) => ({ key, judgement: classifyKey(key, facts, standing, { deployment, now }) }));
  const ofKeys: Finding[] = [];
  for (const { key, judgement } of judged) {
    const isRemoved = judgement.kind === "kept" && (await isRemovableKept(facts.out.get(judgement.n), context));
    if (!isRemoved) count(judgement, tally);
    ofKeys.push(...(isRemoved ? [toRemove(key, user, "kept")] : findingOf(key, user, judgement, now)));
  }
  const isListed = (hash: string) => inventory.byHash.has(hash);
  const older = inventory.isStable ? olderKeys(facts, standing, { ...context, isListed }) : [];
  const isOlder = older.some(({ hash }) => hash === (standing?.upstreamHash ?? standing?.keyHash));
  const findings = [
    ...(isPurgePending ? [purgePending(row)] : []),
    ...(standing !== undefined && isLimitDue({ ...standing, settled: true }, now) ? [limitDue(standing)] : []),
    ...ofKeys,
    ...older.map((key) => reportedAsOlder(user, key)),
    ...(isOlder ? [] : danglingRow(standing, inventory)),
  ];
  const needsRepair = row?.settled === false || findings.some(({ action }) => action !== "none");
  return { findings, needsRepair };
}

function count(judgement: KeyState, tally: PlanCounts): void {
  const { kind } = judgement;
  if (kind === "keep") tally.matched += 1;
  if (kind === "kept" || (kind === "retiring" && !judgement.isDue)) tally.kept += 1;
}
