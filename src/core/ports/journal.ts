import type { LimitReset, Timestamp } from "../model/key-record.ts";
import type { UserId } from "../model/user-id.ts";

/**
 * **Invariant:** entries are inserted and never changed, and each id has one winner. Whoever loses an insert reads the entry
 * that is recorded, which decides. Of a user's generation n there is at most one entry of each kind.
 */

/** How long an operation without an outcome may be under way; longer than it takes. In milliseconds. */
const FRESH_MS = 60_000;

/**
 * Whether an operation that was recorded then may still be under way: nobody else decides about it yet. One from the
 * future is of a clock that is wrong by that much.
 * @param now in milliseconds since 1970
 */
export function isFresh(at: Timestamp, now: number): boolean {
  return Math.abs(now - Date.parse(at)) < FRESH_MS;
}

/** Somebody makes key number n of a user. */
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

/** What became of it: `saved` is inserted only by somebody who has just seen generation n in the row. */
type Outcome = SavedOutcome | AbandonedOutcome;

interface SavedOutcome {
  readonly kind: "out";
  readonly n: number;
  readonly outcome: "saved";
  /** SHA-256 of the key. */
  readonly hash: string;
  /** OpenRouter's own id of the key, where that is another. */
  readonly upstreamHash: string | null;
}

interface AbandonedOutcome {
  readonly kind: "out";
  readonly n: number;
  readonly outcome: "abandoned";
}

/** Generation n is not current any more. */
interface Revocation {
  readonly kind: "rev";
  readonly n: number;
  readonly reason: "superseded" | "purged";
  readonly revoke: boolean;
}

/** Its key is to be removed upstream after all, although the revocation said to keep it. */
interface Deletion {
  readonly kind: "del";
  readonly n: number;
}

/** Its key was deleted upstream, which was proven. Decides nothing: a key is looked for again where it is missing. */
interface ProvenDeletion {
  readonly kind: "gone";
  readonly n: number;
}

export type Entry = Operation | Outcome | Revocation | Deletion | ProvenDeletion;
export type EntryKind = Entry["kind"];
export type EntryOf<Kind extends EntryKind> = Extract<Entry, { kind: Kind }>;

/** An entry as it stands in the journal. */
export type Recorded<Of extends Entry = Entry> = Of & { readonly userId: UserId; readonly at: Timestamp };

/** The account at OpenRouter whose keys a store holds: what is known of it, which is one thing at least. */
export interface AccountBinding {
  /** Null for a personal account, and where OpenRouter did not say. */
  readonly organization: string | null;
  /** The ids of workspaces of that account, not of all. */
  readonly workspaces: readonly string[];
  /** When the store was bound to it in place of another account; null for the account of its first key. */
  readonly adoptedAt: Timestamp | null;
}

/**
 * Where the journal is kept. As `KeyStore`, it holds no rules and sends nothing twice; an insert whose answer was lost
 * rejects with an error that `mayHaveHappened`. A record that cannot be understood is STORE_CORRUPT, never absent.
 */
export interface Journal {
  /** The random id of this store: 16 hex characters, in the name of every key that is made for it. */
  deployment(signal: AbortSignal): Promise<string>;
  /** As `deployment`, and writes nothing: undefined for a store that has none yet. */
  existingDeployment(signal: AbortSignal): Promise<string | undefined>;
  /**
   * Gives a store the id of another whose journal it is to hold. False when it has one of its own and entries under it.
   * For a store that nobody else makes keys for at the moment.
   */
  adoptDeployment(deployment: string, signal: AbortSignal): Promise<boolean>;
  /** Undefined for a store that is bound to none yet. Throws STORE_CORRUPT. */
  account(signal: AbortSignal): Promise<AccountBinding | undefined>;
  /** False when the store is bound already: another process was first. */
  bindAccount(account: AccountBinding, signal: AbortSignal): Promise<boolean>;
  /** Binds it to this account, whatever it was bound to. */
  rebindAccount(account: AccountBinding, signal: AbortSignal): Promise<void>;
  /** False when there is such an entry already. */
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
  /** The saved outcomes of keys with one of these hashes, be it ours or OpenRouter's own; in any order. */
  outcomesOf(hashes: readonly string[], signal: AbortSignal): Promise<readonly Recorded<SavedOutcome>[]>;
  /** The saved outcomes that were written last, the newest first. */
  newestOutcomes(atMost: number, signal: AbortSignal): Promise<readonly Recorded<SavedOutcome>[]>;
  /**
   * The operations of all users that began from the first to the second of these times, that no person asked for and that
   * nobody has abandoned: the oldest first, and no more than `atMost`.
   */
  liveOperations(
    between: readonly [from: Timestamp, to: Timestamp],
    atMost: number,
    signal: AbortSignal,
  ): Promise<readonly LiveOperation[]>;
  /** The whole journal in the order of its ids, in constant memory. `newSignal` is asked for each page. */
  scanJournal(newSignal: () => AbortSignal): AsyncIterable<Recorded>;
}
