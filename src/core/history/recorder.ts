import { toKeyctlError, withTimeLimit } from "../async/deadline.ts";
import { notWritten } from "../model/history-event.ts";
import type { Actor, HistoryEvent, HistoryEventName } from "../model/history-event.ts";
import { PROVIDER } from "../model/key-record.ts";
import type { Timestamp } from "../model/key-record.ts";
import { randomBytes } from "../model/random-bytes.ts";
import { userHash } from "../model/user-id.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";
import type { Change, HistoryStore } from "../ports/history.ts";

export interface RecorderParts {
  readonly historyStore: HistoryStore;
  readonly actor: () => Promise<Actor>;
}

/** A change, why it was made, and when, in milliseconds since 1970. */
export interface Note {
  readonly change: Change;
  readonly reason: string | null;
  readonly atMs: number;
}

/** Notes are not worth more time than this, whatever the time limit of their call is. */
const TIME_LIMIT_MS = 2_000;
/** After a write that took too long, none is tried for this time: a run over many users must not wait for each of them. */
const PAUSE_MS = 10_000;

/** What happens once to a key that keyctl creates. */
const ONCE: ReadonlySet<HistoryEventName> = new Set(["created", "rotated", "renewed", "revoked", "abandoned"]);

/** Enough of the key's hash to tell several keys of one operation apart. */
const HASH_PART = 16;

/**
 * Writes the notes of one manager. **Invariant:** what happens once to a key has one id: of the command that did it and
 * of another one that finished it one event remains, that of the owner if it lived.
 */
export class Recorder {
  readonly #parts: RecorderParts;
  readonly #onLost: (warning: Warning) => void;
  readonly #times = new UserTimes();
  #actor: Promise<Actor> | undefined;
  #pausedUntil = 0;

  constructor(parts: RecorderParts, onLost: (warning: Warning) => void) {
    this.#parts = parts;
    this.#onLost = onLost;
  }

  /** Rejects only for a bug. */
  async write(notes: readonly Note[]): Promise<void> {
    const began = performance.now();
    if (began < this.#pausedUntil) return this.#onLost(notWritten("the database did not answer in time"));
    try {
      await withTimeLimit({ timeoutMs: TIME_LIMIT_MS }, (signal) => this.#add(notes, signal));
    } catch (thrown) {
      if (performance.now() - began >= TIME_LIMIT_MS) this.#pausedUntil = performance.now() + PAUSE_MS;
      this.#onLost(notWritten(toKeyctlError(thrown).message));
    }
  }

  async #add(notes: readonly Note[], signal: AbortSignal): Promise<void> {
    const actor = await (this.#actor ??= this.#parts.actor());
    const events = notes.map((note) => ({
      event: eventOf(note, this.#times.next(note.change.userId, note.atMs), actor),
      replaces: isOnce(note.change) && note.change.isFinished !== true,
    }));
    for (const replaces of [false, true]) {
      const some = events.filter((one) => one.replaces === replaces).map(({ event }) => event);
      if (some.length > 0) await this.#parts.historyStore.addEvents(some, { replaces }, signal);
    }
  }
}

/** Times by which the events of one user are in their order, although a millisecond may hold several of them. */
class UserTimes {
  /** The latest event of each user with one in the newest millisecond. */
  readonly #latest = new Map<UserId, number>();
  #newest = 0;

  next(user: UserId, atMs: number): Timestamp {
    if (atMs > this.#newest) this.#latest.clear();
    const next = Math.max(atMs, (this.#latest.get(user) ?? 0) + 1);
    this.#latest.set(user, next);
    this.#newest = Math.max(this.#newest, next);
    return new Date(next).toISOString();
  }
}

function eventOf({ change, reason }: Note, at: Timestamp, actor: Actor): HistoryEvent {
  const { event, userId, key } = change;
  const generation = key === null || key.generation === 0 ? null : key.generation;
  const keyHash = key?.keyHash ?? null;
  return { id: idOf(change), at, userId, event, keyHash, keyTail: key?.keyTail ?? null, generation, actor, reason };
}

function idOf(change: Change): string {
  if (!isOnce(change)) return randomBytes(16).toString("hex");
  const { event, userId, key } = change;
  const n = String(key?.generation).padStart(8, "0");
  return `${userHash(userId)}:${PROVIDER}:${event}:${n}:${key?.keyHash?.slice(0, HASH_PART) ?? ""}`;
}

/** A change of another key happens once if its note says that it may have been made before. */
function isOnce({ event, key, isFinished = false }: Change): boolean {
  if (key === null || !ONCE.has(event)) return false;
  return key.generation > 0 || (isFinished && key.keyHash !== null);
}
