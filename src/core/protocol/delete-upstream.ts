import type { Context } from "../context.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Journal } from "../ports/journal.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import { doubtsAbout } from "./confirm-deletion.ts";
import type { Deletion } from "./confirm-deletion.ts";
import type { DeleteResult } from "../ports/openrouter.ts";
import type { AccountKeys } from "./management-access.ts";
import { deadlineIn, isTimeout } from "../async/deadline.ts";
import type { Deadline } from "../async/deadline.ts";

/**
 * **Order:** changes upstream come last. The key is disabled first, which can be undone, then taken out of guardrails and
 * allow-lists, then deleted. A key that works without its guardrail would be less restricted, and one that is deleted before it
 * is out of an allow-list makes that list unchangeable. The result is what OpenRouter reports (deleted or missing) and is still
 * to be confirmed.
 */
export async function disableAndDelete(hash: string, keys: AccountKeys, deadline: Deadline): Promise<DeleteResult> {
  const disabled = await keys.disable(hash, deadline);
  if (disabled.status !== "done") return disabled;
  await (await keys.restrictions()).detach(hash, keys, deadline);
  return keys.remove(hash, deadline);
}

/**
 * As `disableAndDelete`, with a confirmation: a deletion that is not confirmed is `unknown`.
 * @param checkKey asks with the key itself; null if its text is not at hand
 */
export async function removeUpstream(
  hash: string,
  keys: AccountKeys,
  deadline: Deadline,
  checkKey: Deletion["checkKey"] = null,
): Promise<DeleteResult> {
  const removal = await disableAndDelete(hash, keys, deadline);
  if (removal.status === "unknown") return removal;
  const isFresh = removal.status === "done";
  const [doubt = null] = await doubtsAbout([{ hash, isFresh, keys, checkKey }], deadline);
  if (doubt === null) return removal;
  return {
    status: "unknown",
    reason: "provider_error",
    httpStatus: null,
    attempts: 1,
    detail: doubt,
    remedy: undefined,
  };
}

const NEW_KEY_MS = 20_000;

/** A key that was created and that may be stored nowhere. */
export interface UnstoredKey {
  readonly row: KeyRecord;
  /** OpenRouter's own id of it. */
  readonly upstreamId: string;
  /** Undefined without a management key, when nothing can be deleted. */
  readonly keys: AccountKeys | undefined;
}

/**
 * Removes an abandoned key that was created a moment ago or waited in a file. False if it could not be removed now: the
 * next reconcile finds it.
 * @param caller aborts when the caller stops waiting
 */
export async function deleteNewKey(
  { row, upstreamId, keys }: UnstoredKey,
  context: Pick<Context, "sealer" | "openRouter">,
  caller: AbortSignal = new AbortController().signal,
): Promise<boolean> {
  if (keys === undefined) return false;
  try {
    const deadline = deadlineIn(NEW_KEY_MS, caller);
    const checkKey = await checkOfNew(row, context, deadline.signal);
    return (await removeUpstream(upstreamId, keys, deadline, checkKey)).status !== "unknown";
  } catch (thrown) {
    if (isKeyctlError(thrown)) return false;
    throw thrown;
  }
}

/** Null if the master key that encrypted it is not at hand. */
async function checkOfNew(
  { keyEncrypted, userId }: KeyRecord,
  { sealer, openRouter }: Pick<Context, "sealer" | "openRouter">,
  signal: AbortSignal,
): Promise<Deletion["checkKey"]> {
  try {
    const key = (await sealer("open", signal)).open(keyEncrypted, userId);
    const asked = await openRouter.open();
    return (deadline) => asked.checkKey(key, deadline);
  } catch (thrown) {
    if (isKeyctlError(thrown) || isTimeout(thrown)) return null;
    throw thrown;
  }
}

/**
 * The keys among these that no record and no row holds. A key that was matched by its name is kept if any record or row
 * holds it, whatever its name says.
 */
export async function unreferenced(
  hashes: readonly string[],
  { store, journal }: { readonly store: KeyStore; readonly journal: Journal },
  newSignal: () => AbortSignal,
): Promise<readonly string[]> {
  if (hashes.length === 0) return [];
  const outcomes = await journal.outcomesOf(hashes, newSignal());
  const recorded = new Set(outcomes.flatMap(({ hash, upstreamHash }) => [hash, upstreamHash]));
  const unrecorded = hashes.filter((hash) => !recorded.has(hash));
  const free: string[] = [];
  for (const hash of unrecorded) if (!(await isStored(hash, store, newSignal))) free.push(hash);
  return free;
}

export async function isStored(hash: string, store: KeyStore, newSignal: () => AbortSignal): Promise<boolean> {
  for await (const _ of store.scan(newSignal, hash)) return true;
  return false;
}
