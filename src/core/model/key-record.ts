import { ApiKey } from "./api-key.ts";
import { maskOf } from "./mask.ts";
import { KeyctlError } from "./errors.ts";
import { printable } from "../text/printable.ts";
import { randomBytes } from "./random-bytes.ts";
import type { UserId } from "./user-id.ts";

/** RFC 3339 in UTC with milliseconds, in the form of `Date.prototype.toISOString`: text order is time order. */
export type Timestamp = string;

/**
 * The last definite answer about a key, and what else OpenRouter said about it then. A property that OpenRouter did not
 * state is missing; null is "none".
 */
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
 * Identifies the state of a row that was read. A change compares all of it. `revision` alone would miss a delete
 * followed by an insert, and programs that write a key without counting.
 */
export interface Version {
  /** The store's `_id` as text, whatever its type there. */
  readonly id: string;
  readonly revision: number | null;
  /** A JWE, a well-formed key in plain text (from before encryption), or an unreadable value. */
  readonly keyEncrypted: string;
}

export type LimitReset = "daily" | "weekly" | "monthly";

/** The full limit that a key gets back at `at`. Until then the key has what was left of its predecessor's limit. */
export interface LimitDue {
  /** In USD. */
  readonly limit: number;
  readonly at: Timestamp;
}

/** What was attached to a key at OpenRouter when it was rotated. Another hash gets none of it by itself. */
export interface Restrictions {
  /** The ids of the guardrails that the key is assigned to. */
  readonly guardrails: readonly string[];
  /** The ids of the provider keys (BYOK) whose allow-lists name the key. */
  readonly byok: readonly string[];
}

/** The terms that keyctl requested for the key; all null for a key that keyctl did not create. Money is in USD. */
export interface Terms {
  /** The name of the key upstream, which contains its operation. */
  readonly name: string | null;
  /** A person's label for the key; stored only here. */
  readonly label: string | null;
  readonly limit: number | null;
  readonly limitReset: LimitReset | null;
  /** Null: the key never expires. An unreadable time is kept as a text that is not RFC 3339. */
  readonly expiresAt: string | null;
  /** OpenRouter's own id of the key, if that differs from keyctl's SHA-256. */
  readonly upstreamHash: string | null;
  /** Null: `limit` is the limit that the key has. */
  readonly limitDue: LimitDue | null;
  /** Null: not known, because the key was never rotated. */
  readonly restrictions: Restrictions | null;
}

export const NO_TERMS: Terms = {
  name: null,
  label: null,
  limit: null,
  limitReset: null,
  expiresAt: null,
  upstreamHash: null,
  limitDue: null,
  restrictions: null,
};

/** Picks the terms out of a larger object. */
export function termsOf(of: Terms): Terms {
  const { name, label, limit, limitReset, expiresAt, upstreamHash, limitDue, restrictions } = of;
  return { name, label, limit, limitReset, expiresAt, upstreamHash, limitDue, restrictions };
}

/** Whether the key replaced one that was refused, and when. Also written by the system before keyctl. */
export interface Renewal {
  readonly autoRenewed: boolean;
  readonly lastRenewalAt: Timestamp | null;
}

export const NOT_RENEWED: Renewal = { autoRenewed: false, lastRenewalAt: null };

/** The content of a row before an unsettled change, as needed to restore it. */
export interface Previous extends Terms, Renewal {
  /** Whether the key is deleted upstream once the change is final. */
  readonly revoke: boolean;
  /** For how long the key goes on working after the change is final, in milliseconds; then it is deleted. Null: no such time. */
  readonly graceMs: number | null;
  readonly generation: number;
  readonly keyHash: string | null;
  /** Null after a save, which is never undone. */
  readonly keyEncrypted: string | null;
  readonly keyTail: string | null;
  readonly origin: string;
  readonly createdAt: Timestamp;
  readonly lastValidated: Timestamp | null;
  readonly lastCheck: LastCheck | null;
}

