import { KeyctlError } from "../model/errors.ts";
import type { EntryKind, Journal, Recorded } from "../ports/journal.ts";
import { isOfNoUser, noUserError } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { printable } from "../text/printable.ts";
import type { UserId } from "../model/user-id.ts";
import { batched } from "../async/batched.ts";
import { settleLostAnswer } from "../protocol/settle-lost-answer.ts";

/**
 * **Order:** the journal of a user is copied before any row. **Invariant:** entries are copied unchanged, into a store
 * of the same deployment, and all entries of a user are copied or none. If an entry of the destination differs, the
 * history of that user has split and none of it is copied, so nothing is mixed and nothing is lost.
 */

/** A user's journal. Without `dryRun`, each one that is not in conflict is reported a second time, with its proof. */
export type JournalOutcome = { readonly kind: "journal"; readonly userId: UserId } & (
  | { readonly outcome: "copied" | "kept" | "verified"; readonly error: null }
  | { readonly outcome: "conflict" | "unverified"; readonly error: KeyctlError }
);

/** Users whose journals are compared at once. */
const IN_FLIGHT = 16;

/**
 * The order in which the entries of a user are inserted. A copy may stop at any entry while another command reads the
 * destination: an operation without its outcome would be called stale and its key deleted, and an outcome without its
 * revocation would be revoked again, without "keep". So an entry is inserted before the one that it decides about.
 */
const ORDER: readonly EntryKind[] = ["gone", "del", "due", "rev", "out", "op"];

interface History {
  readonly userId: UserId;
  readonly entries: readonly Recorded[];
}

export class JournalCopy {
  readonly #source: Journal;
  readonly #destination: Journal;
  readonly #dryRun: boolean;
  readonly #split = new Map<UserId, KeyctlError>();
  /** Generations that were revoked in the destination only. */
  readonly #ended = new Map<UserId, ReadonlySet<number>>();

  constructor(source: Journal, destination: Journal, dryRun: boolean) {
    this.#source = source;
    this.#destination = destination;
    this.#dryRun = dryRun;
  }

