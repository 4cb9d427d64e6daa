import { describe, expect, it, vi } from "vitest";
import type { Ports } from "../../../../src/compose.ts";
import type { LeakedOptions } from "../../../../src/core/manager/manager-options.ts";
import { KeyctlError } from "../../../../src/core/model/errors.ts";
import { parseUserId } from "../../../../src/core/model/user-id.ts";
import { standStill } from "../../../support/fixtures/date-of-test.ts";
import { hashOf, KEY, maskOf, OTHER } from "../../../support/fixtures/keys.ts";
import { everythingIn, journalOf, stage, withCalls, withStore } from "../../../support/home/tool-with-openrouter.ts";
import type { Stage } from "../../../support/home/tool-with-openrouter.ts";
import { managerOfTest } from "../../../support/memory/manager.ts";
import { always, on } from "../../../support/openrouter/faults.ts";
import type { Rule } from "../../../support/openrouter/faults.ts";
import type { MockOptions } from "../../../support/openrouter/server.ts";

const ALICE = parseUserId("alice");
const NOW = "2026-11-24T12:00:00.000Z";
const DAY = 86_400_000;
const AWAY = new KeyctlError("STORE_UNAVAILABLE", "it went away", { retryable: true });
const MONTHLY = "--limit 10 --limit-reset monthly";

standStill(new Date(NOW));

interface Leak extends Stage {
  /** The text and the hash of alice's key. */
  readonly text: string;
  readonly hash: string;
}

/** Alice has a key that keyctl created. */
async function provisioned(options: MockOptions = {}, flags = MONTHLY): Promise<Leak> {
  const all = await stage(options);
  await all.given(`provision --user alice ${flags}`.trim());
  const text = (await all.given("get --user alice --reveal")).stdout.trim();
  return { ...all, text, hash: hashOf(text) };
}

/** Alice has a key that keyctl did not create. */
async function saved(): Promise<Leak> {
  const all = await stage();
  all.server.addKey(KEY, { limit: 10 });
  await all.given("save --user alice --stdin", { input: KEY });
  return { ...all, text: KEY, hash: hashOf(KEY) };
}

async function leaked(all: Stage, keyOrHash: string, options: LeakedOptions = {}, around?: (ports: Ports) => Ports) {
  return (await managerOfTest(all.home, all.env, around)).leaked(keyOrHash, options);
}

/** A rotation that dies before its outcome is recorded. */
async function rotateUntilOutcome({ home, env }: Stage): Promise<void> {
  const dying = withCalls((store) => ({
    async insertEntry(entry, signal) {
      if (entry.kind === "out" && entry.n === 2) throw AWAY;
      return store.insertEntry(entry, signal);
    },
  }));
  await (await managerOfTest(home, env, dying)).rotate("alice", { graceMs: 0 });
}

async function currentHash(all: Stage, user = ALICE): Promise<string | null> {
  return withStore(all.home, async (store, signal) => {
    const row = await store.find(user, signal);
    return row === undefined || "blocked" in row ? null : row.keyHash;
  });
}

/** The requests that change something, in order. */
function changesIn({ server }: Stage): readonly string[] {
  return server.requests.filter(({ method }) => method !== "GET").map(({ route }) => route ?? "");
}

