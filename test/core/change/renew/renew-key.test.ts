import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { pass, standStill } from "../../../support/fixtures/date-of-test.ts";
import type { RenewOptions } from "../../../../src/core/manager/manager-options.ts";
import { logLines } from "../../../../src/core/model/log-event.ts";
import type { RenewResult } from "../../../../src/core/model/renew-results.ts";
import { parseUserId } from "../../../../src/core/model/user-id.ts";
import { findKey } from "../../../../src/core/protocol/find-key.ts";
import { hashOf, KEY, USER } from "../../../support/fixtures/keys.ts";
import { changesAt, journalOf, note, operation, stage, withStore } from "../../../support/home/tool-with-openrouter.ts";
import type { Stage } from "../../../support/home/tool-with-openrouter.ts";
import { always, on } from "../../../support/openrouter/faults.ts";
import type { Rule } from "../../../support/openrouter/faults.ts";
import type { MockOptions } from "../../../support/openrouter/server.ts";
import { asLibrary } from "../../../support/programs/library-in-process.ts";

const ALICE = parseUserId("alice");
const MINUTE = 60_000;
const DAY = 86_400_000;

standStill();

/** A user with a key of $10 a month that expires after 90 days, and that is old enough to be judged at once. */
async function provisioned(options: MockOptions = {}, flags = "--limit 10 --limit-reset monthly --expires-in 90d") {
  const all = await stage(options);
  await all.given(`provision --user alice ${flags}`);
  const [old] = all.server.keys.values();
  if (old === undefined) throw new Error("no key was created");
  pass(5 * MINUTE);
  return { ...all, old };
}

/** The same, and the key is deleted at OpenRouter. */
async function bereft(options: MockOptions = {}) {
  const all = await provisioned(options);
  all.server.removeKey(all.old.hash);
  return all;
}

function renew({ home, env }: Pick<Stage, "home" | "env">, options: RenewOptions = {}): Promise<RenewResult> {
  return asLibrary(home, env, (manager) => manager.renew("alice", options));
}

function rowOf({ home }: Pick<Stage, "home">) {
  return withStore(home, (store, signal) => findKey(store, ALICE, signal));
}

describe("a key that was deleted at OpenRouter", () => {
  it("is replaced by one with its terms, and the row says so", async () => {
    const all = await bereft();
    const result = await renew(all);
    expect(result).toMatchObject({
      userId: "alice",
      source: "auto-provisioned",
      origin: "auto-provisioned",
      synced: true,
      limit: 10,
      limitNow: 10,
      limitReset: "monthly",
      expiresAt: "2027-02-22T12:05:00.000Z",
      renewed: true,
      previous: { keyHash: all.old.hash, origin: "auto-provisioned", revocation: "done", revokeAt: null },
      error: null,
    });
    expect(result.warnings.map(({ code }) => code)).toEqual(["LIMIT_WHOLE_AGAIN"]);
    expect([...all.server.keys.keys()]).toEqual([result.keyHash]);
    expect(await rowOf(all)).toMatchObject({
      keyHash: result.keyHash,
      generation: 2,
      settled: true,
      previous: null,
      autoRenewed: true,
      lastRenewalAt: "2026-11-24T12:05:00.000Z",
    });
    expect(await journalOf(all.home)).toEqual([
      "op:1",
      "op:2",
      "out:1 saved",
      "out:2 saved",
      "rev:1 superseded, revoke",
    ]);
  });

  it("is replaced once: the second renewal finds a key that works", async () => {
    const all = await bereft();
    const first = await renew(all);
    const second = await renew(all);
    expect(second).toMatchObject({ keyHash: first.keyHash, source: "database", renewed: false, previous: null });
    expect(all.server.count("POST /keys")).toBe(2);
  });

  it("is replaced with the restrictions that its row knows", async () => {
    const all = await provisioned();
    const guardrail = all.server.addGuardrail();
    all.server.assignGuardrail(guardrail, all.old.hash);
    const rotated = await asLibrary(all.home, all.env, (manager) => manager.rotate("alice", { graceMs: 0 }));
    pass(5 * MINUTE);
    all.server.removeKey(rotated.keyHash ?? "");
    const { keyHash, error } = await renew(all);
    expect([error, all.server.guardrails().get(keyHash ?? "")]).toEqual([null, guardrail]);
  });

  it("leaves keys in an earlier grace to their time", async () => {
    const all = await provisioned();
    const second = await asLibrary(all.home, all.env, (manager) => manager.rotate("alice", { graceMs: 60 * MINUTE }));
    pass(5 * MINUTE);
    all.server.removeKey(second.keyHash ?? "");
    const { keyHash } = await renew(all);
    expect([...all.server.keys.keys()]).toEqual([all.old.hash, keyHash]);
    expect((await journalOf(all.home)).filter((entry) => entry.startsWith("del"))).toEqual([]);
  });

  it("that keyctl did not create is replaced, and nothing is recorded about the old one", async () => {
    const all = await stage();
    await all.given("save --user alice --stdin", { input: KEY });
    const result = await renew(all);
    expect(result).toMatchObject({ renewed: true, previous: { keyHash: hashOf(KEY), revocation: "not_ours" } });
    expect(await journalOf(all.home)).toEqual(["op:1", "out:1 saved"]);
  });
});

