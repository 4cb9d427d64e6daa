import { MongoClient, MongoError, ObjectId } from "mongodb";
import type { Collection, MongoClientOptions } from "mongodb";
import { KeyctlError } from "../../core/model/errors.ts";
import type { Store } from "../../core/ports/store.ts";
import { duplicateRowsError, isOfNoUser, noUserError } from "../../core/model/key-record.ts";
import type { KeyRecord } from "../../core/model/key-record.ts";
import { isTombstone } from "../../core/model/tombstone.ts";
import type { StoredRow } from "../../core/model/tombstone.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { changeOf, fromDocument, rowIn, rowsOf, toDocument } from "./document.ts";
import { BLOCKED, namesOneOf, NON_CANONICAL_ID, sameKeyFilter, unchangedFilter, WITH_KEY } from "./filters.ts";
import { checkOf } from "./dates.ts";
import { batchesOf } from "./cursor-batches.ts";
import { mongoCalls, topologyOf } from "./calls.ts";
import { insertEach } from "./insert-each.ts";
import { isDuplicateKey } from "./write-outcome.ts";
import { inspectServer, probeWrite } from "./inspect.ts";
import { mongoHistory } from "./history.ts";
import { mongoJournal } from "./journal.ts";
import { lookUp } from "./resolve-host.ts";
import { mongoIdentity } from "./identity.ts";
import { ensureIdentity, ensureIndexes, insertIfAbsent, refuseNewer } from "./schema.ts";
import type { MetaDocument } from "./schema.ts";
import { isAnonymous, withoutOverruled } from "./uri.ts";
import { memoizeAsync } from "../../core/async/memoize.ts";
import { raceSignal } from "../../core/async/race-signal.ts";

export interface MongoPlace {
  /** Contains the password. */
  readonly uri: string;
  /** The part of the URI that may be shown. */
  readonly name: string;
  /** The variable or flag that holds the URI. */
  readonly from: string;
  /** Allows changes of a row although the server may let two concurrent changes win. */
  readonly allowNonAtomic: boolean;
}

/** The URI sets none of these options. keyctl settles a write whose answer was lost; the driver never resends one. */
function optionsFor(timeoutMs: number): MongoClientOptions {
  const answerMs = Math.max(10_000, Math.ceil(timeoutMs / 3));
  return {
    appName: "keyctl",
    retryWrites: false,
    writeConcern: { w: "majority", journal: true },
    readPreference: "primary",
    readConcern: { level: "majority" },
    serverSelectionTimeoutMS: connectingMs(timeoutMs),
    connectTimeoutMS: connectingMs(timeoutMs),
    socketTimeoutMS: answerMs,
    waitQueueTimeoutMS: answerMs,
    maxPoolSize: 16,
    minPoolSize: 0,
    // Otherwise NODE_TLS_REJECT_UNAUTHORIZED in the environment switches verification off.
    rejectUnauthorized: true,
    // Otherwise MONGODB_LOG_* in the environment prints keys.
    mongodbLogPath: { write() {} },
  };
}

/** The time limit for connecting, in milliseconds: a part of a call's time, so that the call can report its failure. */
function connectingMs(timeoutMs: number): number {
  return Math.min(5_000, Math.ceil(timeoutMs / 2));
}

const PAGE = 500;
const CLOSE_TIMEOUT_MS = 500;
const DEFAULT_TIMEOUT_MS = 30_000;
const CHECK = "check:";
/**
 * The insert of this record decides which process seals a new store. It holds the first check, in case the process dies
 * before it writes the check's own record.
 */
const FIRST_CHECK = "sealed";

/**
 * Keys in MongoDB, or in a server that speaks its protocol. Throws CONFIG_INVALID for a URI that the driver refuses.
 * Relies on two guarantees that these servers share: a unique index decides between inserts, and a change compares in
 * its filter.
 * @param timeoutMs the usual time limit of a call, in milliseconds
 * @param whenMissing returns the error for a database without documents of keyctl; without it, they may be created
 */
