import type { Collection, Db, Document } from "mongodb";
import { memoizeAsync } from "../../core/async/memoize.ts";
import type { HistoryEvent } from "../../core/model/history-event.ts";
import type { HistoryFilter, HistoryStore } from "../../core/ports/history.ts";
import { eventIn, fieldsOfEvent } from "../format/history-event.ts";
import { batchesOf } from "./cursor-batches.ts";
import type { Asking } from "./cursor-batches.ts";
import { userForms, userIdOf } from "./document.ts";
import { ensureIndexes, EVENT_INDEXES } from "./schema.ts";
import { isDuplicateCode, isDuplicateKey, writeErrorsOf } from "./write-outcome.ts";

interface EventDocument extends Document {
  readonly _id: string;
}

const PAGE = 500;

/** The history next to the keys. Other programs may write here too: what cannot be read is left out. */
export function mongoHistory(
  database: Db,
  { reading, writing }: { readonly reading: Asking; readonly writing: Asking },
): HistoryStore {
  const records = database.collection<EventDocument>("api_key_events");
  const indexed = memoizeAsync((signal) =>
    reading(() => ensureIndexes(database.collection("api_key_events"), EVENT_INDEXES), signal),
  );

  return {
    async addEvents(events, { replaces }, signal) {
      if (events.length === 0) return;
      await indexed(signal);
      const documents = events.map(toDocument);
      await writing(async () => {
        if (replaces) await Promise.all(documents.map((document) => put(records, document)));
        else await insertAbsent(records, documents);
      }, signal);
    },
    async *events(filter, newSignal) {
      const cursor = records.find(filterOf(filter), { batchSize: PAGE }).sort({ at: -1, _id: -1 });
      for await (const documents of batchesOf(cursor, reading, newSignal)) {
        for (const document of documents) {
          const event = fromDocument(document);
          if (event !== undefined) yield event;
        }
      }
    },
    async removeEventsBefore(before, newSignal) {
      const old = { at: { $lt: new Date(before) } };
      for (let removed = 0; ;) {
        const oldest = records
          .find(old, { projection: { _id: 1 } })
          .sort({ at: 1 })
          .limit(PAGE);
        const ids = (await reading(() => oldest.toArray(), newSignal())).map(({ _id }) => _id);
        if (ids.length === 0) return removed;
        const { deletedCount } = await writing(() => records.deleteMany({ _id: { $in: ids } }), newSignal());
        removed += deletedCount;
      }
    },
  };
}

async function insertAbsent(records: Collection<EventDocument>, documents: readonly EventDocument[]): Promise<void> {
  try {
    await records.insertMany(documents, { ordered: false });
  } catch (thrown) {
    const errors = writeErrorsOf(thrown);
    if (errors === undefined || !errors.every(({ code }) => isDuplicateCode(code))) throw thrown;
  }
}

async function put(records: Collection<EventDocument>, { _id, ...fields }: EventDocument): Promise<void> {
  const replace = () => records.replaceOne({ _id: { $eq: _id } }, fields, { upsert: true });
  try {
    await replace();
  } catch (thrown) {
    if (!isDuplicateKey(thrown)) throw thrown;
    // Another command inserted it between the look-up and the insert.
    await replace();
  }
}

function filterOf({ user, keyHash, since }: HistoryFilter): Document {
  return {
    ...(user === undefined ? {} : { user_id: { $in: userForms(user) } }),
    ...(keyHash === undefined ? {} : { key_hash: { $eq: keyHash } }),
    ...(since === undefined ? {} : { at: { $gte: new Date(since) } }),
  };
}

function toDocument(event: HistoryEvent): EventDocument {
  const { id, at, userId } = event;
  return { _id: id, at: new Date(at), user_id: userForms(userId)[0], ...fieldsOfEvent(event) };
}

function fromDocument(document: Document): HistoryEvent | undefined {
  return eventIn(String(document["_id"]), userIdOf(document["user_id"]), document["at"], document);
}