describe("the current key of a user", () => {
  it.each(["text", "hash"] as const)("is disabled, replaced and deleted: by its %s", async (form) => {
    const all = await provisioned();
    const before = changesIn(all).length;
    const result = await leaked(all, all[form]);
    const now = await currentHash(all);
    expect(result).toMatchObject({
      keyHash: all.hash,
      owner: { userId: "alice", current: true },
      action: "rotate",
      disabledAt: NOW,
      replacedBy: now,
      link: `https://openrouter.ai/logs?api_key_hash=${all.hash}`,
      error: null,
    });
    expect([...all.server.keys.keys()]).toEqual([now]);
    expect(now).not.toBe(all.hash);
    // It is disabled before anything else happens.
    expect(changesIn(all).slice(before, before + 2)).toEqual(["PATCH /keys/{hash}", "POST /keys"]);
  });

  it("ends its user's graces as well", async () => {
    const all = await provisioned();
    await all.given("rotate --user alice");
    const { replacedBy, error } = await leaked(all, (await currentHash(all)) ?? "");
    expect([error, [...all.server.keys.keys()]]).toEqual([null, [replacedBy]]);
  });

  it("is replaced where it was deleted at OpenRouter by hand", async () => {
    const all = await provisioned();
    all.server.removeKey(all.hash);
    const result = await leaked(all, all.hash);
    expect(result).toMatchObject({ action: "rotate", disabledAt: null, error: null });
    expect([...all.server.keys.keys()]).toEqual([result.replacedBy]);
  });

  it("is contained once: the same command again finds an earlier key, and nothing to do", async () => {
    const all = await provisioned();
    const { replacedBy } = await leaked(all, all.text);
    expect(await leaked(all, all.text)).toMatchObject({
      owner: { userId: "alice", current: false },
      action: "purge",
      replacedBy,
      error: null,
    });
    expect([...all.server.keys.keys()]).toEqual([replacedBy]);
  });

  it("is replaced also where its creation died before its outcome was recorded", async () => {
    const all = await provisioned();
    await rotateUntilOutcome(all);
    const unsettled = (await currentHash(all)) ?? "";
    const { owner, action, replacedBy, error } = await leaked(all, unsettled);
    expect([error, owner?.current, action]).toEqual([null, true, "rotate"]);
    expect([all.server.keys.has(unsettled), await currentHash(all)]).toEqual([false, replacedBy]);
  });

  it("that a person has saved again is replaced and deleted: keyctl created it", async () => {
    const all = await provisioned();
    await all.given("purge --user alice --yes");
    await all.given("save --user alice --stdin", { input: all.text });
    const result = await leaked(all, all.hash);
    expect(result).toMatchObject({ owner: { current: true }, action: "rotate", disabledAt: NOW, error: null });
    expect([...all.server.keys.keys()]).toEqual([result.replacedBy]);
    expect(await currentHash(all)).toBe(result.replacedBy);
  });

  it("warns where nothing was left of the limit", async () => {
    const all = await provisioned();
    all.server.spend(all.hash, 12);
    const { warnings, error } = await leaked(all, all.hash);
    expect(error).toBeNull();
    expect(warnings.map(({ code }) => code)).toContain("LIMIT_USED_UP");
    expect(warnings.find(({ code }) => code === "LIMIT_USED_UP")?.message).toContain(
      "keyctl rotate --user alice --limit full",
    );
  });
});

describe("a place of this machine", () => {
  it("that holds the leaked key is named", async () => {
    const all = await saved();
    const env = { ...all.env, OPENROUTER_API_KEY: KEY };
    for (const dryRun of [true, false]) {
      const { warnings } = await (await managerOfTest(all.home, env)).leaked(all.hash, { dryRun });
      expect(warnings).toContainEqual({
        code: "LEAKED_KEY_HERE",
        message: "OPENROUTER_API_KEY holds the leaked key: remove it there",
      });
    }
  });
});

