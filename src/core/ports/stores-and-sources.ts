import type { ApiKey } from "../model/api-key.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { KeyRecord, LastCheck, Timestamp, Version } from "../model/key-record.ts";
import type { StoredRow, Tombstone } from "../model/tombstone.ts";
import type { ExternalSource } from "../model/log-event.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";

/**
 * Where keys are kept. Holds no rules: it saves what it is given, and sends nothing twice. Rejects with
 * STORE_UNAVAILABLE, STORE_DENIED, STORE_CORRUPT or, if `signal` is aborted while it waits, with the signal's reason;
 * never with a driver's error. A write whose answer was lost rejects with an error that `mayHaveHappened`.
 */
export interface KeyStore {
  /** Throws CONFLICT for a user with two rows, which only other programs create. */
  find(user: UserId, signal: AbortSignal): Promise<StoredRow | undefined>;
  /**
   * Called before money is spent, after `find` found no row. Rejects with STORE_CORRUPT if the store holds a row of
   * this user that `find` misses because an index is damaged. Missing if a server is responsible for the indexes.
   */
  assertAbsent?(user: UserId, signal: AbortSignal): Promise<void>;
  /** The rows of these users, in any order; for a user with two rows, both. */
  findMany(users: readonly UserId[], signal: AbortSignal): Promise<readonly StoredRow[]>;
  /** For a user for whom `find` found no row. False if there is a row now, which the caller then reads. */
  insert(row: StoredRow, signal: AbortSignal): Promise<boolean>;
  /** Inserts many users whose rows were not looked up, each on its own: false for a user who already has a row. */
  insertMany(records: readonly KeyRecord[], signal: AbortSignal): Promise<readonly boolean[]>;
  /** False if the row is no longer in the state that was seen. */
  replace(row: StoredRow, seen: Version, signal: AbortSignal): Promise<boolean>;
  /** False if the row is no longer in the state that was seen. */
  remove(user: UserId, seen: Version, signal: AbortSignal): Promise<boolean>;
  /** Records a check and keeps `revision`, so no concurrent change loses to it. False if the row holds another key. */
  recordCheck(
    seen: Pick<KeyRecord, "id" | "keyHash" | "keyEncrypted">,
    check: LastCheck,
    signal: AbortSignal,
  ): Promise<boolean>;
  /**
   * All rows with a key in the store's order of user ids, in constant memory; with a hash, only the rows of that key.
   * `newSignal` is called for each page.
   */
  scan(newSignal: () => AbortSignal, keyHash?: string): AsyncIterable<KeyRecord>;
  /**
   * The rows whose lowered limit is due by this time, found by an index, in constant memory. `newSignal` is called for
   * each page.
   */
  scanDueLimits(until: Timestamp, newSignal: () => AbortSignal): AsyncIterable<KeyRecord>;
  /** The blocked users in any order, found by an index, in constant memory. `newSignal` is called for each page. */
  scanBlocked(newSignal: () => AbortSignal): AsyncIterable<Tombstone>;
  /** The number of rows with a key. */
  count(signal: AbortSignal): Promise<number>;
  /**
   * Erases removed or replaced rows from the disk. Returns where some of their text remains, or null. Missing for a
   * store whose server is responsible for its files.
   */
  eraseRemoved?(task: ErasureTask, signal: AbortSignal): Promise<Remains | null>;
  /** Resolves if the store answers, may be read with these credentials, and is still the one that was opened. */
  ping(signal: AbortSignal): Promise<void>;
  /**
   * Rejects with STORE_NOT_ATOMIC if two concurrent changes of one row may both win. Called before a row is replaced.
   */
  requireAtomicChanges(signal: AbortSignal): Promise<void>;
  /** Whether of two concurrent changes of one row only one wins, whatever the settings allow. */
  hasAtomicChanges(signal: AbortSignal): Promise<boolean>;
  close(): Promise<void>;
}

export interface ErasureTask {
  /** Called after work on all rows: it may take seconds. */
  readonly isThorough: boolean;
}

/** Text of removed or replaced rows that is still on the disk; `place` is the file that contains it. */
export type Remains =
  /** The reason: another program holds the database, or its file is too large to be rewritten. */
  | { readonly place: string; readonly how: "held" | "too large" }
  | { readonly place: string; readonly how: "failed"; readonly error: KeyctlError };

/** Kept in the store: proves which master keys the store is sealed with. */
export interface KeyCheckValue {
  readonly kid: string;
  readonly value: string;
}

/** One check for each master key that rows may be sealed with. There is more than one while a rekey is unfinished. */
export interface KeyCheckValues {
  keyCheckValues(signal: AbortSignal): Promise<readonly KeyCheckValue[]>;
  /** False if the store already has a check: another process was first. */
  insertFirstKeyCheckValue(check: KeyCheckValue, signal: AbortSignal): Promise<boolean>;
  /** Names another master key. Does nothing if that key has a check. */
  addKeyCheckValue(check: KeyCheckValue, signal: AbortSignal): Promise<void>;
  /** After this, the store no longer names this master key. */
  removeKeyCheckValue(kid: string, signal: AbortSignal): Promise<void>;
}

/** The facts of a store for `doctor`. Creates nothing, and leaves nothing behind. */
export interface Inspection {
  inspect(signal: AbortSignal): Promise<StoreFacts>;
  /**
   * Looks for damage in the store's file; with `deep`, also compares its indexes with its tables. Ends with the signal,
   * however large the file is. Missing for a store whose server is responsible for its files.
   */
  checkIntegrity?(deep: boolean, signal: AbortSignal): Promise<Integrity>;
  /**
   * The files of the store that hold a key in plain text, in a row or in the remains of one. Missing for a store whose
   * server is responsible for its files.
   */
  filesWithPlainText?(signal: AbortSignal): Promise<PlainTextRemains>;
}

