import { describe, expect, it } from "vitest";
import { hashOf, keyEnding } from "../fixtures/keys.ts";
import { ask } from "./ask.ts";
import { REFUSAL_NAMES } from "./chat-refusals.ts";
import { CONTROLS } from "./control.ts";
import { mockOpenRouter } from "./of-test.ts";
import type { OpenRouterServer } from "./server.ts";

const KEY = keyEnding("0001");
const HASH = hashOf(KEY);

async function control(server: OpenRouterServer, name: string, body: unknown) {
  const { origin } = new URL(server.url);
  return ask({ url: origin }, "POST", `/mock/${name}`, null, body);
}

describe("another process", () => {
  it("makes a key spend, and moves the time", async () => {
    const server = await mockOpenRouter({ now: () => Date.parse("2026-11-25T10:00:00Z") });
    server.addKey(KEY, { limit: 5, limitReset: "daily" });
    expect((await control(server, "spend", { hash: HASH, usd: 2 })).json).toEqual({ spent: true });
    const left = async () => (await ask(server, "GET", "/key", KEY)).json["data"].limit_remaining as number;
    expect(await left()).toBe(3);
    expect((await control(server, "time", { advance_s: 86_400 })).json).toEqual({ now: "2026-11-26T10:00:00.000Z" });
    expect(await left()).toBe(5);
    const { json } = await control(server, "time", { now: "2027-01-01T00:00:00Z" });
    expect(json).toEqual({ now: "2027-01-01T00:00:00.000Z" });
  });

  it("adds guardrails and credentials, and changes settings", async () => {
    const server = await mockOpenRouter();
    server.addKey(KEY);
    const guardrail = (await control(server, "guardrail", {})).json["id"] as string;
    const path = `/guardrails/${guardrail}/assignments/keys`;
    expect((await ask(server, "POST", path, server.managementKey, { key_hashes: [HASH] })).status).toBe(200);
    const { json } = await control(server, "credential", { allowed_api_key_hashes: [HASH] });
    expect(server.credentials.get(json["id"] as string)?.allowedKeys).toEqual([HASH]);
    await control(server, "settings", { goneKeysAcceptedMs: 60_000 });
    server.removeKey(HASH);
    expect((await ask(server, "GET", "/key", KEY)).status).toBe(200);
    expect(server.requests.map(({ path: asked }) => asked)).toEqual([path, "/key"]);
  });

  it.each([
    ["nothing", {}, 404, `unknown control: ${Object.keys(CONTROLS).join(", ")}`],
    ["toString", {}, 404, `unknown control: ${Object.keys(CONTROLS).join(", ")}`],
    ["spend", { hash: HASH }, 400, "hash and usd are required"],
    ["time", { now: "soon" }, 400, "advance_s or now is required"],
    ["credential", { allowed_api_key_hashes: "all" }, 400, "allowed_api_key_hashes is a list of hashes, or null"],
    ["refuse", { refusal: "rudely" }, 400, `unknown refusal: ${REFUSAL_NAMES.join(", ")}`],
    [
      "settings",
      { speed: 1 },
      400,
      "unknown setting speed: newKeysRefusedMs, goneKeysAcceptedMs, newKeyLimit, checksCountAsUse, chatUsd, errorTypeIn",
    ],
  ])("is told what is wrong with %s %j", async (name, body, code, message) => {
    const { status, json } = await control(await mockOpenRouter(), name, body);
    expect([status, json["error"]]).toEqual([code, { code, message }]);
  });
});