  /** Throws CONFLICT, before anything is written, for a destination with the journal of another deployment. */
  async *bring(newSignal: () => AbortSignal): AsyncGenerator<readonly JournalOutcome[]> {
    let isJoined = false;
    for await (const batch of batched(histories(this.#source.scanJournal(newSignal)), IN_FLIGHT)) {
      // Only for a journal with entries: a store that never created a key has no id to adopt.
      if (!isJoined) await this.#join(newSignal);
      isJoined = true;
      const signal = newSignal();
      yield await all(batch.map((history) => this.#bringOne(history, signal)));
    }
  }

  /** Looks up every entry. A user with new entries in the source is `unverified`, and the next copy adds them. */
  async *prove(newSignal: () => AbortSignal): AsyncGenerator<readonly JournalOutcome[]> {
    for await (const batch of batched(histories(this.#source.scanJournal(newSignal)), IN_FLIGHT)) {
      const others = batch.filter(({ userId }) => !this.#split.has(userId));
      const signal = newSignal();
      if (others.length > 0) yield await all(others.map((history) => this.#proveOne(history, signal)));
    }
  }

  /**
   * Why a row must not be inserted even if its user has none in the destination; null if it may. Known after `bring`.
   */
  refusal(row: KeyRecord): KeyctlError | null {
    const { userId, generation } = row;
    if (isOfNoUser(row)) return noUserError(row);
    if (this.#split.has(userId)) return leftBehind(userId);
    return this.#ended.get(userId)?.has(generation) === true ? endedThere(userId) : null;
  }

  async #join(newSignal: () => AbortSignal): Promise<void> {
    const deployment = await this.#source.deployment(newSignal());
    const isJoined = this.#dryRun
      ? (await isEmpty(this.#destination, newSignal)) ||
        (await this.#destination.deployment(newSignal())) === deployment
      : await this.#destination.adoptDeployment(deployment, newSignal());
    if (!isJoined) throw anotherDeployment();
  }

  async #bringOne({ userId, entries }: History, signal: AbortSignal): Promise<JournalOutcome> {
    const there = byEntryKey(await this.#destination.entries(userId, signal));
    const missing = entries.filter((entry) => !there.has(entryKey(entry)));
    const differs = entries.some((entry) => !isSame(there.get(entryKey(entry)) ?? entry, entry));
    if (differs || !(await this.#insert(missing, signal))) return this.#inConflict(userId);
    this.#noteEnded(userId, entries, there.values());
    return { kind: "journal", userId, outcome: missing.length > 0 ? "copied" : "kept", error: null };
  }

  /** False if another command inserted a different entry in the meantime. */
  async #insert(entries: readonly Recorded[], signal: AbortSignal): Promise<boolean> {
    if (this.#dryRun) return true;
    const inOrder = entries.toSorted((one, other) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind));
    for (const entry of inOrder) if (!(await insertAsItIs(this.#destination, entry, signal))) return false;
    return true;
  }

  #noteEnded(userId: UserId, entries: readonly Recorded[], there: Iterable<Recorded>): void {
    const here = byEntryKey(entries);
    const ended = [...there].filter((entry) => entry.kind === "rev" && !here.has(entryKey(entry)));
    if (ended.length > 0) this.#ended.set(userId, new Set(ended.map(({ n }) => n)));
  }

  #inConflict(userId: UserId): JournalOutcome {
    const error = splitHistory(userId);
    this.#split.set(userId, error);
    return { kind: "journal", userId, outcome: "conflict", error };
  }

  async #proveOne({ userId, entries }: History, signal: AbortSignal): Promise<JournalOutcome> {
    const there = byEntryKey(await this.#destination.entries(userId, signal));
    const isWhole = entries.every((entry) => {
      const found = there.get(entryKey(entry));
      return found !== undefined && isSame(found, entry);
    });
    if (isWhole) return { kind: "journal", userId, outcome: "verified", error: null };
    return { kind: "journal", userId, outcome: "unverified", error: notWhole(userId) };
  }
}

/** An entry that is sent twice is still the same entry. False if a different entry has its place. */
async function insertAsItIs(journal: Journal, entry: Recorded, signal: AbortSignal): Promise<boolean> {
  const isThere = async (lost?: KeyctlError) => {
    const existing = await journal.entry(entry.userId, entry.kind, entry.n, signal);
    if (existing === undefined && lost !== undefined) throw lost;
    return existing !== undefined && isSame(existing, entry);
  };
  return (await settleLostAnswer(() => journal.insertEntry(entry, signal), isThere)) || isThere();
}

async function isEmpty(journal: Journal, newSignal: () => AbortSignal): Promise<boolean> {
  const entries = journal.scanJournal(newSignal)[Symbol.asyncIterator]();
  const { done = false } = await entries.next();
  await entries.return?.();
  return done;
}

/** Groups the entries by user: in the order of the journal, the entries of a user are adjacent. */
async function* histories(entries: AsyncIterable<Recorded>): AsyncGenerator<History> {
  let current: Recorded[] = [];
  for await (const entry of entries) {
    const [first] = current;
    if (first !== undefined && first.userId !== entry.userId) {
      yield { userId: first.userId, entries: current };
      current = [];
    }
    current.push(entry);
  }
  const [last] = current;
  if (last !== undefined) yield { userId: last.userId, entries: current };
}

/** When this settles, no work is in flight, even if one of the promises rejects. */
async function all<Result>(works: readonly Promise<Result>[]): Promise<readonly Result[]> {
  await Promise.allSettled(works);
  return Promise.all(works);
}

function byEntryKey(entries: readonly Recorded[]): ReadonlyMap<string, Recorded> {
  return new Map(entries.map((entry) => [entryKey(entry), entry]));
}

function entryKey({ kind, n }: Recorded): string {
  return `${kind}:${n}`;
}

/** Whether both record the same decision. Their times may differ: each store may have finished the operation. */
function isSame(one: Recorded, other: Recorded): boolean {
  const fields = new Map<string, unknown>(Object.entries(one));
  const others = Object.entries(other);
  const isEqual = ([name, value]: readonly [string, unknown]) => name === "at" || fields.get(name) === value;
  return fields.size === others.length && others.every(isEqual);
}

function anotherDeployment(): KeyctlError {
  return new KeyctlError(
    "CONFLICT",
    "the destination has created keys of its own, under another deployment id than the source; nothing was copied",
    { hint: "copy to a store that has created no keys: the histories of two stores cannot be merged" },
  );
}

function splitHistory(user: UserId): KeyctlError {
  return new KeyctlError(
    "CONFLICT",
    `the journal of user ${printable(user)} differs in the destination: both stores have created keys`,
    { hint: "both stay unchanged; to use the key of the source, save it in the destination with keyctl save" },
  );
}

function leftBehind(user: UserId): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} was not copied, since its journal was not`, {
    hint: "it stays in the source",
  });
}

function endedThere(user: UserId): KeyctlError {
  return new KeyctlError(
    "CONFLICT",
    `the key of user ${printable(user)} was purged in the destination, and is not restored`,
    { hint: "purge it in the source as well" },
  );
}

function notWhole(user: UserId): KeyctlError {
  return new KeyctlError(
    "CONFLICT",
    `the journal of user ${printable(user)} differs in the destination: it was changed in the meantime`,
    { hint: "copy again", retryable: true },
  );
}
