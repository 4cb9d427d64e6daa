import { Candidates } from "./source-candidates.ts";
import { ABSENT, decide } from "./decide.ts";
import { assertCanCreate } from "./creation-obstacles.ts";
import { foresee } from "./preview-decision.ts";
import type { Performable } from "./preview-decision.ts";
import { memoizeAsync } from "../async/memoize.ts";
import { assertSpoolReadable, foreseen } from "../protocol/preview-store.ts";
import { warningsOf } from "../protocol/provision-key.ts";
import type { Source } from "../model/log-event.ts";
import type { KeyctlError } from "../model/errors.ts";
import { syncFailed } from "../model/results.ts";
import type { SyncResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";
import type { Context } from "../context.ts";
import { resolveMany } from "./resolve-many.ts";
import { createForMissing } from "./sync-many.ts";
import type { SyncManyTask } from "./sync-many.ts";
import { answer } from "./sync-result.ts";
import { usableOf } from "./usable-candidates.ts";

/** What sync would do for a user. `source` is the place that the key comes from or would come from. */
export interface SyncPreview extends Pick<SyncResult, "userId" | "shadowed" | "warnings"> {
  readonly action: "create" | "none";
  readonly key: SyncResult["key"];
  readonly keyHash: string | null;
  readonly source: Source | null;
  readonly origin: string | null;
  readonly error: SyncResult["error"];
}

/** As `resolve`; saves and creates nothing. */
export async function previewSync(
  user: UserId,
  context: Context,
  autoProvision: boolean,
  signal: AbortSignal,
): Promise<SyncPreview> {
  const { stored, candidates, decision, outcome } = await foresee(user, context, autoProvision, signal);
  if (outcome.kind === "fails") {
    return syncPreviewFailed(user, outcome.error, decision.kind === "none" ? candidates.warnings : []);
  }
  if (outcome.kind !== "keep") return previewOf(user, outcome, candidates);
  if (stored.kind !== "held" || stored.key === null) throw new Error("a key is kept that is not there");
  const now = context.clock.now().getTime();
  return { ...answer(stored.row, stored.key, { source: "database", candidates, now }), action: "none" };
}

/** As `syncMany`; saves and creates nothing. */
export async function* previewSyncMany(
  batches: AsyncIterable<readonly UserId[]>,
  context: Context,
  { reach, provision, budget, newSignal }: Pick<SyncManyTask, "reach" | "provision" | "budget" | "newSignal">,
): AsyncGenerator<readonly SyncPreview[]> {
  const adopts = reach === "sources";
  const read = adopts ? await Candidates.read(context.sources) : await Candidates.readBeside(context.sources);
  const { candidates } = adopts ? await usableOf(read, context, newSignal()) : { candidates: read };
  const saved = decide(ABSENT, candidates, { kind: "off" });
  const assertCanSeal = memoizeAsync(context.assertCanSeal);
  const resolving = { candidates: read, adopt: false, onSpooled: adopts ? assertSpoolReadable : null, newSignal };
  // As in the run, which needs the sealer before it has a result.
  const sealable = async function* () {
    for await (const batch of batches) {
      if (adopts && saved.kind === "save" && batch.length > 0) await assertCanSeal(newSignal());
      yield batch;
    }
  };
  for await (const { results, missing } of resolveMany(sealable(), foreseen(context), resolving)) {
    const withRows = (ofMissing: (user: UserId) => SyncPreview) =>
      results.map((result): SyncPreview =>
        missing.has(result.userId) ? ofMissing(result.userId as UserId) : { ...result, action: "none" },
      );
    if (adopts && saved.kind === "save") {
      yield withRows((user) => previewOf(user, saved, candidates));
      continue;
    }
    const previews = withRows((user) => syncPreviewFailed(user, candidates.noKey(user), candidates.warnings));
    const batch = { results: previews, missing, candidates };
    yield* createForMissing(batch, context, {
      reach,
      provision,
      budget,
      async create(user, terms) {
        await assertCanCreate(user, { ...context, assertCanSeal }, newSignal());
        return previewOf(user, { kind: "create", terms }, candidates);
      },
      isCreated: () => true,
      failed: syncPreviewFailed,
      concurrency: 1,
      stop: undefined,
    });
  }
}

export function syncPreviewFailed(user: string, error: KeyctlError, warnings: readonly Warning[] = []): SyncPreview {
  return { ...syncFailed(user, error, warnings), action: "none" };
}

/** For a user without a row. */
function previewOf(
  userId: string,
  decision: Exclude<Performable, { kind: "keep" }>,
  candidates: Candidates,
): SyncPreview {
  const { warnings } = candidates;
  if (decision.kind === "create") {
    const nothing = { key: null, keyHash: null, origin: null, shadowed: [], error: null };
    const all = [...warnings, ...warningsOf(decision.terms)];
    return { userId, ...nothing, source: "auto-provisioned", warnings: all, action: "create" };
  }
  const { key, from: source } = decision;
  const { shadowed } = candidates.shadowedBy(key);
  return { userId, key, keyHash: key.hash, source, origin: null, shadowed, warnings, action: "none", error: null };
}
