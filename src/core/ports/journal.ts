import type { LimitReset, Timestamp } from "../model/key-record.ts";
import type { UserId } from "../model/user-id.ts";

/**
 * **Invariant:** entries are inserted and never changed, and each id has one winner. A lost insert means: read the recorded
 * entry, which decides. A user's generation n has at most one entry of each kind.
 */

/** How long an operation without an outcome may be under way, in milliseconds; more than an operation takes. */
const FRESH_MS = 60_000;

/**
 * Whether an operation that was recorded at that time may still be under way, so that no other command may decide about it.
 * The clock that recorded a time in the future is wrong by the difference.
 * @param now in milliseconds since 1970
 */
export function isFresh(at: Timestamp, now: number): boolean {
  return Math.abs(now - Date.parse(at)) < FRESH_MS;
}

/** Key number n of a user is being created. */
export interface Operation {
  readonly kind: "op";
  readonly n: number;
  /** 16 hex characters; a part of the key's name upstream. */
  readonly nonce: string;
  readonly label: string | null;
  readonly limit: number | null;
  readonly limitReset: LimitReset | null;
  readonly expiresAt: Timestamp | null;
  readonly workspace: string | null;
  /** True: a person asked for this key, so that the hourly cap does not count it. */
  readonly deliberate: boolean;
}

/** An operation that the hourly cap counts. */
export interface LiveOperation {
  readonly at: Timestamp;
  /** False: it has no outcome yet. */
  readonly isSaved: boolean;
}

/** The outcome of an operation: `saved` is inserted only by a command that has just seen generation n in the row. */
type Outcome = SavedOutcome | AbandonedOutcome;

export interface SavedOutcome {
  readonly kind: "out";
  readonly n: number;
  readonly outcome: "saved";
  /** SHA-256 of the key. */
  readonly hash: string;
  /** OpenRouter's id of the key, if that differs. */
  readonly upstreamHash: string | null;
}

interface AbandonedOutcome {
  readonly kind: "out";
  readonly n: number;
  readonly outcome: "abandoned";
}

/** Generation n is no longer current. */
interface Revocation {
  readonly kind: "rev";
  readonly n: number;
  readonly reason: "superseded" | "purged";
  readonly revoke: boolean;
  /** The purge leaves a tombstone in place of the row. */
  readonly block: boolean;
}

/**
 * Generation n was replaced by a rotation with a grace: its key works until `retireAt`, when it is marked for deletion. Not
 * a decision about its deletion: that is `del:n`.
 */
interface Retirement {
  readonly kind: "due";
  readonly n: number;
  readonly retireAt: Timestamp;
}

/** Its key is marked for deletion upstream, although the revocation kept it. */
interface Deletion {
  readonly kind: "del";
  readonly n: number;
}

/** Its key is proven to be deleted upstream. Decides nothing: without this entry the key is searched for again. */
interface ProvenDeletion {
  readonly kind: "gone";
  readonly n: number;
}

export type Entry = Operation | Outcome | Revocation | Retirement | Deletion | ProvenDeletion;
export type EntryKind = Entry["kind"];
export type EntryOf<Kind extends EntryKind> = Extract<Entry, { kind: Kind }>;

/** An entry as it stands in the journal. */
export type Recorded<Of extends Entry = Entry> = Of & { readonly userId: UserId; readonly at: Timestamp };

/** The account at OpenRouter whose keys a store holds: at least one of its properties is known. */
export interface AccountBinding {
  /** Null for a personal account, and if OpenRouter did not say. */
  readonly organization: string | null;
  /** The ids of some workspaces of that account. */
  readonly workspaces: readonly string[];
  /** When the store was bound to it instead of another account; null for the account of its first key. */
  readonly adoptedAt: Timestamp | null;
}

/**
 * Where the journal is kept. As `KeyStore`, it holds no rules and sends nothing twice; an insert whose answer was lost
 * rejects with an error that `mayHaveHappened`. A record that cannot be parsed is STORE_CORRUPT, never absent.
 */
export interface Journal {
  /** The random id of this store: 16 hex characters, in the name of every key that is created for it. */
  deployment(signal: AbortSignal): Promise<string>;
  /** As `deployment`, but writes nothing: undefined for a store without an id. */
  existingDeployment(signal: AbortSignal): Promise<string | undefined>;
  /**
   * Gives a store the id of another store whose journal it will hold. False if it has an id and entries of its own. For a store
   * for which no other process is creating keys.
   */
  adoptDeployment(deployment: string, signal: AbortSignal): Promise<boolean>;
  /** Undefined for a store that is not bound yet. Throws STORE_CORRUPT. */
  account(signal: AbortSignal): Promise<AccountBinding | undefined>;
  /** False if the store is already bound: another process was first. */
  bindAccount(account: AccountBinding, signal: AbortSignal): Promise<boolean>;
  /** Binds the store to this account, whatever it was bound to. */
  rebindAccount(account: AccountBinding, signal: AbortSignal): Promise<void>;
  /** False if an entry with this id exists. */
  insertEntry(entry: Recorded, signal: AbortSignal): Promise<boolean>;
  entry<Kind extends EntryKind>(
    user: UserId,
    kind: Kind,
    n: number,
    signal: AbortSignal,
  ): Promise<Recorded<EntryOf<Kind>> | undefined>;
  /** The user's operation with the highest number. */
  lastOperation(user: UserId, signal: AbortSignal): Promise<Recorded<Operation> | undefined>;
  /** All entries of a user, by number. */
  entries(user: UserId, signal: AbortSignal): Promise<readonly Recorded[]>;
  /** The saved outcomes of keys with one of these hashes (ours or OpenRouter's id), in any order. */
  outcomesOf(hashes: readonly string[], signal: AbortSignal): Promise<readonly Recorded<SavedOutcome>[]>;
  /** The latest saved outcomes, newest first. */
  newestOutcomes(atMost: number, signal: AbortSignal): Promise<readonly Recorded<SavedOutcome>[]>;
  /**
   * The automatic operations of all users between these two times that are not abandoned: oldest first, at most `atMost`.
   */
  liveOperations(
    between: readonly [from: Timestamp, to: Timestamp],
    atMost: number,
    signal: AbortSignal,
  ): Promise<readonly LiveOperation[]>;
  /**
   * The retirements of all users whose time lies in this range, in the order of that time, found by an index; without
   * those whose key is proven to be deleted.
   * `newSignal` is called for each page.
   */
  retirements(
    between: readonly [from: Timestamp, to: Timestamp],
    newSignal: () => AbortSignal,
  ): AsyncIterable<Recorded<Retirement>>;
  /** The whole journal in the order of its ids, in constant memory. `newSignal` is asked for each page. */
  scanJournal(newSignal: () => AbortSignal): AsyncIterable<Recorded>;
}