export function mongoStore(
  place: MongoPlace,
  timeoutMs = DEFAULT_TIMEOUT_MS,
  whenMissing?: () => KeyctlError,
): Store & { readonly isNew: () => boolean } {
  const client = newClient(place, timeoutMs);
  const database = client.db();
  const keys = database.collection("api_keys");
  const meta = database.collection<MetaDocument>("api_key_meta");

  const identity = mongoIdentity(database, place, whenMissing);
  const identified = memoizeAsync(identity.look);
  const hostFound = memoizeAsync((signal) => lookUp(place.uri, connectingMs(timeoutMs), signal));
  const ready = async (signal: AbortSignal) => {
    await raceSignal(hostFound(signal), signal);
    await raceSignal(identified(signal), signal);
  };
  const { reading, writing, isConflict } = mongoCalls(
    { client, database },
    { ...place, isAnonymous: isAnonymous(place.uri) },
    { timeoutMs, ready },
  );
  const indexed = memoizeAsync((signal) => reading(() => ensureIndexes(keys), signal));
  const holdsOtherForms = memoizeAsync((signal) =>
    reading(async () => (await keys.findOne(NON_CANONICAL_ID, { projection: { _id: 1 } })) !== null, signal),
  );
  const isAtomic = memoizeAsync((signal) =>
    reading(async () => !("ferretdbVersion" in (await database.command({ buildInfo: 1 }))), signal),
  );

  const findMany = (users: readonly UserId[], signal: AbortSignal): Promise<readonly StoredRow[]> =>
    reading(async () => {
      return rowsOf(await keys.find(namesOneOf(users)).toArray(), users);
    }, signal);

  return {
    isNew: identity.wasMissing,
    async find(user, signal) {
      const [row, twin] = await findMany([user], signal);
      if (row !== undefined && !isTombstone(row) && isOfNoUser(row)) throw noUserError(row);
      if (row !== undefined && twin !== undefined) throw duplicateRowsError(row, twin);
      return row;
    },
    findMany,
    async insert(record, signal) {
      await indexed(signal);
      return writing(async () => {
        try {
          await keys.insertOne(toDocument(record), { ignoreUndefined: true });
          return true;
        } catch (thrown) {
          if (isDuplicateKey(thrown)) return false;
          throw thrown;
        }
      }, signal);
    },
    async insertMany(records, signal) {
      signal.throwIfAborted();
      await indexed(signal);
      const users = records.map(({ userId }) => userId);
      const seen = (await holdsOtherForms(signal)) ? await findMany(users, signal) : [];
      const taken = new Set(seen.map(({ userId }) => userId));
      const missing = records.filter(({ userId }) => !taken.has(userId));
      const options = { ordered: false, ignoreUndefined: true };
      const insert = (rows: readonly KeyRecord[]) => keys.insertMany(rows.map(toDocument), options);
      const won = await insertEach(missing, { insert, findMany, writing, isConflict }, signal);
      return records.map((record) => won.has(record));
    },
    replace: (record, seen, signal) =>
      writing(async () => {
        const change = await keys.updateOne(unchangedFilter(record.userId, seen), { $set: changeOf(record) });
        return change.matchedCount === 1;
      }, signal),
    remove: (user, seen, signal) =>
      writing(async () => (await keys.deleteOne(unchangedFilter(user, seen))).deletedCount === 1, signal),
    recordCheck: (seen, check, signal) =>
      writing(async () => {
        const validated = check.verdict === "valid" ? { last_validated: new Date(check.at) } : {};
        const noted = { last_check: checkOf(check), ...validated };
        return (await keys.updateOne(sameKeyFilter(seen), { $set: noted })).matchedCount === 1;
      }, signal),
    async *scan(newSignal, keyHash) {
      // A plain-text key of another program has no stored hash, or that of an earlier key: `fromDocument` computes it.
      const filter = keyHash === undefined ? WITH_KEY : { ...WITH_KEY, key_hash: { $in: [keyHash, null] } };
      const cursor = keys.find(filter, { batchSize: PAGE }).sort({ user_id: 1 });
      for await (const documents of batchesOf(cursor, reading, newSignal)) {
        for (const document of documents) {
          const row = fromDocument(document);
          if (keyHash === undefined || row.keyHash === keyHash) yield row;
        }
      }
    },
    async *scanDueLimits(until, newSignal) {
      const cursor = keys.find({ ...WITH_KEY, "limit_due.at": { $lte: new Date(until) } }, { batchSize: PAGE });
      for await (const documents of batchesOf(cursor, reading, newSignal)) yield* documents.map(fromDocument);
    },
    async *scanBlocked(newSignal) {
      const cursor = keys.find(BLOCKED, { batchSize: PAGE });
      for await (const documents of batchesOf(cursor, reading, newSignal))
        yield* documents.map(rowIn).filter(isTombstone);
    },
    count: (signal) => reading(() => keys.countDocuments(WITH_KEY), signal),
    async ping(signal) {
      await reading(() => Promise.all([identity.read(), keys.findOne({}, { projection: { _id: 1 } })]), signal);
    },
    async requireAtomicChanges(signal) {
      if (!place.allowNonAtomic && !(await isAtomic(signal))) throw notAtomic(place);
    },
    hasAtomicChanges: isAtomic,
    async keyCheckValues(signal) {
      const found = await reading(() => meta.find({}).toArray(), signal);
      // Another program may keep records here too, under ids of other types.
      const documents = found.filter(({ _id }) => typeof _id === "string");
      refuseNewer(documents);
      const checks = documents.filter(({ _id }) => _id.startsWith(CHECK));
      const first = documents.filter(({ _id }) => _id === FIRST_CHECK);
      return (checks.length > 0 ? checks : first).map(({ _id, kid, value }) => ({
        kid: kid ?? _id.slice(CHECK.length),
        value,
      }));
    },
    async insertFirstKeyCheckValue({ kid, value }, signal) {
      await writing(() => ensureIdentity(meta), signal);
      // A call of its own: `writing` repeats a call that met a conflict, and then this record would already exist.
      if (!(await writing(() => insertIfAbsent(meta, { _id: FIRST_CHECK, kid, value }), signal))) return false;
      await writing(() => insertIfAbsent(meta, { _id: `${CHECK}${kid}`, value }), signal);
      return true;
    },
    addKeyCheckValue: ({ kid, value }, signal) =>
      writing(async () => {
        await insertIfAbsent(meta, { _id: `${CHECK}${kid}`, value });
      }, signal),
    removeKeyCheckValue: (kid, signal) =>
      writing(async () => {
        await meta.deleteOne({ _id: { $eq: `${CHECK}${kid}` } });
      }, signal),
    async inspect(signal) {
      const facts = await reading(() => inspectServer(client, keys), signal);
      return { ...facts, refusal: await probeWrite(() => writing(() => deleteNothing(keys), signal)) };
    },
    ...mongoJournal(database, { reading, writing, identity }),
    ...mongoHistory(database, { reading, writing }),
    close: () => close(client),
  };
}

