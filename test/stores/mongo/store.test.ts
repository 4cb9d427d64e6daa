import { mongoStore } from "../../../src/stores/mongo/store.ts";
import { historyContract } from "../../contract/history.ts";
import { journalContract } from "../../contract/journal.ts";
import { keyStoreContract } from "../../contract/key-store.ts";
import { describeWithMongodb, emptyDatabase } from "../../support/mongodb/of-test.ts";

async function emptyPlace() {
  const { uri, remove } = emptyDatabase();
  const place = { uri, name: "mongodb://test/keys", from: "KEYCTL_STORE", allowNonAtomic: false };
  return { connect: async () => mongoStore(place), remove };
}

describeWithMongodb("over MongoDB's protocol", () => {
  keyStoreContract("the MongoDB store", emptyPlace);
  journalContract("the MongoDB store", emptyPlace);
  // FerretDB sorts all of a list in its memory.
  historyContract("the MongoDB store", emptyPlace, 3_000);
});
