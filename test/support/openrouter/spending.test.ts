import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashOf, keyEnding } from "../fixtures/keys.ts";
import { ask } from "./ask.ts";
import { Meter } from "./meter.ts";
import { mockOpenRouter } from "./of-test.ts";
import type { MockOptions, OpenRouterServer } from "./server.ts";

const KEY = keyEnding("0001");
const HASH = hashOf(KEY);
const DAY = 86_400_000;

async function serverAt(time: string, options: MockOptions = {}): Promise<OpenRouterServer> {
  return mockOpenRouter({ now: () => Date.parse(time), ...options });
}

/** The number of the week; 1970 began on a Thursday. */
function weekOf(time: number): number {
  return Math.floor((time / DAY + 3) / 7);
}

async function dataOf(server: OpenRouterServer): Promise<Readonly<Record<string, unknown>>> {
  return (await ask(server, "GET", `/keys/${HASH}`, server.managementKey)).json["data"];
}

describe("a limit of the mock server", () => {
  it("counts down, for the key that asks too, and stops at nothing", async () => {
    const server = await serverAt("2026-11-25T10:00:00Z");
    server.addKey(KEY, { limit: 5, limitReset: "monthly" });
    expect([server.spend(HASH, 3.5), server.spend(HASH, 2)]).toEqual([true, true]);
    const left = { limit: 5, limit_remaining: -0.5, usage: 5.5, usage_daily: 5.5, usage_weekly: 5.5 };
    expect(await dataOf(server)).toMatchObject({ ...left, last_used_at: "2026-11-25T10:00:00.000Z" });
    expect((await ask(server, "GET", "/key", KEY)).json["data"]).toMatchObject(left);
    expect([server.spend(HASH, 0.01), server.spend(hashOf("nobody"), 1)]).toEqual([false, false]);
  });

  it.each([
    ["daily", "2026-11-25T23:59:59.999Z", "2026-11-26T00:00:00.000Z"],
    ["weekly", "2026-11-29T23:59:59.999Z", "2026-11-30T00:00:00.000Z"],
    ["monthly", "2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00.000Z"],
  ])("that is %s is whole again at its reset", async (limitReset, before, after) => {
    const server = await serverAt("2026-11-25T10:00:00Z");
    server.addKey(KEY, { limit: 5, limitReset, usage: 1 });
    server.spend(HASH, 3);
    server.clock.set(Date.parse(before));
    expect(await dataOf(server)).toMatchObject({ limit_remaining: 1, usage: 4 });
    server.clock.set(Date.parse(after));
    expect(await dataOf(server)).toMatchObject({ limit_remaining: 5, usage: 4 });
  });

  it("without a reset is never whole again, and may be set outright", async () => {
    const server = await serverAt("2026-11-25T10:00:00Z");
    server.addKey(KEY, { limit: 5, usage: 4 });
    server.clock.advance(400 * DAY);
    expect(await dataOf(server)).toMatchObject({ limit_remaining: 1, usage_monthly: 0 });
    await ask(server, "PATCH", `/keys/${HASH}`, server.managementKey, { limit: 7 });
    expect(await dataOf(server)).toMatchObject({ limit: 7, limit_remaining: 3 });
  });

  it("counts what the user's own provider keys spend where that is asked for", async () => {
    const server = await serverAt("2026-11-25T10:00:00Z");
    server.addKey(KEY, { limit: 5, limitReset: "daily" });
    server.spend(HASH, 2, true);
    const byok = { byok_usage: 2, byok_usage_daily: 2, usage: 0 };
    expect(await dataOf(server)).toMatchObject({ ...byok, limit_remaining: 5, include_byok_in_limit: false });
    await ask(server, "PATCH", `/keys/${HASH}`, server.managementKey, { include_byok_in_limit: true });
    expect(await dataOf(server)).toMatchObject({ ...byok, limit_remaining: 3, include_byok_in_limit: true });
  });

  it("of a new key is another one than asked for, where a test wants that", async () => {
    const server = await serverAt("2026-11-25T10:00:00Z", { newKeyLimit: null });
    const limits = [];
    for (const newKeyLimit of [null, 3, "as asked"] as const) {
      server.configure({ newKeyLimit });
      const made = await ask(server, "POST", "/keys", server.managementKey, { name: "a", limit: 5 });
      limits.push(made.json["data"].limit);
    }
    expect(limits).toEqual([null, 3, 5]);
  });
});

describe("a key of the mock server", () => {
  it("is used by a check only where a test wants that", async () => {
    const server = await serverAt("2026-11-25T10:00:00Z");
    server.addKey(KEY);
    await ask(server, "GET", "/key", KEY);
    expect(await dataOf(server)).toMatchObject({ last_used_at: null });
    server.configure({ checksCountAsUse: true });
    await ask(server, "GET", "/key", KEY);
    expect(await dataOf(server)).toMatchObject({ last_used_at: "2026-11-25T10:00:00.000Z" });
  });

  it("spends nothing once it is disabled, unless that takes a while", async () => {
    const server = await serverAt("2026-11-25T10:00:00Z");
    server.addKey(KEY);
    server.configure({ goneKeysAcceptedMs: 3_000 });
    await ask(server, "PATCH", `/keys/${HASH}`, server.managementKey, { disabled: true });
    const asked = async () => [server.spend(HASH, 1), (await ask(server, "GET", "/key", KEY)).status];
    expect(await asked()).toEqual([true, 200]);
    server.clock.advance(3_000);
    expect(await asked()).toEqual([false, 401]);
  });

  it("expires by the server's clock, which its answers show", async () => {
    const server = await serverAt("2026-11-25T10:00:00Z");
    server.addKey(KEY, { expiresAt: "2026-11-26T00:00:00Z" });
    expect((await ask(server, "GET", "/key", KEY)).status).toBe(200);
    server.clock.advance(DAY);
    const { status, headers } = await fetch(`${server.url}/key`, { headers: { authorization: `Bearer ${KEY}` } });
    expect([status, headers.get("date")]).toEqual([401, "Thu, 26 Nov 2026 10:00:00 GMT"]);
  });
});

describe("a meter", () => {
  it("has spent in a period what was spent since the period began", () => {
    const spending = fc.record({
      usd: fc.integer({ min: 0, max: 100 }),
      afterMs: fc.integer({ min: 0, max: 40 * DAY }),
    });
    fc.assert(
      fc.property(fc.array(spending, { maxLength: 20 }), fc.integer({ min: 0, max: 40 * DAY }), (all, restMs) => {
        let now = Date.parse("2026-01-01T12:00:00Z");
        const meter = new Meter(0, now);
        const spent: { readonly at: number; readonly usd: number }[] = [];
        for (const { usd, afterMs } of all) {
          now += afterMs;
          meter.spend(usd, now);
          spent.push({ at: now, usd });
        }
        now += restMs;
        const since = (isIn: (time: Date) => boolean) =>
          spent.reduce((sum, { at, usd }) => (isIn(new Date(at)) ? sum + usd : sum), 0);
        const today = new Date(now).toISOString();
        expect(meter.within("daily", now)).toBe(
          since((time) => time.toISOString().slice(0, 10) === today.slice(0, 10)),
        );
        expect(meter.within("monthly", now)).toBe(
          since((time) => time.toISOString().slice(0, 7) === today.slice(0, 7)),
        );
        expect(meter.within("weekly", now)).toBe(since((time) => weekOf(time.getTime()) === weekOf(now)));
        expect(meter.within(null, now)).toBe(since(() => true));
      }),
    );
  });
});
