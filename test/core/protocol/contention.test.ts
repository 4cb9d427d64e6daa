import { describe, expect, it } from "vitest";
import { retryOnConflict } from "../../../src/core/protocol/contention.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";

const alice = parseUserId("alice");

/** Takes as long as a server on another machine. */
const access = () => new Promise((resolve) => setTimeout(resolve, 3 + Math.random() * 6));

/** Loses so many races, and notes when each attempt began. */
function losing(races: number) {
  const began: number[] = [];
  const attempt = async (tries: number) => {
    began.push(performance.now());
    return tries <= races ? ("conflict" as const) : { tries };
  };
  const pauses = () => began.slice(1).map((at, index) => at - (began[index] ?? at));
  return { began, attempt, pauses };
}

describe("retryOnConflict", () => {
  it("gives what the first attempt gives that loses no race", async () => {
    for (const races of [0, 1, 4]) {
      const { attempt, began } = losing(races);
      expect(await retryOnConflict(alice, attempt)).toEqual({ tries: races + 1 });
      expect(began).toHaveLength(races + 1);
    }
  });

  it("is a conflict, which may pass, when twelve attempts have lost", async () => {
    const { attempt, began } = losing(12);
    await expect(retryOnConflict(alice, attempt)).rejects.toMatchObject({ code: "CONFLICT", retryable: true });
    expect(began).toHaveLength(12);
  });

  it("lets forty win who change one row at the same time", async () => {
    let revision = 0;
    const change = async () => {
      await access();
      const seen = revision;
      await access();
      if (revision !== seen) return "conflict" as const;
      revision += 1;
      return true;
    };
    const all = await Promise.all(Array.from({ length: 40 }, () => retryOnConflict(alice, change)));
    expect(all).toHaveLength(40);
    expect(revision).toBe(40);
  });

  it("ends with the failure of the last attempt, where that is no lost race", async () => {
    const failure = new KeyctlError("STORE_UNAVAILABLE", "the database answered with an error");
    await expect(retryOnConflict(alice, losing(12).attempt, () => failure)).rejects.toBe(failure);
  });

  it("retries once without a pause, and then after pauses that grow", async () => {
    const { attempt, pauses } = losing(4);
    await retryOnConflict(alice, attempt).catch(() => {});
    const [, second = 0, third = 0, fourth = 0] = pauses();
    // Half of 4, 8 and 16 ms at least; a timer may be early by one.
    expect(second).toBeGreaterThanOrEqual(1);
    expect(third).toBeGreaterThanOrEqual(3);
    expect(fourth).toBeGreaterThanOrEqual(7);
  });

  it("lets two who lost together meet at different times", async () => {
    const rounds = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { attempt, pauses } = losing(4);
        await retryOnConflict(alice, attempt).catch(() => {});
        return Math.round(pauses()[3] ?? 0);
      }),
    );
    expect(new Set(rounds).size).toBeGreaterThan(1);
  });

  it("ends with what an attempt throws", async () => {
    await expect(retryOnConflict(alice, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  });
});
