import type { Warning } from "../model/warning.ts";
import type { Restrictions, Timestamp } from "../model/key-record.ts";
import type { Deadline } from "../async/deadline.ts";
import type { Unknown, UpstreamKey, UpstreamKeys } from "./openrouter.ts";

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

/** What names a key at OpenRouter. Null: OpenRouter does not show it. */
export interface Attached {
  /** The ids of guardrails. */
  readonly guardrails: readonly string[] | null;
  /** The ids of provider keys (BYOK) whose allow-list names the key. */
  readonly byok: readonly string[] | null;
}

/** `detail` is a sentence without its subject: what could not be attached, and why. */
export type Attaching = { readonly status: "attached" } | { readonly status: "failed"; readonly detail: string };

/** Guardrails and allow-lists of the account. They are read at most once a minute, and before each edit. */
export interface RestrictionsUpstream {
  attachedTo(hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<Attached | Unknown>;
  /** Attaches the key to all of them, and reads back that it is there. */
  attach(hash: string, to: Restrictions, keys: UpstreamKeys, deadline: Deadline): Promise<Attaching>;
  /** Before the key is deleted. Best effort. */
  detach(hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<void>;
}

/** An account that is loaded and compared only when it matters. */
export interface AccountOnUse {
  readonly open: () => Promise<Account>;
  readonly restrictions: () => Promise<RestrictionsUpstream>;
  /** Warnings that were not reported yet. */
  readonly takeWarnings: () => readonly Warning[];
}
