import type { ApiKey } from "./api-key.ts";
import type { KeyRecord, LastCheck, Version } from "./key-record.ts";
import type { Shadowed } from "./log.ts";
import type { UserId } from "./user-id.ts";

/**
 * Where keys live. Holds no rules: it saves what it is given.
 * Rejects with STORE_UNAVAILABLE, STORE_CORRUPT or, once `signal` is aborted while it waits, with the signal's reason;
 * never with a driver's error.
 */
export interface KeyStore {
  find(user: UserId, signal: AbortSignal): Promise<KeyRecord | undefined>;
  /** The rows of those users that have one, in any order. */
  findMany(users: readonly UserId[], signal: AbortSignal): Promise<readonly KeyRecord[]>;
  /** False when the user has a key already; the caller then reads the winner's. */
  insert(record: KeyRecord, signal: AbortSignal): Promise<boolean>;
  /** `insert` of many, independent of each other, in one commit. */
  insertMany(records: readonly KeyRecord[], signal: AbortSignal): Promise<readonly boolean[]>;
  /** False when the row is no longer the one that was seen. */
  replace(record: KeyRecord, seen: Version, signal: AbortSignal): Promise<boolean>;
  /** False when the row is no longer the one that was seen. */
  remove(user: UserId, seen: Version, signal: AbortSignal): Promise<boolean>;
  /** Notes a verdict beside `revision`, so that a validation makes no change lose. False when the row holds another key. */
  recordCheck(seen: Pick<KeyRecord, "id" | "keyHash">, check: LastCheck, signal: AbortSignal): Promise<boolean>;
  /** All rows in the order of the user id, in constant memory; only those with this key hash when one is given. `patience` is asked for each page. */
  scan(patience: () => AbortSignal, keyHash?: string): AsyncIterable<KeyRecord>;
  count(signal: AbortSignal): Promise<number>;
  close(): Promise<void>;
}

/** Proof, kept in the store, of which master keys it is sealed with. */
export interface SealCheck {
  readonly kid: string;
  readonly value: string;
}

export interface SealChecks {
  sealChecks(signal: AbortSignal): Promise<readonly SealCheck[]>;
  /** False when the store has a check already: another process was first. */
  insertFirstSealCheck(check: SealCheck, signal: AbortSignal): Promise<boolean>;
}

/** Turns a key into what is stored and back. */
export interface Sealer {
  seal(key: ApiKey, user: UserId): string;
  /** Throws ROW_UNREADABLE, or MASTER_KEY_MISSING when the row is sealed with a master key that is not here. */
  open(sealed: string, user: UserId): ApiKey;
  newSealCheck(): SealCheck;
  opensSealCheck(check: SealCheck): boolean;
}

/** Where master keys come from. Throws CONFIG_… errors for keys that are there and unusable. */
export interface MasterKeys {
  /** Undefined when none are configured. */
  load(signal: AbortSignal): Promise<Sealer | undefined>;
  /** Makes the first master key of an embedded store, or gives the one that another process has just made. */
  generate(): Promise<Sealer>;
}

/** A worry about a result that is no error; `code` is for programs. */
export interface Warning {
  readonly code: WarningCode;
  readonly message: string;
}

export type WarningCode =
  | "KEY_FILE_IGNORED"
  | "KEY_FILE_MODE"
  | "KEY_FILE_MISSING"
  | "ENVIRONMENT_KEY_IGNORED"
  | "KEY_SHAPE"
  | "KEY_SHARED";

export type Reading =
  | { readonly status: "absent" }
  | { readonly status: "found"; readonly key: ApiKey }
  /** `detail` completes a sentence that begins with the source's name; it holds nothing of what was read. */
  | { readonly status: "malformed"; readonly detail: string }
  | { readonly status: "unreadable"; readonly reason: string };

/** A place outside the database that may hold a key. */
export interface KeySource {
  readonly name: Shadowed;
  read(): Promise<{ readonly reading: Reading; readonly warnings: readonly Warning[] }>;
}

export interface Clock {
  now(): Date;
}
