import { Duplex } from "node:stream";
import { buildConnector } from "undici";

/** The connections of one client. */
export interface Connections {
  /** **Invariant:** certificates are verified, whatever the environment says. */
  readonly connect: buildConnector.connector;
  /** A connection that was opened elsewhere, for `close`. */
  readonly keep: (socket: Duplex) => void;
  /** Closes all connections. undici would wait for those being opened, and so would the process. */
  readonly close: () => void;
}

/** @param timeout for opening a connection, TLS included, in milliseconds */
export function connections(timeout: number): Connections {
  const connect = buildConnector({ timeout, rejectUnauthorized: true });
  const open = new Set<Duplex>();
  const keep = (socket: Duplex) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  };
  return {
    connect(server, callback) {
      // The type does not say that `connect` returns the socket.
      const socket: unknown = connect(server, callback);
      if (socket instanceof Duplex) keep(socket);
    },
    keep,
    close: () => open.forEach((socket) => socket.destroy()),
  };
}
