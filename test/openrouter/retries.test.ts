import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import type { CreateResult, DeleteResult } from "../../src/core/ports/openrouter.ts";
import { DECISIONS, MAX_ATTEMPTS } from "../../src/openrouter/http/retry-policy.ts";
import { keyEnding, hashOf } from "../support/fixtures/keys.ts";
import { apiKey, clientOf, IMPATIENT, keyRequest } from "../support/openrouter/client.ts";
import { always, on } from "../support/openrouter/faults.ts";
import type { Fault } from "../support/openrouter/faults.ts";
import { openRouterServer } from "../support/openrouter/server.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import type { UnknownReason } from "../../src/core/model/unknown-reason.ts";

const KEY = keyEnding("0001");
const HASH = hashOf(KEY);
/** With a random number that is always 1. */
const ALL_WAITS = [500, 1_000, 2_000, 4_000, 8_000];

/** OpenRouter's table of retries, by what the mock server does. */
const LOST: readonly Fault[] = [
  "reset-before",
  "reset-after",
  "hang",
  "hang-after",
  "cut-body",
  "short-body",
  "not-json",
];
const SICK: readonly Fault[] = [408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529].map((status) => ({ status }));
const SICK_EDGE: readonly Fault[] = [
  { status: 502, body: "html" },
  { status: 503, body: "none" },
];
const BUSY: Fault = { status: 429 };
const BUSY_EDGE: Fault = { status: 429, body: "html" };
const REFUSED: readonly number[] = [400, 402, 404, 409, 413, 422];
const STRANGE: readonly Fault[] = [
  "redirect",
  "html",
  "wrong-content-type",
  "no-content-type",
  "gzip-bomb",
  "endless-body",
  "announced-too-long",
  { status: 301, body: "none" },
  { status: 418 },
  { status: 404, body: "html" },
  { status: 400, body: "html" },
  { status: 204, body: "none" },
];

/** Nobody else has to be given up. */
function patienceWith(fault: Fault) {
  return fault === "hang" || fault === "hang-after" ? { deadlines: IMPATIENT } : {};
}

function reasonFor(fault: Fault): UnknownReason {
  if (fault === "hang" || fault === "hang-after") return "timed_out";
  if (fault === BUSY || fault === BUSY_EDGE) return "rate_limited";
  return typeof fault === "string" ? "unreachable" : "provider_error";
}

function nameOf(fault: Fault): string {
  return typeof fault === "string" ? fault : JSON.stringify(fault);
}

function named(faults: readonly Fault[]) {
  return faults.map((fault) => [nameOf(fault), fault] as const);
}

describe("a read (GET)", () => {
  it.each([...named(LOST), ...named(SICK), ...named(SICK_EDGE), ...named([BUSY, BUSY_EDGE])])(
    "is sent again after %s, and gives up as unknown after six attempts",
    async (_name, fault) => {
      const server = await mockOpenRouter();
      server.addKey(KEY);
      const { client, waits, pauses, budget } = clientOf(server, patienceWith(fault));
      server.behave(on("GET /key", fault));
      expect(await client.checkKey(apiKey(KEY), budget())).toMatchObject({ status: "accepted" });
      expect([server.count(), waits]).toEqual([2, [500]]);

      server.behave(always("GET /key", fault));
      expect(await client.checkKey(apiKey(KEY), budget())).toMatchObject({
        status: "unknown",
        reason: reasonFor(fault),
        attempts: MAX_ATTEMPTS,
      });
      expect([server.count(), waits.slice(1)]).toEqual([2 + MAX_ATTEMPTS, ALL_WAITS]);
      expect(pauses.slice(1).map(({ attempt, waitMs }) => [attempt, waitMs])).toEqual(
        ALL_WAITS.map((wait, index) => [index + 1, wait]),
      );
    },
  );

  it.each([
    ...named(REFUSED.map((status) => ({ status }))),
    ...named([{ status: 403 }, { status: 401, body: "html" }, "zod-error", "other-shape"]),
    ...named(STRANGE),
  ])("is not sent again after %s, which says nothing about the key", async (_name, fault) => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    const { client, waits, budget } = clientOf(server, patienceWith(fault));
    server.behave(always("GET /key", fault));
    expect(await client.checkKey(apiKey(KEY), budget())).toMatchObject({
      status: "unknown",
      reason: "provider_error",
      attempts: 1,
    });
    expect([server.count(), waits]).toEqual([1, []]);
  });

  it("takes a 401 of the API as a refusal of the key, at once", async () => {
    const server = await mockOpenRouter();
    const { client, waits, budget } = clientOf(server);
    expect(await client.checkKey(apiKey(KEY), budget())).toEqual({
      status: "refused",
      detail: "answered 401: User not found.",
    });
    expect([server.count(), waits]).toEqual([1, []]);
  });
});

