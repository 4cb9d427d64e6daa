import { MongoServerError, ObjectId } from "mongodb";
import type { Collection, Db, Document, MongoClient } from "mongodb";
import { isKeyctlError } from "../../core/model/errors.ts";
import type { KeyctlError } from "../../core/model/errors.ts";
import type { StoreFacts, StoreProblem } from "../../core/ports/stores-and-sources.ts";
import { printable } from "../../core/text/printable.ts";
import { isOurs } from "./document.ts";
import { missingIndexes } from "./schema.ts";
import { plural } from "../../core/text/format.ts";

const FORM: Document = { user_id: 1, provider: 1 };
const BATCH = 500;
/** The maximum number of text ids that are checked; they are rare in a database of ObjectIds. */
const LOOKED_AT = 20_000;
const NAMED = 5;
/** Collections in which a unique `_id` decides between concurrent commands. */
const DECIDING = ["api_key_journal", "api_key_meta"];

/** The facts that the server reports about itself. Uses only commands that every server of the protocol knows. */
export async function inspectServer(client: MongoClient, keys: Collection): Promise<Omit<StoreFacts, "refusal">> {
  const database = client.db();
  const hello = await database.command({ hello: 1 });
  const build = await database.command({ buildInfo: 1 });
  // The indexes are created with the first key.
  const missing = (await keys.estimatedDocumentCount()) === 0 ? undefined : await missingIndexes(keys);
  const twins = await usersInBothForms(keys);
  const wronglySharded = isRouter(hello) ? await shardedByOthers(client.db("config"), database) : [];
  return {
    server: serverOf(build),
    details: [topologyOf(hello), ...(missing?.length === 0 ? ["index present"] : [])],
    problems: [
      ...("ferretdbVersion" in build ? [NOT_ATOMIC] : []),
      ...(missing !== undefined && missing.length > 0 ? [noIndex(missing)] : []),
      ...wronglySharded.map(({ name, fields }) => notById(database.databaseName, name, fields)),
      ...(twins.length > 0 ? [twoForms(twins)] : []),
    ],
  };
}

/** The error with which this write is refused; null if it succeeds. */
export async function probeWrite(write: () => Promise<void>): Promise<KeyctlError | null> {
  try {
    await write();
    return null;
  } catch (thrown) {
    if (isKeyctlError(thrown)) return thrown;
    throw thrown;
  }
}

/** Users with a row under an ObjectId and another under the same id as text: the index and a scan separate these. */
async function usersInBothForms(keys: Collection): Promise<readonly string[]> {
  const twins: string[] = [];
  const asText = { user_id: { $type: "string", $regex: "^[0-9a-fA-F]{24}$" } };
  let batch: string[] = [];
  const look = async () => {
    const ids = batch.map((text) => new ObjectId(text));
    for await (const document of keys.find({ user_id: { $in: ids } }, { projection: FORM })) {
      if (isOurs(document) && document["user_id"] instanceof ObjectId) twins.push(String(document["user_id"]));
    }
    batch = [];
  };
  for await (const document of keys.find(asText, { projection: FORM }).limit(LOOKED_AT)) {
    const { user_id: userId } = document;
    // The filter also matches an element of a list.
    if (isOurs(document) && typeof userId === "string") batch.push(userId);
    if (batch.length === BATCH) await look();
  }
  if (batch.length > 0) await look();
  return twins;
}

function serverOf(build: Document): string {
  const version = printable(String(build["version"]));
  const { ferretdbVersion, ferretdb } = build;
  if (ferretdbVersion !== undefined)
    return `FerretDB ${versionIn(ferretdbVersion) ?? "1"} (speaks as MongoDB ${version})`;
  if (ferretdb === undefined) return `MongoDB ${version}`;
  return `FerretDB ${versionIn((ferretdb as Document | null)?.["version"]) ?? "2"} (speaks as MongoDB ${version})`;
}

/** FerretDB writes `v2.5.0`, or a word if it was built without its version. */
function versionIn(text: unknown): string | undefined {
  return /^v?(\d[\w.+-]*)$/.exec(String(text))?.[1];
}

function isRouter(hello: Document): boolean {
  return hello["msg"] === "isdbgrid";
}

function topologyOf(hello: Document): string {
  if (isRouter(hello)) return "sharded cluster";
  return typeof hello["setName"] === "string" ? `replica set ${printable(hello["setName"])}` : "standalone";
}

interface Sharded {
  readonly name: string;
  readonly fields: string;
}

/** The deciding collections that are sharded by fields other than `_id`; none if this user may not read that fact. */
async function shardedByOthers(config: Db, { databaseName }: Db): Promise<readonly Sharded[]> {
  try {
    const names = DECIDING.map((name) => `${databaseName}.${name}`);
    const found = await config
      .collection<{ _id: string }>("collections")
      .find({ _id: { $in: names } })
      .toArray();
    return found.flatMap(({ _id, ...rest }: Document) => {
      const fields = Object.keys((rest["key"] as Document | null | undefined) ?? {}).join(", ");
      const isOther = fields !== "" && fields !== "_id" && rest["dropped"] !== true;
      return isOther ? { name: String(_id).slice(databaseName.length + 1), fields: printable(fields) } : [];
    });
  } catch (thrown) {
    if (thrown instanceof MongoServerError) return [];
    throw thrown;
  }
}

function notById(database: string, name: string, fields: string): StoreProblem {
  return {
    isFailure: true,
    message: `${name} is sharded by ${fields}: its _id, which decides between two commands, is unique on each shard only`,
    hint: `in mongosh: sh.reshardCollection(${JSON.stringify(`${database}.${name}`)}, { _id: 1 })`,
  };
}

const NOT_ATOMIC: StoreProblem = {
  isFailure: false,
  message:
    "updates are not atomic: two changes of one row at the same time may both win, so replacing a key is refused",
  hint: "use MongoDB or FerretDB 2; if nothing else changes keys meanwhile: KEYCTL_ALLOW_NON_ATOMIC_STORE=1",
};

function twoForms(users: readonly string[]): StoreProblem {
  const named = users.slice(0, NAMED).join(", ");
  const more = users.length > NAMED ? ` and ${users.length - NAMED} more` : "";
  const have = `${users.length} ${plural(users.length, "user has", "users have")}`;
  return {
    isFailure: true,
    message: `${have} two rows, one under an ObjectId and one under text: ${named}${more}`,
    hint: "delete the unwanted rows with another tool; keyctl changes neither",
  };
}

function noIndex(names: readonly string[]): StoreProblem {
  const what = names.length === 1 ? `the index ${names[0]} is` : `the indexes ${names.join(" and ")} are`;
  return {
    isFailure: false,
    message: `${what} missing: the next save creates what is missing`,
    hint: "keyctl save --help",
  };
}
