import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { BSON } from "mongodb";
import type { Document } from "mongodb";
import { onTestFinished } from "vitest";
import { answerTo, commandOf, onMessage } from "./wire.ts";
import type { Command } from "./wire.ts";

/** The server's answer for each command name; a function if the answer depends on the command. */
export type Answers = Readonly<Record<string, Document | ((command: Command) => Document)>>;

/** A server that stores nothing and gives scripted answers. */
export interface MongodbStub {
  /** The URI, with a database. */
  readonly uri: string;
  /** Every received command, in order. */
  readonly commands: readonly Command[];
  /** Changes the answers to these commands from now on. */
  readonly answer: (answers: Answers) => void;
}

const DATABASE = "keys";
const NAMESPACE = `${DATABASE}.api_keys`;

/**
 * Starts a stub that stops when the calling test ends. Without other answers it is a healthy server with an empty
 * store.
 */
export async function mongodbStub(answers: Answers = {}): Promise<MongodbStub> {
  const commands: Command[] = [];
  const sockets = new Set<Socket>();
  let current: Answers = { ...HEALTHY, ...answers };
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    onMessage(socket, (message) => {
      const command = commandOf(message);
      commands.push(command);
      const answer = current[command.name] ?? failure(59, "CommandNotFound");
      socket.write(answerTo(message, typeof answer === "function" ? answer(command) : answer));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  // The address has a port, because the server listens on TCP.
  const { port } = server.address() as AddressInfo;
  return {
    uri: `mongodb://127.0.0.1:${port}/${DATABASE}`,
    commands,
    answer: (others) => {
      current = { ...current, ...others };
    },
  };
}

/** Part of every error message of the stub. Our own output must not contain it. */
export const SERVER_TEXT = "the text of the server";

/** The command fails. */
export function failure(code: number, codeName: string): Document {
  return { ok: 0, errmsg: `${SERVER_TEXT}: ${codeName}`, code, codeName };
}

/** The command succeeds, but its write fails. */
export function writeFailure(code: number): Document {
  return { ok: 1, n: 0, nModified: 0, writeErrors: [{ index: 0, code, errmsg: SERVER_TEXT }] };
}

/** In an unordered batch, the documents at these indexes fail with these codes; all others are written. */
export function writeFailures(codes: Readonly<Record<number, number>>): Document {
  const writeErrors = Object.entries(codes).map(([index, code]) => ({
    index: Number(index),
    code,
    errmsg: SERVER_TEXT,
  }));
  return { ok: 1, n: 0, ...(writeErrors.length === 0 ? {} : { writeErrors }) };
}

/** The write was applied here, but may be rolled back. */
export function concernFailure(code: number, codeName: string): Document {
  return { ok: 1, n: 1, nModified: 1, writeConcernError: { code, codeName, errmsg: SERVER_TEXT } };
}

/** The first documents of a cursor. A cursor with an id has more. */
export function firstBatch(documents: readonly Document[], id = 0): Document {
  return { ok: 1, cursor: { id: BSON.Long.fromNumber(id), ns: NAMESPACE, firstBatch: documents } };
}

/** The answer of a server to `hello`. */
export function hello(differences: Document = {}): Document {
  return {
    ok: 1,
    helloOk: true,
    isWritablePrimary: true,
    ismaster: true,
    minWireVersion: 0,
    maxWireVersion: 25,
    maxBsonObjectSize: 16 * 1024 * 1024,
    maxMessageSizeBytes: 48_000_000,
    maxWriteBatchSize: 100_000,
    logicalSessionTimeoutMinutes: 30,
    readOnly: false,
    ...differences,
  };
}

/** The same answer to `hello` under each of its names. */
export function toHello(answer: Document): Answers {
  return { hello: answer, ismaster: answer, isMaster: answer };
}

const DONE = { ok: 1 };
const DEPLOYMENT = { _id: "deployment", value: "9f2c0a7d41b6e853" };

const HEALTHY: Answers = {
  ...toHello(hello()),
  ping: DONE,
  endSessions: DONE,
  killCursors: DONE,
  drop: DONE,
  buildInfo: { ok: 1, version: "8.0.4", versionArray: [8, 0, 4, 0], modules: [], bits: 64 },
  connectionStatus: { ok: 1, authInfo: { authenticatedUsers: [], authenticatedUserRoles: [] } },
  find: ({ document }) => firstBatch(document["find"] === "api_key_meta" ? [DEPLOYMENT] : []),
  aggregate: firstBatch([]),
  count: { ok: 1, n: 0 },
  getMore: { ok: 1, cursor: { id: BSON.Long.ZERO, ns: NAMESPACE, nextBatch: [] } },
  insert: ({ document }) => ({ ok: 1, n: (document["documents"] as readonly Document[]).length }),
  update: { ok: 1, n: 1, nModified: 1 },
  delete: { ok: 1, n: 1 },
  findAndModify: { ok: 1, value: null, lastErrorObject: { n: 0, updatedExisting: false } },
  createIndexes: { ok: 1, numIndexesBefore: 2, numIndexesAfter: 2, note: "all indexes already exist" },
  listIndexes: firstBatch([{ v: 2, key: { _id: 1 }, name: "_id_" }]),
  listCollections: firstBatch([{ name: "api_keys", type: "collection", options: {}, info: { readOnly: false } }]),
};
