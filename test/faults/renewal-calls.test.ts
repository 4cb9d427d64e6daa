import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import type { KeyManager } from "../../src/core/manager/manager.ts";
import { isAccepted } from "../support/faults/deaths.ts";
import { withAlice } from "../support/faults/refused-crowd.ts";
import type { Alice } from "../support/faults/refused-crowd.ts";
import { hashOf } from "../support/fixtures/keys.ts";
import type { Fault, Rule } from "../support/openrouter/faults.ts";
import type { Route } from "../support/openrouter/routes.ts";
import { asLibrary } from "../support/programs/library-in-process.ts";

const CALLS = 1_000;
/** A manager remembers what it found out about a key, so that only a new one asks again. */
const CALLS_OF_MANAGER = 25;
const AT_ONCE = 10;
const DEATHS = 5;
const LOOK_MS = 20;

/** What a program's calls meet: refusals that pass, those of providers, and answers that are late, cut or lost. */
const OF_CALLS: readonly Fault[] = [
  { refusal: "dead-key" },
  { refusal: "empty-401" },
  { refusal: "provider-key" },
  { refusal: "provider-code" },
  { refusal: "no-header" },
  { refusal: "rate-limit" },
  { refusal: "server-error" },
  { refusal: "overloaded" },
  { refusal: "key-limit" },
  "reset-before",
  "reset-after",
  "cut-body",
  { delayMs: 300 },
];
/** What keyctl's own requests meet. */
const OF_OTHERS: readonly Fault[] = [
  { status: 503 },
  { status: 429, headers: { "retry-after": "0" } },
  "reset-after",
  "reset-before",
];
const OF_KEY_CHECKS: readonly Fault[] = [{ status: 401 }, { status: 401 }, ...OF_OTHERS];

/** A server whose answers fail now and then, of each seed in an order of its own. */
function flaky(share: number, seed: number, ...spared: readonly Route[]): Rule {
  let state = seed * 12_345;
  const random = () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
  return ({ route }) => {
    if (spared.includes(route) || random() >= share) return "pass";
    const faults = route === "POST /chat/completions" ? OF_CALLS : route === "GET /key" ? OF_KEY_CHECKS : OF_OTHERS;
    return faults[Math.floor(random() * faults.length)] ?? "pass";
  };
}

/** What was seen of some calls. */
interface Seen {
  readonly problems: string[];
  /** How often each status was the outcome; `thrown` for a call that was cut off. */
  readonly outcomes: Map<number | string, number>;
  /** The calls whose key had been replaced for another call by the time that they were refused. */
  late: number;
}

async function ask({ server }: Alice, key: string): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const body = JSON.stringify({ model: "mock/model", messages: [{ role: "user", content: "Hello" }] });
  return fetch(`${server.url}/chat/completions`, { method: "POST", headers, body });
}

/** @param arrives when the outcome of the first attempt reaches the caller */
async function oneCall(
  all: Alice,
  manager: KeyManager,
  seen: Seen,
  arrives: () => Promise<void> = async () => {},
): Promise<void> {
  const made: { key: string; outcome?: unknown }[] = [];
  const call = async (key: string): Promise<Response> => {
    const one: (typeof made)[number] = { key };
    made.push(one);
    try {
      const response = await ask(all, key);
      one.outcome = response;
      if (made.length === 1) await arrives();
      return response;
    } catch (thrown) {
      one.outcome = thrown;
      throw thrown;
    }
  };
  let got: unknown;
  try {
    const { value, autoRenewed } = await manager.withUserKey("alice", call);
    got = value;
    if (made.length === 2 && !autoRenewed) seen.late += 1;
  } catch (thrown) {
    got = thrown;
  }
  const [first, second] = made;
  const status = statusOf(got);
  seen.outcomes.set(status, (seen.outcomes.get(status) ?? 0) + 1);
  if (got !== made.at(-1)?.outcome) seen.problems.push(`the caller got ${String(got)}, which is not the last outcome`);
  if (made.length > 2) seen.problems.push(`a call was made ${made.length} times`);
  if (second === undefined) return;
  if (statusOf(first?.outcome) !== 401) seen.problems.push(`repeated after ${statusOf(first?.outcome)}`);
  if (first?.key === second.key) seen.problems.push("repeated with the same key");
  // A body that nobody reads keeps its connection.
  if (got instanceof Response) await got.arrayBuffer().catch(() => {});
}

