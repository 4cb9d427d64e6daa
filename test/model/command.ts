import type { Hash } from "./accesses.ts";

/** The rules that can be left out, to prove that the check notices. Each is an easy mistake in an implementation. */
export type Breach =
  | "trust-row"
  | "upsert"
  | "blind-resend"
  | "aba"
  | "no-previous"
  | "purge-row-first"
  | "purge-finishes-nothing"
  | "purge-forgets-retained"
  | "owed-drops-note"
  | "save-retired"
  | "save-looks-once"
  | "delete-before-abandon"
  | "delete-unrecorded"
  | "eager-supersede"
  | "op-without-out"
  | "cap-check-first"
  | "no-reread"
  | "spool-resend"
  | "own-row-is-foreign"
  | "spool-fails-delete";

/** The protocol, and the simpler one that is compared with it. */
export type Protocol = "row first" | "outcome first" | "outcome first, patched";

export type ActorKind = "sync" | "get" | "save" | "purge" | "rotate" | "reconcile";

/** The command of a user. */
export interface Command {
  readonly kind: ActorKind;
  /** The key that `save` stores, or that sync and get find in key.txt or in the environment. */
  readonly key: Hash | null;
  /** `ours` for `--revoke`, `foreign too` for `--revoke-foreign`. */
  readonly revoke: "no" | "ours" | "foreign too";
  /** The user of the key: 0, or another user with at most one command. */
  readonly user: number;
  /** The maximum number of keys that may be created automatically within an hour; null: no limit. */
  readonly cap: number | null;
  /** The key was requested explicitly: it neither counts towards the cap nor is limited by it. */
  readonly deliberate: boolean;
  /** Whether the machine has a spool folder. */
  readonly spool: boolean;
  readonly breach: Breach | null;
  readonly protocol: Protocol;
}

export function command(kind: ActorKind, options: Partial<Omit<Command, "kind">> = {}): Command {
  const asked = { kind, key: null, revoke: "no", user: 0, cap: null, deliberate: false } as const;
  return { ...asked, spool: false, breach: null, protocol: "row first", ...options };
}
