import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { commandOf, onMessage } from "./wire.ts";
import type { Command, Message } from "./wire.ts";

/** The treatment of a client's message and its answer. */
export type Action =
  | "pass"
  /** The message never arrives, and the connection stays open. */
  | "swallow"
  /** The message never arrives, and the connection is reset. */
  | "cut"
  /** The command is executed; the answer is lost, and the connection stays open. */
  | "lose-answer"
  /** The command is executed; the connection is reset instead of the answer. */
  | "cut-answer"
  /** The command is executed; instead of the answer the server closes its sending side, and still reads. */
  | "half-close"
  | { readonly delayMs: number };

/** `number` counts the commands of this name from 1, since the rule was set. */
export type Rule = (command: Command, number: number) => Action;

/** A faulty network in front of a server, on loopback. */
export interface TcpProxy {
  /** The server's URI through the proxy. */
  readonly uri: string;
  /** The names of all commands that clients sent, in order, including commands that never arrive. */
  readonly commands: readonly string[];
  /** Sets the behaviour from now on, also for open connections. */
  readonly behave: (behaviour: Action | Rule) => void;
  /** Resets every open connection, including idle ones. */
  readonly cut: () => void;
  /** Refuses new connections until `accept`; open ones continue. */
  readonly refuse: () => void;
  readonly accept: () => Promise<void>;
}

/** A rule with this action for the commands of this name, or only for the nth one if `n` is given. */
export function on(name: string, action: Action, n?: number): Rule {
  return (command, number) => (command.name === name && (n === undefined || n === number) ? action : "pass");
}

const MONGODB_PORT = 27017;
const PASS: Rule = () => "pass";

/**
 * Starts a proxy that stops when the calling test ends. Everything passes until `behave` is called.
 * The URI names one host and may name a database. TLS is not supported, because the proxy reads the messages.
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
    // Ignored: the `close` event that follows closes the other side too.
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
  // The address has a port, because the server listens on TCP.
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

/** Without `directConnection` a driver would discover the members of a replica set and bypass the proxy. */
function throughPort(uri: string, port: number): string {
  const through = new URL(uri);
  through.host = `127.0.0.1:${port}`;
  through.searchParams.set("directConnection", "true");
  return through.href;
}

/** Joins one connection: handles the client's messages in their order, each with its own action. */
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
