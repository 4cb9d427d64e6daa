import { BSON, ObjectId } from "mongodb";
import type { Document } from "mongodb";
import { PROVIDER, storedValue } from "../core/key-record.ts";
import type { KeyRecord, LastCheck, Timestamp, Version } from "../core/key-record.ts";
import type { UserId } from "../core/user-id.ts";

/**
 * The shape of a document of `api_keys`. Other programs write here too: what they leave out or write in another type
 * is read as well as it can be, and what keyctl does not know is left as it is.
 */

const OBJECT_ID = /^[0-9a-fA-F]{24}$/;
const BSON_MARK = "bson:";
/** What `toDocument` writes. */
const FIELDS: ReadonlySet<string> = new Set([
  "_id",
  "user_id",
  "provider",
  "key_encrypted",
  "key_hash",
  "key_tail",
  "source",
  "created_at",
  "updated_at",
  "last_validated",
  "last_check",
  "revision",
  "generation",
  "settled",
  "previous",
]);
/** As Python's `utcnow().isoformat()` writes it, in UTC; JavaScript would take it for the time of this machine. */
const WITHOUT_ZONE = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/;
const EPOCH = new Date(0).toISOString();

/** A missing provider is ours: `null` matches both. */
export const OURS: Document = { provider: { $in: [PROVIDER, null] } };

export function isOurs({ provider }: Document): boolean {
  return provider === PROVIDER || provider === null || provider === undefined;
}

/** The forms in which a user's id may stand in a document; we write the first. */
export function userForms(user: UserId): readonly [ObjectId | string, ...string[]] {
  return OBJECT_ID.test(user) ? [new ObjectId(user), user, user.toUpperCase()] : [user];
}

/** Documents that the unique index does not hold apart from ours: an id as text where we write an ObjectId, or no provider. */
export const IN_ANOTHER_FORM: Document = {
  $or: [{ provider: null }, { user_id: { $type: "string", $regex: "^[0-9a-fA-F]{24}$" } }],
};

/** Undefined fields, of which `key_encrypted` may be one, are to be left out. */
/** What `countOf` makes null: other programs may have written anything there, or nothing. */
const NOT_COUNTED: Document = { $not: { $gte: 0 } };

export function toDocument(record: KeyRecord): Document {
  return {
    _id: fromText(record.id),
    user_id: userForms(record.userId)[0],
    provider: PROVIDER,
    ...contentOf(record),
    previous: null,
  };
}

/** What a change writes; fields that keyctl does not know stay as they are. */
export function contentOf(record: KeyRecord): Document {
  return {
    key_encrypted: fromText(record.keyEncrypted),
    key_hash: record.keyHash,
    key_tail: record.keyTail,
    source: record.origin,
    created_at: new Date(record.createdAt),
    updated_at: new Date(record.updatedAt),
    last_validated: record.lastValidated === null ? null : new Date(record.lastValidated),
    last_check: record.lastCheck === null ? null : checkOf(record.lastCheck),
    revision: record.revision,
    generation: record.generation,
    settled: record.settled,
  };
}

export function checkOf({ at, verdict, reason }: LastCheck): Document {
  return { at: new Date(at), verdict, reason };
}

/** The state that was seen, as a filter. `$eq`, so that no value is taken for an operator. */
export function stillAs(user: UserId, { id, revision, keyEncrypted }: Version): Document {
  return {
    _id: { $eq: fromText(id) },
    user_id: { $in: userForms(user) },
    revision: revision === null ? NOT_COUNTED : { $eq: revision },
    key_encrypted: stillStored(keyEncrypted),
  };
}

/** The same key as was seen, whatever else has changed: by its hash, or where that is missing or of a key before, as it is stored. */
export function stillHolds({
  id,
  keyHash,
  keyEncrypted,
}: Pick<KeyRecord, "id" | "keyHash" | "keyEncrypted">): Document {
  const stored = { key_encrypted: stillStored(keyEncrypted) };
  const same = keyHash === null ? stored : { $or: [{ key_hash: { $eq: keyHash } }, stored] };
  return { _id: { $eq: fromText(id) }, ...same };
}

