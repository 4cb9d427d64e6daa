import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { isRefusedKey } from "../../../../src/core/change/renew/refusal.ts";
import type { CallOutcome } from "../../../../src/core/change/renew/refusal.ts";
import { callWithKey } from "../../../../src/core/change/renew/with-user-key.ts";
import { ApiKey } from "../../../../src/core/model/api-key.ts";
import { silent } from "../../../../src/core/model/log-event.ts";
import type { RenewResult } from "../../../../src/core/model/renew-results.ts";
import type { SyncResult } from "../../../../src/core/model/results.ts";
import { KEY, OTHER } from "../../../support/fixtures/keys.ts";

const NOT_FOUND = { error: { message: "User not found.", code: 401 } };
const EXPIRED = { error: { message: "API key expired", code: "401", metadata: { error_type: "authentication" } } };
const json = (status: number, body: unknown) => Response.json(body, { status });
const stream = (status: number) =>
  new Response("data: {}\n\n", { status, headers: { "content-type": "text/event-stream" } });
const failing = (fields: object) => Object.assign(new Error("the request failed"), fields);

/** A Response whose body was read by the program. */
async function used(body: unknown): Promise<Response> {
  const response = json(401, body);
  await response.text();
  return response;
}

function hanging(): Response {
  return new Response(new ReadableStream({ start() {} }), { status: 401 });
}

const RETURNED: readonly (readonly [string, () => Response | Promise<Response> | object | null, boolean])[] = [
  ["401 of OpenRouter", () => json(401, NOT_FOUND), true],
  ["401 with a type of error", () => json(401, EXPIRED), true],
  ["401 with a type of error at the top", () => json(401, { ...NOT_FOUND, error_type: "authentication" }), true],
  ["401 with an empty body", () => new Response(null, { status: 401 }), true],
  ["401 with a page of an edge", () => new Response("<h1>401</h1>", { status: 401 }), true],
  ["401 in the form of /messages", () => json(401, { type: "error", error: { type: "authentication_error" } }), true],
  [
    "401 of a provider by name",
    () => json(401, { error: { code: 401, metadata: { provider_name: "OpenAI" } } }),
    false,
  ],
  ["401 of a provider, word for word", () => json(401, { error: { metadata: { raw: "{}" } } }), false],
  ["401 with a provider's code", () => json(401, { error: { message: "no", provider_code: "invalid_key" } }), false],
  ["401 with a provider's code at the top", () => json(401, { ...NOT_FOUND, provider_code: 7 }), false],
  ["401 with metadata at the top", () => json(401, { message: "no", metadata: { provider_name: "Azure" } }), false],
  ["401 with metadata that names nobody", () => json(401, { error: { metadata: { provider_name: null } } }), true],
  ["401 without a header", () => json(401, { error: { message: "Missing Authentication header" } }), false],
  ["401 without a cookie", () => json(401, { error: { message: "No cookie auth credentials found" } }), false],
  ["401 without a header, as a text", () => new Response("Missing Authentication header", { status: 401 }), false],
  ["401 that is a stream", () => stream(401), false],
  ["401 whose body was read", () => used(NOT_FOUND), false],
  ["200", () => json(200, { choices: [] }), false],
  ["200 that is a stream", () => stream(200), false],
  ["200 with the error of a stream's middle", () => json(200, NOT_FOUND), false],
  ["400", () => json(400, NOT_FOUND), false],
  ["402", () => json(402, { error: { code: 402, metadata: { error_type: "payment_required" } } }), false],
  ["403", () => json(403, { error: { code: 403, message: "Key limit exceeded" } }), false],
  ["404", () => json(404, NOT_FOUND), false],
  ["408", () => json(408, NOT_FOUND), false],
  ["429", () => json(429, NOT_FOUND), false],
  ["500", () => json(500, { error: { metadata: { error_type: "authentication" } } }), false],
  ["502", () => json(502, NOT_FOUND), false],
  ["503", () => json(503, NOT_FOUND), false],
  ["529", () => json(529, NOT_FOUND), false],
  ["a value of the program's own with such a status", () => ({ status: 401 }), false],
  ["nothing", () => null, false],
];

