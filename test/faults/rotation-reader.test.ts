import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { ageKeys, cents, fleet, startReader, usersWithoutOneKey } from "../support/faults/fleet.ts";
import type { Fleet } from "../support/faults/fleet.ts";
import { earlyDeaths } from "../support/faults/rotation-checks.ts";
import { stored } from "../support/openrouter/made-keys.ts";

const LIMIT = 10;
const USERS = 200;
const KILLS = 50;
/** A grace is twice the time after which the reader reads a key again, as 1m is of 30s. */
const GRACE_MS = 8000;
const READ_AGAIN_MS = GRACE_MS / 2;
/** The average number of requests before a kill leaves work for the last one. */
const MOST_REQUESTS = 50;
/** As many users as fit into one allow-list with two keys each. */
const LISTED = 40;

const ROTATE = ["rotate", "--all", "--older-than", "30m", "--max-keys", String(USERS), "--concurrency", "4", "-q"];
const FINISH = ["rotate", "--finish", "-q"];

it(`a program that reads ${USERS} keys now and then never meets a refused one while they are rotated and the rotation is killed ${KILLS} times`, async () => {
  const all = await fleet(USERS, LIMIT);
  const restrictions = restrict(all);
  for (const hash of all.first.values()) all.openRouter.spend(hash, randomInt(1, 500) / 100);
  ageKeys(all);
  const reader = startReader(all.home, all, READ_AGAIN_MS);

  const rotate = [...ROTATE, "--grace", `${GRACE_MS / 1000}s`];
  let kills = 0;
  for (let tries = 0; kills < KILLS && tries < KILLS * 2; tries += 1) {
    if (await all.killed(tries % 5 === 4 ? FINISH : rotate, randomInt(1, MOST_REQUESTS))) kills += 1;
    await all.age();
    expect(await earlyDeaths(all)).toEqual([]);
  }
  await all.run(rotate);
  const unrestored = await limitsNotLeft(all);
  await sleep(GRACE_MS);
  await all.run(FINISH);
  const use = await reader.stop();

  console.log({ kills, calls: use.calls, reads: use.reads });
  expect(use.refusals).toEqual([]);
  expect(kills).toBe(KILLS);
  expect(use.calls).toBeGreaterThan(USERS * 10);
  expect(unrestored).toEqual([]);
  expect(await usersWithoutOneKey(all)).toEqual([]);
  expect(await restrictions.missing()).toEqual([]);
  await all.passGraces();
  await all.run(FINISH);
  expect([...all.openRouter.keys.values()].filter(({ limit }) => limit !== LIMIT)).toEqual([]);
});

it("without a grace, a program that reads a key before each call is refused at most once, and then has the new one", async () => {
  const size = 40;
  const all = await fleet(size, LIMIT);
  ageKeys(all);
  const reader = startReader(all.home, all, 0);
  for (let kills = 0; kills < 10; kills += 1) {
    await all.killed([...ROTATE, "--grace", "0"], randomInt(1, MOST_REQUESTS));
    await all.age();
  }
  await all.run([...ROTATE, "--grace", "0"]);
  const use = await reader.stop();
  console.log({ calls: use.calls, refusals: use.refusals.length });
  expect(use.refusedTwice).toEqual([]);
  expect(use.calls).toBeGreaterThan(size * 10);
  await all.run(["reconcile", "--fix", "-q"]);
  expect(await usersWithoutOneKey(all)).toEqual([]);
});

/** All users share a guardrail, and some of them are named by allow-lists. */
function restrict(all: Fleet): { readonly missing: () => Promise<readonly string[]> } {
  const { openRouter, users, first } = all;
  const guardrail = openRouter.addGuardrail();
  for (const hash of first.values()) openRouter.assignGuardrail(guardrail, hash);
  const lists = [users.slice(0, LISTED), users.slice(LISTED, 2 * LISTED)].map((members) => {
    const allowedKeys = members.flatMap((user) => first.get(user) ?? []);
    return { members, credential: openRouter.addCredential({ allowedKeys }) };
  });
  return {
    async missing() {
      const current = new Map((await stored(all)).rows.map(({ user, hash }) => [user, hash]));
      const unguarded = users.filter((user) => openRouter.guardrails().get(current.get(user) ?? "") !== guardrail);
      const unlisted = lists.flatMap(({ members, credential: { id } }) => {
        const allowed = openRouter.credentials.get(id)?.allowedKeys ?? [];
        return members.filter((user) => !allowed.includes(current.get(user) ?? ""));
      });
      return [...unguarded.map((user) => `${user}: no guardrail`), ...unlisted.map((user) => `${user}: in no list`)];
    },
  };
}

/** The new keys that got another limit than what was left when OpenRouter was asked about the old one. */
async function limitsNotLeft(all: Fleet): Promise<readonly string[]> {
  const { rows } = await stored(all);
  return rows.flatMap(({ user, hash, limitDue }) => {
    const limit = cents(all.openRouter.keys.get(hash)?.limit ?? Number.NaN);
    const said = all.readings.get(all.first.get(user) ?? "") ?? new Set();
    const isRight = said.has(limit) && limitDue?.limit === LIMIT && hash !== all.first.get(user);
    return isRight ? [] : [`${user} got ${limit} cents of ${[...said].join(", ")}`];
  });
}