function stillStored(keyEncrypted: string): Document {
  return keyEncrypted === BSON_MARK ? { $exists: false } : { $eq: fromText(keyEncrypted) };
}

export function fromDocument(document: Document): KeyRecord {
  const keyEncrypted = toText(document["key_encrypted"]);
  const createdAt = timestampOf(document["created_at"]) ?? timestampOf(document["updated_at"]) ?? bornAt(document);
  return {
    id: toText(document["_id"]),
    revision: countOf(document["revision"]),
    userId: userIdOf(document["user_id"]),
    keyEncrypted,
    origin: textOf(document["source"]) ?? "unknown",
    createdAt,
    updatedAt: timestampOf(document["updated_at"]) ?? createdAt,
    lastValidated: timestampOf(document["last_validated"]),
    ...aboutTheKey(document, keyEncrypted),
    foreignFields: foreignFieldsOf(document),
  };
}

function foreignFieldsOf(document: Document): readonly string[] {
  const names = Object.keys(document).filter((name) => !FIELDS.has(name));
  return document["previous"] === null || document["previous"] === undefined ? names : [...names, "previous"];
}

/** A key in clear speaks for itself: what stands beside it may be about a key that another program has written over. */
function aboutTheKey(
  document: Document,
  keyEncrypted: string,
): Pick<KeyRecord, "keyHash" | "keyTail" | "lastCheck" | "generation" | "settled"> {
  const keyHash = textOf(document["key_hash"]);
  const value = storedValue(keyEncrypted);
  if (value.kind !== "clear") {
    return {
      keyHash,
      keyTail: textOf(document["key_tail"]),
      lastCheck: lastCheckOf(document["last_check"]),
      generation: countOf(document["generation"]) ?? 0,
      settled: document["settled"] !== false,
    };
  }
  const { hash, tail } = value.key;
  const isAboutIt = keyHash === null || keyHash === hash;
  return {
    keyHash: hash,
    keyTail: tail,
    lastCheck: isAboutIt ? lastCheckOf(document["last_check"]) : null,
    generation: keyHash === hash ? (countOf(document["generation"]) ?? 0) : 0,
    settled: keyHash === hash ? document["settled"] !== false : true,
  };
}

/** Text as it is; a value of another type, which other programs may have written, as Extended JSON behind a mark. */
function toText(value: unknown): string {
  if (typeof value === "string" && !value.startsWith(BSON_MARK)) return value;
  return BSON_MARK + (value === undefined ? "" : BSON.EJSON.stringify(value, { relaxed: false }));
}

/** Undefined for what was missing. */
function fromText(text: string): unknown {
  if (text === BSON_MARK) return undefined;
  return text.startsWith(BSON_MARK) ? BSON.EJSON.parse(text.slice(BSON_MARK.length), { relaxed: false }) : text;
}

function userIdOf(value: unknown): UserId {
  const text = value instanceof ObjectId ? value.toHexString() : String(value);
  // An id as it stands in the database: it was somebody else's to check.
  return (OBJECT_ID.test(text) ? text.toLowerCase() : text) as UserId;
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** A whole number that is not negative, in whatever numeric type it was written. */
function countOf(value: unknown): number | null {
  const number = typeof value === "object" && value !== null ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number >= 0 ? number : null;
}

function timestampOf(value: unknown): Timestamp | null {
  const date = typeof value === "string" ? new Date(WITHOUT_ZONE.test(value) ? `${value}Z` : value) : value;
  return date instanceof Date && !Number.isNaN(date.getTime()) ? date.toISOString() : null;
}

function bornAt({ _id: id }: Document): Timestamp {
  return id instanceof ObjectId ? id.getTimestamp().toISOString() : EPOCH;
}

function lastCheckOf(value: unknown): LastCheck | null {
  const { at, verdict, reason } = { ...(typeof value === "object" ? value : null) } as Document;
  const time = timestampOf(at);
  if (time === null || (verdict !== "valid" && verdict !== "invalid")) return null;
  return { at: time, verdict, reason: textOf(reason) };
}
