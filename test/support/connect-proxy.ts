import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { onTestFinished } from "vitest";

/** A proxy that makes tunnels, all to one port of this machine. */
export interface ConnectProxy {
  readonly port: number;
  /** `<host>:<port>` and the credentials of everyone who asked for a tunnel. */
  readonly tunnels: readonly { readonly to: string; readonly authorization: string | undefined }[];
  /** How many connections were made to it. */
  readonly connections: () => number;
  /** How many requests came that wanted no tunnel. */
  readonly others: () => number;
}

/** What it does with a tunnel: makes it, refuses it with a status, says nothing, goes away, or is no proxy at all. */
export type Answer = number | "silence" | "hang-up" | "garbage";

interface ProxyOptions {
  /** In PEM; then it speaks TLS. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly host?: "127.0.0.1" | "::1";
}

/** Whether this machine has an IPv6 address of its own to listen on. */
export const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "::1"),
);

/** A proxy for the length of the test that calls this. */
export async function connectProxy(
  target: number,
  answer: Answer = 200,
  { tls, host = "127.0.0.1" }: ProxyOptions = {},
): Promise<ConnectProxy> {
  const tunnels: { to: string; authorization: string | undefined }[] = [];
  const sockets = new Set<Socket>();
  let others = 0;
  const server = tls === undefined ? createServer() : createTlsServer(tls);
  server.on("request", (_request, response) => {
    others += 1;
    response.writeHead(502).end();
  });
  server.on("connection", (socket: Socket) => sockets.add(socket));
  server.on("connect", ({ url = "", headers }, client: Socket) => {
    tunnels.push({ to: url, authorization: headers["proxy-authorization"] });
    client.on("error", () => undefined);
    if (answer === "silence") return;
    if (answer === "hang-up") return void client.destroy();
    if (answer === "garbage") return void client.end("SSH-2.0-OpenSSH_9.9\r\n");
    if (answer !== 200) return void client.end(`HTTP/1.1 ${answer} Refused\r\n\r\n`);
    const upstream = connect(target, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      client.pipe(upstream).pipe(client);
    });
    upstream.on("error", () => client.destroy());
  });
  server.listen(0, host);
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  // An address with a port, because it listens on TCP.
  const { port } = server.address() as AddressInfo;
  return { port, tunnels, connections: () => sockets.size, others: () => others };
}
