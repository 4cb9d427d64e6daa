import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { commandOf, onMessage } from "./wire.ts";
import type { Command, Message } from "./wire.ts";

/** What becomes of a client's message and of its answer. */
export type Action =
  | "pass"
  /** It never arrives, and the connection stays open. */
  | "swallow"
  /** It never arrives, and the connection is reset. */
  | "cut"
  /** It arrives and is obeyed; the answer is lost, and the connection stays open. */
  | "lose-answer"
  /** It arrives and is obeyed; the connection is reset in the place of the answer. */
  | "cut-answer"
  /** It arrives and is obeyed; in the place of the answer the server says that it will send no more, and still reads. */
  | "half-close"
  | { readonly delayMs: number };

/** `number` counts the commands of this name from 1, since the rule was given. */
export type Rule = (command: Command, number: number) => Action;

/** A faulty network in front of a server, on loopback. */
export interface TcpProxy {
  /** The server's URI, over the proxy. */
  readonly uri: string;
  /** The names of all commands that clients sent, in order; those that never arrive too. */
  readonly commands: readonly string[];
  /** From now on, for open connections too. */
  readonly behave: (behaviour: Action | Rule) => void;
  /** Resets every open connection, also those on which nothing is asked. */
  readonly cut: () => void;
  /** New connections are refused until `accept`; open ones go on. */
  readonly refuse: () => void;
  readonly accept: () => Promise<void>;
}

/** This action for the command of this name: for the n-th one only, when n is given. */
export function on(name: string, action: Action, n?: number): Rule {
  return (command, number) => (command.name === name && (n === undefined || n === number) ? action : "pass");
}

const MONGODB_PORT = 27017;
const PASS: Rule = () => "pass";

/**
 * A proxy for the length of the test that calls this; everything passes until it is told to behave otherwise.
 * The URI names one host; it may name a database. No TLS: the proxy reads along.
 */
export async function tcpProxy(uri: string): Promise<TcpProxy> {
  const { hostname, port: serverPort } = new URL(uri);
  const sockets = new Set<Socket>();
  const commands: string[] = [];
  let rule = PASS;
  let counts = new Map<string, number>();
  const decide = (message: Message) => {
    const command = commandOf(message);
    commands.push(command.name);
    const number = (counts.get(command.name) ?? 0) + 1;
    counts.set(command.name, number);
    return rule(command, number);
  };
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // What is cut on one side is cut on the other: "close" comes after it.
    socket.on("error", () => undefined);
  };
  const listen = async (port: number) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const upstream = connect({ host: hostname, port: Number(serverPort || MONGODB_PORT), noDelay: true });
      [client, upstream].forEach(keep);
      join(client, upstream, decide);
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return server;
  };
  const cut = () => sockets.forEach((socket) => socket.resetAndDestroy());

  let server: Server = await listen(0);
  // An address with a port, because it listens on TCP.
  const { port } = server.address() as AddressInfo;
  onTestFinished(() => {
    server.close();
    cut();
  });
  return {
    uri: throughPort(uri, port),
    commands,
    cut,
    behave: (behaviour) => {
      rule = typeof behaviour === "function" ? behaviour : () => behaviour;
      counts = new Map();
    },
    refuse: () => void server.close(),
    accept: async () => {
      server = await listen(port);
    },
  };
}

/** Without `directConnection` a driver would ask for the members of a replica set, and go to them past the proxy. */
function throughPort(uri: string, port: number): string {
  const through = new URL(uri);
  through.host = `127.0.0.1:${port}`;
  through.searchParams.set("directConnection", "true");
  return through.href;
}

/** One connection: the client's messages in their order, each by what is decided on it. */
function join(client: Socket, upstream: Socket, decide: (message: Message) => Action): void {
  const answers = new Map<number, Action>();
  const deliver = async (earlier: Promise<void>, action: Action, { bytes }: Message) => {
    await earlier;
    if (typeof action === "object") await wait(action.delayMs);
    if (action === "cut") client.resetAndDestroy();
    else if (action !== "swallow") upstream.write(bytes);
  };
  let turn = Promise.resolve();
  onMessage(client, (message) => {
    const action = decide(message);
    answers.set(message.requestId, action);
    turn = deliver(turn, action, message);
  });
  onMessage(upstream, ({ bytes, responseTo }) => {
    const action = answers.get(responseTo);
    if (action === "cut-answer") client.resetAndDestroy();
    else if (action === "half-close") client.end();
    else if (action !== "lose-answer" && client.writable) client.write(bytes);
  });
  client.once("end", () => upstream.end());
  upstream.once("end", () => client.end());
  client.once("close", () => upstream.destroy());
  upstream.once("close", () => client.destroy());
}
