import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { waitMs, httpDate, retryAfterMs } from "../../src/openrouter/http/retry-policy.ts";
import { keyEnding } from "../support/fixtures/keys.ts";
import { apiKey, clientOf, NOW } from "../support/openrouter/client.ts";
import { on } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

const AT = Date.parse(NOW);
/** The last moment that a year of four digits has, in milliseconds. */
const END_OF_TIME = Date.parse("9999-12-31T23:59:59Z");

describe("Retry-After", () => {
  it("is a number of seconds", () => {
    fc.assert(
      fc.property(fc.nat(), (seconds) => {
        expect(retryAfterMs(`${seconds}`, AT)).toBe(seconds * 1_000);
      }),
    );
  });

  it("is a date, by the server's own clock", () => {
    const dates = fc.date({ min: new Date(0), max: new Date(END_OF_TIME), noInvalidDate: true });
    fc.assert(
      fc.property(dates, dates, (date, serverTime) => {
        const header = date.toUTCString();
        const now = Math.floor(serverTime.getTime() / 1_000) * 1_000;
        expect(retryAfterMs(header, now)).toBe(Math.max(0, Date.parse(header) - now));
      }),
    );
  });

  it.each([
    ["Tue, 24 Nov 2026 12:00:30 GMT", 30_000],
    ["Tuesday, 24-Nov-26 12:00:30 GMT", 30_000],
    ["Tue Nov 24 12:00:30 2026", 30_000],
    ["Tue, 24 Nov 2026 11:00:00 GMT", 0],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
    ["0", 0],
    [" 5 ", 5_000],
    ["1.5", 1_500],
    ["99999999999999999999", 1e23],
  ])("%j is %d ms", (header, milliseconds) => {
    expect(retryAfterMs(header, AT)).toBe(milliseconds);
  });

  it.each([
    [undefined],
    [""],
    ["-5"],
    ["+5"],
    ["5s"],
    ["1e3"],
    ["0x10"],
    ["Infinity"],
    ["NaN"],
    ["soon"],
    ["2026-11-24T12:00:30Z"],
    ["Tue, 99 Nov 2026 12:00:30 GMT"],
    ["Tue, 24 Nov 2026"],
    ["Tue"],
  ])("%j is none", (header) => {
    expect(retryAfterMs(header, AT)).toBeUndefined();
  });

  it("of whatever text is undefined or a time that can be waited for", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...Array.from("0123456789-.:, GMTueNov")) })),
        (text) => {
          expect(retryAfterMs(text, AT) ?? 0).toBeGreaterThanOrEqual(0);
          expect(httpDate(text)).not.toBeNaN();
        },
      ),
    );
  });
});

describe("the wait before another attempt", () => {
  const attempts = fc.integer({ min: 1, max: 60 });
  const times = fc.integer({ min: 0, max: 120_000 });
  const randoms = fc.double({ min: 0, max: 1, noNaN: true });

  it("is never less than the server asked for, never more than 8 s on top, and always within the budget", () => {
    fc.assert(
      fc.property(attempts, times, times, randoms, (attempt, floor, remaining, random) => {
        const wait = waitMs(attempt, floor, remaining, () => random);
        if (wait === undefined) return;
        expect(wait).toBeGreaterThanOrEqual(floor);
        expect(wait).toBeLessThanOrEqual(floor + Math.min(8_000, 500 * 2 ** (attempt - 1)));
        expect(wait).toBeLessThan(remaining);
      }),
    );
  });

  it("is not waited for when the budget does not hold it", () => {
    fc.assert(
      fc.property(attempts, times, randoms, (attempt, remaining, random) => {
        expect(waitMs(attempt, remaining, remaining, () => random)).toBeUndefined();
        expect(waitMs(attempt, 1e23, remaining, () => random)).toBeUndefined();
      }),
    );
  });

  it("is spread over the whole range", () => {
    expect([0, 0.5, 1].map((random) => waitMs(3, 0, 60_000, () => random))).toEqual([0, 1_000, 2_000]);
  });
});

describe("a client that is told when to come back", () => {
  const key = keyEnding("0001");

  it.each([
    [{ status: 429, headers: { "retry-after": "7" } }, 7_000],
    [{ status: 503, headers: { "retry-after": "7" } }, 7_000],
    [{ status: 429, headers: { "retry-after": "7" }, body: "html" } as const, 7_000],
    [
      {
        status: 429,
        headers: { date: "Mon, 23 Nov 2026 09:00:00 GMT", "retry-after": "Mon, 23 Nov 2026 09:00:07 GMT" },
      },
      7_000,
    ],
    [{ status: 429, headers: { "retry-after": "-7" } }, 0],
    [{ status: 429, headers: { "retry-after": "later" } }, 0],
  ])("waits that long, and for its own jitter on top: %j", async (fault, floor) => {
    const server = await mockOpenRouter();
    server.addKey(key);
    const { client, waits, budget } = clientOf(server);
    server.behave(on("GET /key", fault, fault));
    expect(await client.checkKey(apiKey(key), budget())).toMatchObject({ status: "accepted" });
    expect(waits).toEqual([floor + 500, floor + 1_000]);
  });

  it.each([
    ["30", "", undefined],
    ["86400", ", and asks to wait 1 day", "run it again in 1 day"],
    ["99999999999999999999", ", and asks to wait a very long time", "run it again tomorrow"],
    ["Fri, 31 Dec 9999 23:59:59 GMT", ", and asks to wait a very long time", "run it again tomorrow"],
  ])("stops at once when its budget does not hold that: %s", async (header, asked, hint) => {
    const server = await mockOpenRouter();
    server.addKey(key);
    const { client, waits, budget } = clientOf(server);
    server.behave(on("GET /key", { status: 429, headers: { "retry-after": header } }));
    expect(await client.checkKey(apiKey(key), budget(30_000))).toEqual({
      status: "unknown",
      reason: "rate_limited",
      httpStatus: 429,
      attempts: 1,
      detail: `answered 429: Rate limit exceeded${asked}`,
      remedy: hint === undefined ? undefined : { hint, isRequired: false },
    });
    expect([server.count(), waits]).toEqual([1, []]);
  });
});
