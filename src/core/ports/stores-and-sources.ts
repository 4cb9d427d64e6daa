import type { ApiKey } from "../model/api-key.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { KeyRecord, LastCheck, Version } from "../model/key-record.ts";
import type { ExternalSource } from "../model/log-event.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";

/**
 * Where keys live. Holds no rules: it saves what it is given, and sends nothing twice.
 * Rejects with STORE_UNAVAILABLE, STORE_DENIED, STORE_CORRUPT or, once `signal` is aborted while it waits, with the signal's
 * reason; never with a driver's error. A write whose answer was lost rejects with an error that `mayHaveHappened`.
 */
export interface KeyStore {
  /** Throws CONFLICT for a user with two rows, which only other programs make. */
  find(user: UserId, signal: AbortSignal): Promise<KeyRecord | undefined>;
  /**
   * Asked before money is spent because `find` gave nothing. Rejects with STORE_CORRUPT where the store holds a row of this
   * user that `find` does not see, as a damaged index makes it. Missing where the store itself answers for its indexes.
   */
  assertAbsent?(user: UserId, signal: AbortSignal): Promise<void>;
  /** The rows of those users that have one, in any order; of a user with two rows, both. */
  findMany(users: readonly UserId[], signal: AbortSignal): Promise<readonly KeyRecord[]>;
  /** Of a user for whom `find` gave nothing. False when there is a key by now; the caller then reads the winner's. */
  insert(record: KeyRecord, signal: AbortSignal): Promise<boolean>;
  /** `insert` of many users whose rows were not looked for, each for itself: false for one who has a row already. */
  insertMany(records: readonly KeyRecord[], signal: AbortSignal): Promise<readonly boolean[]>;
  /** False when the row is no longer the one that was seen. */
  replace(record: KeyRecord, seen: Version, signal: AbortSignal): Promise<boolean>;
  /** False when the row is no longer the one that was seen. */
  remove(user: UserId, seen: Version, signal: AbortSignal): Promise<boolean>;
  /** Notes a verdict beside `revision`, so that a validation makes no change lose. False when the row holds another key. */
  recordCheck(
    seen: Pick<KeyRecord, "id" | "keyHash" | "keyEncrypted">,
    check: LastCheck,
    signal: AbortSignal,
  ): Promise<boolean>;
  /** All rows in the store's order of user ids, in constant memory; only those with this key hash when one is given. `newSignal` is asked for each page. */
  scan(newSignal: () => AbortSignal, keyHash?: string): AsyncIterable<KeyRecord>;
  count(signal: AbortSignal): Promise<number>;
  /**
   * Takes off the disk what was removed or replaced, and gives where some of it still is; null where nothing is. Missing
   * where a server answers for its files.
   */
  eraseRemoved?(task: ErasureTask, signal: AbortSignal): Promise<Remains | null>;
  /** Resolves when the store answers, this user may read it, and it still is the one that was opened. */
  ping(signal: AbortSignal): Promise<void>;
  /** Rejects with STORE_NOT_ATOMIC where two changes of one row at the same time may both win. Asked before a row is replaced. */
  requireAtomicChanges(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface ErasureTask {
  /** After work on all rows: it may take seconds then. */
  readonly isThorough: boolean;
}

/** Text of rows that were removed or replaced, and that is still on the disk. */
export interface Remains {
  /** The file that it is in. */
  readonly place: string;
  /** Why: another program holds the database, or its file is too large to be rewritten. */
  readonly how: "held" | "too large";
}

/** Proof, kept in the store, of which master keys it is sealed with. */
export interface KeyCheckValue {
  readonly kid: string;
  readonly value: string;
}

/** One check for each master key that rows may be sealed with: more than one while a rekey is under way. */
export interface KeyCheckValues {
  keyCheckValues(signal: AbortSignal): Promise<readonly KeyCheckValue[]>;
  /** False when the store has a check already: another process was first. */
  insertFirstKeyCheckValue(check: KeyCheckValue, signal: AbortSignal): Promise<boolean>;
  /** The check of one more master key. Does nothing when that key has one. */
  addKeyCheckValue(check: KeyCheckValue, signal: AbortSignal): Promise<void>;
  /** The store is no longer sealed with this master key. */
  removeKeyCheckValue(kid: string, signal: AbortSignal): Promise<void>;
}

/** What a store can say of itself, for `doctor`. Makes nothing, and leaves nothing behind. */
export interface Inspection {
  inspect(signal: AbortSignal): Promise<StoreFacts>;
  /**
   * Looks for damage in the store's file, and with `deep` also compares its indexes with its tables. Ends with the signal,
   * however large the file is. Missing where a server answers for its files.
   */
  checkIntegrity?(deep: boolean, signal: AbortSignal): Promise<Integrity>;
  /** The files of the store that hold a key in plain text, in a row or in what is left of one. Missing where a server answers for its files. */
  filesWithPlainText?(signal: AbortSignal): Promise<readonly string[]>;
}

export interface Integrity {
  /** What has looked, such as `quick_check`. */
  readonly check: string;
  /** STORE_CORRUPT; null when none was found. */
  readonly damage: KeyctlError | null;
}

export interface StoreFacts {
  /** Kind and version: `SQLite 3.51.3`, `MongoDB 8.0.4`. */
  readonly server: string;
  /** What else there is to know of it: `journal mode wal`, `replica set rs0`, `index present`. */
  readonly details: readonly string[];
  /** Why it takes no writes; null when it does. */
  readonly refusal: KeyctlError | null;
  readonly problems: readonly StoreProblem[];
}

export interface StoreProblem {
  /** False: worth a look. */
  readonly isFailure: boolean;
  readonly message: string;
  readonly hint: string;
}

/** Turns a key into what is stored and back. */
export interface Sealer {
  /** The id of the master key that seals. */
  readonly activeKid: string;
  /** The ids of all its master keys, the active one first. */
  readonly kids: readonly string[];
  seal(key: ApiKey, user: UserId): string;
  /** Throws ROW_UNREADABLE, or MASTER_KEY_MISSING when the row is sealed with a master key that is not here. */
  open(sealed: string, user: UserId): ApiKey;
  /** The id of the master key that a value says it is sealed with; undefined for what is no sealed value. Opens nothing. */
  kidOf(sealed: string): string | undefined;
  newSealCheck(): KeyCheckValue;
  opensSealCheck(check: KeyCheckValue): boolean;
}

/** Where master keys come from. Throws CONFIG_… errors for keys that are there and unusable. */
export interface MasterKeys {
  /** What a person calls that place: a path, or the name of a variable. */
  readonly place: string;
  /** Undefined when none are configured. */
  load(signal: AbortSignal): Promise<Sealer | undefined>;
  /** Whether this one of the loaded master keys follows a pattern, such as zeros: anybody can guess it then. */
  isGuessable?(kid: string): boolean;
  /** What one who shares that wait has run out of time for, where it can be named. */
  late?(): KeyctlError | undefined;
  /** Makes the first master key where there is none, and gives what is there then: another process may have been first. */
  generate(signal: AbortSignal): Promise<Sealer>;
  /**
   * Puts a new master key in front of those that are there, and gives its id. Throws CONFIG_INVALID where keyctl cannot
   * write and CONFLICT while another process is at it; nothing has changed then.
   */
  addActive(signal: AbortSignal): Promise<string>;
  /**
   * Takes this master key out of those that are there, which is not the active one. Throws CONFIG_INVALID where keyctl cannot
   * write, and CONFLICT for the active one and while another process is at it; nothing has changed then.
   */
  remove(kid: string, signal: AbortSignal): Promise<void>;
  /** Throws what `remove` would throw where keyctl cannot write. */
  assertRemovable(kid: string): void;
}

/** Where master keys are looked for, for `doctor`. */
export interface MasterKeyPlaceFacts {
  /** The variable that names the place, or the path of the file. */
  readonly from: string;
  /** Keyctl may change the set there. */
  readonly isWritable: boolean;
  /** The file that they stand in; its mode is null when there is none. */
  readonly file: { readonly path: string; readonly mode: number | null; readonly readableByOthers: boolean } | null;
}

export type SourceReading =
  | { readonly status: "absent" }
  | { readonly status: "found"; readonly key: ApiKey }
  /** A person named it, and it does not exist. */
  | { readonly status: "missing" }
  /** `detail` completes a sentence that begins with the source's name; it holds nothing of what was read. */
  | { readonly status: "malformed"; readonly detail: string }
  | { readonly status: "unreadable"; readonly reason: string }
  /** It holds a management key that is configured here. */
  | { readonly status: "management-key" }
  /** A key that keyctl created and is about to delete. The journal says so, never the source. */
  | { readonly status: "owed"; readonly key: ApiKey };

/** A place outside the database that may hold a key. */
export interface KeySource {
  readonly name: ExternalSource;
  /** What a person corrects where it holds no key: the path of a file, or the name of a variable. */
  readonly place: string;
  read(): Promise<{ readonly reading: SourceReading; readonly warnings: readonly Warning[] }>;
}

export interface Clock {
  now(): Date;
}

/** `kid`: to open a value that names this master key; somebody may have added it since the others were fetched. */
export type Purpose = "seal" | "open" | { readonly kid: string };
