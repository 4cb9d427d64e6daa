import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { yieldToEventLoop } from "../../core/async/sleep.ts";
import type { HistoryEvent } from "../../core/model/history-event.ts";
import type { UserId } from "../../core/model/user-id.ts";
import type { HistoryFilter, HistoryStore } from "../../core/ports/history.ts";
import { eventIn, fieldsOfEvent } from "../format/history-event.ts";
import { fieldsIn } from "../format/values.ts";
import { parsedJson } from "./columns.ts";
import { indexMisses } from "./errors.ts";
import type { DatabaseFile } from "./file.ts";
import { inTransaction } from "./schema.ts";
import { sqliteStatements } from "./statements.ts";
import type { Row } from "./statements.ts";

const PAGE = 100;
/** The number of events that one statement removes: a few milliseconds. */
const STEP = 500;
const COLUMNS = "_id, at, user_id, key_hash, body";
const INSERT = `INSERT INTO api_key_events (${COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (_id) DO`;
const PAGE_BEFORE = `at >= ?1 AND (at, _id) < (?2, ?3)`;
const NEWEST_FIRST = `ORDER BY at DESC, _id DESC LIMIT ${PAGE}`;

const SQL = {
  add: `${INSERT} NOTHING`,
  put: `${INSERT} UPDATE SET at = excluded.at, user_id = excluded.user_id, key_hash = excluded.key_hash, body = excluded.body`,
  page: `SELECT ${COLUMNS} FROM api_key_events INDEXED BY api_key_events_at WHERE ${PAGE_BEFORE} ${NEWEST_FIRST}`,
  pageOfUser: `SELECT ${COLUMNS} FROM api_key_events INDEXED BY api_key_events_user
    WHERE user_id = ?4 AND ${PAGE_BEFORE} ${NEWEST_FIRST}`,
  // A key has few events: the user is compared after the index has found them.
  pageOfHash: `SELECT ${COLUMNS} FROM api_key_events INDEXED BY api_key_events_hash
    WHERE key_hash = ?4 AND (?5 IS NULL OR user_id = ?5) AND ${PAGE_BEFORE} ${NEWEST_FIRST}`,
  removeBefore: `DELETE FROM api_key_events WHERE _id IN
    (SELECT _id FROM api_key_events INDEXED BY api_key_events_at WHERE at < ? ORDER BY at LIMIT ${STEP})`,
} as const;

/** Sorts after every time. */
const END_OF_TIME = "~";

/** The history in the embedded store. A batch of events is one transaction; a page of a list is one statement. */
export function sqliteHistory(
  database: DatabaseSync,
  file: DatabaseFile,
): { readonly port: HistoryStore; readonly forget: () => void } {
  const { write, prepared, all, forget } = sqliteStatements(database, file, SQL);
  const port: HistoryStore = {
    async addEvents(events, { replaces }, signal) {
      const statement = replaces ? "put" : "add";
      const addAll = () => events.forEach((event) => prepared(statement).run(...toRow(event)));
      if (events.length > 0) await write(() => inTransaction(database, addAll), signal);
    },
    async *events(filter, newSignal) {
      for (let before: readonly [at: string, id: string] = [END_OF_TIME, ""]; ;) {
        const page = await all(...pageOf(filter, before), newSignal());
        for (const row of page) {
          const event = fromRow(row);
          if (event !== undefined) yield event;
        }
        const last = page.at(-1);
        if (last === undefined || page.length < PAGE) return;
        before = nextBefore(before, last, file.path);
      }
    },
    async removeEventsBefore(before, newSignal) {
      for (let removed = 0; ;) {
        const step = await write(() => Number(prepared("removeBefore").run(before).changes), newSignal());
        removed += step;
        if (step < STEP) return removed;
        await yieldToEventLoop();
      }
    },
  };
  return { port, forget };
}

function pageOf(
  { user, keyHash, since = "" }: HistoryFilter,
  before: readonly [at: string, id: string],
): [name: keyof typeof SQL, values: readonly SQLInputValue[]] {
  if (keyHash !== undefined) return ["pageOfHash", [since, ...before, keyHash, user ?? null]];
  return user === undefined ? ["page", [since, ...before]] : ["pageOfUser", [since, ...before, user]];
}

/** The start of the next page. Throws STORE_CORRUPT for an index that is out of order: its list would never end. */
function nextBefore([at, id]: readonly [string, string], last: Row, path: string): readonly [string, string] {
  const next = [String(last["at"]), String(last["_id"])] as const;
  if (next[0] < at || (next[0] === at && next[1] < id)) return next;
  throw indexMisses(path);
}

function toRow(event: HistoryEvent): SQLInputValue[] {
  return [event.id, event.at, event.userId, event.keyHash, JSON.stringify(fieldsOfEvent(event))];
}

function fromRow(row: Row): HistoryEvent | undefined {
  const fields = fieldsIn(parsedJson(String(row["body"])));
  // The id was validated when it was written.
  return eventIn(String(row["_id"]), String(row["user_id"]) as UserId, row["at"], fields ?? {});
}
