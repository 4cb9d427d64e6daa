import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { hashOf, keyEnding } from "../support/fixtures/keys.ts";
import { apiKey, clientOf, keyRequest, NOW, pagesOf } from "../support/openrouter/client.ts";
import { always } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

const KEY = keyEnding("0001");
const HASH = hashOf(KEY);

describe("a key that is made", () => {
  it("comes with its text and its description, and is accepted", async () => {
    const server = await mockOpenRouter();
    const workspace = server.addWorkspace("Production");
    const { client, upstream, budget } = clientOf(server);
    const request = keyRequest({ expiresAt: "2027-02-20T02:14:07.913Z", workspace });
    const creation = await upstream.create(request, budget());
    if (creation.status !== "created") return expect(creation.status).toBe("created");
    const { key, upstream: made } = creation;
    expect(made).toMatchObject({
      hash: key.hash,
      name: "keyctl/test",
      disabled: false,
      limit: 5,
      limitRemaining: 5,
      limitReset: "monthly",
      expiresAt: "2027-02-20T02:14:07.000Z",
      workspace,
    });
    expect(await upstream.find(key.hash, budget())).toEqual({ status: "found", key: made });
    expect(await client.checkKey(key, budget())).toEqual({
      status: "accepted",
      limit: 5,
      limitRemaining: 5,
      limitReset: "monthly",
      expiresAt: "2027-02-20T02:14:07.000Z",
      blockedBy: null,
      isManagementKey: false,
    });
  });

  it("has no limit, no expiry and the default workspace when none are asked for", async () => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    const creation = await upstream.create(keyRequest({ limit: null, limitReset: null }), budget());
    expect(creation).toMatchObject({
      status: "created",
      upstream: { limit: null, limitReset: null, expiresAt: null, workspace: server.defaultWorkspace },
    });
  });

  it("keeps the id that the server gives it, also when that is not its SHA-256", async () => {
    const server = await mockOpenRouter({ hashOf: (key) => hashOf(`salt ${key}`) });
    const { upstream, budget } = clientOf(server);
    const creation = await upstream.create(keyRequest(), budget());
    if (creation.status !== "created") return expect(creation.status).toBe("created");
    expect(creation.upstream.hash).toBe(hashOf(`salt ${creation.key.reveal()}`));
    expect(await upstream.disable(creation.upstream.hash, budget())).toEqual({ status: "done" });
    expect(await upstream.remove(creation.upstream.hash, budget())).toEqual({ status: "done" });
  });
});

describe("the key that asks", () => {
  it("is known to be a management key", async () => {
    const server = await mockOpenRouter();
    const { client, budget } = clientOf(server);
    const check = await client.checkKey(apiKey(server.managementKey), budget());
    expect(check).toMatchObject({ status: "accepted", isManagementKey: true });
  });

  it.each([
    [401, "answered 401: User not found."],
    [403, "answered 403: Only management keys can perform this operation"],
  ])("is our own configuration when it is refused with %i, but for a creation", async (status, detail) => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    server.behave(() => ({ status }));
    const refused = {
      code: "MANAGEMENT_KEY_REFUSED",
      message: `OpenRouter rejected the management key: it ${detail}`,
    };
    await expect(upstream.find(hashOf(KEY), budget())).rejects.toMatchObject(refused);
    await expect(upstream.disable(hashOf(KEY), budget())).rejects.toMatchObject(refused);
    await expect(upstream.remove(hashOf(KEY), budget())).rejects.toMatchObject(refused);
    await expect(pagesOf(upstream.list({ kind: "everywhere" }, budget))).rejects.toMatchObject(refused);
    expect(await upstream.create(keyRequest(), budget())).toEqual({ status: "refused", httpStatus: status, detail });
    expect(await upstream.credits(budget())).toEqual({ status: "unavailable" });
  });

  it("is not suspected when somebody before the API refuses it", async () => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    server.behave(() => ({ status: 403, body: "html" }));
    expect(await upstream.find(hashOf(KEY), budget())).toMatchObject({ status: "unknown", httpStatus: 403 });
  });
});

