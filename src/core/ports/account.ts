import type { Warning } from "../model/warning.ts";
import type { Timestamp } from "../model/key-record.ts";
import type { UpstreamKey } from "./openrouter.ts";

/** `ours`: a missing key counts as deleted. `unbound`: nothing to compare yet. `unknown`: OpenRouter did not say. */
export type Standing = "ours" | "unbound" | "unknown";

/** The account of the management key, compared with the account of this store. */
export interface Account {
  /** Rejects with MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT, MANAGEMENT_KEY_REFUSED, or PROVIDER_UNAVAILABLE after a time-out. */
  standing(signal: AbortSignal): Promise<Standing>;
  /** As `standing`, after all keys of the account were listed: any key of this store among them is proof too. */
  standingBy(listed: ReadonlyMap<string, UpstreamKey>, newSignal: () => AbortSignal): Promise<Standing>;
  /**
   * Whether an operation that began at that time may belong to an account that the store was bound to before. The absence of
   * its key in the present account then proves nothing.
   */
  predates(at: Timestamp, signal: AbortSignal): Promise<boolean>;
  /** As `predates`, for the key with this hash; false for a key that is proven deleted, or that no record of this store knows. */
  mayBeElsewhere(hash: string, signal: AbortSignal): Promise<boolean>;
  /** Called after a key was created: the first key binds the store. Rejects only for a bug: a failure is left to the next comparison. */
  created(key: UpstreamKey): Promise<void>;
  /** Binds the store to the account of the management key, whatever it was bound to. Rejects with PROVIDER_UNAVAILABLE if OpenRouter does not name that account. */
  adopt(signal: AbortSignal): Promise<void>;
}

/** An account that is loaded and compared only when it matters. */
export interface AccountOnUse {
  readonly open: () => Promise<Account>;
  /** Warnings that were not reported yet. */
  readonly takeWarnings: () => readonly Warning[];
}
