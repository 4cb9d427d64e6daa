import { describe, expect, it } from "vitest";
import type { Warning } from "../../../src/core/model/warning.ts";
import { RestrictionBook } from "../../../src/core/protocol/restriction-book.ts";
import { hashOf, keyEnding } from "../../support/fixtures/keys.ts";
import { clientOf } from "../../support/openrouter/client.ts";
import { always, on } from "../../support/openrouter/faults.ts";
import { mockOpenRouter } from "../../support/openrouter/of-test.ts";
import type { MockOptions } from "../../support/openrouter/server.ts";

const keyNumber = (n: number) => keyEnding(String(n).padStart(4, "0"));
const hashNumber = (n: number) => hashOf(keyNumber(n));
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

/** A server with so many keys, and the books of two processes. */
async function stage(count: number, options: MockOptions = {}) {
  const server = await mockOpenRouter(options);
  for (const n of numbers(count)) server.addKey(keyNumber(n));
  const { upstream, budget } = clientOf(server);
  const warnings: Warning[] = [];
  const book = () => new RestrictionBook((warning) => warnings.push(warning));
  return { server, upstream, budget, warnings, book: book(), other: book() };
}

describe("keys that are attached at once in one process", () => {
  it("are all in the allow-list", async () => {
    const { server, upstream, budget, book } = await stage(21);
    const { id } = server.addCredential({ allowedKeys: [hashNumber(20)] });
    const ends = await Promise.all(
      numbers(20).map((n) => book.attach(hashNumber(n), { guardrails: [], byok: [id] }, upstream, budget())),
    );
    expect(ends).toEqual(numbers(20).map(() => ({ status: "attached" })));
    expect(new Set(server.credentials.get(id)?.allowedKeys)).toEqual(new Set(numbers(21).map(hashNumber)));
  });

  it("all have their guardrail, by readings that they share", async () => {
    const { server, upstream, budget, book } = await stage(20, { latencyMs: 5 });
    const guardrail = server.addGuardrail();
    await Promise.all(
      numbers(20).map((n) => book.attach(hashNumber(n), { guardrails: [guardrail], byok: [] }, upstream, budget())),
    );
    expect(server.guardrails().size).toBe(20);
    // A reading has two pages: the last one has nothing new.
    expect(server.count("GET /guardrails/assignments/keys")).toBeLessThan(20);
  });
});

describe("an edit that another process overwrites", () => {
  it("is made again, until the list names the key", async () => {
    const { server, upstream, budget, book, other } = await stage(4);
    const { id } = server.addCredential({ allowedKeys: [hashNumber(3)] });
    const ends = await Promise.all([
      book.attach(hashNumber(0), { guardrails: [], byok: [id] }, upstream, budget()),
      other.attach(hashNumber(1), { guardrails: [], byok: [id] }, upstream, budget()),
    ]);
    const allowed = server.credentials.get(id)?.allowedKeys ?? [];
    for (const [n, { status }] of ends.entries()) {
      expect(status === "failed" || allowed.includes(hashNumber(n))).toBe(true);
    }
    expect(allowed).toContain(hashNumber(3));
  });

  it("is a failure where it is overwritten each time", async () => {
    const { server, upstream, budget, book } = await stage(2);
    const credential = server.addCredential({ allowedKeys: [hashNumber(1)] });
    const overwritten = {
      ...upstream,
      async setAllowedKeys(...given: Parameters<typeof upstream.setAllowedKeys>) {
        const answer = await upstream.setAllowedKeys(...given);
        credential.allowedKeys = [hashNumber(1)];
        return answer;
      },
    };
    const end = await book.attach(hashNumber(0), { guardrails: [], byok: [credential.id] }, overwritten, budget());
    expect(end).toMatchObject({ status: "failed" });
  });
});

