import type { ApiKey } from "../model/api-key.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { isTimeout } from "../async/deadline.ts";
import { placeKey } from "./store-new-key.ts";
import { waitForRoom } from "./hourly-cap.ts";
import { CLEAN_UP_MS } from "./abandon-operation.ts";
import { createKey, newKeyRow, settleLastOperation } from "./create-key.ts";
import type { CreatedKey, CreationCall, CreationTask } from "./create-key.ts";
import type { UserId } from "../model/user-id.ts";
import { findKey } from "./find-key.ts";
import type { Context } from "../context.ts";
import { conflictError } from "./contention.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import type { Warning } from "../model/warning.ts";

/** The result: a new key, a row that another command created meanwhile, a request to start over, or no key. */
export type Provision =
  | {
      readonly status: "made";
      readonly row: KeyRecord;
      readonly key: ApiKey;
      readonly warnings: readonly Warning[];
    }
  | { readonly status: "found"; readonly row: KeyRecord }
  | { readonly status: "look-again" }
  | { readonly status: "none" };

/**
 * RECORD OPERATION to RECORD OUTCOME, for a user without a row. Throws PROVISION_CAP at once if the hourly cap is used
 * up, and after a time-out if operations that are under way may use it up.
 */
export async function provision(
  user: UserId,
  task: CreationTask,
  context: Context,
  signal: AbortSignal,
): Promise<Provision> {
  const call = { user, task, context, signal };
  const find = () => findKey(context.store, user, signal);
  for (;;) {
    const last = await settleLastOperation(call, find);
    if (typeof last === "string") return { status: last };
    if ("row" in last) return { status: "found", row: last.row };
    const row = await find();
    if (row !== undefined) return { status: "found", row };
    if (!task.mayMake) return { status: "none" };
    await context.store.assertAbsent?.(user, signal);
    const created = await createKey(last.n + 1, call);
    if (created === "look-again") return { status: created };
    if (created !== "crowded") return storeCreated(created, call);
    await waitForRoom(context.provisioning.maxPerHour(), signal);
  }
}

/** STORE ROW and RECORD OUTCOME. */
async function storeCreated(created: CreatedKey, { user, task, context, signal }: CreationCall): Promise<Provision> {
  const { creation, operation, keys, deployment, accountBound } = created;
  task.onStage("storage");
  const row = await newKeyRow(created, user, context);
  const { key, upstream } = creation;
  const placed = await placeKey({ row, upstreamId: upstream.hash, keys, deployment, accountBound }, context);
  await accountBound;
  if (placed === "lost") return isTimeout(signal.reason) ? winnerOf(user, context) : { status: "look-again" };
  context.log({ kind: "made", key });
  return { status: "made", row: placed, key, warnings: warningsOf(operation) };
}

/** The row that was stored first, for a call without time to start over. */
async function winnerOf(user: UserId, { store }: Context): Promise<Provision> {
  const row = await findKey(store, user, AbortSignal.timeout(CLEAN_UP_MS));
  if (row === undefined) throw conflictError(user);
  return { status: "found", row };
}

/** The warnings about a key with this limit. */
export function warningsOf({ limit }: Pick<WantedTerms, "limit">): readonly Warning[] {
  if (limit !== null) return [];
  return [{ code: "NO_LIMIT", message: "the new key has no spending limit" }];
}
