import { describe, expect, it } from "vitest";
import { callsOfCrowd, embedded, onMongodb, tally, withAlice } from "../support/faults/refused-crowd.ts";
import type { Alice, Place } from "../support/faults/refused-crowd.ts";
import { describeWithMongodb, mongodb } from "../support/mongodb/of-test.ts";
import { always } from "../support/openrouter/faults.ts";
import type { Fault } from "../support/openrouter/faults.ts";

const PROCESSES = 4;
const CALLERS = 100;
const CROWD = { processes: PROCESSES, callers: CALLERS };
/** Calls that are refused again and again. */
const STORM = { processes: PROCESSES, callers: 50, rounds: 3 };
const STORM_CALLS = STORM.processes * STORM.callers * STORM.rounds;
/** A process asks with the key twice and once about it, and again for each creation: the bound is one for each attempt, not for each call. */
const QUESTIONS = 10;
const FIRST_WAIT_MS = 30_000;

describe("a key that died at OpenRouter", () => {
  it(`is replaced once by ${CALLERS} callers in each of ${PROCESSES} processes, and each is answered once`, () =>
    replacedOnce(embedded(), PROCESSES));

  it("is replaced once if it is disabled, and the callers allow that", async () => {
    const all = await withAlice();
    disable(all);
    const calls = await callsOfCrowd(all, { ...CROWD, renewDisabled: true });
    expect(tally(calls)).toEqual({ "200, made 2 times": PROCESSES * CALLERS });
    expect([all.server.count("POST /keys"), all.server.keys.size]).toEqual([2, 1]);
  });
});

describeWithMongodb("a key that died at OpenRouter, in a MongoDB database", () => {
  const isAtomic = mongodb?.kind === "mongod";

  it(`is replaced once by ${CALLERS} callers in ${isAtomic ? PROCESSES : 1} processes, and each is answered once`, () =>
    replacedOnce(onMongodb(true), isAtomic ? PROCESSES : 1));

  it.skipIf(isAtomic)("is replaced by nobody where changes of a row are not atomic", () =>
    staysAsItIs(onMongodb(false), "STORE_NOT_ATOMIC", (all) => void all.server.removeKey(all.old)),
  );
});

describe(`a storm of ${STORM_CALLS} refused calls in ${PROCESSES} processes`, () => {
  it.each<[string, Fault, string, number]>([
    ["refuses to create keys", { status: 402 }, "PROVISION_REFUSED", 1],
    ["creates keys, and loses its answer", { status: 503, obeyed: true }, "PROVIDER_UNAVAILABLE", 1],
    ["creates no key, and does not answer", "reset-before", "PROVIDER_UNAVAILABLE", 1],
    ["asks to create keys later", { status: 429, headers: { "retry-after": "0" } }, "PROVIDER_UNAVAILABLE", 4],
  ])("is a few creations if OpenRouter %s", async (_, fault, code, posts) => {
    const all = await withAlice();
    all.server.removeKey(all.old);
    all.server.behave(always("POST /keys", fault));
    const attempts = await storm(all, code);
    const created = all.server.count("POST /keys") - 1;
    console.log(
      `${created} creations and ${questionsIn(all)} questions about the key for ${STORM_CALLS} refused calls`,
    );
    expect(created).toBeGreaterThan(0);
    expect(created).toBeLessThanOrEqual(posts * attempts);
    expect(questionsIn(all)).toBeLessThanOrEqual(QUESTIONS * attempts);
    expect(all.server.keys.size).toBe(0);

    all.server.behave(() => "pass");
    const after = await callsOfCrowd(all, { processes: 1, callers: 1 });
    expect([tally(after), all.server.keys.size]).toEqual([{ "200, made 2 times": 1 }, 1]);
  });

  it("creates no key while the hourly cap is reached", async () => {
    const all = await withAlice();
    await all.given("sync --user bob");
    const capped = { ...all, env: { ...all.env, KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" } };
    all.server.removeKey(all.old);
    await createsNothing(capped, "PROVISION_CAP");
  });

  it("never replaces a key that somebody has disabled", () => staysAsItIs(embedded(), "KEY_INVALID", disable));

  it("creates no key if nobody can confirm that the key is dead", async () => {
    const all = await withAlice();
    const { OPENROUTER_PROVISIONING_KEY: _, ...env } = all.env;
    all.server.removeKey(all.old);
    await createsNothing({ ...all, env }, "MANAGEMENT_KEY_MISSING");
  });
});

async function replacedOnce(place: Place, processes: number): Promise<void> {
  const all = await withAlice({ latencyMs: 20 }, place);
  const calls = await callsOfCrowd(all, { processes, callers: CALLERS }, () => void all.server.removeKey(all.old));
  const renewed = calls.filter(({ autoRenewed }) => autoRenewed).length;
  console.log(`${calls.length} calls answered, ${renewed} of them in the process that renewed the key`);
  expect(tally(calls)).toEqual({ "200, made 2 times": processes * CALLERS });
  expect(all.server.count("POST /chat/completions")).toBe(2 * processes * CALLERS);
  expect(renewed).toBeGreaterThan(0);
  // The first one created the key that has died.
  expect([all.server.count("POST /keys"), all.server.keys.size]).toEqual([2, 1]);
}

async function staysAsItIs(place: Place, code: string, dies: (all: Alice) => void): Promise<void> {
  const all = await withAlice({}, place);
  dies(all);
  await createsNothing(all, code);
}

/** Each call gets its own outcome. Returns how many attempts to renew the back-off allows for: on a slow machine, its first wait may be over. */
async function storm(all: Alice, code: string): Promise<number> {
  const began = performance.now();
  expect(tally(await callsOfCrowd(all, STORM))).toEqual({ [`401, ${code}, made once`]: STORM_CALLS });
  // After each wait, the next one is twice as long.
  const waits = Math.floor(Math.log2(1 + (performance.now() - began) / FIRST_WAIT_MS));
  return PROCESSES * (1 + waits);
}

/** Each call gets its own outcome, and the reason why its key was not renewed. */
async function createsNothing(all: Alice, code: string): Promise<void> {
  const [keys, created] = [all.server.keys.size, all.server.count("POST /keys")];
  const attempts = await storm(all, code);
  expect([all.server.keys.size, all.server.count("POST /keys")]).toEqual([keys, created]);
  expect(questionsIn(all)).toBeLessThanOrEqual(QUESTIONS * attempts);
}

function disable({ server, old }: Alice): void {
  const key = server.keys.get(old);
  if (key !== undefined) key.disabled = true;
}

function questionsIn({ server }: Alice): number {
  return server.count("GET /key") + server.count("GET /keys/{hash}");
}
