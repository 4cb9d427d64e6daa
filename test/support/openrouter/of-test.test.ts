import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { offences } from "./json-schema.ts";
import type { Schema } from "./json-schema.ts";
import { keyEnding, hashOf } from "../fixtures/keys.ts";
import { ask } from "./ask.ts";
import { FAULT_NAMES, on } from "./faults.ts";
import { ROUTES } from "./routes.ts";
import { mockOpenRouter } from "./of-test.ts";

// The schemas come from OpenRouter's own SDK; for workspaces, guardrails and credentials, from its OpenAPI document; and for
// model calls, from its documentation.
const SCHEMAS = JSON.parse(readFileSync(new URL("response-schemas.json", import.meta.url), "utf8")) as Readonly<
  Record<string, Schema>
>;

describe("the mock server of OpenRouter", () => {
  it("answers every route as OpenRouter's own schemas say, for keys of every kind", async () => {
    const server = await mockOpenRouter({ pageSize: 2 });
    const manage = (method: string, path: string, body?: unknown) =>
      ask(server, method, path, server.managementKey, body);
    const workspace = server.addWorkspace("Production");
    const guardrail = server.addGuardrail();
    const { id: credential } = server.addCredential();
    const bodies = [
      { name: "a" },
      { name: "b", limit: 5, limit_reset: "monthly", expires_at: "2099-01-01T00:00:00Z" },
      { name: "c", limit: null, include_byok_in_limit: true, workspace_id: workspace },
    ];
    const replies: [string, number, { status: number; json: unknown }][] = [];
    for (const body of bodies) {
      const made = await manage("POST", "/keys", body);
      const { hash } = made.json["data"] as { hash: string };
      expect(hash).toBe(hashOf(made.json["key"] as string));
      replies.push(["POST /keys", 201, made]);
      replies.push(["GET /key", 200, await ask(server, "GET", "/key", made.json["key"] as string)]);
      replies.push(["GET /keys/{hash}", 200, await manage("GET", `/keys/${hash}`)]);
      const keys = `/guardrails/${guardrail}/assignments/keys`;
      replies.push(["POST /guardrails/{id}/assignments/keys", 200, await manage("POST", keys, { key_hashes: [hash] })]);
      replies.push(["GET /guardrails/assignments/keys", 200, await manage("GET", "/guardrails/assignments/keys")]);
      replies.push([
        "POST /guardrails/{id}/assignments/keys/remove",
        200,
        await manage("POST", `${keys}/remove`, { key_hashes: [hash] }),
      ]);
      const list = { allowed_api_key_hashes: [hash] };
      replies.push(["PATCH /byok/{id}", 200, await manage("PATCH", `/byok/${credential}`, list)]);
      replies.push(["GET /byok", 200, await manage("GET", "/byok")]);
      replies.push(["PATCH /keys/{hash}", 200, await manage("PATCH", `/keys/${hash}`, { disabled: true, limit: 1 })]);
      replies.push(["error", 401, await ask(server, "GET", "/key", made.json["key"] as string)]);
      replies.push(["GET /keys", 200, await manage("GET", `/keys?include_disabled=true&workspace_id=${workspace}`)]);
      replies.push(["DELETE /keys/{hash}", 200, await manage("DELETE", `/keys/${hash}`)]);
      replies.push(["error", 404, await manage("DELETE", `/keys/${hash}`)]);
    }
    replies.push(["GET /key", 200, await manage("GET", "/key")]);
    server.addKey(keyEnding("0001"));
    const question = { model: "mock/model", messages: [{ role: "user", content: "Hello?" }] };
    const asked = await ask(server, "POST", "/chat/completions", keyEnding("0001"), question);
    replies.push(["POST /chat/completions", 200, asked]);
    replies.push(["GET /workspaces", 200, await manage("GET", "/workspaces")]);
    const spender = server.addKey(keyEnding("0009"));
    server.spend(spender.hash, 2);
    server.clock.advance(86_400_000);
    replies.push(["GET /activity", 200, await manage("GET", `/activity?api_key_hash=${spender.hash}`)]);
    replies.push(["GET /credits", 200, await manage("GET", "/credits")]);
    replies.push(["error", 401, await ask(server, "GET", "/key", null)]);
    replies.push(["error", 401, await ask(server, "GET", "/keys", keyEnding("0000"))]);

    expect(new Set(replies.map(([name]) => name))).toEqual(new Set([...ROUTES, "error"]));
    expect(Object.keys(SCHEMAS).toSorted()).toEqual([...ROUTES, "error"].toSorted());
    for (const [name, status, reply] of replies) {
      expect([name, reply.status, offences(SCHEMAS[name] ?? {}, reply.json)]).toEqual([name, status, []]);
    }
  });

  it("pages through one workspace, new keys first, and hides disabled ones unless they are asked for", async () => {
    const server = await mockOpenRouter({ pageSize: 2 });
    ["1", "2", "3"].forEach((name) =>
      server.addKey(keyEnding(`000${name}`), { name, createdAt: `2026-11-0${name}T00:00:00.000Z` }),
    );
    server.addKey(keyEnding("0004"), { name: "off", disabled: true, createdAt: "2026-11-04T00:00:00.000Z" });
    const names = async (query: string) =>
      ((await ask(server, "GET", `/keys${query}`, server.managementKey)).json["data"] as { name: string }[]).map(
        ({ name }) => name,
      );
    expect(await names("")).toEqual(["3", "2"]);
    expect(await names("?offset=2")).toEqual(["1"]);
    expect(await names("?include_disabled=true")).toEqual(["off", "3"]);
    expect(await names("?offset=4&include_disabled=true")).toEqual([]);
    expect(await names(`?workspace_id=${server.addWorkspace("other")}`)).toEqual([]);
  });

  it("refuses keys that are unknown, disabled, expired, or too new, all with the same words", async () => {
    let now = Date.parse("2026-11-24T00:00:00Z");
    const server = await mockOpenRouter({ now: () => now, newKeysRefusedMs: 5_000 });
    server.addKey(keyEnding("0001"), { disabled: true });
    server.addKey(keyEnding("0002"), { expiresAt: "2026-11-23T23:59:59Z" });
    const made = await ask(server, "POST", "/keys", server.managementKey, { name: "new" });
    const key = made.json["key"] as string;
    for (const refused of [keyEnding("0001"), keyEnding("0002"), keyEnding("0003"), key]) {
      const { status, json } = await ask(server, "GET", "/key", refused);
      expect([status, json["error"]]).toEqual([401, { code: 401, message: "User not found." }]);
    }
    now += 5_000;
    expect((await ask(server, "GET", "/key", key)).status).toBe(200);
  });

  it("wants a management key for what is managed", async () => {
    const server = await mockOpenRouter();
    server.addKey(keyEnding("0001"));
    expect((await ask(server, "GET", "/keys", keyEnding("0001"))).status).toBe(403);
    expect((await ask(server, "POST", "/keys", keyEnding("0002"), { name: "a" })).status).toBe(401);
  });

  it("keeps the keys and workspaces of two accounts apart", async () => {
    const server = await mockOpenRouter({ organization: "org_1" });
    const other = server.addAccount("org_2");
    const managers = [server.managementKey, server.addManagementKey(), other.managementKey];
    const made = await ask(server, "POST", "/keys", server.managementKey, { name: "a" });
    const { hash, workspace_id } = made.json["data"] as { hash: string; workspace_id: string };
    const seen = [];
    for (const manager of managers) {
      const { json } = await ask(server, "GET", "/key", manager);
      const workspaces = (await ask(server, "GET", "/workspaces", manager)).json["data"] as { id: string }[];
      const found = await ask(server, "GET", `/keys/${hash}`, manager);
      const listed = (await ask(server, "GET", `/keys?workspace_id=${workspace_id}`, manager)).json["data"] as object[];
      const owner = json["data"] as { organization_id: string; is_management_key: boolean };
      seen.push([owner.organization_id, workspaces[0]?.id === workspace_id, found.status, listed.length]);
    }
    expect(seen).toEqual([
      ["org_1", true, 200, 1],
      ["org_1", true, 200, 1],
      ["org_2", false, 404, 0],
    ]);
    for (const method of ["PATCH", "DELETE"]) {
      expect((await ask(server, method, `/keys/${hash}`, other.managementKey, { disabled: true })).status).toBe(404);
    }
    const wrong = { name: "b", workspace_id };
    expect((await ask(server, "POST", "/keys", other.managementKey, wrong)).status).toBe(400);
    const theirs = await ask(server, "POST", "/keys", other.managementKey, { name: "b" });
    expect(theirs.json["data"]).toMatchObject({ workspace_id: other.defaultWorkspace });
    expect(server.requests.at(-1)?.credential).toBe("management of another account");
  });

  it("accepts a key that is gone for a while, where that is wanted", async () => {
    let now = 0;
    const server = await mockOpenRouter({ now: () => now, goneKeysAcceptedMs: 5_000 });
    const made = await ask(server, "POST", "/keys", server.managementKey, { name: "a" });
    const { hash } = made.json["data"] as { hash: string };
    await ask(server, "DELETE", `/keys/${hash}`, server.managementKey);
    const accepted = async () => (await ask(server, "GET", "/key", made.json["key"] as string)).status;
    expect([await accepted(), (await ask(server, "GET", `/keys/${hash}`, server.managementKey)).status]).toEqual([
      200, 404,
    ]);
    now = 5_000;
    expect(await accepted()).toBe(401);
  });

  it.each([
    ["not-deleted", { status: 200, json: { deleted: true } }],
    ["no-route", { status: 404, json: { message: "no Route matched with those values" } }],
    ["no-route-error", { status: 404, json: { error: { message: "no Route matched with those values" } } }],
    [{ deletesAfterMs: 50 }, { status: 200, json: { deleted: true } }],
  ] as const)("does not delete at once with the fault %j, whatever it says", async (fault, answer) => {
    const server = await mockOpenRouter();
    const { hash } = server.addKey(keyEnding("0001"));
    server.behave(on("DELETE /keys/{hash}", fault));
    expect(await ask(server, "DELETE", `/keys/${hash}`, server.managementKey)).toEqual(answer);
    expect(server.keys.size).toBe(1);
    if (typeof fault === "object") await expect.poll(() => server.keys.size).toBe(0);
  });

  it.each([
    [{}],
    [{ name: "" }],
    [{ name: "a", limit: "5" }],
    [{ name: "a", limit_reset: "yearly" }],
    [{ name: "a", expires_at: "2099-01-01T00:00Z" }],
    [{ name: "a", workspace_id: "nowhere" }],
    [{ name: "a", include_byok_in_limit: "yes" }],
  ])("refuses to make a key of %j, as Zod does", async (body) => {
    const server = await mockOpenRouter();
    const { status, json } = await ask(server, "POST", "/keys", server.managementKey, body);
    expect([status, json["success"], server.keys.size]).toEqual([400, false, 0]);
  });

  it("spoils the request that a script names, and no other", async () => {
    const server = await mockOpenRouter();
    server.behave(on("POST /keys", "pass", { status: 503 }));
    const statuses = [];
    for (const name of ["a", "b", "c"]) {
      statuses.push((await ask(server, "POST", "/keys", server.managementKey, { name })).status);
    }
    expect(statuses).toEqual([201, 503, 201]);
    expect(Array.from(server.keys.values(), ({ name }) => name)).toEqual(["a", "c"]);
  });

  it.each([
    ["reset-before", 0],
    ["reset-after", 1],
    ["late-apply", 1],
    ["twice", 2],
    ["cut-body", 1],
    ["redirect", 0],
  ] as const)("obeys a creation with the fault %s so many times: %i", async (fault, times) => {
    expect(FAULT_NAMES).toContain(fault);
    const server = await mockOpenRouter();
    server.behave(on("POST /keys", fault));
    await ask(server, "POST", "/keys", server.managementKey, { name: "a" }).catch(() => undefined);
    await expect.poll(() => server.keys.size).toBe(times);
  });

  it("remembers who asked for what, and no key", async () => {
    const server = await mockOpenRouter();
    const made = await ask(server, "POST", "/keys", server.managementKey, { name: "a" });
    const key = made.json["key"] as string;
    await ask(server, "GET", "/key", key);
    expect(server.requests).toEqual([
      { route: "POST /keys", method: "POST", path: "/keys", status: 201, credential: "management" },
      { route: "GET /key", method: "GET", path: "/key", status: 200, credential: hashOf(key) },
    ]);
    expect([server.count(), server.count("GET /key"), server.count("GET /keys")]).toEqual([2, 1, 0]);
    expect(JSON.stringify([server.requests, ...server.keys.values()])).not.toContain(key.slice(20, 40));
  });
});
