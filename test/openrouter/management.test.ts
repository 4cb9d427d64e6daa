import { describe, expect, it } from "vitest";
import { hashOf, keyEnding } from "../support/keys.ts";
import { apiKey, clientOf, keyRequest, NOW, pagesOf } from "../support/openrouter-client.ts";
import { always } from "../support/openrouter-faults.ts";
import { standIn } from "../support/openrouter.ts";

const KEY = keyEnding("0001");

describe("a key that is made", () => {
  it("comes with its text and its description, and is accepted", async () => {
    const server = await standIn();
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
      isManagementKey: false,
    });
  });

  it("has no limit, no expiry and the default workspace when none are asked for", async () => {
    const server = await standIn();
    const { upstream, budget } = clientOf(server);
    const creation = await upstream.create(keyRequest({ limit: null, limitReset: null }), budget());
    expect(creation).toMatchObject({
      status: "created",
      upstream: { limit: null, limitReset: null, expiresAt: null, workspace: server.defaultWorkspace },
    });
  });

  it("keeps the id that the server gives it, also when that is not its SHA-256", async () => {
    const server = await standIn({ hashOf: (key) => hashOf(`salt ${key}`) });
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
    const server = await standIn();
    const { client, budget } = clientOf(server);
    const check = await client.checkKey(apiKey(server.managementKey), budget());
    expect(check).toMatchObject({ status: "accepted", isManagementKey: true });
  });

  it.each([
    [401, "answered 401: User not found."],
    [403, "answered 403: Only management keys can perform this operation"],
  ])("is our own configuration when it is refused with %i, but for a creation", async (status, detail) => {
    const server = await standIn();
    const { upstream, budget } = clientOf(server);
    server.behave(() => ({ status }));
    const refused = {
      code: "MANAGEMENT_KEY_REFUSED",
      message: `OpenRouter does not take the management key: it ${detail}`,
    };
    await expect(upstream.find(hashOf(KEY), budget())).rejects.toMatchObject(refused);
    await expect(upstream.disable(hashOf(KEY), budget())).rejects.toMatchObject(refused);
    await expect(upstream.remove(hashOf(KEY), budget())).rejects.toMatchObject(refused);
    await expect(pagesOf(upstream.list({ kind: "everywhere" }, budget))).rejects.toMatchObject(refused);
    expect(await upstream.create(keyRequest(), budget())).toEqual({ status: "refused", httpStatus: status, detail });
    expect(await upstream.credits(budget())).toEqual({ status: "unavailable" });
  });

  it("is not suspected when somebody before the API refuses it", async () => {
    const server = await standIn();
    const { upstream, budget } = clientOf(server);
    server.behave(() => ({ status: 403, body: "html" }));
    expect(await upstream.find(hashOf(KEY), budget())).toMatchObject({ status: "unknown", httpStatus: 403 });
  });
});

describe("the second witness", () => {
  it("tells what is wrong with a key that is refused", async () => {
    const server = await standIn();
    const { upstream, budget } = clientOf(server);
    server.addKey(KEY, { disabled: true, expiresAt: "2026-01-01T00:00:00Z" });
    expect(await upstream.find(hashOf(KEY), budget())).toMatchObject({
      status: "found",
      key: { disabled: true, expiresAt: "2026-01-01T00:00:00.000Z" },
    });
    expect(await upstream.find(hashOf("another"), budget())).toEqual({ status: "gone" });
  });
});

describe("the balance", () => {
  it("is what was bought and what was used", async () => {
    const { upstream, budget } = clientOf(await standIn());
    expect(await upstream.credits(budget())).toEqual({ status: "known", total: 100, used: 12.5 });
  });

  it("is unknown in an answer of another shape", async () => {
    const server = await standIn();
    server.behave(always("GET /credits", "other-shape"));
    const { upstream, budget } = clientOf(server);
    expect(await upstream.credits(budget())).toMatchObject({ status: "unknown", reason: "provider_error" });
  });
});

describe("OpenRouter", () => {
  it("is reached when it refuses us, and says its time", async () => {
    const server = await standIn();
    const { client, budget } = clientOf(server);
    const reach = await client.reach(budget());
    if (reach.status !== "reached") return expect(reach.status).toBe("reached");
    expect(Math.abs((reach.serverTime?.getTime() ?? 0) - Date.now())).toBeLessThan(5_000);
    expect(reach.elapsedMs).toBeGreaterThan(0);
    expect(server.requests).toMatchObject([{ route: "GET /key", credential: "none" }]);
  });

  it("is not reached when something else answers, and is asked once", async () => {
    const server = await standIn();
    server.behave(always("GET /key", { status: 503, body: "html", headers: { date: NOW } }));
    const { client, budget } = clientOf(server);
    expect(await client.reach(budget())).toMatchObject({ status: "unknown", httpStatus: 503, attempts: 1 });
  });
});
