import type { Budget } from "./budget.ts";
import type { Journal } from "./journal.ts";
import type { KeyStore } from "./ports.ts";
import { doubtsAbout } from "./protocol/confirm-deletion.ts";
import type { Removal, UpstreamKeys } from "./upstream.ts";

/**
 * Touching upstream is the last thing that is done about a key: it is disabled first, which can be undone, then deleted.
 * A key that is gone is done. That it was deleted is OpenRouter's word, and still to be confirmed.
 */
export async function disableAndDelete(hash: string, keys: UpstreamKeys, budget: Budget): Promise<Removal> {
  const disabled = await keys.disable(hash, budget);
  return disabled.status === "done" ? keys.remove(hash, budget) : disabled;
}

/** As `disableAndDelete`, for a key whose text is not at hand: its entry confirms that it is gone, else it is `unknown`. */
export async function removeUpstream(hash: string, keys: UpstreamKeys, budget: Budget): Promise<Removal> {
  const removal = await disableAndDelete(hash, keys, budget);
  if (removal.status !== "done") return removal;
  const [doubt = null] = await doubtsAbout([{ hash, keys, checkKey: null }], budget);
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
export async function heldByNobody(
  hashes: readonly string[],
  { store, journal }: { readonly store: KeyStore; readonly journal: Journal },
  patience: () => AbortSignal,
): Promise<readonly string[]> {
  if (hashes.length === 0) return [];
  const outcomes = await journal.outcomesOf(hashes, patience());
  const recorded = new Set(outcomes.flatMap(({ hash, upstreamHash }) => [hash, upstreamHash]));
  const unrecorded = hashes.filter((hash) => !recorded.has(hash));
  const free: string[] = [];
  for (const hash of unrecorded) if (!(await isInARow(hash, store, patience))) free.push(hash);
  return free;
}

export async function isInARow(hash: string, store: KeyStore, patience: () => AbortSignal): Promise<boolean> {
  for await (const _ of store.scan(patience, hash)) return true;
  return false;
}