describe("a key that keyctl did not create", () => {
  it.each(["text", "hash"] as const)(
    "is disabled and not replaced, and its user is told how to get one: %s",
    async (form) => {
      const all = await saved();
      const result = await leaked(all, all[form]);
      expect(result).toMatchObject({
        owner: { userId: "alice", current: true },
        action: "disable",
        disabledAt: NOW,
        replacedBy: null,
        warnings: [{ code: "USER_WITHOUT_KEY" }],
        error: null,
      });
      expect(result.warnings[0]?.message).toContain("keyctl rotate --user alice --include-foreign --include-disabled");
      expect(all.server.keys.get(all.hash)?.disabled).toBe(true);
      expect([all.server.keys.size, await currentHash(all)]).toEqual([1, all.hash]);
      const again = await all.run("rotate --user alice --include-foreign --include-disabled");
      expect(again.code).toBe(0);
    },
  );

  it.each([OTHER, hashOf(OTHER)])("and no user has is disabled, and kept at OpenRouter", async (given) => {
    const all = await stage();
    const key = all.server.addKey(OTHER);
    expect(await leaked(all, given)).toMatchObject({
      owner: null,
      action: "disable",
      disabledAt: NOW,
      replacedBy: null,
      warnings: given === OTHER ? [] : [{ code: "KEY_NOT_ASKED" }],
      error: null,
    });
    expect(key.disabled).toBe(true);
  });

  it("and several users have is disabled once, and each of them is said to have no working key", async () => {
    const all = await saved();
    for (const user of ["bob", "carol"]) await all.given(`save --user ${user} --stdin`, { input: KEY });
    const preview = await leaked(all, KEY, { dryRun: true });
    expect(preview.warnings.filter(({ message }) => !message.includes("would have no working"))).toEqual([]);
    const { warnings, owner } = await leaked(all, KEY);
    expect(owner?.current).toBe(true);
    expect(warnings.map(({ code }) => code)).toEqual(["KEY_SHARED", ...Array(3).fill("USER_WITHOUT_KEY")]);
    for (const user of ["alice", "bob", "carol"]) {
      expect(
        warnings.filter(({ message }) => message.startsWith(`user ${user} has no working key now: `)),
      ).toHaveLength(1);
    }
  });

  it("and that could not be disabled warns of nobody", async () => {
    const all = await saved();
    await all.given("save --user bob --stdin", { input: KEY });
    all.server.behave(always("PATCH /keys/{hash}", { status: 402 }));
    expect(await leaked(all, KEY)).toMatchObject({ warnings: [], error: { code: "REVOKE_PENDING" } });
  });

  it("of another account is contained only if OpenRouter refuses it", async () => {
    const all = await saved();
    all.server.removeKey(all.hash);
    expect(await leaked(all, all.hash)).toMatchObject({ owner: { userId: "alice" }, action: "none", error: null });
    const { workspace } = { workspace: all.server.addAccount().defaultWorkspace };
    all.server.addKey(KEY, { workspace });
    expect(await leaked(all, all.hash)).toMatchObject({
      action: "none",
      disabledAt: null,
      error: { code: "ATTENTION" },
    });
  });

  it("is not confirmed while OpenRouter still accepts it", { timeout: 60_000 }, async () => {
    const all = await stage({ goneKeysAcceptedMs: DAY });
    all.server.addKey(OTHER);
    const result = await leaked(all, OTHER);
    expect(result).toMatchObject({ disabledAt: NOW, error: { code: "REVOKE_PENDING", retryable: true } });
    expect(result.error?.message).toContain("still accepts it");
  });
});

describe("an earlier key of a user", () => {
  it("in its grace is deleted now, and the current one stays", async () => {
    const all = await provisioned();
    await all.given("rotate --user alice");
    const current = await currentHash(all);
    const result = await leaked(all, all.text);
    expect(result).toMatchObject({
      owner: { userId: "alice", current: false },
      action: "purge",
      disabledAt: NOW,
      replacedBy: current,
      error: null,
    });
    expect([...all.server.keys.keys()]).toEqual([current]);
    expect(await journalOf(all.home)).toContain("del:1");
    expect(await currentHash(all)).toBe(current);
  });

  it("that a purge kept is deleted, and its user stays without a key", async () => {
    const all = await provisioned();
    await all.given("purge --user alice --yes");
    expect(await leaked(all, all.hash)).toMatchObject({ action: "purge", replacedBy: null, error: null });
    expect([all.server.keys.size, await currentHash(all)]).toEqual([0, null]);
  });

  it("whose deletion is owed is deleted", async () => {
    const all = await provisioned();
    all.server.behave(always("DELETE /keys/{hash}", { status: 403 }));
    await all.run("rotate --user alice --grace 0");
    all.server.behave(() => "pass");
    const { replacedBy, error } = await leaked(all, all.hash);
    expect([error, [...all.server.keys.keys()]]).toEqual([null, [replacedBy]]);
  });

  it("of a blocked user is deleted without a replacement, and the block stays", async () => {
    const all = await provisioned();
    await (await managerOfTest(all.home, all.env)).block("alice");
    expect(await leaked(all, all.text)).toMatchObject({
      owner: { userId: "alice", current: false },
      action: "purge",
      replacedBy: null,
      error: null,
    });
    expect([all.server.keys.size, (await all.run("sync --user alice")).code]).toEqual([0, 8]);
  });

  it("never takes the present key with it, where a rotation died before its outcome was recorded", async () => {
    const all = await provisioned();
    await rotateUntilOutcome(all);
    const { replacedBy, error } = await leaked(all, all.hash);
    expect([error, replacedBy, [...all.server.keys.keys()]]).toEqual([null, await currentHash(all), [replacedBy]]);
  });
});