describe("a change (PATCH, DELETE)", () => {
  it.each(named([...LOST, ...SICK, ...SICK_EDGE, BUSY, BUSY_EDGE]))(
    "is sent again after %s, until it is done",
    async (_name, fault) => {
      const server = await mockOpenRouter();
      server.addKey(KEY);
      const { upstream, waits, budget } = clientOf(server, patienceWith(fault));
      server.behave(on("PATCH /keys/{hash}", fault));
      expect(await upstream.disable(HASH, budget())).toEqual({ status: "done" });
      expect([server.count("PATCH /keys/{hash}"), server.count(), waits]).toEqual([2, 2, [500]]);

      server.behave(on("DELETE /keys/{hash}", fault));
      // When the first was obeyed, the second finds nothing: that is done, too.
      const isObeyed = ["reset-after", "hang-after", "cut-body", "short-body", "not-json"].includes(nameOf(fault));
      expect(await upstream.remove(HASH, budget())).toEqual({ status: isObeyed ? "gone" : "done" });
      expect([server.count("DELETE /keys/{hash}"), server.keys.size, waits]).toEqual([2, 0, [500, 500]]);
    },
  );

  it.each([
    ["reset-after", "DELETE /keys/{hash}", { status: "gone" }],
    ["reset-before", "DELETE /keys/{hash}", { status: "unknown", reason: "unreachable", attempts: MAX_ATTEMPTS }],
    ["reset-after", "PATCH /keys/{hash}", { status: "done" }],
    ["reset-before", "PATCH /keys/{hash}", { status: "unknown", reason: "unreachable", attempts: MAX_ATTEMPTS }],
  ] as const)("whose answers are all lost (%s, %s) reads what is there now", async (fault, route, expected) => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    const { upstream, waits, budget } = clientOf(server);
    server.behave(always(route, fault));
    const change = await (route.startsWith("PATCH")
      ? upstream.disable(HASH, budget())
      : upstream.remove(HASH, budget()));
    expect(change).toMatchObject(expected);
    const counts = [server.count(route), server.count("GET /keys/{hash}")];
    expect([counts, waits]).toEqual([[MAX_ATTEMPTS, 1], ALL_WAITS]);
  });

  it("does not read again when every answer came", async () => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    const { upstream, budget } = clientOf(server);
    server.behave(always("DELETE /keys/{hash}", { status: 503 }));
    expect(await upstream.remove(HASH, budget())).toMatchObject({ status: "unknown", httpStatus: 503 });
    expect(server.count("GET /keys/{hash}")).toBe(0);
  });

  it("of a key that is not there is done", async () => {
    const server = await mockOpenRouter();
    const { upstream, waits, budget } = clientOf(server);
    expect(await upstream.disable(HASH, budget())).toEqual({ status: "gone" });
    expect(await upstream.remove(HASH, budget())).toEqual({ status: "gone" });
    expect([server.count(), waits]).toEqual([2, []]);
  });

  it.each([
    ...named([400, 402, 409, 413, 422].map((status) => ({ status }))),
    ...named(STRANGE),
    ...named(["other-shape"]),
  ])("is not sent again after %s, and is not done", async (_name, fault) => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    for (const route of ["PATCH /keys/{hash}", "DELETE /keys/{hash}"] as const) {
      const { upstream, waits, budget } = clientOf(server, patienceWith(fault));
      server.behave(always(route, fault));
      const change: DeleteResult = await (route.startsWith("PATCH")
        ? upstream.disable(HASH, budget())
        : upstream.remove(HASH, budget()));
      expect([route, change.status, server.count(route), waits]).toEqual([route, "unknown", 1, []]);
    }
  });
});

