import { describe, expect, it } from "vitest";
import { storedUsers } from "../support/sqlite/database.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { hashOf, KEY, MADE } from "../support/fixtures/keys.ts";
import { describeWithMongodb } from "../support/mongodb/of-test.ts";
import { always, on } from "../support/openrouter/faults.ts";
import type { Rule } from "../support/openrouter/faults.ts";
import type { MockOptions } from "../support/openrouter/server.ts";
import { mongoPlace, sqlitePlace } from "../support/home/places.ts";
import type { Place } from "../support/home/places.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";

const PURGE = "purge --user alice --revoke --yes --json";
const WITHOUT_MASTER_KEYS = { env: { KEYCTL_MASTER_KEYS: Buffer.alloc(32, 9).toString("base64url") } };
const FOR_EVER = { goneKeysAcceptedMs: 60_000 };

/** alice has a key that keyctl has created. */
async function made(options: MockOptions = {}, place = sqlitePlace()) {
  const all = await stage({ newKey: () => MADE, ...options }, place.home);
  await all.given("sync --user alice");
  return all;
}

function deletionTests(emptyPlace: () => Place): void {
  describe("a deletion that OpenRouter reports", () => {
    it("is done once the entry is gone and the key itself is refused twice", async () => {
      const { server, run } = await made({}, emptyPlace());
      const before = server.requests.length;
      const purged = await run(PURGE);
      expect([purged.code, documentsOf(purged)[0]]).toMatchObject([0, { revocation: "done", error: null }]);
      const routes = server.requests.slice(before).map(({ route, credential }) => [route, credential]);
      const [manager, own] = ["management", hashOf(MADE)];
      expect(routes).toEqual([
        ["GET /workspaces", manager],
        ["PATCH /keys/{hash}", manager],
        // What names the key is read before it is deleted.
        ["GET /guardrails/assignments/keys", manager],
        ["GET /workspaces", manager],
        ["GET /workspaces", manager],
        ["GET /byok", manager],
        ["GET /byok", manager],
        ["DELETE /keys/{hash}", manager],
        ["GET /keys/{hash}", manager],
        ["GET /key", own],
        ["GET /key", own],
      ]);
    });

    const LIES: readonly (readonly [string, MockOptions, Rule, string])[] = [
      ["and did not do", {}, always("DELETE /keys/{hash}", "not-deleted"), "still has it"],
      ["of a key that goes on working", FOR_EVER, () => "pass", "still accepts it"],
    ];

    it.each(LIES)("%s is pending", async (_name, options, rule, words) => {
      const { server, run } = await made(options, emptyPlace());
      server.behave(rule);
      const pending = await run(`${PURGE} --timeout 2s`);
      expect([pending.code, documentsOf(pending)[0]]).toMatchObject([10, { purged: true, revocation: "pending" }]);
      expect(errorOf(pending)).toMatchObject({
        code: "REVOKE_PENDING",
        message: `the key is out of the database but may still work: OpenRouter says that the key was deleted, and ${words}`,
        hint: "keyctl purge --user alice --revoke",
        retryable: true,
      });
      expect((await run("get --user alice --stored")).code).toBe(3);
    });

    it.each([
      ["when it bites later", { goneKeysAcceptedMs: 1_200 }, "pass"],
      ["when it happens later", {}, { deletesAfterMs: 1_200 }],
    ] as const)("is waited for %s", async (_name, options, fault) => {
      const { server, run } = await made(options, emptyPlace());
      server.behave(({ route }) => (route === "DELETE /keys/{hash}" ? fault : "pass"));
      const began = performance.now();
      const purged = await run(PURGE);
      expect([purged.code, documentsOf(purged)[0]]).toMatchObject([0, { revocation: "done", error: null }]);
      expect([server.keys.size, performance.now() - began > 1_000]).toEqual([0, true]);
    });
  });
}

deletionTests(sqlitePlace);
describeWithMongodb("on a MongoDB server", () => deletionTests(mongoPlace));

