import { BSON, ObjectId } from "mongodb";
import type { Document } from "mongodb";
import { rfc3339In } from "../../core/model/expiry.ts";
import { NO_TERMS, NOTHING_KNOWN, OF_NO_USER, PROVIDER, storedValue } from "../../core/model/key-record.ts";
import type { KeyRecord, LastCheck, Terms, Timestamp, Version } from "../../core/model/key-record.ts";
import { withoutKeys } from "../../core/model/redact-keys.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { fieldsOfPrevious, fieldsOfTerms, hasTerms, previousIn, termsIn } from "../format/terms.ts";
import { countIn, fieldsOfCheck, lastCheckIn, textIn, timestampIn } from "../format/values.ts";
import type { Fields } from "../format/values.ts";

/**
 * The shape of a document of `api_keys`. Other programs write here too: what they leave out or write in another type
 * is read as well as it can be, and what keyctl does not know is left as it is.
 */

const OBJECT_ID = /^[0-9a-fA-F]{24}$/;
/** Ids that another program may have written as a number. */
const NUMBER = /^(0|-?[1-9]\d{0,14})$/;
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
  "name",
  "label",
  "limit",
  "limit_reset",
  "expires_at",
  "upstream_hash",
]);
const TIMES: ReadonlySet<string> = new Set(["at", "created_at", "expires_at", "last_used_at", "last_validated"]);
const EPOCH = new Date(0).toISOString();

/** A missing provider is ours: `null` matches both. So does a list that holds one of them. */
export const OURS: Document = { provider: { $in: [PROVIDER, null] } };

export function isOurs({ provider }: Document): boolean {
  return isOurProvider(provider) || (Array.isArray(provider) && provider.some(isOurProvider));
}

function isOurProvider(provider: unknown): boolean {
  return provider === PROVIDER || provider === null || provider === undefined;
}

/** The forms in which a user's id may stand in a document; we write the first. */
export function userForms(user: UserId): readonly [ObjectId | string, ...(string | number)[]] {
  if (OBJECT_ID.test(user)) return [new ObjectId(user), user, user.toUpperCase()];
  return NUMBER.test(user) ? [user, Number(user)] : [user];
}

/** A filter that matches a value also matches each list that holds it: a list is nobody's id, and never touched. */
const NO_LIST: Document = { $not: { $type: "array" } };

/** All documents that name one of these users, also in a list. */
export function namesOneOf(users: readonly UserId[]): Document {
  return { user_id: { $in: users.flatMap(userForms) } };
}

/** Whether a row is found under the id by which it is shown: a list, a document, a date, a fraction or null is no user's id. */
function isOfOneUser({ user_id: id, provider }: Document): boolean {
  if (!isOurProvider(provider)) return false;
  if (typeof id === "string") return !OBJECT_ID.test(id) || id === id.toLowerCase() || id === id.toUpperCase();
  return id instanceof ObjectId || (typeof id === "number" && NUMBER.test(String(id)));
}

/** The rows of these users that are ours. One that names a user in a list is unreadable, and only for who has no other. */
export function rowsOf(documents: readonly Document[], users: readonly UserId[]): readonly KeyRecord[] {
  const ours = documents.filter(isOurs);
  const rows = ours.filter(isOfOneUser).map(fromDocument);
  if (rows.length === ours.length) return rows;
  const known = new Set(rows.map(({ userId }) => userId));
  const unreadable = ours
    .filter((document) => !isOfOneUser(document))
    .flatMap((document) => {
      const named = [document["user_id"]].flat().map(userIdOf);
      const row = fromDocument(document);
      return users.filter((user) => !known.has(user) && named.includes(user)).map((userId) => ({ ...row, userId }));
    });
  return [...rows, ...unreadable];
}

/** Documents that the unique index does not hold apart from ours: an id as text where we write an ObjectId, as a number where we write text, or in a list, or no provider, or several. */
export const NON_CANONICAL_ID: Document = {
  $or: [
    { provider: null },
    { provider: { $type: "array" } },
    { user_id: { $type: "array" } },
    { user_id: { $type: "number" } },
    { user_id: { $type: "string", $regex: "^[0-9a-fA-F]{24}$" } },
  ],
};

/** What `countIn` makes null: other programs may have written anything there, or nothing. */
const NOT_COUNTED: Document = { $not: { $gte: 0 } };

/** Undefined fields, of which `key_encrypted` may be one, are to be left out. */

export function toDocument(record: KeyRecord): Document {
  return {
    _id: fromText(record.id),
    user_id: userForms(record.userId)[0],
    provider: PROVIDER,
    ...contentOf(record),
    ...(hasTerms(record) ? withDates(fieldsOfTerms(record)) : {}),
  };
}

/** What a change writes; fields that keyctl does not know stay as they are. */
export function changeOf(record: KeyRecord): Document {
  return { ...contentOf(record), ...withDates(fieldsOfTerms(record)) };
}

function contentOf(record: KeyRecord): Document {
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
    previous: record.previous === null ? null : withDates(fieldsOfPrevious(record.previous)),
  };
}

/** The times among these, at whatever depth, as dates; a text that is none of ours stays as it is. */
export function withDates(fields: Fields): Document {
  const inBson = (name: string, value: unknown): unknown => {
    if (TIMES.has(name) && typeof value === "string") return rfc3339In(value) === null ? value : new Date(value);
    return typeof value === "object" && value !== null ? withDates(value as Fields) : value;
  };
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, inBson(name, value)]));
}