function statusOf(outcome: unknown): number | string {
  return outcome instanceof Response ? outcome.status : "thrown";
}

/** Once Alice has another key than this one, or nobody is left who might renew it. */
async function renewed(manager: KeyManager, old: string, isLast: () => boolean): Promise<void> {
  while (!isLast()) {
    const { key } = await manager.getStoredKey("alice");
    if (key !== null && key.hash !== old) return;
    await sleep(LOOK_MS);
  }
}

/**
 * So many calls, by managers that begin without a memory of what failed before.
 * @param dead the hash of a key that is dead: the first call of each manager learns of it after the others
 */
async function calls(all: Alice, count: number, seen: Seen, dead?: string): Promise<void> {
  for (let done = 0; done < count; done += CALLS_OF_MANAGER) {
    await asLibrary(all.home, all.env, async (manager) => {
      let left = Math.min(CALLS_OF_MANAGER, count - done);
      const queue = Array.from({ length: left }).keys();
      const work = async () => {
        for (const nth of queue) {
          const isLate = nth === 0 && dead !== undefined;
          await oneCall(all, manager, seen, isLate ? () => renewed(manager, dead, () => left === 1) : undefined);
          left -= 1;
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
    });
  }
}

function nothingSeen(): Seen {
  return { problems: [], outcomes: new Map(), late: 0 };
}

async function currentHash({ home, env }: Alice): Promise<string> {
  const stored = await asLibrary(home, env, (manager) => manager.getStoredKey("alice"));
  return hashOf(stored.key?.reveal() ?? "none");
}

/** All keys that OpenRouter accepts. */
function acceptedKeys({ server }: Alice): readonly string[] {
  return [...server.keys.keys()].filter((hash) => isAccepted(server, hash));
}

it(`${CALLS} calls through a server that fails now and then create no key for a key that works`, async () => {
  const all = await withAlice();
  all.server.behave(flaky(0.3, 1));
  const seen = nothingSeen();
  await calls(all, CALLS, seen);
  console.log(seen.outcomes);
  expect(seen.problems).toEqual([]);
  expect(new Set(seen.outcomes.keys())).toEqual(new Set([200, 401, 403, 429, 500, 529, "thrown"]));
  expect([seen.late, all.server.count("POST /keys"), acceptedKeys(all)]).toEqual([0, 1, [all.old]]);
});

it(`${CALLS} calls through such a server create one key for each of ${DEATHS} keys that die, and repeat no call twice`, async () => {
  const all = await withAlice();
  const seen = nothingSeen();
  for (let death = 1; death <= DEATHS; death += 1) {
    await all.ageKeys();
    const dead = await currentHash(all);
    all.server.removeKey(dead);
    all.server.behave(flaky(0.3, death, "POST /keys"));
    await calls(all, CALLS / DEATHS, seen, dead);
    // A renewal may have failed each time so far.
    all.server.behave(() => "pass");
    const last = nothingSeen();
    await calls(all, 1, last);
    expect([...last.outcomes.keys(), last.problems]).toEqual([200, []]);
    expect([death, all.server.count("POST /keys")]).toEqual([death, 1 + death]);
    expect(acceptedKeys(all)).toEqual([await currentHash(all)]);
  }
  console.log(seen.outcomes, `${seen.late} calls were refused with a key that had been replaced`);
  expect(seen.problems).toEqual([]);
});

it("a server that fails at every route leaves no key but the one that is in use", async () => {
  const all = await withAlice();
  all.server.removeKey(all.old);
  all.server.behave(flaky(0.3, 1));
  const seen = nothingSeen();
  await calls(all, CALLS / 5, seen);
  all.server.behave(() => "pass");
  await calls(all, 1, seen);
  await all.run("reconcile --fix");
  expect(seen.problems).toEqual([]);
  expect(acceptedKeys(all)).toEqual([await currentHash(all)]);
});
