import { ApiKey } from "./api-key.ts";
import { maskOf } from "./mask.ts";
import { KeyctlError } from "./errors.ts";
import { printable } from "../text/printable.ts";
import { randomBytes } from "./random-bytes.ts";
import type { UserId } from "./user-id.ts";

/** RFC 3339 in UTC with milliseconds, as `Date.prototype.toISOString` makes it: text order is time order. */
export type Timestamp = string;

/** The last definite answer about a key, with what else OpenRouter said of it then. What it did not say is missing; null is "none". */
export interface LastCheck {
  readonly at: Timestamp;
  readonly verdict: "valid" | "invalid";
  readonly reason: string | null;
  /** In USD. */
  readonly limit?: number | null;
  readonly limitRemaining?: number | null;
  /** The scope of the budget that was used up, such as `workspace`. */
  readonly blockedBy?: string | null;
  /** As `Terms.expiresAt`. */
  readonly expiresAt?: string | null;
  readonly lastUsedAt?: Timestamp | null;
}

/**
 * Which state of a row was seen. A change compares all of it: `revision` alone is fooled by a delete and an insert,
 * and by programs that write a key without counting.
 */
export interface Version {
  /** The store's `_id` as text, whatever its type there. */
  readonly id: string;
  readonly revision: number | null;
  /** A JWE, or a well-formed key in clear (from before encryption), or something unreadable. */
  readonly keyEncrypted: string;
}

export type LimitReset = "daily" | "weekly" | "monthly";

/** What OpenRouter was told when it made a key; all null for a key that keyctl did not make. Money is in USD. */
export interface Terms {
  /** Its name upstream, which holds the operation that made it. */
  readonly name: string | null;
  /** What a person called it; kept here only. */
  readonly label: string | null;
  readonly limit: number | null;
  readonly limitReset: LimitReset | null;
  /** Null for never; a text that is no RFC 3339 time where it cannot be read. */
  readonly expiresAt: string | null;
  /** OpenRouter's own id of the key, where that is not our SHA-256. */
  readonly upstreamHash: string | null;
}

export const NO_TERMS: Terms = {
  name: null,
  label: null,
  limit: null,
  limitReset: null,
  expiresAt: null,
  upstreamHash: null,
};

/** These alone, of whatever else has them. */
export function termsOf({ name, label, limit, limitReset, expiresAt, upstreamHash }: Terms): Terms {
  return { name, label, limit, limitReset, expiresAt, upstreamHash };
}

/** What a row held before a change that is not dealt with yet, and what it takes to put it back. */
export interface Previous extends Terms {
  /** Whether the key is to be removed upstream when the change is final. */
  readonly revoke: boolean;
  readonly generation: number;
  readonly keyHash: string | null;
  /** Null after a save: that is never undone. */
  readonly keyEncrypted: string | null;
  readonly keyTail: string | null;
  readonly origin: string;
  readonly createdAt: Timestamp;
  readonly lastValidated: Timestamp | null;
  readonly lastCheck: LastCheck | null;
}

/** One user's key as it is stored. */
export interface KeyRecord extends Version, Terms {
  readonly userId: UserId;
  readonly keyHash: string | null;
  readonly keyTail: string | null;
  /** How the key entered the database. */
  readonly origin: string;
  readonly createdAt: Timestamp;
  readonly updatedAt: Timestamp;
  /** Moves only when a validation says `valid`. */
  readonly lastValidated: Timestamp | null;
  readonly lastCheck: LastCheck | null;
  /** 0: a key that keyctl did not make. */
  readonly generation: number;
  /** False while its outcome is not known to be saved, or `previous` is not dealt with. */
  readonly settled: boolean;
  /** The names of fields that another program keeps in this row; a change leaves them alone, a copy does not take them along. */
  readonly foreignFields: readonly string[];
  readonly previous: Previous | null;
}

/** When keyctl made this key, in milliseconds since 1970; undefined for a key of others. */
export function createdAtMs({ generation, createdAt }: KeyRecord): number | undefined {
  return generation === 0 ? undefined : Date.parse(createdAt);
}

/** The only provider there is; a part of every row's identity. */
export const PROVIDER = "openrouter";

/** What other programs may have written there is not shown. */
const TAIL = /^[A-Za-z0-9_-]{4}$/;
const JWE = /^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$/;

