/**
 * The accesses of the protocol: every access to the store, the upstream and the spool folder that a command may make,
 * with its answers. One access is one step. Between two steps, other processes may do anything.
 */

/** The hash that identifies a key everywhere. */
export type Hash = string;
/**
 * The state of a row that was read: its `_id` and revision. A compare-and-set passes it back without interpreting it.
 */
export type Version = string;

/** The full limit that a key with a lowered limit gets back, and when: a text that the model does not interpret. */
export type LimitDue = string;
/** The guardrails and allow-lists of a key at OpenRouter: a text that the model does not interpret. */
export type Restrictions = string;

/** What a row says about its key, besides the key itself. */
export interface KeyContent {
  readonly generation: number;
  readonly hash: Hash;
  readonly limitDue: LimitDue | null;
  readonly restrictions: Restrictions | null;
}

/** The note about the key that a row replaced, kept until that key is revoked. */
export interface Previous extends KeyContent {
  readonly revoke: boolean;
  /** How long the replaced key goes on working after the commit; null: it is revoked, or kept, at once. */
  readonly graceMs: number | null;
}

/** The content of a row. Generation 0 is a key that the protocol did not create. */
export interface RowContent extends KeyContent {
  readonly settled: boolean;
  readonly previous: Previous | null;
  /** Only in a tombstone, the row of a blocked user: it is nobody's key. */
  readonly blocked?: true;
}

export interface Row extends RowContent {
  readonly version: Version;
}

/** The record `out:n`: `abandoned`, or the hash of the key if generation n is saved. */
export type Outcome = "abandoned" | { readonly saved: Hash };

/** The record `rev:n`. */
export interface Retirement {
  readonly reason: "superseded" | "purged";
  readonly revoke: boolean;
  /** The purge leaves a tombstone in place of the row. */
  readonly block: boolean;
}

/** A key in the upstream's list with the generation in its name, or a key that an outcome saved with its generation. */
export interface Listed {
  readonly hash: Hash;
  readonly generation: number;
}

/** A sealed key that could not be stored. `sent`: its insert may have reached the store, so it is never sent again. */
export interface Spooled {
  readonly generation: number;
  readonly hash: Hash;
  readonly sent: boolean;
}

/** All records of one user. The index in `outcomes` and `retirements` is the generation; 0 is never used. */
export interface Records {
  readonly operations: number;
  readonly outcomes: readonly (Outcome | null)[];
  readonly retirements: readonly (Retirement | null)[];
  /** The generations with a record `del`: their keys were kept at first, and are to be deleted after all. */
  readonly owedAfterAll: readonly number[];
  /** The generations with a record `due`: they were replaced with a grace. */
  readonly dues: readonly Due[];
}

interface Due {
  readonly generation: number;
  /** Whether its time has passed by the clock. */
  readonly isOver: boolean;
}

/** The automatic operations of all users that are not abandoned. At most `atMost` of them are counted. */
export interface LiveOperations {
  readonly saved: number;
  readonly open: number;
}

