import { createInterface } from "node:readline";
import { compose, readConfig } from "../../../src/compose.ts";
import type { Ports } from "../../../src/compose.ts";
import type { KeyManager } from "../../../src/core/manager/manager.ts";
import { silent } from "../../../src/core/model/log-event.ts";

// A program that works for users as it is told, one line of standard input each, and prints one line about each command:
// whether it ended with a key, and when it began its last access to rows or records, by the clock that all processes of a machine share.

/** What to do, after a pause in milliseconds. */
export interface RacerOrder {
  readonly user: string;
  readonly pauseMs: number;
}

export interface RacerReport {
  readonly user: string;
  readonly hasKey: boolean;
  readonly code: string | null;
  /** Nanoseconds of the machine's monotonic clock. */
  readonly lastAccessAt: string;
}

type Answer = { readonly key: unknown; readonly error: { readonly code: string } | null };

const { RACER_COMMAND = "sync", RACER_KEY = "" } = process.env;
let lastAccess = 0n;

/** The recorder of the last access, which is also what a stand-in for a slow machine would delay. */
function watched(ports: Ports): Ports {
  const store = Object.fromEntries(
    Object.entries(ports.store).map(([name, call]) => [
      name,
      typeof call === "function"
        ? (...given: readonly unknown[]) => {
            if (READING_OR_WRITING.has(name)) lastAccess = process.hrtime.bigint();
            return Reflect.apply(call, ports.store, given) as unknown;
          }
        : call,
    ]),
  );
  // The same methods under the same names.
  return { ...ports, store: store as unknown as Ports["store"] };
}

/**
 * Of rows, and of records: a command that reads a record after the row, and then hands out what it had seen in the row, is too
 * late as well.
 */
const READING_OR_WRITING: ReadonlySet<string> = new Set(
  "find findMany insert insertMany replace remove entry entries lastOperation outcomesOf insertEntry".split(" "),
);

const WORK: Readonly<Record<string, (keys: KeyManager, user: string) => Promise<Answer>>> = {
  sync: (keys, user) => keys.syncAndGetKey(user),
  get: (keys, user) => keys.getStoredKey(user),
  provision: (keys, user) => keys.autoProvisionKey(user),
  save: async (keys, user) => ({ key: null, error: (await keys.saveKeyToDb(user, RACER_KEY)).error }),
  rotate: (keys, user) => keys.rotate(user),
};

const config = readConfig(process.env);
const notices = { generated: () => {}, added: () => {}, readableByOthers: () => {}, guessable: () => {} };
const { manager } = await compose(
  config,
  { log: silent, notices },
  { mayCreateStore: true, creates: true, creation: "", around: watched, signal: AbortSignal.timeout(60_000) },
);
for await (const line of createInterface({ input: process.stdin })) {
  const { user, pauseMs } = JSON.parse(line) as RacerOrder;
  await new Promise((resolve) => setTimeout(resolve, pauseMs));
  const { key, error } = (await WORK[RACER_COMMAND]?.(manager, user)) ?? { key: null, error: null };
  const report: RacerReport = {
    user,
    hasKey: key !== null && error === null,
    code: error?.code ?? null,
    lastAccessAt: String(lastAccess),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
await manager.close();