describe("an unknown key", () => {
  it("that works is never contained", async () => {
    const all = await stage();
    const { defaultWorkspace: workspace } = all.server.addAccount();
    all.server.addKey(OTHER, { workspace });
    expect(await leaked(all, OTHER)).toMatchObject({
      keyHash: hashOf(OTHER),
      owner: null,
      action: "none",
      disabledAt: null,
      usageSince: null,
      error: { code: "ATTENTION", message: "the key works, and is not in the account of the management key" },
    });
  });

  it("that OpenRouter refuses is contained", async () => {
    expect(await leaked(await stage(), OTHER)).toMatchObject({ owner: null, action: "none", error: null });
  });

  it("of which only the hash is known may work", async () => {
    const { error } = await leaked(await stage(), hashOf(OTHER));
    expect(error).toMatchObject({
      code: "ATTENTION",
      hint: expect.stringContaining("keyctl leaked --stdin") as string,
    });
  });

  it("about which OpenRouter says nothing is unknown", async () => {
    const all = await stage();
    all.server.behave(always("GET /key", { status: 402 }));
    expect(await leaked(all, OTHER)).toMatchObject({ error: { code: "VERDICT_UNKNOWN" } });
  });

  it.each([
    ["two keys in one line", KEY + OTHER],
    ["two keys in one line, the second in upper case", KEY + OTHER.toUpperCase()],
    ["a key without its last character", OTHER.slice(0, -1)],
    ["a key with one more character", `${OTHER}0`],
    ["a key and the end of a name", `${OTHER}_prod`],
    ["a key in upper-case hex", `${OTHER.slice(0, -4)}91AA`],
  ])("that is not one whole key is never contained: %s", async (_, text) => {
    const all = await stage();
    for (const dryRun of [false, true]) {
      const { action, error } = await leaked(all, text, { dryRun });
      expect([action, error]).toMatchObject([
        "none",
        { code: "BAD_KEY_FORMAT", message: expect.stringMatching(/one whole key|several keys/) as string },
      ]);
    }
  });

  it("of another shape is handled as any other where it is known", async () => {
    const all = await stage();
    const odd = `${OTHER}_prod`;
    const key = all.server.addKey(odd);
    expect(await leaked(all, odd)).toMatchObject({ action: "disable", disabledAt: NOW, error: null });
    expect(key.disabled).toBe(true);
    all.server.removeKey(key.hash);
    all.server.addKey(odd, { workspace: all.server.addAccount().defaultWorkspace });
    expect(await leaked(all, odd)).toMatchObject({ error: { code: "ATTENTION" } });
  });

  it("may be a management key, of keyctl or of another program", async () => {
    const all = await stage();
    expect(await leaked(all, all.server.managementKey)).toMatchObject({
      error: { code: "MANAGEMENT_KEY_AS_USER_KEY" },
    });
    const other = await leaked(all, all.server.addManagementKey());
    expect(other.error).toMatchObject({
      code: "ATTENTION",
      message: expect.stringContaining("management key") as string,
    });
  });

  it.each([
    ["nothing of the kind", "BAD_KEY_FORMAT"],
    ["", "BAD_KEY_FORMAT"],
    [maskOf(KEY), "KEY_IS_MASKED"],
  ])("is %j, which is none: %s", async (text, code) => {
    const all = await stage();
    expect(await leaked(all, text)).toMatchObject({ keyHash: null, link: null, error: { code } });
    expect(all.server.count()).toBe(0);
  });

  it("needs a management key", async () => {
    const all = await stage();
    const env = { ...all.env, OPENROUTER_PROVISIONING_KEY: "" };
    const manager = await managerOfTest(all.home, env);
    expect(await manager.leaked(OTHER)).toMatchObject({ error: { code: "MANAGEMENT_KEY_MISSING" } });
  });
});

