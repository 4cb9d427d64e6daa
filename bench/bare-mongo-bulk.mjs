// The floor of a bulk sync over MongoDB: only seals the same keys and inserts the same documents, in unordered batches
// of 500.
// Usage: bare-mongo-bulk.mjs <uri> <number of users> <key>
import { MongoClient, ObjectId } from "mongodb";
import { rowMaker, userId } from "./sealed-rows.mjs";

const [uri, count, key] = process.argv.slice(2);
const toRow = rowMaker(key, userId(0));
const client = new MongoClient(uri, { writeConcern: { w: "majority", journal: true }, retryWrites: false });
const keys = client.db().collection("api_keys");
await keys.createIndex({ user_id: 1, provider: 1 }, { unique: true });
await keys.createIndex({ key_hash: 1 });
for (let start = 0; start < Number(count); start += 500) {
  const size = Math.min(500, Number(count) - start);
  const rows = Array.from({ length: size }, (_, index) => toRow(userId(start + index)));
  await keys.insertMany(
    rows.map((row) => ({ ...row, user_id: new ObjectId(row.user_id) })),
    { ordered: false },
  );
}
await client.close();