describe("a creation (POST)", () => {
  it.each(named([...LOST, ...SICK, ...SICK_EDGE, BUSY_EDGE, ...STRANGE, "other-shape"]))(
    "is never sent again after %s: a key may exist",
    async (_name, fault) => {
      const server = await mockOpenRouter();
      const { upstream, waits, budget } = clientOf(server, patienceWith(fault));
      server.behave(on("POST /keys", fault));
      const creation: CreateResult = await upstream.create(keyRequest(), budget());
      expect(creation.status).toBe("ambiguous");
      expect([server.count("POST /keys"), waits]).toEqual([1, []]);
    },
  );

  it.each([400, 401, 402, 403, 404, 409, 413, 422])("that is refused with %i is over", async (status) => {
    const server = await mockOpenRouter();
    const { upstream, waits, budget } = clientOf(server);
    server.behave(on("POST /keys", { status }));
    const creation: CreateResult = await upstream.create(keyRequest(), budget());
    expect(creation).toMatchObject({ status: "refused", httpStatus: status });
    expect([server.count(), waits]).toEqual([1, []]);
  });

  it("that is refused as Zod does is over, and says which field is wrong", async () => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    const creation = await upstream.create(keyRequest({ workspace: "nowhere" }), budget());
    expect(creation).toEqual({
      status: "refused",
      httpStatus: 400,
      detail: "answered 400: workspace_id: Invalid workspace",
    });
  });

  it("that meets a 429 of the API waits before it is another operation, and is not sent again itself", async () => {
    const server = await mockOpenRouter();
    const { upstream, waits, pauses, budget } = clientOf(server);
    server.behave(on("POST /keys", { status: 429, headers: { "retry-after": "7" } }));
    const creation = await upstream.create(keyRequest(), budget());
    const expected = {
      status: "rate-limited",
      retryAfterMs: 7_000,
      detail: "answered 429: Rate limit exceeded",
      remedy: undefined,
    } as const;
    expect(creation).toEqual(expected);
    expect([server.count(), waits]).toEqual([1, []]);

    expect(await upstream.pause(expected, 2, budget())).toBe(true);
    expect(pauses).toEqual([{ waitMs: 8_000, attempt: 2, detail: expected.detail, isRateLimited: true }]);
    expect(await upstream.pause(expected, 1, budget(7_000))).toBe(false);
    expect(waits).toEqual([8_000]);
  });
});

describe("a server that is not there", () => {
  it("is asked again by all, and a creation is then certainly not sent", async () => {
    const address = { url: await closedUrl(), managementKey: "sk-or-v1-management-key" };
    const { client, upstream, waits, budget } = clientOf(address);
    const unreachable = { status: "unknown", reason: "unreachable", httpStatus: null, attempts: MAX_ATTEMPTS };
    expect(await client.checkKey(apiKey(KEY), budget())).toEqual({
      ...unreachable,
      detail: "could not be reached (ECONNREFUSED)",
    });
    expect(await upstream.disable(HASH, budget())).toMatchObject(unreachable);
    expect(await upstream.remove(HASH, budget())).toMatchObject(unreachable);
    expect(await upstream.create(keyRequest(), budget())).toEqual({
      status: "never-sent",
      reason: "unreachable",
      detail: "could not be reached (ECONNREFUSED)",
    });
    expect(waits).toEqual([...ALL_WAITS, ...ALL_WAITS, ...ALL_WAITS, ...ALL_WAITS]);
  });

  it("gets the same creation, once, when it is there at last", async () => {
    const url = await closedUrl();
    const managementKey = "sk-or-v1-management-key";
    let server: Awaited<ReturnType<typeof openRouterServer>> | undefined;
    const { upstream, waits, budget } = clientOf(
      { url, managementKey },
      {
        whileWaiting: async () =>
          (server ??= await openRouterServer({ port: Number(new URL(url).port), managementKey })),
      },
    );
    expect(await upstream.create(keyRequest(), budget())).toMatchObject({ status: "created" });
    expect([server?.count("POST /keys"), server?.keys.size, waits]).toEqual([1, 1, [500]]);
    await server?.close();
  });

  it("whose name is not known counts as one", async () => {
    const { client, budget } = clientOf({
      url: "https://keyctl.invalid/api/v1",
      managementKey: "sk-or-v1-management-key",
    });
    const check = await client.checkKey(apiKey(KEY), budget(1_000));
    expect(check).toMatchObject({ status: "unknown", reason: "unreachable" });
  });
});

it("every row of the table of retries is tried above", () => {
  expect(Object.keys(DECISIONS).toSorted()).toEqual([
    "answer-lost",
    "not-connected",
    "not-trusted", // In tls.test.ts.
    "proxy-refused", // In proxies.test.ts.
    "rate-limited",
    "rate-limited-by-edge",
    "refused",
    "server-failed",
    "unusable",
  ]);
});

/** Where nobody listens. */
async function closedUrl(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  // An address with a port, because it listens on TCP.
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}/api/v1`;
}
