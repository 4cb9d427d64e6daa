import type { Socket } from "node:net";
import { BSON } from "mongodb";
import type { Document } from "mongodb";

/**
 * The part of MongoDB's wire protocol that a proxy and a stub need: complete messages, and the command in a message.
 */
export interface Message {
  readonly bytes: Buffer;
  readonly requestId: number;
  /** The request that this answers. */
  readonly responseTo: number;
}

/** A client's command: `insert`, and `{ insert: "api_keys", documents: […], $db: "keys" }`. */
export interface Command {
  readonly name: string;
  readonly document: Document;
}

const HEADER_BYTES = 16;
const BYTES_OF_AN_INT = 4;
/** The message type of the first `hello` only. */
const OP_QUERY = 2004;
const OP_REPLY = 1;
const OP_MSG = 2013;

/** Calls `take` with each complete message, in order. */
export function onMessage(socket: Socket, take: (message: Message) => void): void {
  let waiting = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    waiting = Buffer.concat([waiting, chunk]);
    while (waiting.length >= HEADER_BYTES && waiting.length >= waiting.readInt32LE(0)) {
      const bytes = waiting.subarray(0, waiting.readInt32LE(0));
      waiting = waiting.subarray(bytes.length);
      take({ bytes, requestId: bytes.readInt32LE(4), responseTo: bytes.readInt32LE(8) });
    }
  });
}

export function commandOf({ bytes }: Message): Command {
  const document = bytes.readInt32LE(12) === OP_QUERY ? queryOf(bytes) : sectionsOf(bytes);
  return { name: Object.keys(document)[0] ?? "", document };
}

/** An answer in the message type of the request. */
export function answerTo({ bytes, requestId }: Message, answer: Document): Buffer {
  const document = BSON.serialize(answer);
  const asked = bytes.readInt32LE(12);
  const before = asked === OP_QUERY ? beforeReply() : Buffer.alloc(BYTES_OF_AN_INT + 1);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeInt32LE(HEADER_BYTES + before.length + document.length, 0);
  header.writeInt32LE(requestId, 8);
  header.writeInt32LE(asked === OP_QUERY ? OP_REPLY : OP_MSG, 12);
  return Buffer.concat([header, before, document]);
}

/** The fields before the document of an OP_REPLY: flags, no cursor, starting at 0, one document. */
function beforeReply(): Buffer {
  const before = Buffer.alloc(20);
  before.writeInt32LE(1, 16);
  return before;
}

/** The document of an OP_QUERY, after flags, the name of the collection and two numbers. */
function queryOf(bytes: Buffer): Document {
  const nameAt = HEADER_BYTES + BYTES_OF_AN_INT;
  return documentAt(bytes, bytes.indexOf(0, nameAt) + 1 + 2 * BYTES_OF_AN_INT);
}

/** The document of an OP_MSG: after flags come sections, each one document (kind 0) or a named sequence (kind 1). */
function sectionsOf(bytes: Buffer): Document {
  const document: Document = {};
  let at = HEADER_BYTES + BYTES_OF_AN_INT;
  while (at < bytes.length) {
    const kind = bytes.readUInt8(at);
    const size = bytes.readInt32LE(at + 1);
    if (kind === 0) Object.assign(document, documentAt(bytes, at + 1));
    else Object.assign(document, sequenceOf(bytes.subarray(at + 1 + BYTES_OF_AN_INT, at + 1 + size)));
    at += 1 + size;
  }
  return document;
}

function sequenceOf(bytes: Buffer): Document {
  const nameEnd = bytes.indexOf(0);
  const documents: Document[] = [];
  for (let at = nameEnd + 1; at < bytes.length; at += bytes.readInt32LE(at)) documents.push(documentAt(bytes, at));
  return { [bytes.toString("utf8", 0, nameEnd)]: documents };
}

function documentAt(bytes: Buffer, at: number): Document {
  return BSON.deserialize(bytes.subarray(at, at + bytes.readInt32LE(at)));
}
