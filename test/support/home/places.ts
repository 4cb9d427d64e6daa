import { everythingIn } from "./tool-with-openrouter.ts";
import { change, rowsOf } from "../sqlite/database-file.ts";
import { emptyHome } from "./home.ts";
import type { Home } from "./home.ts";
import { homeOn } from "../mongodb/run.ts";
import { databaseOfTest } from "../mongodb/of-test.ts";

/** A home and its store, read and changed without our own code. */
export interface Place {
  readonly home: Home;
  /** The whole content of the store as text: equal texts mean that it is unchanged. */
  readonly everything: () => Promise<string>;
  /** The record of the account that the store is bound to. */
  readonly account: () => Promise<unknown>;
  /** Sets this record, or removes it. */
  readonly setAccount: (value: object | undefined) => Promise<void>;
}

export function sqlitePlace(): Place {
  const home = emptyHome();
  return {
    home,
    everything: () => everythingIn(home),
    async account() {
      const [record] = rowsOf(home.database, "SELECT value FROM api_key_meta WHERE _id = 'account'");
      return record === undefined ? undefined : JSON.parse(String(record["value"]));
    },
    async setAccount(value) {
      change(home.database, "DELETE FROM api_key_meta WHERE _id = 'account'");
      if (value === undefined) return;
      const text = JSON.stringify(value);
      change(home.database, `INSERT INTO api_key_meta (_id, value) VALUES ('account', '${text}')`);
    },
  };
}

export function mongoPlace(): Place {
  const { uri, db } = databaseOfTest();
  const meta = db.collection<{ _id: string; value: string }>("api_key_meta");
  return {
    home: homeOn(uri),
    async everything() {
      const names = ["api_keys", "api_key_journal", "api_key_meta"];
      return JSON.stringify(await Promise.all(names.map((name) => db.collection(name).find().toArray())));
    },
    async account() {
      const record = await meta.findOne({ _id: "account" });
      return record === null ? undefined : JSON.parse(record.value);
    },
    async setAccount(value) {
      await meta.deleteOne({ _id: "account" });
      if (value !== undefined) await meta.insertOne({ _id: "account", value: JSON.stringify(value) });
    },
  };
}
