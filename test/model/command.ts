import type { Hash, LimitDue, Restrictions } from "./accesses.ts";

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
  | "save-in-grace"
  | "s2-no-grace"
  | "s2-no-due"
  | "sup-no-grace"
  | "grace-from-swap"
  | "draft-grace"
  | "purge-forgets-retiring"
  | "rotate-forgets-retiring"
  | "purge-del-late"
  | "limit-no-cas"
  | "limit-row-first"
  | "undo-forgets-limit"
  | "swap-again-by-row"
  | "attach-late"
  | "detach-early"
  | "no-last-look"
  | "j-before"
  | "j-draft"
  | "j-late"
  | "tomb-replace"
  | "repair-inserts"
  | "unblock-by-user"
  | "unblock-leaves-pending"
  | "delete-before-abandon"
  | "delete-unrecorded"
  | "eager-supersede"
  | "op-without-out"
  | "cap-check-first"
  | "no-reread"
  | "renew-blind"
  | "renew-no-reread"
  | "renew-loops"
  | "renew-unrestricted"
  | "leaked-any-key"
  | "leaked-current-key"
  | "leaked-rotates-first"
  | "leaked-no-mark"
  | "leaked-stops"
  | "spool-resend"
  | "own-row-is-foreign"
  | "spool-fails-delete";

/** The protocol, and the simpler one that is compared with it. */
export type Protocol = "row first" | "outcome first" | "outcome first, patched";

/** `finish` is `rotate --finish`. */
export type ActorKind =
  | "sync"
  | "get"
  | "save"
  | "purge"
  | "unblock"
  | "rotate"
  | "renew"
  | "leaked"
  | "finish"
  | "reconcile";

/** The command of a user. */
export interface Command {
  readonly kind: ActorKind;
  /** The key that `save` stores, or that sync and get find in key.txt or in the environment. */
  readonly key: Hash | null;
  /** The refused key of a renewal, or the leaked one. */
  readonly about: Hash | null;
  /**
   * `ours` for `--revoke`, `foreign too` for `--revoke-foreign`. A rotation with `ours` ends every grace that is under
   * way.
   */
  readonly revoke: "no" | "ours" | "foreign too";
  /** A purge leaves a tombstone in place of the row. */
  readonly block: boolean;
  /** How long a rotation lets the old key work; null: not at all. */
  readonly graceMs: number | null;
  /** A rotation sets a limit of its own, instead of what is left of the old one. */
  readonly namesLimit: boolean;
  /**
   * The full limit that a rotation notes for the new key if the old key's row notes none; null: the new key is created
   * with its full limit.
   */
  readonly limitDue: LimitDue | null;
  /** The restrictions of the user's keys at OpenRouter. */
  readonly restrictions: Restrictions | null;
  /** Keys that the command removes have restrictions of their own, whatever it knows of the user's keys. */
  readonly detaches?: boolean;
  /** The user of the key: 0, or another user with at most one command. */
  readonly user: number;
  /** The maximum number of keys that may be created automatically within an hour; null: no limit. */
  readonly cap: number | null;
  /** The key was requested explicitly: it neither counts towards the cap nor is limited by it. */
  readonly deliberate: boolean;
  /** Whether the machine has a spool folder. */
  readonly spool: boolean;
  /** The compare-and-set of the store reads and then writes. */
  readonly split: boolean;
  readonly breach: Breach | null;
  readonly protocol: Protocol;
}

export function command(kind: ActorKind, options: Partial<Omit<Command, "kind">> = {}): Command {
  const asked = {
    kind,
    key: null,
    about: null,
    revoke: "no",
    block: false,
    user: 0,
    cap: null,
    deliberate: false,
  } as const;
  const rotation = { graceMs: null, namesLimit: false, limitDue: null, restrictions: null };
  return { ...asked, ...rotation, spool: false, split: false, breach: null, protocol: "row first", ...options };
}
