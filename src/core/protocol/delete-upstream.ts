import type { Context } from "../context.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Journal } from "../ports/journal.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import { doubtsAbout } from "./confirm-deletion.ts";
import type { Deletion } from "./confirm-deletion.ts";
import type { DeleteResult, UpstreamKeys } from "../ports/openrouter.ts";
import { deadlineIn, isTimeout } from "../async/deadline.ts";
import type { Deadline } from "../async/deadline.ts";

/**
 * Touching upstream is the last thing that is done about a key: it is disabled first, which can be undone, then deleted.
 * That it was deleted, or is not there, is OpenRouter's word, and still to be confirmed.
 */
export async function disableAndDelete(hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<DeleteResult> {
  const disabled = await keys.disable(hash, deadline);
  return disabled.status === "done" ? keys.remove(hash, deadline) : disabled;
}

/**
 * As `disableAndDelete`, and confirmed: what is not confirmed is `unknown`.
 * @param checkKey asks with the key itself; null where its text is not at hand
 */
export async function removeUpstream(
  hash: string,
  keys: UpstreamKeys,
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

/** A key that was created and stands nowhere for certain. */
export interface UnstoredKey {
  readonly row: KeyRecord;
  /** OpenRouter's own id of it. */
  readonly upstreamId: string;
  /** Undefined without a management key: nothing can be deleted then. */
  readonly keys: UpstreamKeys | undefined;
}

/**
 * Removes a key that was created a moment ago, or waited in a file, and is decided against. False for what could not be
 * removed now: the next reconcile finds it.
 * @param caller when nobody waits for it any more
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

/** Null where the master key that sealed it is not at hand. */
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
 * Those of these keys that nobody's records or row hold. A key that was matched by its name is spared when any of them
 * does: it then belongs to somebody, whatever its name says.
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
