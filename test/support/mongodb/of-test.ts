import { randomBytes } from "node:crypto";
import { MongoClient } from "mongodb";
import type { Db } from "mongodb";
import { describe, inject, onTestFinished } from "vitest";
import { startServer, uriOf } from "./server.ts";
import type { MongodbServer, Tls } from "./server.ts";

/** The server that all tests share, or null. */
export const mongodb = inject("mongodb");

/** Tests on the shared server. Without one they are skipped, which is reported once for the whole run. */
export const describeWithMongodb = describe.skipIf(mongodb === null);

/** Tests that start their own servers. */
export const describeWithOwnServer = describe.skipIf((mongodb?.program ?? null) === null);

/** A database of one test. */
export interface Database {
  readonly uri: string;
  /** The database in the plain driver: the view of another program. */
  readonly db: Db;
  /** Drops the database, even if it was never created. */
  readonly remove: () => Promise<void>;
}

/** A database that does not exist yet, on the shared server or on the given one. */
export function emptyDatabase(server = mongodb?.uri): Database {
  if (server === undefined) throw new Error("there is no MongoDB server: use describeWithMongodb");
  const uri = uriOf(server, `keyctl_test_${randomBytes(8).toString("hex")}`);
  const client = new MongoClient(uri);
  const db = client.db();
  return {
    uri,
    db,
    remove: async () => {
      await db.dropDatabase();
      await client.close();
    },
  };
}

/** The same; the database is dropped when the calling test ends. */
export function databaseOfTest(): Database {
  const database = emptyDatabase();
  onTestFinished(database.remove);
  return database;
}

/** A server that is removed when the calling test ends. The test may kill it. */
export async function serverOfTest(tls?: Tls): Promise<MongodbServer> {
  const program = mongodb?.program ?? null;
  if (program === null) throw new Error("there is no server program: use describeWithOwnServer");
  const server = await startServer(program, tls);
  onTestFinished(server.remove);
  return server;
}
