import type { DatabaseSync } from "node:sqlite";
import type { Journal, Recorded } from "../../core/ports/journal.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { nextAfter, parsedJson, textOf } from "./columns.ts";
import type { DatabaseFile } from "./file.ts";
import { sqliteStatements } from "./statements.ts";
import type { Row } from "./statements.ts";
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
  savedOutcomes,
  unreadableEntry,
} from "../format/journal-entry.ts";
import { fieldsIn } from "../format/values.ts";

const PAGE = 100;
const COLUMNS = "_id, user_id, at, body";

const SQL = {
  deployment: "SELECT value FROM api_key_meta WHERE _id = 'deployment'",
  adoptDeployment:
    "UPDATE api_key_meta SET value = ?1 WHERE _id = 'deployment' AND (value = ?1 OR NOT EXISTS (SELECT 1 FROM api_key_journal))",
  account: "SELECT value FROM api_key_meta WHERE _id = 'account'",
  bindAccount: "INSERT INTO api_key_meta (_id, value) VALUES ('account', ?) ON CONFLICT (_id) DO NOTHING",
  rebindAccount:
    "INSERT INTO api_key_meta (_id, value) VALUES ('account', ?) ON CONFLICT (_id) DO UPDATE SET value = excluded.value",
  insert: `INSERT INTO api_key_journal (${COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT (_id) DO NOTHING`,
  find: `SELECT ${COLUMNS} FROM api_key_journal WHERE _id = ?`,
  last: `SELECT ${COLUMNS} FROM api_key_journal WHERE _id >= ? AND _id < ? ORDER BY _id DESC LIMIT 1`,
  range: `SELECT ${COLUMNS} FROM api_key_journal WHERE _id >= ? AND _id < ? ORDER BY _id`,
  // A union, because SQLite does not always use both indexes for an OR.
  ofHashes: `SELECT ${COLUMNS} FROM api_key_journal WHERE hash IN (SELECT value FROM json_each(?1))
    UNION SELECT ${COLUMNS} FROM api_key_journal WHERE upstream_hash IN (SELECT value FROM json_each(?1))`,
  // The first two conditions are those of the partial index on `at`.
  live: `SELECT op.at, out._id IS NOT NULL AS is_saved FROM api_key_journal AS op
    LEFT JOIN api_key_journal AS out ON out._id = replace(op._id, ':op:', ':out:')
    WHERE op._id GLOB '*:op:*' AND json_extract(op.body, '$.deliberate') IS NULL AND op.at BETWEEN ? AND ?
      AND json_extract(out.body, '$.outcome') IS NOT 'abandoned'
    ORDER BY op.at LIMIT ?`,
  newest: `SELECT ${COLUMNS} FROM api_key_journal WHERE hash IS NOT NULL ORDER BY at DESC LIMIT ?`,
  // The first condition is that of the partial index.
  retirements: `SELECT ${COLUMNS} FROM api_key_journal INDEXED BY api_key_journal_retire_at WHERE _id GLOB '*:due:*'
    AND json_extract(body, '$.retire_at') BETWEEN ?1 AND ?3 AND (json_extract(body, '$.retire_at'), _id) > (?1, ?2)
    AND NOT EXISTS (SELECT 1 FROM api_key_journal AS gone WHERE gone._id = replace(api_key_journal._id, ':due:', ':gone:'))
    ORDER BY json_extract(body, '$.retire_at'), _id LIMIT ${PAGE}`,
  page: `SELECT ${COLUMNS} FROM api_key_journal WHERE _id > ? ORDER BY _id LIMIT ${PAGE}`,
} as const;

/** The journal of the embedded store. Every call is one statement, except a scan, which takes one for each page. */
export function sqliteJournal(
  database: DatabaseSync,
  file: DatabaseFile,
): { readonly port: Journal; readonly forget: () => void } {
  const { path } = file;
  const { one, all, changes, forget } = sqliteStatements(database, file, SQL);
  const entryOf = (row: Row) => fromRow(row, path);
  const entryOrNone = (row: Row | undefined) => (row === undefined ? undefined : entryOf(row));
  const deployment = async (signal: AbortSignal) => deploymentIn((await one("deployment", [], signal))?.["value"]);
  const port: Journal = {
    deployment,
    existingDeployment: deployment,
    adoptDeployment: (id, signal) => changes("adoptDeployment", [id], signal),
    async account(signal) {
      const row = await one("account", [], signal);
      return row === undefined ? undefined : accountIn(row["value"]);
    },
    bindAccount: (account, signal) => changes("bindAccount", [accountText(account)], signal),
    async rebindAccount(account, signal) {
      await changes("rebindAccount", [accountText(account)], signal);
    },
    insertEntry(entry, signal) {
      const { userId, kind, n, at } = entry;
      const body = JSON.stringify(fieldsOfEntry(entry));
      return changes("insert", [entryId(userId, kind, n), userId, at, body], signal);
    },
    async entry(user, kind, n, signal) {
      const entry = entryOrNone(await one("find", [entryId(user, kind, n)], signal));
      return isOfKind(entry, kind) ? entry : undefined;
    },
    async lastOperation(user, signal) {
      const entry = entryOrNone(await one("last", idRange(user, "op"), signal));
      return isOfKind(entry, "op") ? entry : undefined;
    },
    async entries(user, signal) {
      return byNumber((await all("range", idRange(user), signal)).map(entryOf));
    },
    async outcomesOf(hashes, signal) {
      return savedOutcomes((await all("ofHashes", [JSON.stringify(hashes)], signal)).map(entryOf));
    },
    async newestOutcomes(atMost, signal) {
      return savedOutcomes((await all("newest", [atMost], signal)).map(entryOf));
    },
    async liveOperations(between, atMost, signal) {
      const rows = await all("live", [...between, atMost], signal);
      return rows.map((row) => ({ at: String(row["at"]), isSaved: row["is_saved"] === 1 }));
    },
    async *retirements([from, to], newSignal) {
      let after: readonly [retireAt: string, id: string] = [from, ""];
      for (;;) {
        const page = await all("retirements", [...after, to], newSignal());
        const entries = page.map(entryOf);
        for (const entry of entries) if (isOfKind(entry, "due")) yield entry;
        const last = entries.findLast((entry) => isOfKind(entry, "due"));
        if (page.length < PAGE || last === undefined) return;
        after = [last.retireAt, entryId(last.userId, "due", last.n)];
      }
    },
    async *scanJournal(newSignal) {
      let after = "";
      for (;;) {
        const page = await all("page", [after], newSignal());
        for (const row of page) {
          const entry = entryOf(row);
          if (entry !== undefined) yield entry;
        }
        if (page.length < PAGE) return;
        after = nextAfter(after, page, "_id", path);
      }
    },
  };
  return { port, forget };
}

/** Throws STORE_CORRUPT for a record that keyctl cannot have written. */
function fromRow(row: Row, path: string): Recorded | undefined {
  const id = textOf(row, "_id", path);
  // The id was validated when it was written.
  const user = textOf(row, "user_id", path) as UserId;
  const fields = fieldsIn(parsedJson(textOf(row, "body", path)));
  if (fields === null) throw unreadableEntry(id);
  return entryIn(id, user, textOf(row, "at", path), fields);
}