describe("a deletion", () => {
  it("is not believed after one refusal", async () => {
    const { server, run } = await made(FOR_EVER);
    server.behave(on("GET /key", { status: 401 }));
    const pending = await run(`${PURGE} --timeout 1s`);
    expect([pending.code, errorOf(pending)?.code]).toEqual([10, "REVOKE_PENDING"]);
  });

  it.each([
    ["a limit that is used up", { status: 403 }],
    ["a balance that is negative", { status: 402 }],
    ["an outage", { status: 503, headers: { "retry-after": "3600" } }],
    ["a gateway's refusal", { status: 401, body: "html" }],
  ] as const)("is not believed after %s", async (_name, fault) => {
    const { server, run } = await made();
    server.behave(always("GET /key", fault));
    const pending = await run(`${PURGE} --timeout 1s`);
    expect([pending.code, errorOf(pending)?.code]).toEqual([10, "REVOKE_PENDING"]);
  });

  it("is confirmed by the key itself where nobody may look for its entry", async () => {
    const { server, run } = await made();
    server.behave(always("GET /keys/{hash}", { status: 403 }));
    const purged = await run(PURGE);
    expect([purged.code, documentsOf(purged)[0]]).toMatchObject([0, { revocation: "done" }]);
  });

  it.each([
    ["gone", on("GET /key"), 0, "done"],
    ["still there", always("DELETE /keys/{hash}", "not-deleted"), 10, "pending"],
    ["not to be seen", always("GET /keys/{hash}", { status: 503, headers: { "retry-after": "3600" } }), 10, "pending"],
  ] as const)("without master keys is what its entry says: %s", async (_name, rule, code, revocation) => {
    const { server, run } = await made();
    server.behave(rule);
    const purged = await run(code === 0 ? PURGE : `${PURGE} --timeout 1s`, WITHOUT_MASTER_KEYS);
    expect([purged.code, documentsOf(purged)[0]]).toMatchObject([code, { revocation }]);
    expect(server.requests.filter(({ credential }) => credential === hashOf(MADE))).toEqual([]);
  });

  it("of a key that somebody has deleted already is confirmed all the same", async () => {
    const { server, run } = await made(FOR_EVER);
    server.removeKey(hashOf(MADE));
    const pending = await run(`${PURGE} --timeout 1s`);
    expect([pending.code, documentsOf(pending)[0]]).toMatchObject([10, { revocation: "pending" }]);
    expect(errorOf(pending)?.message).toContain("still accepts it");
  });

  it("of a replaced key is pending in the same way", async () => {
    const { server, run } = await made();
    server.behave(always("DELETE /keys/{hash}", "not-deleted"));
    const saved = await run("save --user alice --stdin --replace --revoke --json --timeout 1s", { input: KEY });
    expect([saved.code, documentsOf(saved)[0]]).toMatchObject([10, { previous: { revocation: "pending" } }]);
    expect(errorOf(saved)?.code).toBe("REVOKE_PENDING");
  });

  it("that reconcile makes is not done before its entry is gone", async () => {
    const { server, run, given } = await made();
    await given("purge --user alice --yes");
    server.behave(always("DELETE /keys/{hash}", "not-deleted"));
    const owed = await run("purge --user alice --revoke --yes --json --timeout 2s");
    expect([owed.code, errorOf(owed)?.message]).toEqual([
      10,
      "a key to be removed may still work: OpenRouter says that the key was deleted, and still has it",
    ]);
    const fixed = await run("reconcile --fix --json --timeout 2s");
    expect([fixed.code, documentsOf(fixed)[0]]).toMatchObject([10, { class: "orphan", done: false }]);
    server.behave(() => "pass");
    const done = await run("reconcile --fix --json");
    expect([done.code, server.keys.size]).toEqual([0, 0]);
  });

  it.each(["no-route", "no-route-error"] as const)("is none that a gateway answers: %s", async (fault) => {
    const { server, run } = await made();
    server.behave(({ route }) => (route === "GET /workspaces" ? "pass" : fault));
    const purged = await run(PURGE);
    expect([purged.code, documentsOf(purged)[0]]).toMatchObject([10, { revocation: "pending" }]);
    expect(errorOf(purged)?.message).toContain("OpenRouter answered 404");
  });
});

