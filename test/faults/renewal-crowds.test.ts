import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import type { KeyManager } from "../../src/core/manager/manager.ts";
import { hashOf } from "../support/fixtures/keys.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import type { Rule } from "../support/openrouter/faults.ts";
import type { MockOptions } from "../support/openrouter/server.ts";
import { asLibrary } from "../support/programs/library-in-process.ts";
import { withDatabase } from "../support/sqlite/database.ts";

const CHILD = fileURLToPath(new URL("../support/faults/refused-caller.mjs", import.meta.url));
const PROCESSES = 4;
const CALLERS = 100;
const CALLS = 1_000;

interface Alice extends Stage {
  /** The hash of her key. */
  readonly old: string;
}

/** Alice has a key that is old enough to be judged at once. */
async function withAlice(options: MockOptions): Promise<Alice> {
  const all = await stage(options);
  await all.given("provision --user alice --limit 10");
  await withDatabase(all.home, (database) => {
    database.exec("UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'");
  });
  return { ...all, old: [...all.server.keys.keys()][0] ?? "none" };
}

/** A process that is ready for its calls. */
async function caller({ home, env, server }: Stage) {
  const child = spawn(process.execPath, [CHILD, "alice", server.url, String(CALLERS)], {
    cwd: home.work,
    env: { ...home.environment, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: string[] = [];
  const said = createInterface(child.stdout).on("line", (line) => lines.push(line));
  const ended = once(child, "close");
  await once(said, "line");
  return {
    begin: () => child.stdin.write("now\n"),
    async answers(): Promise<readonly string[]> {
      await ended;
      return lines.slice(1);
    },
  };
}

it(`${CALLERS} callers in each of ${PROCESSES} processes with one dead key are one creation, and each is answered`, async () => {
  const all = await withAlice({ latencyMs: 20 });
  const callers = await Promise.all(Array.from({ length: PROCESSES }, () => caller(all)));
  all.server.removeKey(all.old);
  for (const { begin } of callers) begin();
  const answers = (await Promise.all(callers.map((one) => one.answers()))).flat();
  const renewed = answers.filter((line) => line === "answered 200 true -").length;
  console.log(`${answers.length} calls answered, ${renewed} of them in the process that renewed the key`);
  expect([...new Set(answers.map((line) => line.replace("true", "false")))]).toEqual(["answered 200 false -"]);
  expect(answers).toHaveLength(PROCESSES * CALLERS);
  expect(renewed).toBeGreaterThan(0);
  // The first one created the key that has died.
  expect([all.server.count("POST /keys"), all.server.keys.size]).toEqual([2, 1]);
});

/** A server whose answers fail now and then, each time in the same order. */
function flaky(share: number, spares: (route: string) => boolean): Rule {
  let state = 12_345;
  const random = () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
  return ({ route }) => {
    if (spares(route) || random() >= share) return "pass";
    const kind = random();
    if (route === "GET /key" && kind < 0.5) return { status: 401 };
    return kind < 0.7 ? { status: 503 } : kind < 0.85 ? "reset-after" : "reset-before";
  };
}

/** The statuses of so many calls, one after the other; `thrown` for a call that was cut off. */
async function callsOf(all: Alice, manager: KeyManager, count: number): Promise<ReadonlySet<number | string>> {
  const statuses = new Set<number | string>();
  for (let calls = 0; calls < count; calls += 1) {
    try {
      const { value } = await manager.withUserKey("alice", (key) =>
        fetch(`${all.server.url}/key`, { headers: { authorization: `Bearer ${key}` } }),
      );
      await value.arrayBuffer();
      statuses.add(value.status);
    } catch (thrown) {
      if (!(thrown instanceof TypeError)) throw thrown;
      statuses.add("thrown");
    }
  }
  return statuses;
}

it(`${CALLS} calls through a server that fails now and then create no key for a key that works`, async () => {
  const all = await withAlice({});
  all.server.behave(flaky(0.2, () => false));
  const statuses = await asLibrary(all.home, all.env, (manager) => callsOf(all, manager, CALLS));
  expect(statuses).toEqual(new Set([200, 401, 503, "thrown"]));
  expect([all.server.count("POST /keys"), [...all.server.keys.keys()]]).toEqual([1, [all.old]]);
});

it(`${CALLS} calls through such a server create one key for a key that dies, and none is left over`, async () => {
  const all = await withAlice({});
  all.server.behave(flaky(0.1, (route) => route === "POST /keys"));
  await asLibrary(all.home, all.env, (manager) => callsOf(all, manager, CALLS / 2));
  all.server.removeKey(all.old);
  await asLibrary(all.home, all.env, (manager) => callsOf(all, manager, CALLS / 2));
  all.server.behave(() => "pass");
  const last = await asLibrary(all.home, all.env, (manager) => callsOf(all, manager, 1));
  expect(last).toEqual(new Set([200]));
  expect([all.server.count("POST /keys"), all.server.keys.size]).toEqual([2, 1]);
});

it("a server that fails at every route leaves no key but the one that is in use", async () => {
  const all = await withAlice({});
  all.server.removeKey(all.old);
  all.server.behave(flaky(0.3, () => false));
  // Each manager begins without a memory of what failed before.
  for (let round = 0; round < 10; round += 1) {
    await asLibrary(all.home, all.env, (manager) => callsOf(all, manager, CALLS / 100));
  }
  all.server.behave(() => "pass");
  await asLibrary(all.home, all.env, (manager) => callsOf(all, manager, 1));
  await all.run("reconcile --fix");
  const stored = await asLibrary(all.home, all.env, (manager) => manager.getStoredKey("alice"));
  expect([...all.server.keys.keys()]).toEqual([hashOf(stored.key?.reveal() ?? "none")]);
});