describe("a key that has expired", () => {
  it("is replaced, with what was left of its limit, and removed", async () => {
    const all = await provisioned({}, "--limit 10 --expires-in 90d");
    all.server.spend(all.old.hash, 6.8);
    pass(91 * DAY);
    const result = await renew(all);
    expect(result).toMatchObject({ renewed: true, limit: 3.2, expiresAt: "2027-05-24T12:05:00.000Z", warnings: [] });
    expect([...all.server.keys.keys()]).toEqual([result.keyHash]);
  });

  it("only by this machine's clock is not replaced", async () => {
    const server = { now: () => Date.parse("2026-11-24T12:05:00Z") };
    const all = await provisioned(server);
    pass(91 * DAY);
    const result = await renew(all);
    expect(result).toMatchObject({ renewed: false, keyHash: all.old.hash, error: null });
    expect(result.warnings.map(({ code }) => code)).toEqual(["KEY_EXPIRED"]);
  });
});

describe("a key that is disabled at OpenRouter", () => {
  it("is left alone, and replaced on request", async () => {
    const all = await provisioned();
    all.old.disabled = true;
    expect(await renew(all)).toMatchObject({ key: null, renewed: false, error: { code: "KEY_INVALID" } });
    expect(changesAt(all.server)).toEqual({ "POST /keys": 1 });
    expect(await renew(all, { includeDisabled: true })).toMatchObject({ renewed: true, error: null });
  });
});

describe("a key that is not confirmed to be dead", () => {
  it.each<[string, Rule, string]>([
    ["OpenRouter answers 500", always("GET /key", { status: 500 }), "VERDICT_UNKNOWN"],
    ["the second witness answers 500", always("GET /keys/{hash}", { status: 500 }), "VERDICT_UNKNOWN"],
    ["the second witness refuses to say", always("GET /keys/{hash}", { status: 403 }), "MANAGEMENT_KEY_REFUSED"],
  ])("because %s stays", { timeout: 60_000 }, async (_, rule, code) => {
    const all = await bereft();
    all.server.behave(rule);
    const result = await renew(all, { timeoutMs: 5_000 });
    expect([result.renewed, result.error?.code]).toEqual([false, code]);
    expect(all.server.count("POST /keys")).toBe(1);
  });

  it("because the second witness says that it works stays", async () => {
    const all = await provisioned();
    all.server.behave(always("GET /key", { status: 401 }));
    expect((await renew(all)).error?.code).toBe("VERDICT_UNKNOWN");
    expect(all.server.count("POST /keys")).toBe(1);
  });

  it("because there is no management key stays", async () => {
    const all = await bereft();
    const { OPENROUTER_PROVISIONING_KEY: _, ...env } = all.env;
    expect((await renew({ ...all, env })).error?.code).toBe("MANAGEMENT_KEY_MISSING");
    expect(all.server.count("POST /keys")).toBe(1);
  });

  it("because it was refused once stays", async () => {
    const all = await provisioned();
    all.server.behave(on("GET /key", { status: 401 }, "pass"));
    expect(await renew(all)).toMatchObject({ renewed: false, keyHash: all.old.hash, error: null });
  });
});