/** Every request that the containment of a current key sends, refused and without an answer. */
const TROUBLES: readonly (readonly [what: string, rule: Rule])[] = [
  ["the disable is refused", always("PATCH /keys/{hash}", { status: 403 })],
  ["the disable fails", always("PATCH /keys/{hash}", { status: 404, body: "html" })],
  ["the answer to the disable is lost", on("PATCH /keys/{hash}", "reset-after")],
  ["the disable is cut off", on("PATCH /keys/{hash}", "reset-before")],
  ["the creation is refused", always("POST /keys", { status: 402 })],
  ["the answer to the creation is lost", on("POST /keys", "reset-after")],
  ["the entry cannot be read", always("GET /keys/{hash}", { status: 402 })],
  ["the activity is hidden", always("GET /activity", { status: 403 })],
  ["the answer about the activity is lost", on("GET /activity", "reset-after")],
  ["the activity is not readable", always("GET /activity", "html")],
  ["the guardrails are not readable", always("GET /guardrails/assignments/keys", { status: 402 })],
  ["the deletion is refused", always("DELETE /keys/{hash}", { status: 403 })],
  ["the answer to the deletion is lost", on("DELETE /keys/{hash}", "reset-after")],
  ["the deletion is cut off", on("DELETE /keys/{hash}", "reset-before")],
];

