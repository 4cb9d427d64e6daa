import { BSON, ObjectId } from "mongodb";
import type { Document } from "mongodb";
import { isOfNoUser, NO_TERMS, NOTHING_KNOWN, OF_NO_USER, PROVIDER, storedValue } from "../../core/model/key-record.ts";
import type { KeyRecord, Renewal, Terms, Timestamp } from "../../core/model/key-record.ts";
import { isTombstone } from "../../core/model/tombstone.ts";
import type { StoredRow } from "../../core/model/tombstone.ts";
import { withoutKeys } from "../../core/model/redact-keys.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { asRecord, tombstoneIn } from "../format/block.ts";
import { fieldsOfPrevious, fieldsOfRenewal, fieldsOfTerms, hasTerms } from "../format/terms.ts";
import { previousIn, renewalIn, termsIn } from "../format/terms.ts";
import { countIn, lastCheckIn, textIn, timestampIn } from "../format/values.ts";
import { checkOf, withDates } from "./dates.ts";

/**
 * The format of a document of `api_keys`. Other programs write here too: fields that are missing or of another type are
 * read as well as possible, and fields that keyctl does not know stay unchanged.
 */

const OBJECT_ID = /^[0-9a-fA-F]{24}$/;
/** Ids that another program may have written as a number. */
const NUMBER = /^(0|-?[1-9]\d{0,14})$/;
export const BSON_MARK = "bson:";
/** The fields that `toDocument` writes. */
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
  "limit_due",
  "restrictions",
  "auto_renewed",
  "last_renewal_at",
  "blocked",
]);
const EPOCH = new Date(0).toISOString();

export function isOurs({ provider }: Document): boolean {
  return isOurProvider(provider) || (Array.isArray(provider) && provider.some(isOurProvider));
}

function isOurProvider(provider: unknown): boolean {
  return provider === PROVIDER || provider === null || provider === undefined;
}

/** The forms that a user's id may have in a document; keyctl writes the first. */
export function userForms(user: UserId): readonly [ObjectId | string, ...(string | number)[]] {
  if (OBJECT_ID.test(user)) return [new ObjectId(user), user, user.toUpperCase()];
  return NUMBER.test(user) ? [user, Number(user)] : [user];
}

/**
 * Whether the user id that a row is shown with also finds the row. False for a list, a document, a date, a fraction,
 * null, 24 hex digits of mixed case, and for a list of providers.
 */
function isOfOneUser({ user_id: id, provider }: Document): boolean {
  if (!isOurProvider(provider)) return false;
  if (typeof id === "string") return !OBJECT_ID.test(id) || id === id.toLowerCase() || id === id.toUpperCase();
  return id instanceof ObjectId || (typeof id === "number" && NUMBER.test(String(id)));
}

/**
 * The OpenRouter rows of these users. A document that names a user but is no single user's, such as one with a list of
 * ids, gives an unreadable row to each of its users without another row.
 */
export function rowsOf(documents: readonly Document[], users: readonly UserId[]): readonly StoredRow[] {
  const ours = documents.filter(isOurs);
  const rows = ours.filter(isOfOneUser).map(rowIn);
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

/** The writer must leave out undefined fields; `key_encrypted` may be one. */
export function toDocument(row: StoredRow): Document {
  const record = isTombstone(row) ? asRecord(row) : row;
  return {
    _id: fromText(record.id),
    user_id: userForms(record.userId)[0],
    provider: PROVIDER,
    ...contentOf(record),
    ...(hasTerms(record) ? withDates(fieldsOfTerms(record)) : {}),
    ...(record.autoRenewed || record.lastRenewalAt !== null ? withDates(fieldsOfRenewal(record)) : {}),
    ...blockOf(row),
  };
}

/** The fields that a change writes; fields that keyctl does not know stay unchanged. */
export function changeOf(row: StoredRow): Document {
  const record = isTombstone(row) ? asRecord(row) : row;
  const terms = { ...fieldsOfTerms(record), ...fieldsOfRenewal(record) };
  return { ...contentOf(record), ...withDates(terms), ...blockOf(row) };
}

function blockOf(row: StoredRow): Document {
  return isTombstone(row) ? { blocked: withDates({ ...row.blocked }) } : {};
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

/** A document with a block is a tombstone, whatever another program has written beside it. */
export function rowIn(document: Document): StoredRow {
  const record = fromDocument(document);
  const blocked: unknown = document["blocked"];
  if (blocked === null || blocked === undefined || isOfNoUser(record)) return record;
  return tombstoneIn(record, blocked);
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
    ...(isWhole ? { ...aboutTheKey(document, keyEncrypted), ...renewalIn(document) } : OF_NO_KEY),
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

/**
 * For a key in plain text, hash and tail come from the key itself: the fields next to it may describe a key that
 * another program has overwritten.
 */
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

const OF_NO_KEY: AboutTheKey & Renewal = { ...NOTHING_KNOWN, keyHash: null, keyTail: null };

type Making = Pick<KeyRecord, "generation" | "settled" | "previous" | keyof Terms>;

const NOT_MADE_BY_US: Making = { generation: 0, settled: true, previous: null, ...NO_TERMS };

/**
 * Ignores the terms of generation 0 and the note of a settled row: a keyctl older than terms leaves both behind when it
 * overwrites a key.
 */
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

/** Text unchanged; a value of another type, which other programs may write, as Extended JSON after a mark. */
function toText(value: unknown): string {
  if (typeof value === "string" && !value.startsWith(BSON_MARK)) return value;
  return BSON_MARK + (value === undefined ? "" : BSON.EJSON.stringify(value, { relaxed: false }));
}

/** Masks everything that looks like a key. */
function inExtendedJson(value: unknown): string {
  return withoutKeys(BSON_MARK + BSON.EJSON.stringify(value ?? null));
}

/** Undefined if the field was missing. */
export function fromText(text: string): unknown {
  if (text === BSON_MARK) return undefined;
  return text.startsWith(BSON_MARK) ? BSON.EJSON.parse(text.slice(BSON_MARK.length), { relaxed: false }) : text;
}

/** The user id in a stored value. For a value that cannot be an id, its Extended JSON, for people. */
export function userIdOf(value: unknown): UserId {
  const isId = typeof value === "string" || typeof value === "number";
  const text = value instanceof ObjectId ? value.toHexString() : isId ? String(value) : inExtendedJson(value);
  // Not validated here: another program may have written the id.
  return (OBJECT_ID.test(text) ? text.toLowerCase() : text) as UserId;
}

function bornAt({ _id: id }: Document): Timestamp {
  return id instanceof ObjectId ? id.getTimestamp().toISOString() : EPOCH;
}