describe("the second witness", () => {
  it("tells what is wrong with a key that is refused", async () => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    server.addKey(KEY, { disabled: true, expiresAt: "2026-01-01T00:00:00Z" });
    expect(await upstream.find(hashOf(KEY), budget())).toMatchObject({
      status: "found",
      key: { disabled: true, expiresAt: "2026-01-01T00:00:00.000Z" },
    });
    expect(await upstream.find(hashOf("another"), budget())).toEqual({ status: "gone" });
  });
});

describe("a key that is missing", () => {
  it("is so only in OpenRouter's own words", async () => {
    const server = await mockOpenRouter();
    const { upstream, budget } = clientOf(server);
    const answers = {
      own: { status: 404 },
      zod: { status: 404, body: "zod" },
      page: { status: 404, body: "html" },
    } as const;
    const said: Record<string, unknown> = {};
    for (const [name, fault] of Object.entries({ ...answers, bare: "no-route", nearly: "no-route-error" } as const)) {
      server.behave(() => fault);
      const asked = [upstream.find(HASH, budget()), upstream.disable(HASH, budget()), upstream.remove(HASH, budget())];
      said[name] = (await Promise.all(asked)).map(({ status }) => status);
    }
    const unknown = ["unknown", "unknown", "unknown"];
    expect(said).toEqual({
      own: ["gone", "gone", "gone"],
      zod: unknown,
      page: unknown,
      bare: unknown,
      nearly: unknown,
    });
  });

  it("is not another one that is answered in its place", async () => {
    const server = await mockOpenRouter({ hashOf: () => HASH });
    server.addKey(KEY);
    const { upstream, budget } = clientOf(server);
    expect((await upstream.find(HASH, budget())).status).toBe("found");
    const entry = server.keys.get(HASH);
    if (entry !== undefined) Object.assign(entry, { hash: hashOf("another") });
    expect((await upstream.find(HASH, budget())).status).toBe("unknown");
  });
});

describe("an answer that a proxy has changed", () => {
  it.each([202, 203, 206])("with %i is none", async (status) => {
    const server = await proxyThatSays(status);
    const { client, upstream, budget } = clientOf(server);
    expect((await client.checkKey(apiKey(KEY), budget())).status).toBe("unknown");
    expect((await upstream.find(HASH, budget())).status).toBe("unknown");
    expect((await upstream.disable(HASH, budget())).status).toBe("unknown");
    expect((await upstream.remove(HASH, budget())).status).toBe("unknown");
    expect((await upstream.organization(budget())).status).toBe("unknown");
    expect(await pagesOf(upstream.list({ kind: "everywhere" }, budget))).toMatchObject([{ status: "unknown" }]);
    expect(await upstream.create(keyRequest(), budget())).toMatchObject({ status: "ambiguous" });
  });
});

