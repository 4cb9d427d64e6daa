import type { HistoryEvent, HistoryEventName, KeyOfEvent } from "../model/history-event.ts";
import type { Timestamp } from "../model/key-record.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";

/** Which events; the conditions hold together. */
export interface HistoryFilter {
  readonly user?: UserId | undefined;
  readonly keyHash?: string | undefined;
  readonly since?: Timestamp | undefined;
}

/** Where the history is kept. As `KeyStore`, it holds no rules, and rejects with the errors of a store. */
export interface HistoryStore {
  /**
   * Adds events. Of an id that exists, the recorded event stays or, with `replaces`, the new one does: the owner of a change
   * knows better who made it than a command that finished it. Repeated, it changes nothing.
   */
  addEvents(
    events: readonly HistoryEvent[],
    options: { readonly replaces: boolean },
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Newest first, in constant memory, found by an index. A record that cannot be read is left out. `newSignal` is called for
   * each page.
   */
  events(filter: HistoryFilter, newSignal: () => AbortSignal): AsyncIterable<HistoryEvent>;
  /** Removes events that are older, in small steps. Returns how many. `newSignal` is called for each step. */
  removeEventsBefore(before: Timestamp, newSignal: () => AbortSignal): Promise<number>;
}

/** A change that is done. */
export interface Change {
  readonly event: HistoryEventName;
  readonly userId: UserId;
  /** The key that it is about; null if none is known. */
  readonly key: KeyOfEvent | null;
  /**
   * Another command may have begun or made the change: an event of its own stays. Only for what happens once to a key: the
   * event and the key make the id.
   */
  readonly isFinished?: boolean;
}

/**
 * The notes of a call about what it changed. **Invariant:** no step of the protocol waits for them: a step notes its change
 * when it is done, and the call writes its notes after its last step.
 */
export interface History {
  /** Why this call changes something, in a person's words. */
  readonly reason: string | null;
  /** Remembers changes that are done. */
  note(...changes: readonly Change[]): void;
  /** Begins to write what was noted, and waits for it, but not long. Never rejects. */
  write(): Promise<void>;
  /** Resolves when everything is written that `write` began to write. Never rejects, and takes at most a few seconds. */
  flush(): Promise<void>;
  /** HISTORY_NOT_WRITTEN, once, if notes could not be written since the last call. */
  takeWarnings(): readonly Warning[];
}

/** The history of one manager. */
export interface HistoryOnUse extends History {
  /** The same, for a call with a reason of its own. */
  withReason(reason: string | null): HistoryOnUse;
}
