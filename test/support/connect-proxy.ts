import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A proxy that makes tunnels, all to one port of this machine. */
export interface ConnectProxy {
  readonly port: number;
  /** `<host>:<port>` and the credentials of everyone who asked for a tunnel. */
  readonly tunnels: readonly { readonly to: string; readonly authorization: string | undefined }[];
  /** How many requests came that wanted no tunnel. */
  readonly others: () => number;
}

/** A proxy for the length of the test that calls this. `answer`: a status that refuses, or `silence`. */
export async function connectProxy(target: number, answer: number | "silence" = 200): Promise<ConnectProxy> {
  const tunnels: { to: string; authorization: string | undefined }[] = [];
  const sockets = new Set<Socket>();
  let others = 0;
  const server = createServer((_request, response) => {
    others += 1;
    response.writeHead(502).end();
  });
  server.on("connection", (socket) => sockets.add(socket));
  server.on("connect", ({ url = "", headers }, client: Socket) => {
    tunnels.push({ to: url, authorization: headers["proxy-authorization"] });
    client.on("error", () => undefined);
    if (answer === "silence") return;
    if (answer !== 200) return void client.end(`HTTP/1.1 ${answer} Refused\r\n\r\n`);
    const upstream = connect(target, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      client.pipe(upstream).pipe(client);
    });
    upstream.on("error", () => client.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  // An address with a port, because it listens on TCP.
  const { port } = server.address() as AddressInfo;
  return { port, tunnels, others: () => others };
}
