import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { Sealer } from "../../../src/core/ports/stores-and-sources.ts";
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

/** A cache over a set of master keys that a test changes, on a clock that it moves. */
function cacheOver(set: Sealer) {
  const world = { set, asked: 0, now: 0, hold: Promise.resolve() };
  const cache = sealerCache(
    async () => {
      world.asked += 1;
      const read = world.set;
      await world.hold;
      return read;
    },
    { now: () => new Date(world.now) },
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

describe("a wait for master keys that is over", () => {
  const slow = new KeyctlError("CONFIG_INVALID", "the command did not end in time");

  it("is named to each who shared it, however many are left", async () => {
    const cache = sealerCache(
      () => new Promise<never>(() => {}),
      { now: () => new Date() },
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
      { now: () => new Date() },
      () => slow,
    );
    const waiting = cache("open", leaving.signal);
    const reason = new KeyctlError("INTERRUPTED", "interrupted by SIGINT");
    leaving.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });
});
