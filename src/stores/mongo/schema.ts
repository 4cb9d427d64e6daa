import { randomBytes } from "node:crypto";
import { MongoServerError } from "mongodb";
import type { Collection, Document, IndexDescription } from "mongodb";
import { KeyctlError } from "../../core/model/errors.ts";
import { duplicateRowsError } from "../../core/model/key-record.ts";
import { printable } from "../../core/text/printable.ts";
import { fromDocument, isOurs, userIdOf } from "./document.ts";
import { isDuplicateKey } from "./write-outcome.ts";

type Indexes = readonly (IndexDescription & { readonly name: string })[];

/** The unique index decides every race for a user. The order of an index's fields is significant. */
const KEY_INDEXES: Indexes = [
  { name: "user_id_1_provider_1", key: { user_id: 1, provider: 1 }, unique: true },
  { name: "key_hash_1", key: { key_hash: 1 } },
  { name: "limit_due.at_1", key: { "limit_due.at": 1 }, sparse: true },
  { name: "blocked_1", key: { blocked: 1 }, sparse: true },
];
/** None is unique: in the journal, `_id` decides every race. */
export const JOURNAL_INDEXES: Indexes = [
  { name: "hash_1", key: { hash: 1 } },
  { name: "upstream_hash_1", key: { upstream_hash: 1 } },
  { name: "retire_at_1", key: { retire_at: 1 }, sparse: true },
  { name: "kind_1_deliberate_1_at_1", key: { kind: 1, deliberate: 1, at: 1 } },
];
/** None is unique: the history's `_id` decides as well. */
export const EVENT_INDEXES: Indexes = [
  { name: "at_1__id_1", key: { at: 1, _id: 1 } },
  { name: "user_id_1_at_1__id_1", key: { user_id: 1, at: 1, _id: 1 } },
  { name: "key_hash_1_at_1__id_1", key: { key_hash: 1, at: 1, _id: 1 } },
];
const NAMESPACE_NOT_FOUND = 26;
const SCHEMA_VERSION = 1;

/** The names of the missing indexes, for `doctor`. */
export async function missingIndexes(collection: Collection, indexes = KEY_INDEXES): Promise<readonly string[]> {
  const present = await indexesOf(collection);
  return indexes.filter((wanted) => present.every((index) => !isOnSameFields(index, wanted))).map(({ name }) => name);
}

/**
 * Creates the missing indexes, one per command, because some servers fail at several. Throws STORE_CORRUPT for an index
 * on the same fields that differs in uniqueness, and for two rows of one user, which the message names.
 */
export async function ensureIndexes(collection: Collection, indexes = KEY_INDEXES): Promise<void> {
  const present = await indexesOf(collection);
  for (const wanted of indexes) {
    const same = present.find((index) => isOnSameFields(index, wanted));
    if (same === undefined) await createIndex(collection, wanted);
    else if ((same["unique"] === true) !== (wanted.unique === true))
      throw conflictingIndex(collection, same, wanted.unique === true);
  }
}

async function indexesOf(keys: Collection): Promise<readonly Document[]> {
  try {
    return await keys.listIndexes().toArray();
  } catch (thrown) {
    if (thrown instanceof MongoServerError && thrown.code === NAMESPACE_NOT_FOUND) return [];
    throw thrown;
  }
}

function isOnSameFields(index: Document, wanted: IndexDescription): boolean {
  const isPlain = index["partialFilterExpression"] === undefined && index["collation"] === undefined;
  return isPlain && JSON.stringify(index["key"]) === JSON.stringify(wanted.key);
}

async function createIndex(keys: Collection, index: IndexDescription): Promise<void> {
  try {
    await keys.createIndexes([index]);
  } catch (thrown) {
    if (index.unique !== true) throw thrown;
    const twins = await firstTwins(keys);
    if (twins !== undefined) throw twins;
    throw thrown;
  }
}

/** The error for the first two rows of one user and provider, which prevent the unique index. */
async function firstTwins(keys: Collection): Promise<KeyctlError | undefined> {
  let last: Document | undefined;
  for await (const document of keys.find({}).sort({ user_id: 1, provider: 1 })) {
    if (last !== undefined && isOurs(document) && isSameUser(last, document)) {
      const { message } = duplicateRowsError(fromDocument(last), fromDocument(document));
      return new KeyctlError("STORE_CORRUPT", message, {
        hint: "delete the unwanted row with another tool; keyctl changes neither",
      });
    }
    last = document;
  }
  return undefined;
}

/** FerretDB's index treats an ObjectId and the same id as text as equal. */
function isSameUser(one: Document, other: Document): boolean {
  return userIdOf(one["user_id"]) === userIdOf(other["user_id"]) && one["provider"] === other["provider"];
}

function conflictingIndex({ collectionName }: Collection, index: Document, wantedUnique: boolean): KeyctlError {
  const name = printable(String(index["name"]));
  return new KeyctlError(
    "STORE_CORRUPT",
    `the collection ${collectionName} has an index ${name} on the fields of ours, but ${wantedUnique ? "not unique" : "unique"}`,
    {
      hint: `drop it with another tool: db.${collectionName}.dropIndex(${JSON.stringify(name)}); keyctl then creates its own`,
    },
  );
}

/** Writes the identity of this database once: a random deployment id and the version of the schema. */
export async function ensureIdentity(meta: Collection<MetaDocument>): Promise<void> {
  await insertIfAbsent(meta, { _id: "deployment", value: randomBytes(8).toString("hex") });
  await insertIfAbsent(meta, { _id: "schema", value: String(SCHEMA_VERSION) });
}

/** A document of `api_key_meta`. */
export interface MetaDocument {
  readonly _id: string;
  readonly value: string;
  readonly kid?: string;
}

/** False if a document with this id exists. */
export async function insertIfAbsent(meta: Collection<MetaDocument>, document: MetaDocument): Promise<boolean> {
  try {
    await meta.insertOne(document);
    return true;
  } catch (thrown) {
    if (isDuplicateKey(thrown)) return false;
    throw thrown;
  }
}

/** Throws STORE_NEWER for a database that a newer keyctl has created. */
export function refuseNewer(documents: readonly MetaDocument[]): void {
  const version = Number(documents.find(({ _id }) => _id === "schema")?.value ?? SCHEMA_VERSION);
  if (version <= SCHEMA_VERSION) return;
  throw new KeyctlError(
    "STORE_NEWER",
    `the database was created by a newer keyctl (schema ${version}, this one knows ${SCHEMA_VERSION})`,
    { hint: "upgrade keyctl; nothing was written" },
  );
}