describe("trouble at OpenRouter", () => {
  it.each(TROUBLES)(
    "%s: the same call again ends with the key contained and one new key",
    { timeout: 60_000 },
    async (_, rule) => {
      const all = await provisioned();
      all.server.behave(rule);
      const first = await leaked(all, all.hash, { timeoutMs: 20_000 });
      all.server.behave(() => "pass");
      if (first.error === null) expect(all.server.keys.has(all.hash)).toBe(false);
      // Nobody goes without a key unless the error says so.
      const isStuck = first.disabledAt !== null && first.replacedBy === null;
      if (isStuck) expect(first.error?.message).toContain("user alice has no other one");
      vi.setSystemTime(Date.now() + 120_000);
      const { error } = await leaked(all, all.hash);
      await all.run("reconcile --fix");
      expect([error, [...all.server.keys.keys()]]).toEqual([null, [await currentHash(all)]]);
      expect(await currentHash(all)).not.toBe(all.hash);
    },
  );

  it("with the new key leaves the leaked one disabled, and the same call again goes on", async () => {
    const all = await provisioned();
    all.server.configure({ newKeyLimit: 99 });
    const first = await leaked(all, all.hash);
    expect(first).toMatchObject({ disabledAt: NOW, replacedBy: null, error: { code: "NEW_KEY_REFUSED" } });
    expect([...all.server.keys.keys()]).toEqual([all.hash]);
    all.server.configure({ newKeyLimit: "as asked" });
    const { error, replacedBy } = await leaked(all, all.hash);
    expect([error, [...all.server.keys.keys()]]).toEqual([null, [replacedBy]]);
  });

  it("such as the management key of another account changes nothing", async () => {
    const all = await provisioned();
    const before = await everythingIn(all.home);
    const env = { ...all.env, OPENROUTER_PROVISIONING_KEY: all.server.addAccount("org_other").managementKey };
    const { error, owner } = await (await managerOfTest(all.home, env)).leaked(all.hash);
    expect([error?.code, owner]).toEqual(["MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT", { userId: "alice", current: true }]);
    expect(await everythingIn(all.home)).toBe(before);
    expect(all.server.keys.get(all.hash)?.disabled).toBe(false);
  });

  it("before the key is disabled leaves everything as it was", async () => {
    const all = await provisioned();
    const before = await everythingIn(all.home);
    all.server.behave(always("PATCH /keys/{hash}", { status: 402 }));
    const { error, disabledAt } = await leaked(all, all.hash);
    expect([error?.code, error?.retryable, disabledAt]).toEqual(["REVOKE_PENDING", true, null]);
    expect(await everythingIn(all.home)).toBe(before);
  });

  it("never passes for the end of a key that works: an outage, and two false refusals of the key", async () => {
    const all = await provisioned();
    all.server.behave(({ route }) => {
      if (route === "PATCH /keys/{hash}") return { status: 402 };
      return route === "GET /key" ? { status: 401 } : "pass";
    });
    const before = await everythingIn(all.home);
    for (let runs = 0; runs < 2; runs += 1) {
      const result = await leaked(all, all.text);
      expect(result).toMatchObject({ disabledAt: null, replacedBy: null, error: { code: "REVOKE_PENDING" } });
      expect(result.error?.message).not.toContain("works no more");
    }
    expect(await everythingIn(all.home)).toBe(before);
    expect([...all.server.keys.values()]).toMatchObject([{ hash: all.hash, disabled: false }]);
  });

  it.each(["disabled", "deleted"])("is no obstacle where its entry says that the key is %s", async (state) => {
    const all = await provisioned();
    const key = all.server.keys.get(all.hash);
    let isFirst = true;
    all.server.behave(({ route }) => {
      if (route !== "PATCH /keys/{hash}" || !isFirst) return "pass";
      isFirst = false;
      if (state === "deleted") all.server.removeKey(all.hash);
      else if (key !== undefined) key.disabled = true;
      return { status: 402 };
    });
    const { error, disabledAt, replacedBy } = await leaked(all, all.hash);
    expect([error, disabledAt, replacedBy]).toEqual([null, state === "deleted" ? null : NOW, await currentHash(all)]);
    expect([...all.server.keys.keys()]).toEqual([replacedBy]);
  });

  it("is not waited for by whoever has stopped waiting, once the key is disabled", async () => {
    const all = await provisioned();
    const stop = new AbortController();
    all.server.behave(({ route }) => {
      if (route === "GET /activity") stop.abort(new Error("no more"));
      return "pass";
    });
    const { error, replacedBy } = await leaked(all, all.hash, { signal: stop.signal });
    expect([error, replacedBy]).toEqual([null, await currentHash(all)]);
  });
});

describe("a caller who stops waiting", () => {
  it("while the key is being disabled stops nothing any more", async () => {
    const all = await provisioned();
    const stop = new AbortController();
    all.server.behave(({ route }) => {
      if (route === "PATCH /keys/{hash}") stop.abort(new Error("no more"));
      return "pass";
    });
    const { error, disabledAt, replacedBy } = await leaked(all, all.text, { signal: stop.signal });
    expect([error, disabledAt, replacedBy]).toEqual([null, NOW, await currentHash(all)]);
  });

  it("before that changes nothing, and is told that the key may still work", async () => {
    const all = await provisioned();
    const before = await everythingIn(all.home);
    const { error, disabledAt } = await leaked(all, all.text, { signal: AbortSignal.abort(new Error("no more")) });
    expect([error, disabledAt]).toMatchObject([
      {
        code: "INTERRUPTED",
        message: "the caller stopped waiting; the leaked key may still work",
        hint: `run the same command again: it goes on; or disable the key now at https://openrouter.ai/keys/${all.hash}`,
      },
      null,
    ]);
    expect(await everythingIn(all.home)).toBe(before);
  });
});

