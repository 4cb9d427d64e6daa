import { describe, expect, it } from "vitest";
import { keyEnding, hashOf } from "../support/fixtures/keys.ts";
import { apiKey, clientOf, IMPATIENT, keyRequest, pagesOf } from "../support/openrouter/client.ts";
import { always, on } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

const KEY = keyEnding("0001");

describe("an answer", () => {
  it.each([
    ["endless-body", "sent more than 64 KiB"],
    ["announced-too-long", "sent more than 64 KiB"],
    ["gzip-bomb", "answered 200 in an encoding that was not asked for"],
  ] as const)("that is too much (%s) is not taken in", async (fault, detail) => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    const { client, budget } = clientOf(server);
    server.behave(always("GET /key", fault));
    expect(await client.checkKey(apiKey(KEY), budget())).toMatchObject({
      status: "unknown",
      reason: "provider_error",
      httpStatus: 200,
      attempts: 1,
      detail,
    });
  });

  it("of 64 KiB is taken in, and one byte more is not; a page of a list may be bigger", async () => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    const key = server.addKey(KEY, { name: "" });
    const { hash } = key;
    const found = async (length: number) => {
      key.name = "x".repeat(length);
      return upstream.find(hash, budget());
    };
    const empty = Buffer.byteLength(JSON.stringify({ data: await described(server.url, hash, server.managementKey) }));
    expect(await found(64 * 1024 - empty)).toMatchObject({ status: "found" });
    expect(await found(64 * 1024 - empty + 1)).toMatchObject({ status: "unknown", detail: "sent more than 64 KiB" });
    const pages = await pagesOf(upstream.list({ kind: "workspace", workspace: null }, budget));
    expect(pages).toMatchObject([{ status: "listed", keys: [{ hash }] }]);

    await found(1024 * 1024);
    const tooBig = await pagesOf(upstream.list({ kind: "workspace", workspace: null }, budget));
    expect(tooBig).toMatchObject([{ status: "unknown", detail: "sent more than 1024 KiB" }]);
  });

  it("that drips is given up at the attempt's deadline", async () => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    const { client, budget } = clientOf(server, { deadlines: { ...IMPATIENT, headers: 10_000, body: 10_000 } });
    server.behave(on("GET /key", "slow-body"));
    const began = performance.now();
    expect(await client.checkKey(apiKey(KEY), budget())).toMatchObject({ status: "accepted" });
    expect(server.count()).toBe(2);
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  it.each(["headers", "body"] as const)("whose %s are late is given up at their deadline", async (part) => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    const patient = { connect: 60_000, headers: 60_000, body: 60_000, attempt: 60_000, creation: 60_000 };
    const { client, budget } = clientOf(server, { deadlines: { ...patient, [part]: 300 } });
    server.behave(on("GET /key", part === "headers" ? "hang" : "stalled-body"));
    expect(await client.checkKey(apiKey(KEY), budget())).toMatchObject({ status: "accepted" });
    expect(server.count()).toBe(2);
  });
});

describe("a budget", () => {
  it("that is used up asks nothing", async () => {
    const server = await mockOpenRouter();
    const { client, upstream, budget } = clientOf(server);
    const timedOut = { status: "unknown", reason: "timed_out", httpStatus: null, attempts: 0 };
    expect(await client.checkKey(apiKey(KEY), budget(0))).toMatchObject(timedOut);
    expect(await client.reach(budget(0))).toMatchObject({ status: "unknown", reason: "timed_out" });
    expect(await upstream.remove(hashOf(KEY), budget(0))).toMatchObject(timedOut);
    expect(await upstream.create(keyRequest(), budget(0))).toMatchObject({ status: "never-sent", reason: "timed_out" });
    expect(server.count()).toBe(0);
  });

  it("holds all attempts and waits, and what was seen last is what is told", async () => {
    const server = await mockOpenRouter();
    const { client, waits, budget } = clientOf(server);
    server.behave(always("GET /key", { status: 429 }));
    expect(await client.checkKey(apiKey(KEY), budget(4_000))).toMatchObject({
      status: "unknown",
      reason: "rate_limited",
      attempts: 4,
    });
    expect(waits).toEqual([500, 1_000, 2_000]);
  });

  it("cuts an attempt short", async () => {
    const server = await mockOpenRouter();
    const { client, budget } = clientOf(server);
    server.behave(always("GET /key", "hang"));
    // The clock of the test stands still, so one such attempt follows another, each as long as what is left.
    expect(await client.checkKey(apiKey(KEY), budget(200))).toMatchObject({
      status: "unknown",
      reason: "timed_out",
      attempts: 1,
    });
  });

  it.each([
    ["a time-out of the caller's is one that is used up", new DOMException("over", "TimeoutError")],
    ["a caller who gives up gets the reason back", new Error("Ctrl-C")],
  ])("%s", async (_name, reason) => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    server.behave(always("GET /key", "hang"));
    const { client, budget } = clientOf(server);
    const controller = new AbortController();
    const check = client.checkKey(apiKey(KEY), budget(60_000, controller.signal));
    await expect.poll(() => server.count()).toBe(1);
    controller.abort(reason);
    if (reason instanceof DOMException) expect(await check).toMatchObject({ status: "unknown", reason: "timed_out" });
    else await expect(check).rejects.toBe(reason);
  });

  it("ends a wait when the caller gives up", async () => {
    const server = await mockOpenRouter();
    server.behave(always("GET /key", { status: 503 }));
    const controller = new AbortController();
    const reason = new Error("Ctrl-C");
    const whileWaiting = async () => controller.abort(reason);
    const { client, budget } = clientOf(server, { whileWaiting });
    await expect(client.checkKey(apiKey(KEY), budget(60_000, controller.signal))).rejects.toBe(reason);
    expect(server.count()).toBe(1);
  });
});

describe("a creation whose caller gives up", () => {
  it("before it is sent is not sent", async () => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    const signal = AbortSignal.abort(new Error("Ctrl-C"));
    expect(await upstream.create(keyRequest(), budget(60_000, signal))).toMatchObject({ status: "never-sent" });
    expect(server.count()).toBe(0);
  });

  it("once it is sent is waited for all the same, past its budget too", async () => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    server.behave(on("POST /keys", { delayMs: 300 }));
    const controller = new AbortController();
    const creation = upstream.create(keyRequest(), budget(50, controller.signal));
    await expect.poll(() => server.count()).toBe(1);
    controller.abort(new Error("Ctrl-C"));
    expect(await creation).toMatchObject({ status: "created" });
  });

  it("is ambiguous when the client is closed meanwhile", async () => {
    const server = await mockOpenRouter();
    const { client, upstream, budget } = clientOf(server);
    server.behave(on("POST /keys", "hang-after"));
    const creation = upstream.create(keyRequest(), budget());
    await expect.poll(() => server.count()).toBe(1);
    await client.close();
    expect(await creation).toMatchObject({ status: "ambiguous" });
  });
});

async function described(url: string, hash: string, token: string): Promise<unknown> {
  const response = await fetch(`${url}/keys/${hash}`, { headers: { authorization: `Bearer ${token}` } });
  return ((await response.json()) as { data: unknown }).data;
}
