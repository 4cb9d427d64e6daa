import { describe, expect, it, onTestFinished, vi } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { KeyCheckValue, KeyCheckValues, Sealer } from "../../../src/core/ports/stores-and-sources.ts";
import { sealerCache } from "../../../src/core/sealing/sealer-cache.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";
import { gate } from "../../support/faults/latch.ts";

const never = new AbortController().signal;
const [oldKey, newKey] = [1, 2].map((byte) => masterKey(Buffer.alloc(32, byte))) as [
  ReturnType<typeof masterKey>,
  ReturnType<typeof masterKey>,
];
const before = createSealer(oldKey);
const after = createSealer(newKey, [oldKey]);

/** The checks of a store that names these master keys, and the number of times that they were read. */
function namedIn(...present: readonly KeyCheckValue[]) {
  const kids = new Map(present.map((check) => [check.kid, check]));
  const named = { kids, reads: 0, writes: 0 };
  const checks: KeyCheckValues = {
    async keyCheckValues() {
      named.reads += 1;
      return [...kids.values()];
    },
    async insertFirstKeyCheckValue() {
      throw new Error("this store is sealed");
    },
    async addKeyCheckValue(check) {
      named.writes += 1;
      kids.set(check.kid, check);
    },
    async removeKeyCheckValue(kid) {
      kids.delete(kid);
    },
  };
  return Object.assign(named, { checks });
}

/** A cache over a set of master keys that a test changes, on a clock that it moves. */
function cacheOver(set: Sealer) {
  const world = { set, asked: 0, now: 0, hold: Promise.resolve(), named: namedIn(set.newSealCheck()) };
  const cache = sealerCache(
    async () => {
      world.asked += 1;
      const read = world.set;
      await world.hold;
      return read;
    },
    world.named.checks,
    undefined,
    () => world.now,
  );
  return { world, cache };
}

describe("a value of a master key that is not at hand", () => {
  it("is opened at once, however short ago the master keys were read", async () => {
    const { world, cache } = cacheOver(before);
    expect(await cache("open", never)).toBe(before);
    world.set = after;
    expect(await cache({ kid: newKey.kid }, never)).toBe(after);
    expect(await cache("open", never)).toBe(after);
  });

  it("is opened although the master keys were being read when it was written", async () => {
    const { world, cache } = cacheOver(before);
    await cache("open", never);
    const held = gate();
    world.hold = held.opened;
    const early = cache({ kid: "another" }, never);
    world.set = after;
    const late = cache({ kid: newKey.kid }, never);
    held.open();
    expect((await late).kids).toContain(newKey.kid);
    await early;
  });

  it("makes nobody ask again and again when it is truly missing, and a second later it is looked for anew", async () => {
    const { world, cache } = cacheOver(before);
    await cache({ kid: newKey.kid }, never);
    const { asked } = world;
    for (let time = 0; time < 999; time += 37) {
      world.now = time;
      expect(await cache({ kid: newKey.kid }, never)).toBe(before);
    }
    expect(world.asked).toBe(asked);
    world.set = after;
    world.now = 1000;
    expect(await cache({ kid: newKey.kid }, never)).toBe(after);
  });

  it("asks nothing when it is at hand", async () => {
    const { world, cache } = cacheOver(after);
    await cache("seal", never);
    expect(await cache({ kid: oldKey.kid }, never)).toBe(after);
    expect(world.asked).toBe(1);
  });
});

it("what seals for long learns of another active master key within a minute", async () => {
  const { world, cache } = cacheOver(before);
  await cache("seal", never);
  world.set = after;
  world.now = 59_999;
  expect(await cache("seal", never)).toBe(before);
  world.now = 60_000;
  expect(await cache("seal", never)).toBe(after);
});

describe("the store names the master key", () => {
  it("before a value is sealed with it, and keeps the names that it has", async () => {
    const { world, cache } = cacheOver(before);
    world.set = after;
    await cache("seal", never);
    expect([...world.named.kids.keys()]).toEqual([oldKey.kid, newKey.kid]);
  });

  it("again, where it was taken out of the names while the set keeps it in front", async () => {
    const { world, cache } = cacheOver(before);
    await cache("seal", never);
    world.named.kids.clear();
    world.now = 1_000;
    expect(await cache("seal", never)).toBe(before);
    expect([...world.named.kids.keys()]).toEqual([oldKey.kid]);
  });

  it("never for what is only opened or prepared, which writes nothing", async () => {
    const { world, cache } = cacheOver(before);
    world.set = after;
    for (const purpose of ["prepare", "open", { kid: oldKey.kid }] as const) await cache(purpose, never);
    expect(world.named).toMatchObject({ reads: 0, writes: 0 });
    await cache("seal", never);
    expect(world.named.kids.has(newKey.kid)).toBe(true);
  });

  it("and is asked at most once a second, and is written to only where a name is missing", async () => {
    const { world, cache } = cacheOver(before);
    for (world.now = 0; world.now < 10_000; world.now += 50) await cache("seal", never);
    expect(world.named).toMatchObject({ reads: 10, writes: 0 });
  });
});

it("what seals does not look at the wall clock, which may be set back", async () => {
  const named = namedIn(before.newSealCheck());
  let set = before;
  const cache = sealerCache(async () => set, named.checks);
  const began = Date.now();
  vi.useFakeTimers({ toFake: ["Date"], now: began });
  onTestFinished(() => void vi.useRealTimers());
  await cache("seal", never);
  vi.setSystemTime(began - 3_600_000);
  named.kids.clear();
  named.kids.set(newKey.kid, after.newSealCheck());
  set = after;
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  expect((await cache("seal", never)).activeKid).toBe(newKey.kid);
});

describe("a wait for master keys that is over", () => {
  const slow = new KeyctlError("CONFIG_INVALID", "the command did not end in time");

  it("is named to each who shared it, however many are left", async () => {
    const cache = sealerCache(
      () => new Promise<never>(() => {}),
      namedIn().checks,
      () => slow,
    );
    const waits = [20, 40, 60].map((milliseconds) => cache("open", AbortSignal.timeout(milliseconds)));
    const ends = await Promise.allSettled(waits);
    expect(ends).toEqual(ends.map(() => ({ status: "rejected", reason: slow })));
  });

  it("is its caller's own reason where that is no time", async () => {
    const leaving = new AbortController();
    const cache = sealerCache(
      () => new Promise<never>(() => {}),
      namedIn().checks,
      () => slow,
    );
    const waiting = cache("open", leaving.signal);
    const reason = new KeyctlError("INTERRUPTED", "interrupted by SIGINT");
    leaving.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });
});
