import type { Ports } from "../../../src/compose.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { witnessed } from "./port-calls.ts";

/** The answer to this call is lost, whether it was carried out or not; `times` times. */
export function losing(name: string, happens: "done" | "not done", times = 1): (ports: Ports) => Ports {
  let left = times;
  const lose = (called: string) => {
    if (called !== name || left === 0) return;
    left -= 1;
    throw new KeyctlError("STORE_UNAVAILABLE", "the connection was closed", { mayHaveHappened: true });
  };
  return (ports) =>
    witnessed(ports, {
      begins: (call) => (happens === "not done" ? lose(call.name) : undefined),
      ends: (call) => (happens === "done" ? lose(call.name) : undefined),
    });
}
