import { hashOfRecord, maskOfRecord } from "./key-record.ts";
import type { KeyRecord, Timestamp } from "./key-record.ts";
import type { Warning } from "./warning.ts";
import type { UserId } from "./user-id.ts";

/** What happened to a user's key. */
export type HistoryEventName =
  | "created"
  | "saved"
  | "replaced"
  | "rotated"
  | "revoked"
  | "purged"
  | "blocked"
  | "unblocked"
  | "copied"
  | "abandoned"
  | "revealed";

/** Every name: the compiler completes it. */
const NAMES: Readonly<Record<HistoryEventName, true>> = {
  created: true,
  saved: true,
  replaced: true,
  rotated: true,
  revoked: true,
  purged: true,
  blocked: true,
  unblocked: true,
  copied: true,
  abandoned: true,
  revealed: true,
};

export function isHistoryEventName(value: unknown): value is HistoryEventName {
  return typeof value === "string" && Object.hasOwn(NAMES, value);
}

export const HISTORY_EVENTS = Object.keys(NAMES).filter(isHistoryEventName);

/** Who changed something: a person's or a service's account on a machine, or a CI job, and the command. */
export interface Actor {
  readonly osUser: string | null;
  readonly host: string | null;
  /** The run, job or repository, as the CI system names it; null outside of CI. */
  readonly ci: string | null;
  /** The name of the command, such as `rotate`; `library` for a program. */
  readonly command: string;
}

/** One line of the history. It holds masks and hashes only, and no step of the protocol reads it. */
export interface HistoryEvent {
  readonly id: string;
  readonly at: Timestamp;
  readonly userId: UserId;
  readonly event: HistoryEventName;
  /** SHA-256 of the key that the event is about; of a rotation and a replacement, the new key. Null: no key is known. */
  readonly keyHash: string | null;
  /** The last four characters of that key. */
  readonly keyTail: string | null;
  /** The number of that key among those that keyctl created for the user; null for any other key. */
  readonly generation: number | null;
  readonly actor: Actor;
  /** The words of the person. */
  readonly reason: string | null;
}

/** The key that an event is about, as far as it is known. */
export type KeyOfEvent = Pick<KeyRecord, "keyHash" | "keyTail" | "generation">;

/** The key in a row. A row in plain text may have another key's hash and tail beside it, or none. */
export function keyOfRow(row: KeyRecord): KeyOfEvent {
  const tail = maskOfRecord(row)?.slice(-4);
  return {
    keyHash: hashOfRecord(row),
    keyTail: tail === undefined || tail === NO_TAIL ? null : tail,
    generation: row.generation,
  };
}

/** The end of the mask of a key whose last characters are not known. */
const NO_TAIL = "????";

/** HISTORY_NOT_WRITTEN. */
export function notWritten(because: string): Warning {
  return {
    code: "HISTORY_NOT_WRITTEN",
    message: `the history does not tell of what was done: ${because}`,
  };
}
