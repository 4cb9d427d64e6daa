import { toKeyctlError, withTimeLimit } from "../async/deadline.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { Actor, HistoryEvent, HistoryEventName } from "../model/history-event.ts";
import { PROVIDER } from "../model/key-record.ts";
import type { Timestamp } from "../model/key-record.ts";
import { randomBytes } from "../model/random-bytes.ts";
import { userHash } from "../model/user-id.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";
import type { Change, HistoryStore } from "../ports/history.ts";
import type { Clock } from "../ports/stores-and-sources.ts";

export interface RecorderParts {
  readonly historyStore: HistoryStore;
  readonly clock: Clock;
  readonly actor: () => Promise<Actor>;
}

/** A note is not worth more time than this, whatever the time limit of its call is. */
const TIME_LIMIT_MS = 2_000;
/** After a note that took too long, none is tried for this time: many users must not wait for a store that hangs. */
const PAUSE_MS = 10_000;

/** What happens once to a key that keyctl creates. */
const ONCE: ReadonlySet<HistoryEventName> = new Set(["created", "rotated", "revoked", "abandoned"]);

/**
 * Writes the notes of one manager. **Invariant:** the event of a generation has one id: of a command and of another one that
 * finishes its change one event remains, that of the owner if it lived.
 */
export class Recorder {
  readonly #parts: RecorderParts;
  readonly #onLost: (warning: Warning) => void;
  readonly #times: UserTimes;
  #actor: Promise<Actor> | undefined;
  #pausedUntil = 0;

  constructor(parts: RecorderParts, onLost: (warning: Warning) => void) {
    this.#parts = parts;
    this.#onLost = onLost;
    this.#times = new UserTimes(parts.clock);
  }

  /** Rejects only for a bug. */
  async record(changes: readonly Change[], reason: string | null): Promise<void> {
    const actor = await (this.#actor ??= this.#parts.actor());
    const events = changes.map((change) => ({
      event: eventOf(change, this.#times.next(change.userId), { actor, reason }),
      replaces: isOnce(change) && change.isFinished !== true,
    }));
    if (performance.now() < this.#pausedUntil) return this.#onLost(notWritten("the database did not answer in time"));
    const began = performance.now();
    try {
      await withTimeLimit({ timeoutMs: TIME_LIMIT_MS }, async (signal) => {
        for (const replaces of [false, true]) {
          const some = events.filter((one) => one.replaces === replaces).map(({ event }) => event);
          if (some.length > 0) await this.#parts.historyStore.addEvents(some, { replaces }, signal);
        }
      });
    } catch (thrown) {
      if (performance.now() - began >= TIME_LIMIT_MS) this.#pausedUntil = performance.now() + PAUSE_MS;
      this.#onLost(notWritten(toKeyctlError(thrown).message));
    }
  }
}

/** Times by which the events of one user are in their order, although a millisecond may hold several of them. */
class UserTimes {
  readonly #clock: Clock;
  /** The latest event of each user whose time is not over. */
  readonly #latest = new Map<UserId, number>();
  #newest = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  next(user: UserId): Timestamp {
    const now = this.#clock.now().getTime();
    if (now > this.#newest) this.#latest.clear();
    const at = Math.max(now, (this.#latest.get(user) ?? 0) + 1);
    this.#latest.set(user, at);
    this.#newest = Math.max(this.#newest, at);
    return new Date(at).toISOString();
  }
}

function eventOf(
  change: Change,
  at: Timestamp,
  { actor, reason }: { readonly actor: Actor; readonly reason: string | null },
): HistoryEvent {
  const { event, userId, key } = change;
  const generation = key === null || key.generation === 0 ? null : key.generation;
  const keyHash = key?.keyHash ?? null;
  return { id: idOf(change), at, userId, event, keyHash, keyTail: key?.keyTail ?? null, generation, actor, reason };
}

function idOf(change: Change): string {
  if (!isOnce(change)) return randomBytes(16).toString("hex");
  const { event, userId, key } = change;
  return `${userHash(userId)}:${PROVIDER}:${event}:${String(key?.generation).padStart(8, "0")}`;
}

function isOnce({ event, key }: Change): boolean {
  return ONCE.has(event) && key !== null && key.generation > 0;
}

function notWritten(because: KeyctlError["message"]): Warning {
  return {
    code: "HISTORY_NOT_WRITTEN",
    message: `the change is done, but the history does not tell of it: ${because}`,
  };
}
