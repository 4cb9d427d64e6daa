import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { Operation, Recorded } from "../../../src/core/ports/journal.ts";
import { hasRoomUnderCap, waitForRoom } from "../../../src/core/protocol/hourly-cap.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { memoryJournal } from "../../support/memory/journal.ts";
import { noOpenRouter } from "../../support/memory/store.ts";
import { operation } from "../../support/home/tool-with-openrouter.ts";

const NOW = Date.parse("2026-11-22T10:00:00.000Z");
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const patient = new AbortController().signal;
let users = 0;

/** One operation of a user of its own, and what came of it. */
function began(agoMs: number, outcome?: "saved" | "abandoned", more: Partial<Operation> = {}): readonly Recorded[] {
  const of = { userId: parseUserId(`user-${(users += 1)}`), n: 1, at: new Date(NOW - agoMs).toISOString() };
  const op: Recorded = { ...operation(1), ...more, ...of };
  if (outcome === undefined) return [op];
  const saved = { outcome: "saved", hash: "a".repeat(64), upstreamHash: null } as const;
  return [op, { ...of, kind: "out", ...(outcome === "saved" ? saved : { outcome }) }];
}

/** Whether there is room, or the error. */
async function room(cap: number, recorded: 0 | 1, ...operations: readonly (readonly Recorded[])[]): Promise<unknown> {
  const parts = {
    journal: memoryJournal(...operations.flat()),
    provisioning: { ...noOpenRouter.provisioning, maxPerHour: () => cap },
  };
  try {
    return await hasRoomUnderCap(parts, new Date(NOW).toISOString(), recorded, patient);
  } catch (thrown) {
    return thrown instanceof KeyctlError ? thrown.code : thrown;
  }
}

describe("the hourly cap", () => {
  it("has room for as many as it says, and one's own is one of them", async () => {
    expect(await room(2, 0, began(0, "saved"))).toBe(true);
    expect(await room(2, 1, began(0, "saved"), began(0))).toBe(true);
    expect(await room(2, 0, began(0, "saved"), began(0, "saved"))).toBe("PROVISION_CAP");
    expect(await room(2, 1, began(0, "saved"), began(0, "saved"), began(0))).toBe("PROVISION_CAP");
  });

  it("is worth waiting for while those that are under way may come to nothing", async () => {
    expect(await room(2, 0, began(0, "saved"), began(59_999))).toBe(false);
    expect(await room(2, 1, began(0, "saved"), began(1_000), began(0))).toBe(false);
    // Whoever is stale may have created a key, and will not say so soon.
    expect(await room(2, 0, began(0, "saved"), began(MINUTE_MS))).toBe("PROVISION_CAP");
  });

  it("does not count what was abandoned, or what a person asked for", async () => {
    const nothing = [
      began(0, "abandoned"),
      began(0, "saved", { deliberate: true }),
      began(0, undefined, { deliberate: true }),
    ];
    expect(await room(1, 0, ...nothing)).toBe(true);
    expect(await room(1, 1, ...nothing, began(0))).toBe(true);
  });

  it("looks an hour back, and five minutes ahead for clocks that differ", async () => {
    for (const [agoMs, counts] of [
      [HOUR_MS, true],
      [HOUR_MS + 1, false],
      [-5 * MINUTE_MS, true],
      [-5 * MINUTE_MS - 1, false],
    ] as const) {
      expect([agoMs, await room(1, 0, began(agoMs, "saved"))]).toEqual([agoMs, counts ? "PROVISION_CAP" : true]);
    }
  });

  it("of 0 is none", async () => {
    expect(await room(0, 1, began(0, "saved"), began(0))).toBe(true);
  });

  it("is waited for in steps of 0.2 to 2 s, and the end of the time says what was waited for", async () => {
    const start = performance.now();
    await waitForRoom(3, patient);
    const waited = performance.now() - start;
    expect([waited > 190, waited < 2_500]).toEqual([true, true]);
    await expect(waitForRoom(3, AbortSignal.timeout(50))).rejects.toMatchObject({
      code: "PROVISION_CAP",
      message: "3 keys were created automatically within the last hour, or are being created, which is the limit",
      retryable: true,
    });
    const reason = new Error("the caller has gone");
    await expect(waitForRoom(3, AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});
