import type { Journal } from "../ports/journal.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import { doubtsAbout } from "./confirm-deletion.ts";
import type { DeleteResult, UpstreamKeys } from "../ports/openrouter.ts";
import type { Deadline } from "../async/deadline.ts";

/**
 * Touching upstream is the last thing that is done about a key: it is disabled first, which can be undone, then deleted.
 * A key that is gone is done. That it was deleted is OpenRouter's word, and still to be confirmed.
 */
export async function disableAndDelete(hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<DeleteResult> {
  const disabled = await keys.disable(hash, deadline);
  return disabled.status === "done" ? keys.remove(hash, deadline) : disabled;
}

/** As `disableAndDelete`, for a key whose text is not at hand: its entry confirms that it is gone, else it is `unknown`. */
export async function removeUpstream(hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<DeleteResult> {
  const removal = await disableAndDelete(hash, keys, deadline);
  if (removal.status !== "done") return removal;
  const [doubt = null] = await doubtsAbout([{ hash, keys, checkKey: null }], deadline);
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
