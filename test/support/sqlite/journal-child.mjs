// The built tool with a race in the place of its look for a key: when all processes of the race are ready, it tries to
// win each operation of a user, and reports the ones that it has won.
import { readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

const { main, thisProcess } = createRequire(import.meta.url)("../../../dist/tool/main.cjs");
/** Long ago: no process waits for the outcome of such an old operation. */
const AT = "2026-01-01T00:00:00.000Z";
let hasRaced = false;
const { RACE_OPERATIONS, RACE_NONCE, RACE_GATE, RACE_PROCESSES } = process.env;

process.exitCode = await main({
  ...thisProcess(),
  around: (ports) => ({ ...ports, store: { ...ports.store, find: (user, signal) => race(ports.store, user, signal) } }),
});

/** Every look for the key finds none. The first look runs the race. */
async function race(store, user, signal) {
  if (hasRaced) return undefined;
  hasRaced = true;
  const won = [];
  await store.deployment(signal);
  writeFileSync(join(RACE_GATE, RACE_NONCE), "");
  while (readdirSync(RACE_GATE).length < Number(RACE_PROCESSES)) await wait(2);
  for (let n = 1; n <= Number(RACE_OPERATIONS); n += 1) {
    const terms = { label: null, limit: null, limitReset: null, expiresAt: null, workspace: null };
    const operation = { kind: "op", n, userId: user, at: AT, nonce: RACE_NONCE, ...terms };
    if (await store.insertEntry(operation, signal)) won.push(n);
  }
  const seen = (await store.entries(user, signal)).map(({ nonce }) => nonce);
  process.stdout.write(`${JSON.stringify({ won, seen, deployment: await store.deployment(signal) })}\n`);
  return undefined;
}