describe("a failure before the key is disabled", () => {
  it.each([
    ["no management key", { env: { OPENROUTER_PROVISIONING_KEY: "" } }, "MANAGEMENT_KEY_MISSING"],
    ["a refused management key", { rule: always("PATCH /keys/{hash}", { status: 401 }) }, "MANAGEMENT_KEY_REFUSED"],
    ["a forbidden change", { rule: always("PATCH /keys/{hash}", { status: 403 }) }, "MANAGEMENT_KEY_REFUSED"],
    ["no answer", { rule: always("PATCH /keys/{hash}", { status: 402 }) }, "REVOKE_PENDING"],
  ] as const)("says that the key may still work, and where a person disables it: %s", async (_, trouble, code) => {
    const all = await provisioned();
    if ("rule" in trouble) all.server.behave(trouble.rule);
    const env = { ...all.env, ...("env" in trouble ? trouble.env : {}) };
    const { error } = await (await managerOfTest(all.home, env)).leaked(all.hash);
    expect(error).toMatchObject({ code, message: expect.stringContaining("the leaked key may still work") as string });
    expect(error?.hint).toContain(`or disable the key now at https://openrouter.ai/keys/${all.hash}`);
  });

  it("says so where the database is down, too", async () => {
    const all = await provisioned();
    const down = withCalls(() => ({
      find: async () => {
        throw AWAY;
      },
    }));
    const { error } = await leaked(all, all.hash, {}, down);
    expect(error).toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: "it went away; the leaked key may still work",
      hint: `disable the key now at https://openrouter.ai/keys/${all.hash}`,
    });
  });
});

describe("a call that died after it had disabled the key", () => {
  it("is gone on with by the same call", async () => {
    const all = await provisioned();
    const dying = withCalls(() => ({
      insertEntry: async () => {
        throw AWAY;
      },
    }));
    const first = await leaked(all, all.hash, {}, dying);
    expect(first).toMatchObject({ disabledAt: NOW, replacedBy: null, error: { code: "STORE_UNAVAILABLE" } });
    expect(first.error?.message).toMatch(/^the leaked key works no more, and user alice has no other one: /);
    expect([all.server.keys.get(all.hash)?.disabled, await currentHash(all)]).toEqual([true, all.hash]);
    const { error, replacedBy } = await leaked(all, all.hash);
    expect([error, [...all.server.keys.keys()]]).toEqual([null, [replacedBy]]);
  });
});

describe("a key that is replaced meanwhile", () => {
  it("is deleted as an earlier one, and its successor stays", async () => {
    const all = await provisioned();
    let isFirst = true;
    const rotating = withCalls((store) => ({
      async lastOperation(user, signal) {
        if (isFirst) {
          isFirst = false;
          const other = await managerOfTest(all.home, all.env);
          expect((await other.rotate("alice", { includeDisabled: true })).error).toBeNull();
        }
        return store.lastOperation(user, signal);
      },
    }));
    const result = await leaked(all, all.hash, {}, rotating);
    expect(result).toMatchObject({ owner: { current: false }, action: "purge", error: null });
    expect([...all.server.keys.keys()]).toEqual([await currentHash(all)]);
  });

  it("is deleted without a replacement where its user is blocked meanwhile", async () => {
    const all = await provisioned();
    let isFirst = true;
    const blocking = withCalls((store) => ({
      async lastOperation(user, signal) {
        if (isFirst) {
          isFirst = false;
          await (await managerOfTest(all.home, all.env)).block("alice");
        }
        return store.lastOperation(user, signal);
      },
    }));
    const result = await leaked(all, all.hash, {}, blocking);
    expect(result).toMatchObject({ owner: { current: false }, action: "purge", replacedBy: null, error: null });
    expect(all.server.keys.size).toBe(0);
  });
});

/** Alice's key spends $1 on each of the days before today, and $1 today. */
async function spending(days: number): Promise<Leak> {
  vi.setSystemTime(Date.parse(NOW) - days * DAY);
  const all = await provisioned({}, "");
  for (let day = 0; day < days; day += 1) {
    all.server.spend(all.hash, 1);
    vi.setSystemTime(Date.now() + DAY);
  }
  all.server.spend(all.hash, 1);
  return all;
}