/** A complete write that changes nothing. */
async function deleteNothing(keys: Collection): Promise<void> {
  await keys.deleteOne({ _id: { $eq: new ObjectId() } });
}

function newClient({ uri, name, from }: MongoPlace, timeoutMs: number): MongoClient {
  try {
    return new MongoClient(withoutOverruled(uri), optionsFor(timeoutMs));
  } catch (thrown) {
    if (!(thrown instanceof MongoError) && !(thrown instanceof TypeError)) throw thrown;
    throw new KeyctlError("CONFIG_INVALID", `${from} (${name}) has an option with a value that cannot be used`, {
      hint: "check its options: https://www.mongodb.com/docs/manual/reference/connection-string-options/",
    });
  }
}

function notAtomic({ name }: MongoPlace): KeyctlError {
  return new KeyctlError(
    "STORE_NOT_ATOMIC",
    `the server of ${name} is FerretDB 1, where two changes of one row at the same time may both win`,
    {
      hint: "if nothing else changes keys meanwhile: KEYCTL_ALLOW_NON_ATOMIC_STORE=1; better use MongoDB or FerretDB 2",
    },
  );
}

/**
 * The driver ends its sessions at the server and waits for the answer. A server that is gone never answers, and the
 * connections would keep the process alive: after a time limit they are closed anyway.
 */
async function close(client: MongoClient): Promise<void> {
  const topology = topologyOf(client);
  await Promise.race([
    client.close().catch(() => {}),
    new Promise((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS).unref()),
  ]);
  topology?.close();
}
