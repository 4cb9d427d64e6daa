import { expect, it } from "vitest";
import { RenewalBackOff } from "../../../../src/core/change/renew/renewal-back-off.ts";
import { KeyctlError } from "../../../../src/core/model/errors.ts";

const SECOND = 1000;
const failure = new KeyctlError("VERDICT_UNKNOWN", "nobody knows");

/** How long each of so many failures in a row holds, in seconds. */
function waitsAfter(failures: number): readonly number[] {
  let now = 0;
  const backOff = new RenewalBackOff(() => now);
  return Array.from({ length: failures }, () => {
    backOff.add("alice", failure);
    const since = now;
    while (backOff.known("alice") !== undefined) now += SECOND;
    return (now - since) / SECOND;
  });
}

it("holds for 30 seconds, then for twice as long each time, up to 10 minutes", () => {
  expect(waitsAfter(7)).toEqual([30, 60, 120, 240, 480, 600, 600]);
});

it("holds for 30 seconds each time where the key was found to work", () => {
  let now = 0;
  const backOff = new RenewalBackOff(() => now);
  for (let times = 0; times < 5; times += 1) {
    backOff.add("alice", null);
    now += 29 * SECOND;
    expect(backOff.known("alice")).toBeDefined();
    now += SECOND;
    expect(backOff.known("alice")).toBeUndefined();
  }
});

it("gives the last answer, of each name alone", () => {
  const backOff = new RenewalBackOff(() => 0);
  backOff.add("alice", failure);
  backOff.add("bob", null);
  expect([backOff.known("alice")?.error, backOff.known("bob")?.error]).toEqual([failure, null]);
  expect(backOff.known("carol")).toBeUndefined();
  backOff.remove("alice");
  expect(backOff.known("alice")).toBeUndefined();
});

it("begins anew after a long time without a failure", () => {
  let now = 0;
  const backOff = new RenewalBackOff(() => now);
  backOff.add("alice", failure);
  backOff.add("alice", failure);
  now += 60 * SECOND + 600 * SECOND;
  backOff.add("alice", failure);
  now += 30 * SECOND;
  expect(backOff.known("alice")).toBeUndefined();
});

it("forgets the oldest of very many", () => {
  const backOff = new RenewalBackOff(() => 0);
  for (let index = 0; index <= 10_000; index += 1) backOff.add(`user ${index}`, failure);
  expect([backOff.known("user 0"), backOff.known("user 1")?.error]).toEqual([undefined, failure]);
});