const THROWN: readonly (readonly [string, () => unknown, boolean])[] = [
  ["401 with the error's body", () => failing({ status: 401, error: NOT_FOUND.error }), true],
  ["401 with the whole body", () => failing({ status: 401, error: NOT_FOUND }), true],
  [
    "401 under another name, with its body as a text",
    () => failing({ statusCode: 401, body: JSON.stringify(NOT_FOUND) }),
    true,
  ],
  ["401 without a body", () => failing({ status: 401, error: undefined }), true],
  ["401 that is a Response", () => json(401, NOT_FOUND), true],
  ["401 of a provider", () => failing({ status: 401, error: { metadata: { provider_name: "OpenAI" } } }), false],
  ["401 of a provider in a text", () => failing({ statusCode: 401, body: '{"error":{"provider_code":"x"}}' }), false],
  [
    "401 of a provider in its response",
    () => failing({ status: 401, response: { data: { error: { metadata: { raw: "" } } } } }),
    false,
  ],
  ["401 without a header", () => Object.assign(new Error("401 Missing Authentication header"), { status: 401 }), false],
  ["403", () => failing({ status: 403, error: NOT_FOUND.error }), false],
  ["an error in the middle of a stream", () => failing({ code: 401, error: NOT_FOUND.error }), false],
  ["an error without a status", () => failing({}), false],
  ["a network failure", () => new TypeError("fetch failed", { cause: new Error("ECONNRESET") }), false],
  ["an abort", () => new DOMException("aborted", "AbortError"), false],
  ["a text", () => "401", false],
  ["undefined", () => undefined, false],
];

/** A manager whose key is dead, so that every refusal is followed by a renewal. */
function withDeadKey() {
  const found = { error: null, key: ApiKey.parse(KEY) };
  const renewed = { error: null, key: ApiKey.parse(OTHER), renewed: true };
  return {
    asked: 0,
    // What a call reads of these results.
    find: async () => found as SyncResult,
    async renew() {
      this.asked += 1;
      return renewed as RenewResult;
    },
    log: silent,
  };
}

/** What became of a call whose first outcome was this one: the keys that it was made with, and how it ended. */
async function endOf(first: CallOutcome) {
  const access = withDeadKey();
  const keys: string[] = [];
  const call = async (key: string): Promise<unknown> => {
    keys.push(key);
    if (keys.length > 1) return "the second outcome";
    if ("thrown" in first) throw first.thrown;
    return first.value;
  };
  try {
    const { value, autoRenewed } = await callWithKey(call, { ...access, renew: () => access.renew() }, {});
    return { keys, asked: access.asked, outcome: { value }, autoRenewed };
  } catch (thrown) {
    return { keys, asked: access.asked, outcome: { thrown }, autoRenewed: false };
  }
}

async function expectEnd(first: CallOutcome, isRefusal: boolean): Promise<void> {
  expect(await endOf(first)).toEqual(
    isRefusal
      ? { keys: [KEY, OTHER], asked: 1, outcome: { value: "the second outcome" }, autoRenewed: true }
      : { keys: [KEY], asked: 0, outcome: first, autoRenewed: false },
  );
}

describe("a call is repeated with a new key, or its outcome is given as it is, if it", () => {
  it.each(RETURNED)("returns %s", async (_, make, isRefusal) => {
    await expectEnd({ value: await make() }, isRefusal);
  });

  it.each(THROWN)("throws %s", async (_, make, isRefusal) => {
    await expectEnd({ thrown: make() }, isRefusal);
  });
});

describe("a refusal of the key", () => {
  it("is read from a copy: the program still gets the body", async () => {
    const response = json(401, NOT_FOUND);
    await isRefusedKey({ value: response });
    expect(await response.json()).toEqual(NOT_FOUND);
  });

  it("is none if its body does not end, of which little is read", async () => {
    let pulled = 0;
    const endless = new ReadableStream({
      async pull(controller) {
        await nextTurn();
        pulled += 1;
        controller.enqueue(new Uint8Array(16_384));
      },
    });
    const response = new Response(endless, { status: 401 });
    expect(await isRefusedKey({ value: response })).toBe(false);
    const read = pulled;
    for (let turn = 0; turn < 20; turn += 1) await nextTurn();
    expect([read < 10, pulled - read < 3]).toEqual([true, true]);
    expect((await response.body?.getReader().read())?.value).toHaveLength(16_384);
  });

  it("is none if its body does not come", { timeout: 20_000 }, async () => {
    expect(await isRefusedKey({ value: hanging() })).toBe(false);
  });
});
