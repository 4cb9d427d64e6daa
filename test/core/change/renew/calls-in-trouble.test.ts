import { describe, expect, it } from "vitest";
import { standStill } from "../../../support/fixtures/date-of-test.ts";
import { hashOf, KEY } from "../../../support/fixtures/keys.ts";
import { REFUSAL, refused, withAlice } from "../../../support/home/user-with-key.ts";
import { always } from "../../../support/openrouter/faults.ts";

standStill();

describe("a call beside another process", () => {
  it("uses the key that the other one has stored, though it could not confirm anything itself", async () => {
    const { use, ask, old, server, log } = await withAlice();
    server.removeKey(old);
    let isStored = false;
    const result = await use(async (manager) => {
      server.behave(({ route }) => {
        if (route !== "GET /key") return "pass";
        if (!isStored) void manager.saveKeyToDb("alice", KEY);
        isStored = true;
        return { status: 503 };
      });
      server.addKey(KEY);
      return manager.withUserKey("alice", ask);
    });
    expect([result.value.status, result.autoRenewed, result.autoRenewalError]).toEqual([200, false, null]);
    expect([server.count("POST /keys"), log.filter((line) => line.includes("❌"))]).toEqual([1, []]);
  });
});

describe("the time of a call", () => {
  it("that was too short for the confirmation is no failure of the next call", async () => {
    const { use, ask, old, server, log } = await withAlice();
    server.removeKey(old);
    await use(async (manager) => {
      server.behave(always("GET /key", { delayMs: 3_000 }));
      const hurried = await manager.withUserKey("alice", ask, { timeoutMs: 1_000 });
      expect([hurried.value.status, hurried.autoRenewalError?.code]).toEqual([401, "VERDICT_UNKNOWN"]);
      server.behave(() => "pass");
      const next = await manager.withUserKey("alice", ask);
      expect([next.value.status, next.autoRenewed]).toEqual([200, true]);
    });
    expect(log.filter((line) => line.includes("❌"))).toHaveLength(1);
  });

  it("is said of the renewal, not of the database, for each of many callers", async () => {
    const { use, ask, old, server } = await withAlice();
    server.removeKey(old);
    server.behave(always("GET /key", { delayMs: 4_000 }));
    const results = await use((manager) =>
      Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          manager.withUserKey("alice", ask, { timeoutMs: index === 0 ? 3_000 : 1_500 }),
        ),
      ),
    );
    const codes = results.map(({ autoRenewalError }) => autoRenewalError?.code);
    expect(new Set(codes)).toEqual(new Set(["VERDICT_UNKNOWN"]));
  });

  it("still ends an answer that is read afterwards by the program's own signal", async () => {
    const { use } = await withAlice();
    const controller = new AbortController();
    const signals: AbortSignal[] = [];
    const call = async (_: string, { signal }: { signal: AbortSignal }) => signals.push(signal);
    const limits = { signal: controller.signal, timeoutMs: 60_000 };
    await use((manager) => manager.withUserKey("alice", call, limits));
    controller.abort();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });

  it("that was over before it began is thrown, and nothing is called", async () => {
    const { use, ask, asked } = await withAlice();
    const over = new Error("over");
    const options = { signal: AbortSignal.abort(over) };
    await expect(use((manager) => manager.withUserKey("alice", ask, options))).rejects.toBe(over);
    expect(asked).toEqual([]);
  });
});

describe("a close", () => {
  it("does not refuse what was begun before it, on the first use of its module", async () => {
    const { use, ask, old, server } = await withAlice();
    server.removeKey(old);
    const ended = await use(async (manager) => {
      const begun = [
        manager.renew("alice").then(({ error }) => error),
        manager.rotate("carol").then(({ error }) => error?.code),
        manager.leaked(hashOf("nobody's")).then(({ error }) => error?.code),
        manager.withUserKey("bob", ask).then(({ value }) => value.status),
      ];
      await manager.close();
      return Promise.all(begun);
    });
    expect(ended).toEqual([null, "NO_KEY", "ATTENTION", 200]);
  });

  it("refuses what is begun after it, in the error of the result", async () => {
    const { use, ask } = await withAlice();
    await use(async (manager) => {
      await manager.close();
      expect((await manager.renew("alice")).error?.code).toBe("USAGE");
      await expect(manager.withUserKey("alice", ask)).rejects.toMatchObject({ code: "USAGE" });
    });
  });
});

describe("a call with wrong arguments", () => {
  it.each([
    ["no function", [null, {}]],
    ["a rule that is no function", [refused, { isRefusal: "401" }]],
  ] as const)("(%s) is refused before a key is looked for", async (_, [call, options]) => {
    const { use, server } = await withAlice();
    const before = server.requests.length;
    const wrong = use((manager) => manager.withUserKey("carol", call as never, options as never));
    await expect(wrong).rejects.toMatchObject({ code: "USAGE" });
    expect(server.requests.length).toBe(before);
  });
});

describe("an outcome that cannot be read", () => {
  it.each<[string, () => unknown]>([
    [
      "a status that throws",
      () => ({
        get status() {
          throw new Error("no status");
        },
      }),
    ],
    ["a status that is a symbol", () => ({ status: Symbol("401") })],
    ["something like a Response, without headers", () => ({ status: 401, clone() {}, text() {} })],
  ])("(%s) is thrown as it is", async (_, make) => {
    const { use, server } = await withAlice();
    const thrown = make();
    const call = async () => Promise.reject(thrown);
    await expect(use((manager) => manager.withUserKey("alice", call))).rejects.toBe(thrown);
    expect(server.count("POST /keys")).toBe(1);
  });

  it("is a stream, however its type is written", async () => {
    const { use, old, server } = await withAlice();
    server.removeKey(old);
    const headers = { "content-type": "Text/Event-Stream; charset=utf-8" };
    const call = async () => new Response(JSON.stringify(REFUSAL), { status: 401, headers });
    const { autoRenewed } = await use((manager) => manager.withUserKey("alice", call));
    expect([autoRenewed, server.count("POST /keys")]).toEqual([false, 1]);
  });
});