describe("an allow-list", () => {
  it("loses the hashes of deleted keys, where OpenRouter refuses it with them", async () => {
    const { server, upstream, budget, book } = await stage(4);
    const { id } = server.addCredential({ allowedKeys: [1, 2, 3].map(hashNumber) });
    server.removeKey(hashNumber(2));
    expect(await book.attach(hashNumber(0), { guardrails: [], byok: [id] }, upstream, budget())).toEqual({
      status: "attached",
    });
    expect(server.credentials.get(id)?.allowedKeys).toEqual([1, 3, 0].map(hashNumber));
  });

  it("with 100 living keys takes no other, and stays as it is", async () => {
    const { server, upstream, budget, book } = await stage(101);
    const full = numbers(101).slice(1).map(hashNumber);
    const { id } = server.addCredential({ allowedKeys: full });
    const end = await book.attach(hashNumber(0), { guardrails: [], byok: [id] }, upstream, budget());
    expect(end).toMatchObject({ status: "failed", detail: expect.stringContaining("100 keys") });
    expect(server.credentials.get(id)?.allowedKeys).toEqual(full);
  });

  it("with 100 hashes, one of a deleted key, takes another", async () => {
    const { server, upstream, budget, book } = await stage(101);
    const { id } = server.addCredential({ allowedKeys: numbers(101).slice(1).map(hashNumber) });
    server.removeKey(hashNumber(50));
    const end = await book.attach(hashNumber(0), { guardrails: [], byok: [id] }, upstream, budget());
    expect(end).toEqual({ status: "attached" });
    expect(server.credentials.get(id)?.allowedKeys).toHaveLength(100);
  });

  it("whose only key is removed keeps it: neither an empty list nor none may take its place", async () => {
    const { server, upstream, budget, book } = await stage(1);
    const { id } = server.addCredential({ allowedKeys: [hashNumber(0)] });
    await book.detach(hashNumber(0), upstream, budget());
    expect(server.credentials.get(id)?.allowedKeys).toEqual([hashNumber(0)]);
  });

  it("that every key may use is left alone", async () => {
    const { server, upstream, budget, book } = await stage(1);
    const { id } = server.addCredential({ allowedKeys: null });
    await book.attach(hashNumber(0), { guardrails: [], byok: [] }, upstream, budget());
    await book.detach(hashNumber(0), upstream, budget());
    expect(server.credentials.get(id)?.allowedKeys).toBe(null);
    expect(server.count("PATCH /byok/{id}")).toBe(0);
  });

  it("of another workspace is found", async () => {
    const { server, upstream, budget, book } = await stage(1);
    const workspace = server.addWorkspace("elsewhere");
    const { id } = server.addCredential({ allowedKeys: [hashNumber(0)], workspace });
    expect(await book.attachedTo(hashNumber(0), upstream, budget())).toEqual({ guardrails: [], byok: [id] });
  });
});

describe("what is not shown", () => {
  it.each([403, 404])("is unknown after %s, and said once a run", async (status) => {
    const { server, upstream, budget, warnings, book } = await stage(2);
    server.behave(always("GET /byok", { status }));
    for (const n of [0, 1]) {
      expect(await book.attachedTo(hashNumber(n), upstream, budget())).toEqual({ guardrails: [], byok: null });
    }
    expect(warnings.map(({ code }) => code)).toEqual(["RESTRICTIONS_UNKNOWN"]);
  });

  it("is no answer after 500, and is asked for again", async () => {
    const { server, upstream, budget, warnings, book } = await stage(1);
    server.behave(on("GET /guardrails/assignments/keys", ...numbers(20).map(() => ({ status: 500 }))));
    expect(await book.attachedTo(hashNumber(0), upstream, budget())).toMatchObject({ status: "unknown" });
    server.behave(() => "pass");
    expect(await book.attachedTo(hashNumber(0), upstream, budget())).toEqual({ guardrails: [], byok: [] });
    expect(warnings).toEqual([]);
  });

  it("is read once for many keys within a minute", async () => {
    const { server, upstream, budget, book } = await stage(20);
    await Promise.all(numbers(20).map((n) => book.attachedTo(hashNumber(n), upstream, budget())));
    const readings = server.count("GET /byok");
    await book.attachedTo(hashNumber(3), upstream, budget());
    expect(server.count("GET /byok")).toBe(readings);
  });
});

describe("a guardrail", () => {
  it("that does not exist any more fails the attachment", async () => {
    const { upstream, budget, book } = await stage(1);
    const gone = "5f1f21a0-5b5a-4b6c-9d0a-4ad8f0b0c0d1";
    const end = await book.attach(hashNumber(0), { guardrails: [gone], byok: [] }, upstream, budget());
    expect(end).toMatchObject({ status: "failed", detail: expect.stringContaining("does not have it any more") });
  });

  it("is taken from a key that is removed, and from no other", async () => {
    const { server, upstream, budget, book } = await stage(2);
    const guardrail = server.addGuardrail();
    for (const n of [0, 1]) server.assignGuardrail(guardrail, hashNumber(n));
    await book.detach(hashNumber(0), upstream, budget());
    expect(server.guardrails()).toEqual(new Map([[hashNumber(1), guardrail]]));
  });
});
