import type { Db, Document, Filter } from "mongodb";
import type { Journal, LiveOperation, Recorded } from "../../core/ports/journal.ts";
import { batchesOf } from "./cursor-batches.ts";
import type { Asking } from "./cursor-batches.ts";
import { withDates } from "./dates.ts";
import { userForms, userIdOf } from "./document.ts";
import { isDuplicateKey } from "./write-outcome.ts";
import type { MongoIdentity } from "./identity.ts";
import { ensureIndexes, insertIfAbsent, JOURNAL_INDEXES } from "./schema.ts";
import type { MetaDocument } from "./schema.ts";
import { memoizeAsync } from "../../core/async/memoize.ts";
import {
  accountIn,
  accountText,
  byNumber,
  deploymentIn,
  entryId,
  entryIn,
  fieldsOfEntry,
  idRange,
  isOfKind,
  outcomeId,
  proofId,
  savedOutcomes,
} from "../format/journal-entry.ts";
import { timestampIn } from "../format/values.ts";

interface JournalDocument extends Document {
  readonly _id: string;
}

const PAGE = 500;
const ACCOUNT = "account";

/** The journal next to the keys: the unique `_id` decides between inserts, and entries never change. */
export function mongoJournal(
  database: Db,
  {
    reading,
    writing,
    identity,
  }: { readonly reading: Asking; readonly writing: Asking; readonly identity: MongoIdentity },
): Journal {
  const records = database.collection<JournalDocument>("api_key_journal");
  const meta = database.collection<MetaDocument>("api_key_meta");
  const indexed = memoizeAsync((signal) =>
    reading(() => ensureIndexes(database.collection("api_key_journal"), JOURNAL_INDEXES), signal),
  );

  return {
    async deployment(signal) {
      const known = await reading(identity.read, signal);
      return deploymentIn(known ?? (await writing(identity.make, signal)));
    },
    async existingDeployment(signal) {
      const known = await reading(identity.read, signal);
      return known === undefined ? undefined : deploymentIn(known);
    },
    async adoptDeployment(value, signal) {
      if ((await reading(identity.read, signal)) === value) return true;
      if ((await reading(() => records.findOne({}, { projection: { _id: 1 } }), signal)) !== null) return false;
      await writing(() => identity.adopt(value), signal);
      return true;
    },
    async account(signal) {
      const found = await reading(() => meta.findOne({ _id: { $eq: ACCOUNT } }), signal);
      return found === null ? undefined : accountIn(found.value);
    },
    bindAccount: (account, signal) =>
      writing(() => insertIfAbsent(meta, { _id: ACCOUNT, value: accountText(account) }), signal),
    async rebindAccount(account, signal) {
      const value = accountText(account);
      await writing(() => meta.updateOne({ _id: { $eq: ACCOUNT } }, { $set: { value } }, { upsert: true }), signal);
    },
    async insertEntry(entry, signal) {
      await indexed(signal);
      if (entry.kind === "op") await reading(identity.read, signal);
      return writing(async () => {
        try {
          await records.insertOne(toDocument(entry));
          return true;
        } catch (thrown) {
          if (isDuplicateKey(thrown)) return false;
          throw thrown;
        }
      }, signal);
    },
    async entry(user, kind, n, signal) {
      const found = await reading(() => records.findOne({ _id: { $eq: entryId(user, kind, n) } }), signal);
      const entry = fromDocument(found);
      return isOfKind(entry, kind) ? entry : undefined;
    },
    async lastOperation(user, signal) {
      const last = records
        .find(inRange(idRange(user, "op")))
        .sort({ _id: -1 })
        .limit(1);
      const entry = fromDocument((await reading(() => last.toArray(), signal))[0]);
      return isOfKind(entry, "op") ? entry : undefined;
    },
    async entries(user, signal) {
      const found = await reading(() => records.find(inRange(idRange(user))).toArray(), signal);
      return byNumber(found.map(fromDocument));
    },
    async outcomesOf(hashes, signal) {
      const either = { $or: [{ hash: { $in: hashes } }, { upstream_hash: { $in: hashes } }] };
      return savedOutcomes((await reading(() => records.find(either).toArray(), signal)).map(fromDocument));
    },
    async newestOutcomes(atMost, signal) {
      const newest = records.find({ kind: "out", outcome: "saved" }).sort({ at: -1 }).limit(atMost);
      return savedOutcomes((await reading(() => newest.toArray(), signal)).map(fromDocument));
    },
    async liveOperations([from, to], atMost, signal) {
      const counted = { kind: "op", deliberate: null, at: { $gte: new Date(from), $lte: new Date(to) } };
      const cursor = records.find(counted, { projection: { at: 1 }, batchSize: PAGE }).sort({ at: 1 });
      const live: LiveOperation[] = [];
      for await (const operations of batchesOf(cursor, reading, () => signal)) {
        const ids = operations.map(({ _id }) => outcomeId(String(_id)));
        const outcomes = records.find({ _id: { $in: ids } }, { projection: { outcome: 1 } });
        const known = await reading(() => outcomes.toArray(), signal);
        live.push(...withoutAbandoned(operations, new Map(known.map(({ _id, outcome }) => [_id, outcome]))));
        if (live.length >= atMost) return live.slice(0, atMost);
      }
      return live;
    },
    async *retirements([from, to], newSignal) {
      const inTime = { retire_at: { $gte: new Date(from), $lte: new Date(to) } };
      const cursor = records.find(inTime, { batchSize: PAGE }).sort({ retire_at: 1 });
      for await (const documents of batchesOf(cursor, reading, newSignal)) {
        const ids = documents.map(({ _id }) => proofId(String(_id)));
        const proofs = records.find({ _id: { $in: ids } }, { projection: { _id: 1 } });
        const gone = new Set((await reading(() => proofs.toArray(), newSignal())).map(({ _id }) => _id));
        const open = documents.filter(({ _id }) => !gone.has(proofId(String(_id))));
        yield* open.map(fromDocument).filter((entry) => isOfKind(entry, "due"));
      }
    },
    async *scanJournal(newSignal) {
      const cursor = records.find({}, { batchSize: PAGE }).sort({ _id: 1 });
      for await (const documents of batchesOf(cursor, reading, newSignal)) {
        for (const document of documents) {
          const entry = fromDocument(document);
          if (entry !== undefined) yield entry;
        }
      }
    },
  };
}

function withoutAbandoned(
  operations: readonly Document[],
  outcomes: ReadonlyMap<string, unknown>,
): readonly LiveOperation[] {
  return operations.flatMap(({ _id, at }) => {
    const outcome = outcomes.get(outcomeId(String(_id)));
    return outcome === "abandoned" ? [] : [{ at: timestampIn(at) ?? "", isSaved: outcome !== undefined }];
  });
}

/** `kind` and `n` repeat parts of the `_id`: queries use `kind`, and people read both. */
function toDocument(entry: Recorded): JournalDocument {
  const { userId, kind, n, at } = entry;
  return {
    _id: entryId(userId, kind, n),
    user_id: userForms(userId)[0],
    kind,
    n,
    at: new Date(at),
    ...withDates(fieldsOfEntry(entry)),
  };
}

function fromDocument(document: Document | null | undefined): Recorded | undefined {
  if (document === null || document === undefined) return undefined;
  return entryIn(String(document["_id"]), userIdOf(document["user_id"]), document["at"], document);
}

function inRange([from, to]: readonly [from: string, to: string]): Filter<JournalDocument> {
  return { _id: { $gte: from, $lt: to } };
}
