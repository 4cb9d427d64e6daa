import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { BSON } from "mongodb";
import type { Document } from "mongodb";
import { onTestFinished } from "vitest";
import { answerTo, commandOf, onMessage } from "./wire.ts";
import type { Command } from "./wire.ts";

/** By the command's name, what the server answers to it; a function when that depends on what is asked. */
export type Answers = Readonly<Record<string, Document | ((command: Command) => Document)>>;

/** A server that keeps nothing and answers by the book. */
export interface MongodbStub {
  /** Names a database. */
  readonly uri: string;
  /** Every command that came, in order. */
  readonly commands: readonly Command[];
  /** Other answers, from now on, for these commands. */
  readonly answer: (answers: Answers) => void;
}

const DATABASE = "keys";
const NAMESPACE = `${DATABASE}.api_keys`;

/** A stub for the length of the test that calls this: a healthy server with a store that is empty, but for the answers that are given. */
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
  // An address with a port, because it listens on TCP.
  const { port } = server.address() as AddressInfo;
  return {
    uri: `mongodb://127.0.0.1:${port}/${DATABASE}`,
    commands,
    answer: (others) => {
      current = { ...current, ...others };
    },
  };
}

/** In every text that the stub's failures say: our own output must not have it. */
export const SERVER_TEXT = "the text of the server";

/** The command fails. */
export function failure(code: number, codeName: string): Document {
  return { ok: 0, errmsg: `${SERVER_TEXT}: ${codeName}`, code, codeName };
}

/** The command goes through, and its write fails. */
export function writeFailure(code: number): Document {
  return { ok: 1, n: 0, nModified: 0, writeErrors: [{ index: 0, code, errmsg: SERVER_TEXT }] };
}

/** Of an unordered batch, these places fail with these codes and all others are written. */
export function writeFailures(codes: Readonly<Record<number, number>>): Document {
  const writeErrors = Object.entries(codes).map(([index, code]) => ({
    index: Number(index),
    code,
    errmsg: SERVER_TEXT,
  }));
  return { ok: 1, n: 0, ...(writeErrors.length === 0 ? {} : { writeErrors }) };
}

/** The write was done here, but it is not certain that it stays. */
export function concernFailure(code: number, codeName: string): Document {
  return { ok: 1, n: 1, nModified: 1, writeConcernError: { code, codeName, errmsg: SERVER_TEXT } };
}

/** The first documents of a cursor; more can be asked for when it has an id. */
export function firstBatch(documents: readonly Document[], id = 0): Document {
  return { ok: 1, cursor: { id: BSON.Long.fromNumber(id), ns: NAMESPACE, firstBatch: documents } };
}

/** What a server of the protocol says of itself. */
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

/** The same answers to a hello, whichever of its names is used. */
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