describe("what a key spent", () => {
  it.each([
    [undefined, 4, "2026-10-25T00:00:00.000Z"],
    ["2026-11-22T00:00:00Z", 3, "2026-11-22T00:00:00.000Z"],
    ["2026-11-22T23:59:59Z", 3, "2026-11-22T00:00:00.000Z"],
    ["2026-11-24T08:00:00Z", 1, "2026-11-24T00:00:00.000Z"],
    ["2025-01-01T00:00:00Z", 4, "2025-01-01T00:00:00.000Z"],
  ])("since %s is counted by whole days, with today: %d", async (since, usageSince, usedFrom) => {
    const all = await spending(3);
    const result = await leaked(all, all.hash, since === undefined ? {} : { since: new Date(since) });
    expect(result).toMatchObject({ usageSince, usedFrom, lastUsedAt: NOW, error: null });
    expect(result.warnings.filter(({ code }) => code.startsWith("USAGE"))).toEqual([]);
  });

  it("before the days that OpenRouter tells is said to be missing", async () => {
    const all = await spending(40);
    const result = await leaked(all, all.hash, { since: new Date("2026-10-01T00:00:00Z") });
    expect(result).toMatchObject({ usageSince: 31, usedFrom: "2026-10-25T00:00:00.000Z" });
    expect(result.warnings).toContainEqual({
      code: "USAGE_INCOMPLETE",
      message:
        "what was spent with the key is counted without what it spent before 2026-10-25, because OpenRouter tells 30 days",
    });
  });

  it("is unknown, and never a part of it, where OpenRouter does not say", async () => {
    const all = await spending(3);
    all.server.behave(always("GET /activity", { status: 403 }));
    const { usageSince, warnings, error } = await leaked(all, all.hash);
    expect([usageSince, error]).toEqual([null, null]);
    expect(warnings.map(({ code }) => code)).toContain("USAGE_UNKNOWN");
  });

  it("is not asked for in the future", async () => {
    const all = await provisioned();
    for (const since of [new Date("2026-11-25T00:00:00Z"), new Date("never")]) {
      expect(await leaked(all, all.hash, { since })).toMatchObject({ error: { code: "USAGE" } });
    }
    expect(all.server.keys.get(all.hash)?.disabled).toBe(false);
  });
});

describe("a dry run", () => {
  it.each([
    ["rotate", () => provisioned(), null],
    ["disable", () => saved(), null],
    [
      "purge",
      async () => {
        const all = await provisioned();
        await all.given("rotate --user alice");
        return all;
      },
      null,
    ],
    ["none", async () => ({ ...(await stage()), text: OTHER, hash: hashOf(OTHER) }), null],
  ] as const)("says that it would be: %s, and changes nothing", async (action, given, error) => {
    const all = await given();
    const [before, keys] = [action === "none" ? "" : await everythingIn(all.home), [...all.server.keys.keys()]];
    const sent = changesIn(all).length;
    const result = await leaked(all, all.text, { dryRun: true });
    expect(result).toMatchObject({ keyHash: all.hash, action, disabledAt: null, error });
    expect([changesIn(all).length, [...all.server.keys.keys()]]).toEqual([sent, keys]);
    if (action !== "none") expect(await everythingIn(all.home)).toBe(before);
  });

  it("finds nothing to do for a key that is deleted already", async () => {
    const all = await provisioned();
    await leaked(all, all.text);
    for (const given of [all.text, all.hash]) {
      expect(await leaked(all, given, { dryRun: true })).toMatchObject({ action: "none", error: null });
    }
  });

  it("ends as the run itself for a key that works and cannot be disabled", async () => {
    const all = await stage();
    all.server.addKey(OTHER, { workspace: all.server.addAccount().defaultWorkspace });
    expect(await leaked(all, OTHER, { dryRun: true })).toMatchObject({ action: "none", error: { code: "ATTENTION" } });
  });
});
