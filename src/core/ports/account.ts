import type { Warning } from "../model/warning.ts";
import type { Timestamp } from "../model/key-record.ts";
import type { UpstreamKey } from "./openrouter.ts";

/** `ours`: an absence there counts. `unbound`: there is nothing to compare yet. `unknown`: OpenRouter did not say. */
export type Standing = "ours" | "unbound" | "unknown";

/** The account of the management key, as far as this store is concerned. */
export interface Account {
  /** Rejects with MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT, MANAGEMENT_KEY_REFUSED, PROVIDER_UNAVAILABLE when the time is over first. */
  standing(signal: AbortSignal): Promise<Standing>;
  /** As `standing`, where all keys of the account were listed: any key of this store among them is proof too. */
  standingBy(listed: ReadonlyMap<string, UpstreamKey>, newSignal: () => AbortSignal): Promise<Standing>;
  /**
   * Whether what began then may be of an account that the store was bound to before: that a key of it is missing in this
   * one says nothing.
   */
  predates(at: Timestamp, signal: AbortSignal): Promise<boolean>;
  /** As `predates`, for the key with this hash; false for one that is proven gone, or that no record of this store knows. */
  mayBeElsewhere(hash: string, signal: AbortSignal): Promise<boolean>;
  /** A key was created: the first one binds the store. Rejects for a bug only: what fails is left to the next look. */
  created(key: UpstreamKey): Promise<void>;
  /** Binds the store to the account of the management key, whatever it was bound to. Rejects with PROVIDER_UNAVAILABLE where OpenRouter does not tell that account. */
  adopt(signal: AbortSignal): Promise<void>;
}

/** An account of which nothing is loaded or asked before it matters. */
export interface AccountOnUse {
  readonly open: () => Promise<Account>;
  /** What was not told yet. */
  readonly takeWarnings: () => readonly Warning[];
}