describe("a renewal", () => {
  it("that comes to nothing leaves the row as it was, and no key behind", { timeout: 60_000 }, async () => {
    const all = await bereft({ newKeysRefusedMs: DAY });
    const before = await rowOf(all);
    vi.useRealTimers();
    const result = await renew(all);
    expect([result.renewed, result.error?.code]).toEqual([false, "NEW_KEY_REFUSED"]);
    expect([all.server.count("POST /keys"), all.server.keys.size]).toEqual([2, 0]);
    expect(await rowOf(all)).toEqual(before);
  });

  it("of a user without a row creates nothing", async () => {
    const all = await stage();
    await all.given("provision --user bob");
    expect((await renew(all)).error?.code).toBe("NO_KEY");
    expect(all.server.count("POST /keys")).toBe(1);
  });

  it("of a blocked user says so", async () => {
    const all = await bereft();
    await asLibrary(all.home, all.env, (manager) => manager.block("alice"));
    expect((await renew(all)).error?.code).toBe("USER_BLOCKED");
  });

  it("counts towards the hourly cap of automatic keys", async () => {
    const all = await bereft();
    const env = { ...all.env, KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" };
    await all.given("sync --user bob", { env });
    expect((await renew({ ...all, env })).error?.code).toBe("PROVISION_CAP");
  });

  it("waits for the operation of another process, and takes over from one that has died", async () => {
    const all = await bereft();
    await note(all.home, "alice", operation(2), 2 * MINUTE);
    const result = await renew(all);
    expect(result.renewed).toBe(true);
    expect(await journalOf(all.home)).toContain("out:2 abandoned");
    expect((await rowOf(all))?.generation).toBe(3);
  });

  it("is one for all who ask at the same time", async () => {
    const all = await bereft({ latencyMs: 20 });
    const results = await asLibrary(all.home, all.env, (manager) =>
      Promise.all(Array.from({ length: 100 }, () => manager.renew("alice"))),
    );
    expect(new Set(results.map(({ keyHash }) => keyHash)).size).toBe(1);
    expect(all.server.count("POST /keys")).toBe(2);
    expect(all.server.requests.filter(({ route }) => route === "GET /keys/{hash}").length).toBeLessThan(6);
  });

  it("whose caller stops waiting is finished all the same", async () => {
    const controller = new AbortController();
    const all = await bereft();
    // The caller stops when the request for the new key arrives.
    all.server.behave(({ route }) => {
      if (route === "POST /keys") controller.abort();
      return route === "POST /keys" ? { delayMs: 500 } : "pass";
    });
    const result = await renew(all, { signal: controller.signal });
    expect(result.error?.code).toBe("PROVISION_PENDING");
    expect((await rowOf(all))?.autoRenewed).toBe(true);
    expect([...all.server.keys.keys()]).toEqual([(await rowOf(all))?.keyHash]);
  });
});

describe("what a renewal logs", () => {
  const NEW = `sk-or-v1-${"0".repeat(60)}a123`;
  const accepting = async (key: string) => new Response(null, { status: key === NEW ? 200 : 401 });

  async function logOfCall(prepare: (all: Stage) => void): Promise<string> {
    const all = await stage({ newKey: () => NEW });
    await all.given(`save --user ${USER} --stdin`, { input: `sk-or-v1-${"0".repeat(60)}b465` });
    prepare(all);
    const lines: string[] = [];
    await asLibrary(
      all.home,
      all.env,
      (manager) => manager.withUserKey(USER, accepting),
      (event) => lines.push(...logLines(event)),
    );
    return `${lines.join("\n")}\n`;
  }

  it.each<[string, string, (all: Stage) => void]>([
    ["of a new key", "renewal.log", () => {}],
    [
      "of a creation that fails",
      "renewal-failed.log",
      ({ server }) => server.behave(always("POST /keys", { status: 402 })),
    ],
  ])("is the golden transcript %s", async (_, name, prepare) => {
    const golden = readFileSync(new URL(`../../../golden/${name}`, import.meta.url), "utf8");
    expect(await logOfCall(prepare)).toBe(golden);
  });
});
