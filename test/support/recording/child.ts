import { appendFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Host, thisProcess } from "../../../src/main.ts";
import { witnessed } from "./port-calls.ts";
import type { Witness } from "./port-calls.ts";
import { recorder } from "./recorder.ts";

// The built tool. It records its accesses to its ports in the file RECORD_ACCESSES, and each moment of a port call in
// the file RECORD_MOMENTS. At the moment SIGNAL_AT it sends SIGNAL to itself: `7` is the seventh of all moments, and
// `2 before store.insert` the second of that name.
interface Tool {
  readonly main: (host: Host) => Promise<number>;
  readonly thisProcess: typeof thisProcess;
}

const { RECORD_TOOL = "", RECORD_ACCESSES = "", RECORD_MOMENTS = "", SIGNAL_AT, SIGNAL } = process.env;
// The build of the file that these types come from.
const { main, thisProcess: ofThisProcess } = createRequire(RECORD_TOOL)(RECORD_TOOL) as Tool;
const accesses = recorder(RECORD_ACCESSES);
let moments = 0;
const momentsOf = new Map<string, number>();

function passes(name: string, when: "before" | "after"): void {
  const moment = `${when} ${name}`;
  const nth = (momentsOf.get(moment) ?? 0) + 1;
  momentsOf.set(moment, nth);
  moments += 1;
  appendFileSync(RECORD_MOMENTS, `${moment}\n`);
  if (SIGNAL_AT === String(moments) || SIGNAL_AT === `${nth} ${moment}`) process.kill(process.pid, SIGNAL);
}

const watching: Witness = {
  begins(call) {
    const token = accesses.begins(call);
    passes(call.name, "before");
    return token;
  },
  ends(call, answer, token) {
    accesses.ends(call, answer, token);
    passes(call.name, "after");
  },
};

process.exitCode = await main({ ...ofThisProcess(), around: (ports) => witnessed(ports, watching) });
