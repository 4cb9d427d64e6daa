import type { DatabaseSync } from "node:sqlite";
import { openDatabase } from "../../../src/stores/sqlite/database.ts";
import type { Home } from "../home/home.ts";

/** Works on a home's database with plain SQL, like another program. */
export async function withDatabase<Result>(
  home: Home,
  work: (database: DatabaseSync) => Result | Promise<Result>,
): Promise<Result> {
  const opened = await openDatabase(home.database, false, AbortSignal.timeout(10_000));
  if (opened === undefined) throw new Error("this home has no database yet");
  const { connection: database } = opened;
  try {
    return await work(database);
  } finally {
    database.close();
  }
}

/** The users with a row, in order. */
export function storedUsers(home: Home): Promise<readonly string[]> {
  return withDatabase(home, (database) =>
    database
      .prepare("SELECT user_id FROM api_keys ORDER BY user_id")
      .all()
      .map((row) => String(row["user_id"])),
  );
}
