import type { Document } from "mongodb";
import { PROVIDER } from "../../core/model/key-record.ts";
import type { KeyRecord, Version } from "../../core/model/key-record.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { BSON_MARK, fromText, userForms } from "./document.ts";

/** The filters for documents of `api_keys`. `$eq` and `$in` prevent a value from being read as an operator. */

/** A missing provider counts as OpenRouter: `null` matches null and missing. A list that holds one matches as well. */
const OURS: Document = { provider: { $in: [PROVIDER, null] } };

/** The rows with a key. */
export const WITH_KEY: Document = { ...OURS, blocked: null };

/** The tombstones, found by an index. */
export const BLOCKED: Document = { ...OURS, blocked: { $exists: true, $ne: null } };

/**
 * A filter for a value also matches a list that holds it. A list is no user's id: keyctl never changes such a document.
 */
const NO_LIST: Document = { $not: { $type: "array" } };

/** Matches all documents that name one of these users, also in a list. */
export function namesOneOf(users: readonly UserId[]): Document {
  return { user_id: { $in: users.flatMap(userForms) } };
}

/**
 * Matches documents that may belong to a user although the unique index accepts another row for that user: an id as
 * text where keyctl writes an ObjectId, as a number where keyctl writes text, or in a list; a missing provider or a
 * list of providers.
 */
export const NON_CANONICAL_ID: Document = {
  $or: [
    { provider: null },
    { provider: { $type: "array" } },
    { user_id: { $type: "array" } },
    { user_id: { $type: "number" } },
    { user_id: { $type: "string", $regex: "^[0-9a-fA-F]{24}$" } },
  ],
};

/** A missing or negative revision, or one that is no number, as other programs may write it: `countIn` reads null. */
const NOT_COUNTED: Document = { $not: { $gte: 0 } };

/** A filter for the state that was seen. `$eq` prevents a value from being read as an operator. */
export function unchangedFilter(user: UserId, { id, revision, keyEncrypted }: Version): Document {
  return {
    _id: { $eq: fromText(id) },
    user_id: { $in: userForms(user), ...NO_LIST },
    revision: revision === null ? NOT_COUNTED : { $eq: revision },
    key_encrypted: stillStored(keyEncrypted),
  };
}

/**
 * A filter for the key that was seen, whatever else has changed: by its hash or, if the stored hash is missing or
 * belongs to an earlier key, by its stored value.
 */
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
