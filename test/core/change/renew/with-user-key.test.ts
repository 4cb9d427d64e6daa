import { describe, expect, it } from "vitest";
import { standStill } from "../../../support/fixtures/date-of-test.ts";
import { renewalFields } from "../../../../src/core/change/renew/with-user-key.ts";
import type { CallOutcome } from "../../../../src/core/change/renew/refusal.ts";
import { hashOf, KEY } from "../../../support/fixtures/keys.ts";
import { REFUSAL, refused, withAlice } from "../../../support/home/user-with-key.ts";
import { always } from "../../../support/openrouter/faults.ts";

standStill();

async function refusedInWords(_: string, { attempt }: { readonly attempt: 1 | 2 }): Promise<string> {
  return attempt === 1 ? "refused" : "answered";
}

function isWordRefused(outcome: CallOutcome<string>): boolean {
  return "value" in outcome && outcome.value === "refused";
}

function renewalsIn(log: readonly string[]): readonly string[] {
  return log
    .filter((line) => !line.startsWith("[KeyManager]"))
    .map((line) => line.replaceAll(/\*{15}\w{4}/g, "<mask>"));
}

describe("a call with a key that works", () => {
  it("is made once, and its value is returned", async () => {
    const { use, ask, asked, old, server } = await withAlice();
    const before = server.requests.length;
    const result = await use((manager) => manager.withUserKey("alice", ask));
    expect([result.value.status, result.autoRenewed, result.autoRenewalError]).toEqual([200, false, null]);
    expect([asked, server.requests.length]).toEqual([[old], before]);
  });

  it("gets a new key if the user has none, as a sync would, and none with autoProvision: false", async () => {
    const { use, ask, server } = await withAlice();
    const options = { autoProvision: false };
    await expect(use((manager) => manager.withUserKey("bob", ask, options))).rejects.toMatchObject({ code: "NO_KEY" });
    const { value } = await use((manager) => manager.withUserKey("bob", ask));
    expect([value.status, server.keys.size]).toEqual([200, 2]);
  });

  it.each<[string, () => Promise<Response>]>([
    ["402", async () => Response.json({ error: { code: 402 } }, { status: 402 })],
    ["403", async () => Response.json({ error: { code: 403 } }, { status: 403 })],
    ["429", async () => Response.json({ error: { code: 429 } }, { status: 429 })],
    ["503", async () => Response.json({ error: { code: 503 } }, { status: 503 })],
    ["a provider's 401", async () => Response.json({ error: { metadata: { raw: "no" } } }, { status: 401 })],
  ])("that is answered %s returns that, and nobody is asked", async (_, call) => {
    const { use, server } = await withAlice();
    const before = server.requests.length;
    const result = await use((manager) => manager.withUserKey("alice", call));
    expect([result.value.ok, result.autoRenewed, result.autoRenewalError]).toEqual([false, false, null]);
    expect(server.requests.length).toBe(before);
  });

  it("that throws throws the same", async () => {
    const { use } = await withAlice();
    const thrown = new TypeError("fetch failed");
    const call = async () => Promise.reject(thrown);
    await expect(use((manager) => manager.withUserKey("alice", call))).rejects.toBe(thrown);
  });

  it("and was refused nevertheless returns the refusal", async () => {
    const { use, asked, server, log } = await withAlice();
    const call = async (key: string) => {
      asked.push(key);
      return Response.json(REFUSAL, { status: 401 });
    };
    const result = await use((manager) => manager.withUserKey("alice", call));
    expect([result.value.status, result.autoRenewed, result.autoRenewalError]).toEqual([401, false, null]);
    expect(await result.value.json()).toEqual(REFUSAL);
    expect([asked.length, server.count("POST /keys"), renewalsIn(log)]).toEqual([1, 1, []]);
  });
});