export function checkOf(check: LastCheck): Document {
  return withDates(fieldsOfCheck(check));
}

/** The state that was seen, as a filter. `$eq`, so that no value is taken for an operator. */
export function unchangedFilter(user: UserId, { id, revision, keyEncrypted }: Version): Document {
  return {
    _id: { $eq: fromText(id) },
    user_id: { $in: userForms(user), ...NO_LIST },
    revision: revision === null ? NOT_COUNTED : { $eq: revision },
    key_encrypted: stillStored(keyEncrypted),
  };
}

/** The same key as was seen, whatever else has changed: by its hash, or where that is missing or of a key before, as it is stored. */
export function sameKeyFilter({
  id,
  keyHash,
  keyEncrypted,
}: Pick<KeyRecord, "id" | "keyHash" | "keyEncrypted">): Document {
  const stored = { key_encrypted: stillStored(keyEncrypted) };
  const same = keyHash === null ? stored : { $or: [{ key_hash: { $eq: keyHash } }, stored] };
  return { _id: { $eq: fromText(id) }, user_id: NO_LIST, ...same };
}

function stillStored(keyEncrypted: string): Document {
  return keyEncrypted === BSON_MARK ? { $exists: false } : { $eq: fromText(keyEncrypted) };
}

export function fromDocument(document: Document): KeyRecord {
  const isWhole = isOfOneUser(document);
  const keyEncrypted = isWhole ? toText(document["key_encrypted"]) : OF_NO_USER;
  const createdAt = timestampIn(document["created_at"]) ?? timestampIn(document["updated_at"]) ?? bornAt(document);
  return {
    id: toText(document["_id"]),
    revision: countIn(document["revision"]),
    userId: userIdOf(document["user_id"]),
    keyEncrypted,
    origin: textIn(document["source"]) ?? "unknown",
    createdAt,
    updatedAt: timestampIn(document["updated_at"]) ?? createdAt,
    lastValidated: timestampIn(document["last_validated"]),
    ...(isWhole ? aboutTheKey(document, keyEncrypted) : OF_NO_KEY),
    foreignFields: foreignFieldsOf(document),
  };
}

function foreignFieldsOf(document: Document): readonly string[] {
  return Object.keys(document).filter((name) => !FIELDS.has(name));
}
type AboutTheKey = Pick<
  KeyRecord,
  "keyHash" | "keyTail" | "lastCheck" | "generation" | "settled" | "previous" | keyof Terms
>;

/** A key in clear speaks for itself: what stands beside it may be about a key that another program has written over. */
function aboutTheKey(document: Document, keyEncrypted: string): AboutTheKey {
  const keyHash = textIn(document["key_hash"]);
  const value = storedValue(keyEncrypted);
  if (value.kind !== "clear") {
    return {
      keyHash,
      keyTail: textIn(document["key_tail"]),
      lastCheck: lastCheckIn(document["last_check"]),
      ...makingOf(document),
    };
  }
  const { hash, tail } = value.key;
  const isAboutIt = keyHash === null || keyHash === hash;
  return {
    keyHash: hash,
    keyTail: tail,
    lastCheck: isAboutIt ? lastCheckIn(document["last_check"]) : null,
    ...(keyHash === hash ? makingOf(document) : NOT_MADE_BY_US),
  };
}

const OF_NO_KEY: AboutTheKey = { ...NOTHING_KNOWN, keyHash: null, keyTail: null };

type Making = Pick<KeyRecord, "generation" | "settled" | "previous" | keyof Terms>;

const NOT_MADE_BY_US: Making = { generation: 0, settled: true, previous: null, ...NO_TERMS };

/** A keyctl from before there were terms leaves those of the key that it writes over, and the note of what was before that. */
function makingOf(document: Document): Making {
  const generation = countIn(document["generation"]) ?? 0;
  const settled = document["settled"] !== false;
  return {
    generation,
    settled,
    previous: settled ? null : previousIn(document["previous"]),
    ...(generation === 0 ? NO_TERMS : termsIn(document)),
  };
}

/** Text as it is; a value of another type, which other programs may have written, as Extended JSON behind a mark. */
function toText(value: unknown): string {
  if (typeof value === "string" && !value.startsWith(BSON_MARK)) return value;
  return BSON_MARK + (value === undefined ? "" : BSON.EJSON.stringify(value, { relaxed: false }));
}

/** What may look like a key in it is masked. */
function inExtendedJson(value: unknown): string {
  return withoutKeys(BSON_MARK + BSON.EJSON.stringify(value ?? null));
}

/** Undefined for what was missing. */
function fromText(text: string): unknown {
  if (text === BSON_MARK) return undefined;
  return text.startsWith(BSON_MARK) ? BSON.EJSON.parse(text.slice(BSON_MARK.length), { relaxed: false }) : text;
}

/** Of a value that can be no id, its text in Extended JSON, for a person. */
export function userIdOf(value: unknown): UserId {
  const isId = typeof value === "string" || typeof value === "number";
  const text = value instanceof ObjectId ? value.toHexString() : isId ? String(value) : inExtendedJson(value);
  // An id as it stands in the database: it was somebody else's to check.
  return (OBJECT_ID.test(text) ? text.toLowerCase() : text) as UserId;
}

function bornAt({ _id: id }: Document): Timestamp {
  return id instanceof ObjectId ? id.getTimestamp().toISOString() : EPOCH;
}
