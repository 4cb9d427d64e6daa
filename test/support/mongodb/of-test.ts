import { randomBytes } from "node:crypto";
import { MongoClient } from "mongodb";
import type { Db } from "mongodb";
import { describe, inject, onTestFinished } from "vitest";
import { startServer, uriOf } from "./server.ts";
import type { MongodbServer, Tls } from "./server.ts";

/** The server that all tests share, or null. */
export const mongodb = inject("mongodb");

/** Tests on the shared server; skipped, and said once for the whole run, when there is none. */
export const describeWithMongodb = describe.skipIf(mongodb === null);

/** Tests that start servers of their own. */
export const describeWithOwnServer = describe.skipIf((mongodb?.program ?? null) === null);

/** A database of a test's own. */
export interface Database {
  readonly uri: string;
  /** The bare driver's: what another program reads and writes there. */
  readonly db: Db;
  /** Drops it, even when it was never made. */
  readonly remove: () => Promise<void>;
}

/** A database that does not exist yet; on the shared server, or on this one. */
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

/** The same, for the length of the test that calls this. */
export function databaseOfTest(): Database {
  const database = emptyDatabase();
  onTestFinished(database.remove);
  return database;
}

/** A server for the length of the test that calls this; the test may kill it. */
export async function serverOfTest(tls?: Tls): Promise<MongodbServer> {
  const program = mongodb?.program ?? null;
  if (program === null) throw new Error("there is no server program: use describeWithOwnServer");
  const server = await startServer(program, tls);
  onTestFinished(server.remove);
  return server;
}