describe("a call with a key that is dead", () => {
  it("is repeated with a new key", async () => {
    const { use, ask, asked, old, server, log } = await withAlice();
    server.removeKey(old);
    const attempts: number[] = [];
    const result = await use((manager) =>
      manager.withUserKey("alice", (key, { attempt }) => {
        attempts.push(attempt);
        return ask(key);
      }),
    );
    expect([result.value.status, result.autoRenewed, result.autoRenewalError]).toEqual([200, true, null]);
    expect(attempts).toEqual([1, 2]);
    expect(asked).toEqual([old, ...server.keys.keys()]);
    expect(renewalsIn(log)).toEqual([
      "[Auto-Renewal] Old key expired: <mask>",
      "[Auto-Renewal] Creating new runtime key for user alice...",
      "[Auto-Renewal] ✅ New key created and saved: <mask>",
      "✅ API key was automatically renewed during this request",
    ]);
    expect(renewalFields(result)).toEqual({ auto_renewed: true, auto_renewal_failed: false, auto_renewal_error: null });
  });

  it("is repeated if it throws as an SDK does, and what the repetition throws is thrown", async () => {
    const { use, old, server } = await withAlice();
    server.removeKey(old);
    let calls = 0;
    const call = async () => {
      calls += 1;
      throw Object.assign(new Error(`call ${calls}`), { status: 401, error: REFUSAL.error });
    };
    await expect(use((manager) => manager.withUserKey("alice", call))).rejects.toThrow("call 2");
    expect([calls, server.count("POST /keys")]).toEqual([2, 2]);
  });

  it("is not repeated a second time, whatever the new key gets", async () => {
    const { use, old, server } = await withAlice();
    server.removeKey(old);
    let calls = 0;
    const call = async () => {
      calls += 1;
      return Response.json(REFUSAL, { status: 401 });
    };
    const result = await use((manager) => manager.withUserKey("alice", call));
    expect([result.value.status, result.autoRenewed, calls, server.count("POST /keys")]).toEqual([401, true, 2, 2]);
  });

  it("uses the key that has taken its place in the meantime, and renews nothing", async () => {
    const { use, asked, old, server } = await withAlice();
    const result = await use((manager) =>
      manager.withUserKey("alice", async (key, { attempt }) => {
        asked.push(hashOf(key));
        if (attempt === 2) return Response.json({});
        await manager.saveKeyToDb("alice", KEY);
        return Response.json(REFUSAL, { status: 401 });
      }),
    );
    expect([result.value.status, result.autoRenewed, result.autoRenewalError]).toEqual([200, false, null]);
    expect([asked, server.count("POST /keys")]).toEqual([[old, hashOf(KEY)], 1]);
  });

  it("decides by the program's own rule, if it has one", async () => {
    const { use, old, server } = await withAlice();
    server.removeKey(old);
    const options = { isRefusal: isWordRefused };
    const { value } = await use((manager) => manager.withUserKey("alice", refusedInWords, options));
    expect(value).toBe("answered");
  });

  it("returns the refusal with renew: false", async () => {
    const { use, ask, old, server } = await withAlice();
    server.removeKey(old);
    const result = await use((manager) => manager.withUserKey("alice", ask, { renew: false }));
    expect([result.value.status, result.autoRenewalError, server.count("POST /keys")]).toEqual([401, null, 1]);
  });

  it("returns the refusal of a disabled key, unless renewDisabled is set", async () => {
    const { use, ask, old, server, log } = await withAlice();
    const key = server.keys.get(old);
    if (key !== undefined) key.disabled = true;
    const result = await use((manager) => manager.withUserKey("alice", ask));
    expect([result.value.status, result.autoRenewed, result.autoRenewalError?.code]).toEqual([
      401,
      false,
      "KEY_INVALID",
    ]);
    expect(renewalsIn(log)).toEqual([
      "[Auto-Renewal] ❌ the key of user alice is disabled at OpenRouter, maybe on purpose; nothing was done",
    ]);
    expect(renewalFields(result)).toEqual({
      auto_renewed: false,
      auto_renewal_failed: true,
      auto_renewal_error: "the key of user alice is disabled at OpenRouter, maybe on purpose; nothing was done",
    });
    const forced = await use((manager) => manager.withUserKey("alice", ask, { renewDisabled: true }));
    expect([forced.value.status, forced.autoRenewed]).toEqual([200, true]);
  });

  it("throws what the first call has thrown if the key cannot be renewed", async () => {
    const { use, old, server } = await withAlice();
    server.removeKey(old);
    server.behave(always("POST /keys", { status: 402 }));
    const thrown = Object.assign(new Error("refused"), { status: 401 });
    const call = async () => Promise.reject(thrown);
    await expect(use((manager) => manager.withUserKey("alice", call))).rejects.toBe(thrown);
  });

  it("is given up in time, and the renewal is finished", { timeout: 60_000 }, async () => {
    const { use, ask, old, server } = await withAlice();
    server.removeKey(old);
    server.behave(always("POST /keys", { delayMs: 7_000 }));
    const result = await use((manager) => manager.withUserKey("alice", ask, { timeoutMs: 5_000 }));
    expect([result.value.status, result.autoRenewalError?.code]).toEqual([401, "PROVISION_PENDING"]);
    expect(server.keys.size).toBe(1);
    const next = await use((manager) => manager.withUserKey("alice", ask));
    expect([next.value.status, next.autoRenewed]).toEqual([200, false]);
  });

  const stopped = new Error("the program stops");

  it("gives its signal to the call", async () => {
    const { use } = await withAlice();
    const controller = new AbortController();
    const { signal } = controller;
    const call = async (_: string, context: { signal: AbortSignal }) =>
      new Promise<never>((_resolve, reject) => {
        context.signal.addEventListener("abort", () => reject(context.signal.reason));
        controller.abort(stopped);
      });
    await expect(use((manager) => manager.withUserKey("alice", call, { signal }))).rejects.toBe(stopped);
  });
});

describe("many calls", () => {
  it("with one dead key at the same time are one renewal, and each is answered", async () => {
    const { use, ask, old, server, log } = await withAlice({ latencyMs: 10 });
    server.removeKey(old);
    const results = await use((manager) =>
      Promise.all(Array.from({ length: 100 }, () => manager.withUserKey("alice", ask))),
    );
    expect(new Set(results.map(({ value }) => value.status))).toEqual(new Set([200]));
    expect([server.count("POST /keys"), server.keys.size]).toEqual([2, 1]);
    expect(renewalsIn(log).filter((line) => line.includes("Creating"))).toHaveLength(1);
  });

  it("that are refused one after the other ask OpenRouter about the key once", async () => {
    const { use, server } = await withAlice();
    const before = server.requests.length;
    await use(async (manager) => {
      for (let calls = 0; calls < 50; calls += 1) await manager.withUserKey("alice", refused);
    });
    expect(server.requests.length - before).toBe(1);
  });

  it("whose renewal fails try it once, and say so once", async () => {
    const { use, ask, old, server, log } = await withAlice();
    server.removeKey(old);
    server.behave(always("POST /keys", { status: 402 }));
    const results = await use(async (manager) => {
      const all = [];
      for (let calls = 0; calls < 20; calls += 1) all.push(await manager.withUserKey("alice", ask));
      return all;
    });
    expect(new Set(results.map(({ autoRenewalError }) => autoRenewalError?.code))).toEqual(
      new Set(["PROVISION_REFUSED"]),
    );
    expect(server.count("POST /keys")).toBe(2);
    expect(renewalsIn(log).filter((line) => line.includes("❌"))).toHaveLength(1);
  });
});
