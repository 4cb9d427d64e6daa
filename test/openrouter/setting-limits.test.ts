import { describe, expect, it } from "vitest";
import { hashOf, keyEnding } from "../support/fixtures/keys.ts";
import { clientOf, IMPATIENT, keyRequest } from "../support/openrouter/client.ts";
import type { TestClient } from "../support/openrouter/client.ts";
import { always, on } from "../support/openrouter/faults.ts";
import type { Fault } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";

const HASH = hashOf(keyEnding("0001"));
const ROUTE = "PATCH /keys/{hash}";

async function stage(fault?: Fault): Promise<TestClient & { readonly server: OpenRouterServer }> {
  const server = await mockOpenRouter();
  server.addKey(keyEnding("0001"), { limit: 5, limitReset: "monthly", usage: 4 });
  return { server, ...clientOf(server, fault === "hang-after" ? { deadlines: IMPATIENT } : {}) };
}

describe("the limit of a key", () => {
  it("is set outright, and what was spent stays", async () => {
    const { server, upstream, budget } = await stage();
    expect(await upstream.setLimit(HASH, 0.15, budget())).toEqual({ status: "done" });
    expect(await upstream.setLimit(HASH, 7.5, budget())).toEqual({ status: "done" });
    expect(await upstream.find(HASH, budget())).toMatchObject({ key: { limit: 7.5, limitRemaining: 3.5 } });
    expect(server.count(ROUTE)).toBe(2);
  });

  it.each(["reset-before", "reset-after", "cut-body", "hang-after", { status: 503 }, { status: 429 }] as const)(
    "is sent again after %j, until it is set",
    async (fault) => {
      const { server, upstream, budget } = await stage(fault);
      server.behave(on(ROUTE, fault));
      expect([await upstream.setLimit(HASH, 7, budget()), server.count()]).toEqual([{ status: "done" }, 2]);
    },
  );

  it("is read when every answer was lost", async () => {
    const { server, upstream, budget } = await stage();
    server.behave(always(ROUTE, "reset-after"));
    expect(await upstream.setLimit(HASH, 7, budget())).toEqual({ status: "done" });
    server.behave(always(ROUTE, "reset-before"));
    expect(await upstream.setLimit(HASH, 8, budget())).toMatchObject({ status: "unknown" });
    server.removeKey(HASH);
    expect(await upstream.setLimit(HASH, 8, budget())).toEqual({ status: "gone" });
  });

  it("is not set when the reply shows another one", async () => {
    const { server, upstream, budget } = await stage();
    const entry = server.keys.get(HASH);
    if (entry === undefined) throw new Error("the key is missing");
    Object.defineProperty(entry, "limit", { get: () => 5, set: () => {} });
    expect(await upstream.setLimit(HASH, 7, budget())).toMatchObject({ status: "unknown", httpStatus: 200 });
  });

  it.each(["html", "other-shape", "redirect", "no-route", { status: 400 }, { status: 404, body: "html" }] as const)(
    "is not known to be set after %j",
    async (fault) => {
      const { server, upstream, budget } = await stage();
      server.behave(always(ROUTE, fault));
      expect(await upstream.setLimit(HASH, 7, budget())).toMatchObject({ status: "unknown", attempts: 1 });
    },
  );

  it("of a key that is gone is not set", async () => {
    const { upstream, budget } = await stage();
    expect(await upstream.setLimit(hashOf("nobody"), 7, budget())).toEqual({ status: "gone" });
  });

  it.each([401, 403])("is the management key's business after %i", async (status) => {
    const { server, upstream, budget } = await stage();
    server.behave(always(ROUTE, { status }));
    await expect(upstream.setLimit(HASH, 7, budget())).rejects.toMatchObject({ code: "MANAGEMENT_KEY_REFUSED" });
  });
});

describe("the terms of a new key", () => {
  it.each([true, false])("say whether the user's own provider keys count: %j", async (includeByokInLimit) => {
    const { upstream, budget } = await stage();
    const creation = await upstream.create(keyRequest({ includeByokInLimit }), budget());
    expect(creation).toMatchObject({ status: "created", upstream: { includeByokInLimit } });
  });

  it("leave it to OpenRouter where nobody said", async () => {
    const { upstream, budget } = await stage();
    expect(await upstream.create(keyRequest(), budget())).toMatchObject({ upstream: { includeByokInLimit: false } });
  });

  it("are those of the reply, when its limit is another one than asked for", async () => {
    const { server, upstream, budget } = await stage();
    server.configure({ newKeyLimit: 3 });
    expect(await upstream.create(keyRequest({ limit: 5 }), budget())).toMatchObject({
      status: "created",
      upstream: { limit: 3, limitRemaining: 3 },
    });
  });
});