/** Right answers of every kind in one, and this status. */
async function proxyThatSays(status: number) {
  const entry = { hash: HASH, name: "a", label: "a", disabled: true };
  const proxy = createServer((_request, response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ data: entry, deleted: true, key: KEY }));
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => void proxy.close());
  // An address with a port, because it listens on TCP.
  const { port } = proxy.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/api/v1`, managementKey: "sk-or-v1-of-a-test" };
}

describe("a refusal of the key that asks", () => {
  it("is one in OpenRouter's own words, and about that key", async () => {
    const server = await mockOpenRouter();
    const { client, budget } = clientOf(server);
    const check = async () => (await client.checkKey(apiKey(KEY), budget())).status;
    expect(await check()).toBe("refused");
    for (const fault of [{ status: 401, body: "html" }, { status: 401, body: "zod" }, { status: 403 }] as const) {
      server.behave(() => fault);
      expect(await check()).toBe("unknown");
    }
  });

  it.each(["Missing Authentication header", "No cookie auth credentials found"])(
    "is none when the key did not arrive: %s",
    async (message) => {
      const server = await mockOpenRouter();
      server.behave(() => ({ status: 401, message }));
      const { client, budget } = clientOf(server);
      expect((await client.checkKey(apiKey(KEY), budget())).status).toBe("unknown");
    },
  );
});

describe("the account of a management key", () => {
  it("has an organisation, or none, and workspaces", async () => {
    const server = await mockOpenRouter({ organization: "org_1" });
    const workspaces = [server.defaultWorkspace, server.addWorkspace("Production")];
    const { upstream, budget } = clientOf(server);
    expect(await upstream.organization(budget())).toEqual({ status: "known", organization: "org_1" });
    expect(await pagesOf(upstream.workspaces(budget()))).toEqual([{ status: "listed", workspaces }]);
    const person = clientOf({ ...server, managementKey: server.addAccount().managementKey });
    expect(await person.upstream.organization(budget())).toEqual({ status: "known", organization: null });
  });

  it.each([403, 404, 400, 501])("is unknown after %i", async (status) => {
    const server = await mockOpenRouter();
    server.behave(() => ({ status }));
    const { upstream, budget } = clientOf(server);
    expect(await upstream.organization(budget())).toMatchObject({ status: "unknown", httpStatus: status });
    expect(await pagesOf(upstream.workspaces(budget()))).toMatchObject([{ status: "unknown", httpStatus: status }]);
  });

  it("is refused with the key itself", async () => {
    const { upstream, budget } = clientOf({ ...(await mockOpenRouter()), managementKey: "sk-or-v1-of-nobody-at-all" });
    await expect(pagesOf(upstream.workspaces(budget()))).rejects.toMatchObject({ code: "MANAGEMENT_KEY_REFUSED" });
  });
});

describe("the balance", () => {
  it("is what was bought and what was used", async () => {
    const { upstream, budget } = clientOf(await mockOpenRouter());
    expect(await upstream.credits(budget())).toEqual({ status: "known", total: 100, used: 12.5 });
  });

  it("is unknown in an answer of another shape", async () => {
    const server = await mockOpenRouter();
    server.behave(always("GET /credits", "other-shape"));
    const { upstream, budget } = clientOf(server);
    expect(await upstream.credits(budget())).toMatchObject({ status: "unknown", reason: "provider_error" });
  });
});

describe("the activity of a key", () => {
  it("is what it spent on each completed day, the oldest first; another key's and today's are not in it", async () => {
    const server = await mockOpenRouter({ now: () => Date.parse("2026-11-23T10:00:00Z") });
    server.addKey(keyEnding("0001"));
    const other = server.addKey(keyEnding("0002"));
    for (const usd of [1, 2]) server.spend(HASH, usd);
    server.spend(other.hash, 50);
    server.clock.advance(86_400_000);
    server.spend(HASH, 4);
    server.clock.advance(86_400_000);
    server.spend(HASH, 8);
    const { upstream, budget } = clientOf(server);
    expect(await upstream.activity(HASH, budget())).toEqual({
      status: "known",
      days: [
        { date: "2026-11-23", usage: 3 },
        { date: "2026-11-24", usage: 4 },
      ],
    });
  });

  it.each([
    [{ status: 403 }, "hidden"],
    [{ status: 404 }, "hidden"],
    [{ status: 500 }, "unknown"],
    ["other-shape", "unknown"],
    ["html", "unknown"],
  ] as const)("where OpenRouter answers %j is %s", async (fault, status) => {
    const server = await mockOpenRouter();
    server.behave(always("GET /activity", fault));
    const { upstream, budget } = clientOf(server);
    expect(await upstream.activity(HASH, budget())).toMatchObject({ status });
  });
});

describe("OpenRouter", () => {
  it("is reached when it refuses us, and says its time", async () => {
    const server = await mockOpenRouter();
    const { client, budget } = clientOf(server);
    const reach = await client.reach(budget());
    if (reach.status !== "reached") return expect(reach.status).toBe("reached");
    expect(Math.abs((reach.serverTime?.getTime() ?? 0) - Date.now())).toBeLessThan(5_000);
    expect(reach.elapsedMs).toBeGreaterThan(0);
    expect(server.requests).toMatchObject([{ route: "GET /key", credential: "none" }]);
  });

  it("is not reached when something else answers, and is asked once", async () => {
    const server = await mockOpenRouter();
    server.behave(always("GET /key", { status: 503, body: "html", headers: { date: NOW } }));
    const { client, budget } = clientOf(server);
    expect(await client.reach(budget())).toMatchObject({ status: "unknown", httpStatus: 503, attempts: 1 });
  });
});