/** Stands in the place of the key in a row that is no single user's, as only other programs write it. */
export const OF_NO_USER = "of no user";

/** Whether a row is listed and never touched: where its user's id should be is a list, a document, a date or null. */
export function isOfNoUser({ keyEncrypted }: Pick<KeyRecord, "keyEncrypted">): boolean {
  return keyEncrypted === OF_NO_USER;
}

export function noUserError({ id, userId }: Pick<KeyRecord, "id" | "userId">): KeyctlError {
  return new KeyctlError(
    "ROW_UNREADABLE",
    `the row with _id ${printable(id)} (user ${printable(userId)}) has a user id or a provider in a form that keyctl does not read`,
    { hint: "correct or delete it with another tool; keyctl does not touch it" },
  );
}

/** What a stored value is, without opening it. */
export type StoredValue =
  | { readonly kind: "sealed" }
  | { readonly kind: "clear"; readonly key: ApiKey }
  | { readonly kind: "unreadable" };

export function storedValue(keyEncrypted: string): StoredValue {
  if (JWE.test(keyEncrypted)) return { kind: "sealed" };
  const key = ApiKey.parse(keyEncrypted);
  return key === undefined ? { kind: "unreadable" } : { kind: "clear", key };
}

/** What a person may see of the key in a row, without opening it; null when it holds none. */
export function maskOfRecord(record: KeyRecord): string | null {
  const value = storedValue(record.keyEncrypted);
  if (value.kind === "unreadable") return null;
  if (value.kind === "clear") return value.key.masked;
  return record.keyTail === null ? null : maskOf(TAIL.test(record.keyTail) ? record.keyTail : "????");
}

/** The hash of the key in a row, without opening it: what stands beside a key in plain text may be about another one. */
export function hashOfRecord({ keyEncrypted, keyHash }: Pick<KeyRecord, "keyEncrypted" | "keyHash">): string | null {
  const value = storedValue(keyEncrypted);
  return value.kind === "clear" ? value.key.hash : keyHash;
}

/** Only other programs make a second row of a user, such as one under a text id beside one under an ObjectId. */
export function duplicateRowsError(one: KeyRecord, other: KeyRecord): KeyctlError {
  const ids = [one, other].map(({ id }) => printable(id)).join(" and ");
  return new KeyctlError("CONFLICT", `user ${printable(one.userId)} has two rows in the database: _id ${ids}`, {
    hint: "delete the unwanted row with another tool; keyctl changes neither",
  });
}

/** A key that is to be stored. */
export interface KeyToStore {
  readonly key: ApiKey;
  /** What is stored of it. */
  readonly sealed: string;
  readonly origin: string;
  readonly now: Timestamp;
}

/** A fresh row for a key that keyctl did not make: settled, generation 0, never checked. */
export function newRecord(userId: UserId, given: KeyToStore): KeyRecord {
  return {
    id: randomBytes(16).toString("hex"),
    revision: 1,
    userId,
    ...keyFields(given),
    createdAt: given.now,
    foreignFields: [],
  };
}

/** The row with another key in it: everything that belonged to the old key goes with it. */
export function withKey(row: KeyRecord, given: KeyToStore): KeyRecord {
  return {
    ...row,
    ...keyFields(given),
    createdAt: given.now,
    revision: (row.revision ?? 0) + 1,
  };
}

/** The row with the same key re-encrypted. What stands beside a key that another program wrote over is about the one before. */
export function withNewSeal(row: KeyRecord, key: ApiKey, sealed: string, now: Timestamp): KeyRecord {
  const isAboutIt = row.keyHash === null || row.keyHash === key.hash;
  return {
    ...row,
    ...(isAboutIt ? {} : NOTHING_KNOWN),
    keyEncrypted: sealed,
    keyHash: key.hash,
    keyTail: key.tail,
    updatedAt: now,
    revision: (row.revision ?? 0) + 1,
  };
}

/** Beside a key that nobody knows anything of. */
export const NOTHING_KNOWN = {
  lastValidated: null,
  lastCheck: null,
  generation: 0,
  settled: true,
  previous: null,
  ...NO_TERMS,
} as const;

function keyFields({ key, sealed, origin, now }: KeyToStore) {
  return {
    keyEncrypted: sealed,
    keyHash: key.hash,
    keyTail: key.tail,
    origin,
    updatedAt: now,
    ...NOTHING_KNOWN,
  };
}