export interface KeyRecord extends Version, Terms, Renewal {
  readonly userId: UserId;
  readonly keyHash: string | null;
  readonly keyTail: string | null;
  /** How the key entered the database. */
  readonly origin: string;
  readonly createdAt: Timestamp;
  readonly updatedAt: Timestamp;
  /** Changes only when a validation finds the key valid. */
  readonly lastValidated: Timestamp | null;
  readonly lastCheck: LastCheck | null;
  /** 0: a key that keyctl did not create. */
  readonly generation: number;
  /** False until the outcome is known to be saved and `previous` is handled. */
  readonly settled: boolean;
  /**
   * The names of fields that another program keeps in this row. A change leaves them as they are; a copy omits them.
   */
  readonly foreignFields: readonly string[];
  readonly previous: Previous | null;
}

/** When keyctl created this key, in milliseconds since 1970; undefined for any other key. */
export function createdAtMs({ generation, createdAt }: KeyRecord): number | undefined {
  return generation === 0 ? undefined : Date.parse(createdAt);
}

/** The only provider, and a part of every row's identity. */
export const PROVIDER = "openrouter";

/** A tail that another program wrote in any other form is not shown. */
const TAIL = /^[A-Za-z0-9_-]{4}$/;
const JWE = /^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$/;

/** Replaces the stored key of a row that belongs to no single user. Only other programs write such rows. */
export const OF_NO_USER = "of no user";

/** Whether a row is listed but never changed: its user id is a list, a document, a date or null. */
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

/** The kind of a stored value, found without opening it. */
export type StoredValue =
  | { readonly kind: "sealed" }
  | { readonly kind: "clear"; readonly key: ApiKey }
  | { readonly kind: "unreadable" };

export function storedValue(keyEncrypted: string): StoredValue {
  if (JWE.test(keyEncrypted)) return { kind: "sealed" };
  const key = ApiKey.parse(keyEncrypted);
  return key === undefined ? { kind: "unreadable" } : { kind: "clear", key };
}

/** The mask of the key in a row, without opening it; null if the row holds no key. */
export function maskOfRecord(record: KeyRecord): string | null {
  const value = storedValue(record.keyEncrypted);
  if (value.kind === "unreadable") return null;
  if (value.kind === "clear") return value.key.masked;
  return record.keyTail === null ? null : maskOf(TAIL.test(record.keyTail) ? record.keyTail : "????");
}

/**
 * The hash of the key in a row, without opening it. With a key in plain text, the recorded hash may be another key's.
 */
export function hashOfRecord({ keyEncrypted, keyHash }: Pick<KeyRecord, "keyEncrypted" | "keyHash">): string | null {
  const value = storedValue(keyEncrypted);
  return value.kind === "clear" ? value.key.hash : keyHash;
}

/** Only other programs create a second row for a user, such as one with a text id beside one with an ObjectId. */
export function duplicateRowsError(one: Pick<KeyRecord, "id" | "userId">, other: Pick<KeyRecord, "id">): KeyctlError {
  const ids = [one, other].map(({ id }) => printable(id)).join(" and ");
  return new KeyctlError("CONFLICT", `user ${printable(one.userId)} has two rows in the database: _id ${ids}`, {
    hint: "delete the unwanted row with another tool; keyctl changes neither",
  });
}

/** A key to store. */
export interface KeyToStore {
  readonly key: ApiKey;
  /** The encrypted key. */
  readonly sealed: string;
  readonly origin: string;
  readonly now: Timestamp;
}

/** A new row for a key that keyctl did not create: settled, generation 0, never checked. */
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

/** The row with another key in it. Everything that belonged to the old key is removed. */
export function withKey(row: KeyRecord, given: KeyToStore): KeyRecord {
  return {
    ...row,
    ...keyFields(given),
    createdAt: given.now,
    revision: (row.revision ?? 0) + 1,
  };
}

/**
 * The row with the same key re-encrypted. If another program has overwritten the key, the recorded facts are about the
 * previous key and are removed.
 */
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

/** The fields of a key about which nothing is known. */
export const NOTHING_KNOWN = {
  lastValidated: null,
  lastCheck: null,
  generation: 0,
  settled: true,
  previous: null,
  ...NO_TERMS,
  ...NOT_RENEWED,
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
