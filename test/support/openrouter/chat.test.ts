import { describe, expect, it } from "vitest";
import { hashOf, keyEnding } from "../fixtures/keys.ts";
import { ask } from "./ask.ts";
import { REFUSALS, REFUSAL_NAMES } from "./chat-refusals.ts";
import type { RefusalName } from "./chat-refusals.ts";
import { on } from "./faults.ts";
import { mockOpenRouter } from "./of-test.ts";
import type { OpenRouterServer } from "./server.ts";

const KEY = keyEnding("0001");
const HASH = hashOf(KEY);
const QUESTION = { model: "mock/model", messages: [{ role: "user", content: "Hello?" }] };

function call(server: OpenRouterServer, token: string | null = KEY) {
  return ask(server, "POST", "/chat/completions", token, QUESTION);
}

async function streamOf(server: OpenRouterServer, authorization = `Bearer ${KEY}`) {
  const response = await fetch(`${server.url}/chat/completions`, {
    method: "POST",
    headers: { authorization },
    body: JSON.stringify({ ...QUESTION, stream: true }),
  });
  const text = await response.text();
  const data = text.split("\n").flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));
  const events = data.flatMap((line) => (line === "[DONE]" ? [] : [JSON.parse(line) as Chunk]));
  return { status: response.status, type: response.headers.get("content-type"), events, text };
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content: string }; readonly finish_reason: string | null }[];
  readonly error?: { readonly code: number | string; readonly message: string };
  readonly usage?: object;
}

const contentOf = (events: readonly Chunk[]) => events.map(({ choices }) => choices[0]?.delta.content).join("");

describe("a model call to the mock server", () => {
  it("is answered, plain and as a stream, and spends from the limit of its key until nothing is left", async () => {
    const server = await mockOpenRouter({ chatUsd: 2 });
    server.addKey(KEY, { limit: 5 });
    const { status, json } = await call(server);
    expect([status, json["choices"][0].message.content]).toEqual([200, "Hello from a mock server."]);
    const { events, type, text } = await streamOf(server);
    expect([type, contentOf(events), events.at(-1)?.choices[0]?.finish_reason]).toEqual([
      "text/event-stream",
      "Hello from a mock server.",
      "stop",
    ]);
    expect([text.startsWith(": "), text.endsWith("data: [DONE]\n\n")]).toEqual([true, true]);
    expect((await ask(server, "GET", "/key", KEY)).json["data"]).toMatchObject({ usage: 4, limit_remaining: 1 });
    await call(server);
    const spent = await call(server);
    expect([spent.status, spent.json["error"].message]).toEqual([403, "Key limit exceeded (total limit)"]);
    expect(server.keys.get(HASH)?.usage.total).toBe(6);
  });

  it.each([
    ["disabled", { disabled: true }],
    ["expired", { expiresAt: "2020-01-01T00:00:00Z" }],
  ])("is refused for a key that is %s like one that nobody knows, and before a stream begins", async (_, seed) => {
    const server = await mockOpenRouter();
    server.addKey(KEY, seed);
    const error = { code: 401, message: "User not found.", metadata: { error_type: "authentication" } };
    for (const token of [KEY, keyEnding("0002"), server.managementKey]) {
      expect(await call(server, token)).toEqual({ status: 401, json: { error } });
    }
    expect(await streamOf(server)).toMatchObject({ status: 401, type: "application/json; charset=utf-8", events: [] });
  });

  it("without a usable header is refused with other words", async () => {
    const server = await mockOpenRouter();
    expect((await call(server, null)).json["error"].message).toBe("Missing Authentication header");
    expect((await streamOf(server, "Basic YTpi")).text).toContain("No cookie auth credentials found");
  });

  it("is refused once the budget of the workspace is spent", async () => {
    const server = await mockOpenRouter();
    server.addKey(KEY, { budget: { scope: "workspace", limit: 500, spent: 500 } });
    expect((await call(server)).status).toBe(403);
  });

  it("that asks nothing is refused as Zod does", async () => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    expect((await ask(server, "POST", "/chat/completions", KEY, {})).json).toMatchObject({ success: false });
  });
});

describe("a planned refusal", () => {
  const inside = new Set<string>(["stream-dead-key", "stream-provider-down"]);

  it.each(REFUSAL_NAMES.filter((name) => !inside.has(name)))("%s comes once, before the first byte", async (name) => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    server.refuseNext(name as RefusalName);
    const { status, text } = await streamOf(server);
    expect(status).toBe(REFUSALS[name as RefusalName].status);
    expect(text === "").toBe(name === "empty-401");
    expect((await call(server)).status).toBe(200);
    expect(server.keys.get(HASH)?.usage.total).toBe(0.01);
  });

  it.each([...inside])("%s comes inside an answer with status 200", async (name) => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    server.behave(on("POST /chat/completions", { refusal: name as RefusalName }, { refusal: name as RefusalName }));
    const { status, events } = await streamOf(server);
    expect([status, contentOf(events), events.at(-1)?.choices[0]?.finish_reason]).toEqual([200, "Hello", "error"]);
    expect(events.at(-1)?.error?.message).toBeTypeOf("string");
    const plain = await call(server);
    expect([plain.status, plain.json["choices"][0].finish_reason]).toEqual([200, "error"]);
    expect(plain.json["error"]).toEqual(events.at(-1)?.error);
  });

  it("says its type where the route that is imitated says it", async () => {
    const server = await mockOpenRouter();
    const bodies = [];
    for (const errorTypeIn of ["metadata", "body", "error"] as const) {
      server.configure({ errorTypeIn });
      bodies.push((await call(server)).json);
    }
    const error = { code: 401, message: "User not found." };
    const type = { error_type: "authentication" };
    expect(bodies).toEqual([
      { error: { ...error, metadata: type } },
      { error, ...type },
      { error: { ...error, ...type } },
    ]);
  });
});
