import type { Hash } from "./accesses.ts";

/** The rules that can be left out, to see that the check notices. Each is a way in which the protocol is easily built wrong. */
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

/** The protocol, and the plainer one that it is compared with. */
export type Protocol = "row first" | "outcome first" | "outcome first, patched";

export type ActorKind = "sync" | "get" | "save" | "purge" | "rotate" | "reconcile";

/** What a person asked for. */
export interface Command {
  readonly kind: ActorKind;
  /** The key that `save` stores, or that sync and get find in key.txt or in the environment. */
  readonly key: Hash | null;
  /** `--revoke`, and `--revoke-foreign`. */
  readonly revoke: "no" | "ours" | "foreign too";
  /** Whose key it is about: 0, or another user's, of whom there is one command at most. */
  readonly user: number;
  /** How many keys may be made within an hour without anybody asking for them; null: any number. */
  readonly cap: number | null;
  /** A person has asked for this key: it is not counted, and not capped. */
  readonly deliberate: boolean;
  /** Whether the machine has a spool folder to look into. */
  readonly spool: boolean;
  readonly breach: Breach | null;
  readonly protocol: Protocol;
}

export function command(kind: ActorKind, options: Partial<Omit<Command, "kind">> = {}): Command {
  const asked = { kind, key: null, revoke: "no", user: 0, cap: null, deliberate: false } as const;
  return { ...asked, spool: false, breach: null, protocol: "row first", ...options };
}
