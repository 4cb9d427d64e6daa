import { Duplex } from "node:stream";
import { buildConnector } from "undici";

/** The connections of one client. */
export interface Connections {
  /** **Invariant:** certificates are verified, whatever the environment says. */
  readonly connect: buildConnector.connector;
  /** A connection that was made in another way, for `close`. */
  readonly keep: (socket: Duplex) => void;
  /** Ends all of them. undici would wait for those that are being made, and the process with it. */
  readonly close: () => void;
}

/** @param timeout for a connection to be made, TLS included, in milliseconds */
export function connections(timeout: number): Connections {
  const connect = buildConnector({ timeout, rejectUnauthorized: true });
  const open = new Set<Duplex>();
  const keep = (socket: Duplex) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  };
  return {
    connect(server, callback) {
      // Its type does not say so.
      const socket: unknown = connect(server, callback);
      if (socket instanceof Duplex) keep(socket);
    },
    keep,
    close: () => open.forEach((socket) => socket.destroy()),
  };
}
