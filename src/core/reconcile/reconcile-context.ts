import type { Context } from "../context.ts";
import type { AccountKeys } from "../protocol/management-access.ts";
import type { Timestamp } from "../model/key-record.ts";

/** What a repair works with; each step has its own time limit. */
export interface ReconcileContext extends Context {
  readonly keys: AccountKeys;
  readonly deployment: string;
  /** When the store was bound to this account instead of another one; null if it never was. */
  readonly adoptedAt: Timestamp | null;
  /** Keys that were kept on purpose are removed, too. */
  readonly includeKept?: boolean;
  readonly newSignal: () => AbortSignal;
}