describe("a key that OpenRouter says it does not have", () => {
  const missing = always("PATCH /keys/{hash}", { status: 404 });
  const STILL = "OpenRouter says that the key was deleted, and still has it";

  /** Two keys of alice are kept at OpenRouter, or one is kept and the other is in her row. */
  async function keptOnes() {
    const all = await stage();
    await all.given("sync --user alice");
    await all.given("purge --user alice --yes");
    await all.given("sync --user alice");
    all.server.behave(missing);
    return all;
  }

  it("and shows, is pending to every purge and every reconcile", async () => {
    const { server, run } = await keptOnes();
    const purge = `${PURGE} --timeout 2s`;
    const first = await run(purge);
    expect([first.code, documentsOf(first)[0]]).toMatchObject([10, { purged: true, revocation: "pending" }]);
    const again = await run(purge);
    expect([again.code, documentsOf(again)[0]]).toMatchObject([10, { purged: false, revocation: "pending" }]);
    expect(errorOf(again)?.message).toBe(`a key to be removed may still work: ${STILL}`);
    const fixed = await run("reconcile --fix --json --timeout 2s");
    expect([fixed.code, documentsOf(fixed).at(-1)]).toMatchObject([10, { to_fix: 2, fixed: 0 }]);
    expect(server.keys.size).toBe(2);
    server.behave(() => "pass");
    const done = await run(PURGE);
    expect([done.code, documentsOf(done)[0], server.keys.size]).toMatchObject([0, { revoked_keys: 2 }, 0]);
  });

  it("and shows, is pending as an earlier key that goes with the current one", async () => {
    const { server, run } = await keptOnes();
    const [earlier = ""] = server.keys.keys();
    server.behave(({ route, path }) =>
      route === "PATCH /keys/{hash}" && path.endsWith(earlier) ? { status: 404 } : "pass",
    );
    const pending = await run(`${PURGE} --timeout 3s`);
    expect([pending.code, documentsOf(pending)[0]]).toMatchObject([10, { revocation: "pending", revoked_keys: 1 }]);
    expect([...server.keys.keys()]).toEqual([earlier]);
  });

  it("and shows, is not said to be none after an answer that was lost", async () => {
    const { server, run } = await stage();
    server.behave(({ route }) => {
      if (route === "POST /keys") return { status: 500, obeyed: true };
      return route === "PATCH /keys/{hash}" ? { status: 404 } : "pass";
    });
    const lost = await run("sync --user alice --json --timeout 20s");
    expect([lost.code, server.keys.size]).toEqual([6, 1]);
    expect(errorOf(lost)).toMatchObject({
      message:
        "OpenRouter answered 500: Internal Server Error, and did not say whether a key was created; one may exist",
      hint: "keyctl reconcile --user alice --fix   removes what may be left",
    });
  });

  it("and is gone, is done", async () => {
    const { server, run } = await keptOnes();
    const [earlier = ""] = server.keys.keys();
    server.behave(() => "pass");
    server.removeKey(earlier);
    const done = await run(PURGE);
    expect([done.code, documentsOf(done)[0], server.keys.size]).toMatchObject([0, { revoked_keys: 2 }, 0]);
  });
});

describe("deletions of many", () => {
  const USERS = ["alice", "bob", "carol", "dave", "erin", "frank"];
  const words = USERS.flatMap((user) => ["--user", user]);

  it("are confirmed together, and told in order", async () => {
    const { server, run, given } = await stage({ goneKeysAcceptedMs: 1_500 });
    await given(["provision", ...words]);
    await given("save --user bob --stdin --replace", { input: KEY });
    const began = performance.now();
    const purged = await run(["purge", ...words, "--revoke", "--yes", "--json"]);
    expect([purged.code, documentsOf(purged).map(({ user_id, revocation }) => [user_id, revocation])]).toEqual([
      9,
      [...USERS.map((user) => [user, user === "bob" ? null : "done"]), [undefined, undefined]],
    ]);
    // One after the other would take five times as long.
    expect(performance.now() - began).toBeLessThan(5_000);
    expect([...server.keys.values()]).toHaveLength(1);
  });

  it("that cannot be confirmed are pending, each for itself", async () => {
    const { home, server, run, given } = await stage();
    await given(["provision", ...words]);
    server.behave(({ route, number }) => (route === "DELETE /keys/{hash}" && number === 2 ? "not-deleted" : "pass"));
    const purged = await run(["purge", ...words, "--revoke", "--yes", "--json", "--timeout", "2s"]);
    const fates = documentsOf(purged).map(({ revocation }) => revocation);
    expect([purged.code, fates.slice(0, -1)]).toEqual([9, ["done", "pending", "done", "done", "done", "done"]]);
    expect([server.keys.size, await storedUsers(home)]).toEqual([1, []]);
  });
});

/** alice has a key that keyctl did not create; there is another account. */
async function foreign() {
  const all = await stage();
  const other = all.server.addAccount();
  await all.given("save --user alice --stdin", { input: KEY });
  return { ...all, other };
}

describe("a key that keyctl did not make", () => {
  const FOREIGN = "purge --user alice --revoke-foreign --yes --json --timeout 2s";

  it("and that is in another account is not deleted because it is missing here", async () => {
    const { server, run, other } = await foreign();
    server.addKey(KEY, { workspace: other.defaultWorkspace });
    const pending = await run(FOREIGN);
    expect([pending.code, documentsOf(pending)[0]]).toMatchObject([10, { revocation: "pending" }]);
    expect(errorOf(pending)?.message).toContain("still accepts it");
    expect(server.keys.size).toBe(1);
  });

  it("is done when it is refused", async () => {
    const { run } = await foreign();
    const done = await run(FOREIGN);
    expect([done.code, documentsOf(done)[0]]).toMatchObject([0, { revocation: "done" }]);
  });

  it("is pending where it is missing and nobody can ask it", async () => {
    const { run } = await foreign();
    const pending = await run(FOREIGN, WITHOUT_MASTER_KEYS);
    expect([pending.code, documentsOf(pending)[0]]).toMatchObject([10, { revocation: "pending" }]);
    expect(errorOf(pending)?.message).toContain("it is not in the account of the management key");
  });
});