export type Access =
  | { readonly access: "row.find" }
  | { readonly access: "row.insert"; readonly row: RowContent }
  | { readonly access: "row.replace"; readonly row: RowContent; readonly seen: Version }
  | { readonly access: "row.remove"; readonly seen: Version }
  /** These two compare nothing: only a broken variant does this. */
  | { readonly access: "row.forget limit" }
  | { readonly access: "row.remove unseen" }
  | { readonly access: "row.holding"; readonly hashes: readonly Hash[] }
  | { readonly access: "row.others holding"; readonly hash: Hash }
  | { readonly access: "journal.last op" }
  | { readonly access: "journal.read out"; readonly generation: number }
  | { readonly access: "journal.read rev"; readonly generation: number }
  | { readonly access: "journal.read del"; readonly generation: number }
  | { readonly access: "journal.read due"; readonly generation: number }
  | { readonly access: "journal.live operations"; readonly atMost: number }
  | { readonly access: "journal.insert op"; readonly generation: number; readonly deliberate: boolean }
  | { readonly access: "journal.insert out"; readonly generation: number; readonly outcome: Outcome }
  | { readonly access: "journal.insert rev"; readonly generation: number; readonly retirement: Retirement }
  | { readonly access: "journal.insert del"; readonly generation: number }
  | { readonly access: "journal.insert due"; readonly generation: number }
  /** These two exist only in broken variants. */
  | { readonly access: "journal.insert block" }
  | { readonly access: "journal.read block" }
  | { readonly access: "journal.holding"; readonly hashes: readonly Hash[] }
  | { readonly access: "journal.records" }
  /** By the index of the times: the generations whose time has come, marked for deletion or not. */
  | { readonly access: "journal.due" }
  /** `lowered`: the key is created with what is left of a limit, and is to get the full limit later. */
  | { readonly access: "upstream.post"; readonly generation: number; readonly lowered: boolean }
  | { readonly access: "upstream.list" }
  | { readonly access: "upstream.list named"; readonly generation: number }
  | { readonly access: "upstream.verify"; readonly hash: Hash }
  | { readonly access: "upstream.disable"; readonly hash: Hash }
  | { readonly access: "upstream.delete"; readonly hash: Hash }
  | { readonly access: "upstream.set limit"; readonly hash: Hash }
  /** Adds the key to a guardrail or an allow-list, or takes it out of one. */
  | { readonly access: "upstream.attach"; readonly hash: Hash }
  | { readonly access: "upstream.detach"; readonly hash: Hash }
  | { readonly access: "spool.list" }
  | { readonly access: "spool.claim"; readonly generation: number }
  | { readonly access: "spool.release"; readonly generation: number }
  | { readonly access: "spool.write"; readonly spooled: Spooled }
  | { readonly access: "spool.remove"; readonly generation: number };

type AccessName = Access["access"];

/** `refused`: certainly not written, because a row exists already or is no longer the one that was read. */
type Written = { readonly answer: "done"; readonly version: Version } | { readonly answer: "refused" } | Unanswered;
type Removed = { readonly answer: "done" } | { readonly answer: "refused" } | Unanswered;
/** The write may have been applied, may be applied later, or may never be applied. */
interface Unanswered {
  readonly answer: "unanswered";
}

type Posted = { readonly created: Hash } | "ambiguous" | "refused";

/** The answer to each access. An insert into the journal that lost answers with the existing record. */
export interface Results {
  readonly "row.find": Row | null;
  readonly "row.insert": Written;
  readonly "row.replace": Written;
  readonly "row.remove": Removed;
  readonly "row.forget limit": "done";
  readonly "row.remove unseen": "done";
  readonly "row.holding": readonly Hash[];
  readonly "row.others holding": "some" | "none";
  readonly "journal.last op": number;
  readonly "journal.read out": Outcome | null;
  readonly "journal.read rev": Retirement | null;
  readonly "journal.read del": "stands" | null;
  readonly "journal.read due": "stands" | null;
  readonly "journal.live operations": LiveOperations;
  readonly "journal.insert op": "won" | "lost";
  readonly "journal.insert out": Outcome;
  readonly "journal.insert rev": Retirement;
  readonly "journal.insert del": "stands";
  readonly "journal.insert due": "stands";
  readonly "journal.insert block": "stands";
  readonly "journal.read block": "stands" | null;
  readonly "journal.holding": readonly Listed[];
  readonly "journal.records": Records;
  readonly "journal.due": readonly number[];
  readonly "upstream.post": Posted;
  readonly "upstream.list": readonly Listed[];
  readonly "upstream.list named": readonly Hash[];
  readonly "upstream.verify": "works" | "refused";
  readonly "upstream.disable": "done" | "gone";
  readonly "upstream.delete": "done";
  /** `unanswered`: the request may still arrive. */
  readonly "upstream.set limit": "done" | "gone" | "unanswered";
  readonly "upstream.attach": "done";
  readonly "upstream.detach": "done";
  readonly "spool.list": readonly Spooled[];
  readonly "spool.claim": "won" | "lost";
  readonly "spool.release": "done" | "gone";
  readonly "spool.write": "done" | "failed";
  readonly "spool.remove": "done";
}

export type Result = Results[AccessName];

/** An access as text, for labels and messages: `journal.insert out 2 abandoned`. */
export function named({ access, ...operands }: { readonly access: string }): string {
  return [access, ...Object.values(operands).map(text)].join(" ");
}

function text(operand: unknown): string {
  return typeof operand === "string" ? operand : JSON.stringify(operand);
}