export interface PlainTextRemains {
  readonly files: readonly string[];
  /** The database file if it is too large for `rekey` to rewrite; otherwise null. */
  readonly tooLarge: string | null;
}

export interface Integrity {
  /** The check that was run, such as `quick_check`. */
  readonly check: string;
  /** STORE_CORRUPT; null without damage. */
  readonly damage: KeyctlError | null;
}

export interface StoreFacts {
  /** Kind and version: `SQLite 3.51.3`, `MongoDB 8.0.4`. */
  readonly server: string;
  /** Further facts: `journal mode wal`, `replica set rs0`, `index present`. */
  readonly details: readonly string[];
  /** The reason why the store accepts no writes; null if it accepts them. */
  readonly refusal: KeyctlError | null;
  readonly problems: readonly StoreProblem[];
}

export interface StoreProblem {
  /** False: a warning. */
  readonly isFailure: boolean;
  readonly message: string;
  readonly hint: string;
  /** As in a `Warning`. */
  readonly fixable?: false;
}

/** Encrypts a key for the store, and decrypts it. */
export interface Sealer {
  /** The id of the master key that seals. */
  readonly activeKid: string;
  /** The ids of all its master keys, the active one first. */
  readonly kids: readonly string[];
  seal(key: ApiKey, user: UserId): string;
  /** Throws ROW_UNREADABLE, or MASTER_KEY_MISSING if the value is sealed with a master key that is not here. */
  open(sealed: string, user: UserId): ApiKey;
  /** The id of the master key in a sealed value; undefined for any other value. Opens nothing. */
  kidOf(sealed: string): string | undefined;
  newSealCheck(): KeyCheckValue;
  opensSealCheck(check: KeyCheckValue): boolean;
}

/** The source of master keys. Throws CONFIG_… errors for master keys that exist but cannot be used. */
export interface MasterKeys {
  /** The name of the place for people: a path, or the name of a variable. */
  readonly place: string;
  /** The other places that a person has set up, and that are not read because this one comes first. */
  readonly notRead?: () => readonly string[];
  /** Undefined if no master keys are configured. */
  load(signal: AbortSignal): Promise<Sealer | undefined>;
  /** Whether this loaded master key follows a pattern, such as zeros, so that anyone can guess it. */
  isGuessable?(kid: string): boolean;
  /** The error for a caller whose time is over while it waits for a load, if the cause can be named. */
  late?(): KeyctlError | undefined;
  /** Creates the first master key if there is none. Returns the current ones: another process may have been first. */
  generate(signal: AbortSignal): Promise<Sealer>;
  /**
   * Adds a new master key before the others, and returns its id. Throws CONFIG_INVALID if keyctl cannot write to the
   * place, and CONFLICT while another process changes the set. Nothing has changed then.
   */
  addActive(signal: AbortSignal): Promise<string>;
  /**
   * Removes this master key, which must not be the active one. Throws CONFIG_INVALID if keyctl cannot write to the
   * place, and CONFLICT for the active one or while another process changes the set. Nothing has changed then.
   */
  remove(kid: string, signal: AbortSignal): Promise<void>;
  /** Throws the error of `remove` if keyctl cannot write to the place. */
  assertRemovable(kid: string): void;
}

/** The place of the master keys, for `doctor`. */
export interface MasterKeyPlaceFacts {
  /** The variable that names the place, or the path of the file. */
  readonly from: string;
  /** As in `MasterKeys`. */
  readonly notRead?: readonly string[];
  /** Whether keyctl may change the master keys there. */
  readonly isWritable: boolean;
  /** The file of the master keys; its mode is null if it does not exist. */
  readonly file: {
    readonly path: string;
    readonly mode: number | null;
    readonly readableByOthers: boolean;
    /** False: this process cannot change the mode. */
    readonly modeCanChange?: boolean;
  } | null;
}

export type SourceReading =
  | { readonly status: "absent" }
  | { readonly status: "found"; readonly key: ApiKey }
  /** A person named the file, and it does not exist. */
  | { readonly status: "missing" }
  /** `detail` completes a sentence that begins with the source's name; it contains nothing of what was read. */
  | { readonly status: "malformed"; readonly detail: string }
  | { readonly status: "unreadable"; readonly reason: string }
  /** The source holds a management key that is configured here. */
  | { readonly status: "management-key" }
  /** A key that keyctl created and is about to delete. The journal tells so, never the source. */
  | { readonly status: "owed"; readonly key: ApiKey };

/** A place outside the database that may hold a key. */
export interface KeySource {
  readonly name: ExternalSource;
  /** The place that a person corrects if it holds no key: the path of a file, or the name of a variable. */
  readonly place: string;
  read(): Promise<{ readonly reading: SourceReading; readonly warnings: readonly Warning[] }>;
}

export interface Clock {
  now(): Date;
}

/**
 * `seal`: for a value that is sealed now; the store names its master key then. `prepare`: the errors of `seal` for a
 * caller that seals later or not at all; a store that is sealed is not written to. `kid`: to open a value that names
 * this master key, which may have been added since the others were loaded.
 */
export type Purpose = "seal" | "prepare" | "open" | { readonly kid: string };
