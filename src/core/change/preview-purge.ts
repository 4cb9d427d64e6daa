import type { Context } from "../context.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { managementKeyMissing } from "../model/management-key.ts";
import type { PurgePreview } from "../model/results.ts";
import { isTombstone, keyIn } from "../model/tombstone.ts";
import type { UserId } from "../model/user-id.ts";
import type { Recorded } from "../ports/journal.ts";
import { foreseen } from "../protocol/preview-store.ts";
import { countRetained, retainedOutcomes } from "../protocol/retained-keys.ts";
import { withTrueGeneration } from "../protocol/settle-row.ts";
import type { NextSync } from "../resolve/next-sync.ts";
import { NO_KEY_CAN_BE_REMOVED, purgeOf, refuseForeign } from "./purge-key.ts";
import type { PurgeTask, Revoke } from "./purge-key.ts";

interface PurgePreviewTask extends Pick<PurgeTask, "revoke"> {
  readonly blocks: boolean;
  readonly nextSync: NextSync | null;
}

/** What a purge of this user would remove; changes nothing. Without `nextSync`, the next sync is not predicted. */
export async function previewPurge(
  user: UserId,
  { revoke, blocks, nextSync }: PurgePreviewTask,
  context: Context,
  signal: AbortSignal,
): Promise<PurgePreview> {
  if (revoke !== "no" && context.managementKey() === undefined) throw managementKeyMissing(NO_KEY_CAN_BE_REMOVED);
  const view = foreseen(context);
  const stored = await view.store.find(user, signal);
  const held = keyIn(stored);
  const row = held === undefined ? undefined : await withTrueGeneration(held, context, signal);
  if (row?.generation === 0) await refuseForeign(row, { revoke, blocks }, context, signal);
  const entries = revoke === "no" ? [] : await context.journal.entries(user, signal);
  const blocked = isTombstone(stored);
  const foretold = blocked || blocks ? undefined : nextSync?.returnsFrom(doomedBy(row, revoke, entries), signal);
  const returnsFrom = (await foretold) ?? [];
  const found = { ...purgeOf(user, row, null), purged: false, blocked, wasBlocked: blocked };
  return { ...found, returnsFrom, retained: countRetained(entries) };
}

/** The hashes of the keys that the purge would mark for deletion. */
function doomedBy(row: KeyRecord | undefined, revoke: Revoke, entries: readonly Recorded[]): ReadonlySet<string> {
  const replaced = row?.previous?.revoke === true && row.previous.generation > 0 ? row.previous.keyHash : null;
  const own = revoke !== "no" && row !== undefined && row.generation > 0 ? row.keyHash : null;
  const retained = retainedOutcomes(entries).map(({ hash }) => hash);
  return new Set([replaced, own, ...retained].filter((hash) => hash !== null));
}
