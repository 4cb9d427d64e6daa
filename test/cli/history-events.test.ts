import { describe, expect, it } from "vitest";
import { compose, readConfig } from "../../src/compose.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import type { Actor } from "../../src/core/model/history-event.ts";
import { silent } from "../../src/core/model/log-event.ts";
import { hashOf, KEY, keyEnding, MADE, OTHER } from "../support/fixtures/keys.ts";
import { eventInShort, historyOf, written } from "../support/home/history.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { stage, withCalls, withStore } from "../support/home/tool-with-openrouter.ts";
import { openManager } from "../support/memory/manager.ts";
import { always } from "../support/openrouter/faults.ts";
import { endGraces, ageOperations } from "../support/openrouter/made-keys.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { change } from "../support/sqlite/database-file.ts";
import { withDatabase } from "../support/sqlite/database.ts";

const made = { newKey: () => MADE };
const told = async (home: Home) => (await historyOf(home)).map((event) => `${event.userId} ${eventInShort(event)}`);
const UNAVAILABLE = new KeyctlError("STORE_UNAVAILABLE", "the history does not answer");
const withoutHistory = withCalls(() => ({ addEvents: () => Promise.reject(UNAVAILABLE) }));

describe("the history of the tool", () => {
  it("tells of a key from key.txt, and of nothing while that key is read", async () => {
    const { home, given } = await stage();
    home.writeKeyFile(KEY);
    await given("sync --user alice");
    await given("sync --user alice");
    await given("get --user alice");
    await given("list");
    expect(await told(home)).toEqual(["alice saved …b465"]);
  });

  it("is written once for a batch of users", async () => {
    const { home, run } = await stage();
    home.writeKeyFile(KEY);
    const batches: number[] = [];
    const around = withCalls((store) => ({
      addEvents(events, ...rest) {
        batches.push(events.length);
        return store.addEvents(events, ...rest);
      },
    }));
    const input = Array.from({ length: 300 }, (_, index) => `user-${index}\n`).join("");
    expect((await run("sync --users-file - --json", { input, around })).code).toBe(0);
    expect(batches.reduce((sum, count) => sum + count, 0)).toBe(300);
    expect(batches.length).toBeLessThan(10);
    expect(await historyOf(home)).toHaveLength(300);
  });

  it("names the command, the account, the host and the job", async () => {
    const { home, given } = await stage(made);
    const env = { GITHUB_ACTIONS: "true", GITHUB_REPOSITORY: "acme/app", GITHUB_JOB: "nightly", GITHUB_RUN_ID: "42" };
    await given("provision --user alice", { env });
    const [event] = await historyOf(home);
    expect(event).toMatchObject({
      event: "created",
      generation: 1,
      keyHash: hashOf(MADE),
      keyTail: "a123",
      actor: { command: "provision", ci: "GitHub Actions, acme/app, job nightly, run 42" },
      reason: null,
    });
    expect(event?.actor.osUser).toEqual(expect.any(String));
    expect(event?.actor.host).toEqual(expect.any(String));
  });

  it("tells of a key that was created and lost the race for its user", async () => {
    const { home, run } = await stage(made);
    const around = withCalls((store) => ({
      async insert(row, signal) {
        const other = await openManager(home);
        await other.save("alice", KEY);
        await other.close();
        return store.insert(row, signal);
      },
    }));
    expect((await run("sync --user alice", { around })).code).toBe(0);
    expect(await told(home)).toEqual(["alice saved …b465", "alice abandoned 1 …a123"]);
  });

  it("tells of what a command that died began, by the command that finished it", async () => {
    const { home, given } = await stage(made);
    await given("provision --user alice");
    change(
      home.database,
      "DELETE FROM api_key_events; DELETE FROM api_key_journal WHERE _id GLOB '*:out:*'; UPDATE api_keys SET settled = 0",
    );
    await given("get --user alice");
    const events = await historyOf(home);
    expect(events.map((event) => [eventInShort(event), event.actor.command])).toEqual([["created 1 …a123", "get"]]);
  });

  it("tells of a renewal once, whoever writes the event: by the renewal if it lived, else by who finished it", async () => {
    const { home, server, given } = await stage();
    await given("provision --user alice");
    for (const hash of server.keys.keys()) server.removeKey(hash);
    change(home.database, "UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'");
    // Another command sees the new key in its row, and finishes what is alive.
    const around = withCalls((store) => ({
      async insertEntry(entry, signal) {
        if (entry.kind === "out" && entry.n === 2) await given("get --user alice", { besideOthers: true });
        return store.insertEntry(entry, signal);
      },
    }));
    await given("renew --user alice", { around });
    const renewed = async () =>
      (await historyOf(home))
        .filter(({ generation }) => generation === 2)
        .map(({ event, actor }) => [event, actor.command]);
    expect(await renewed()).toEqual([["renewed", "renew"]]);
    // As if the renewal had died after STORE ROW.
    const previous = `json_object('generation', 1, 'revoke', json('true'))`;
    change(
      home.database,
      `DELETE FROM api_key_events; DELETE FROM api_key_journal WHERE _id GLOB '*:out:*2'; UPDATE api_keys SET settled = 0, previous = ${previous}`,
    );
    await given("get --user alice");
    expect(await renewed()).toEqual([["renewed", "get"]]);
  });

  it("tells of a leaked key that is disabled and could not be replaced, once", async () => {
    const { home, server, run, given } = await stage();
    await given("provision --user alice");
    const [hash = ""] = server.keys.keys();
    server.behave(always("POST /keys", { status: 403 }));
    for (let times = 0; times < 2; times += 1) expect((await run(["leaked", "--hash", hash])).code).not.toBe(0);
    const events = async () => (await historyOf(home)).map(({ event, generation }) => [event, generation]);
    expect(await events()).toEqual([
      ["created", 1],
      ["revoked", 1],
    ]);
    server.behave(() => "pass");
    await given(["leaked", "--hash", hash]);
    const all = await events();
    // Two operations failed before it.
    expect(all).toContainEqual(["rotated", 4]);
    expect(all.filter(([event]) => event === "revoked")).toEqual([["revoked", 1]]);
  });

  it("tells of a key that a command that died had created, and that reconcile removed", async () => {
    const { home, run, given } = await stage(made);
    await given("provision --user alice");
    change(
      home.database,
      "DELETE FROM api_key_events; DELETE FROM api_key_journal WHERE _id GLOB '*:out:*'; DELETE FROM api_keys",
    );
    ageOperations(home);
    expect((await run("reconcile --fix")).code).toBe(0);
    expect(await told(home)).toEqual(["alice abandoned 1", "alice revoked 1"]);
  });

  it("tells of the end of a grace, by the command that ended it", async () => {
    const { home, given } = await stage();
    await given("provision --user alice");
    await given("rotate --user alice");
    endGraces(home);
    await given("rotate --finish");
    await given("reconcile --fix");
    const events = await historyOf(home);
    expect(events.map(({ event, generation, actor }) => [event, generation, actor.command])).toEqual([
      ["created", 1, "provision"],
      ["rotated", 2, "rotate"],
      ["revoked", 1, "rotate"],
    ]);
  });

  it("holds no key, whatever is done", async () => {
    const { home, run } = await stage(made);
    await run("sync --user alice");
    await run("save --user alice --stdin --replace --revoke", { input: KEY });
    await run("save --user alice --stdin --replace", { input: OTHER });
    await run("purge --user alice --yes");
    const rows = await withDatabase(home, (database) => database.prepare("SELECT * FROM api_key_events").all());
    expect(rows.length).toBeGreaterThanOrEqual(5);
    for (const key of [MADE, KEY, OTHER]) expect(JSON.stringify(rows)).not.toContain(key.slice("sk-or-v1-".length));
    expect(JSON.stringify(rows)).not.toContain("sk-or-");
  });
});

describe("a history that cannot be written", () => {
  it.each(["sync --user alice --json", "provision --user alice --json"])(
    "costs nothing but a warning: %s",
    async (args) => {
      const { home, run } = await stage(made);
      const done = await run(args, { around: withoutHistory });
      const document = documentsOf(done)[0];
      expect([done.code, document?.["error"]]).toEqual([0, null]);
      expect(document?.["warnings"]).toContainEqual({
        code: "HISTORY_NOT_WRITTEN",
        message: expect.stringContaining("the history does not answer"),
      });
      expect(await historyOf(home)).toEqual([]);
    },
  );

  it.each([
    ["save --user alice --stdin --replace --json", OTHER],
    ["purge --user alice --revoke --yes --json", ""],
    ["rotate --user alice --json", ""],
    ["rotate --user alice --grace 0 --json", ""],
    ["purge --user alice --user bob --yes --json", ""],
    ["sync --user alice --user bob --provision --json", ""],
    ["rotate --user alice --user bob --json", ""],
  ])("costs nothing but a warning of a change: %s", async (args, input) => {
    const { run, given } = await stage();
    await given("sync --user alice");
    const done = await run(args, { input, around: withoutHistory });
    const last = documentsOf(done).at(-1);
    const codes = documentsOf(done).flatMap(({ warnings }) => (warnings as { code: string }[]).map(({ code }) => code));
    const failed = documentsOf(done).filter(({ user_id: user, error }) => user === "alice" && error !== null);
    expect([failed, codes.includes("HISTORY_NOT_WRITTEN")]).toEqual([[], true]);
    expect(last?.["warnings"]).toContainEqual(expect.objectContaining({ code: "HISTORY_NOT_WRITTEN" }));
  });

  it("costs nothing but a warning of the end of a grace", async () => {
    const { home, run, given } = await stage();
    await given("sync --user alice");
    await given("rotate --user alice");
    endGraces(home);
    const done = await run("rotate --finish --json", { around: withoutHistory });
    expect([done.code, documentsOf(done).at(-1)]).toMatchObject([
      0,
      { retired: 1, warnings: [{ code: "HISTORY_NOT_WRITTEN" }] },
    ]);
    expect(done.stderr.match(/^warning: /gm)).toHaveLength(1);
  });
});

async function withManager<Result>(
  work: (home: Home, manager: Awaited<ReturnType<typeof openManager>>) => Promise<Result>,
): Promise<Result> {
  const { home, env } = await stage(made);
  const manager = await openManager(home, env);
  try {
    return await work(home, manager);
  } finally {
    await manager.close();
  }
}

describe("a reason", () => {
  it("stands in each event of its call, and in the block of a user", () =>
    withManager(async (home, manager) => {
      await manager.autoProvisionKey("alice", { reason: " a new customer " });
      await manager.block("alice", { reason: "left the company" });
      await manager.unblock("alice");
      await written(manager);
      const events = await historyOf(home);
      expect(events.map(({ event, reason }) => [event, reason])).toEqual([
        ["created", "a new customer"],
        ["purged", "left the company"],
        ["blocked", "left the company"],
        ["unblocked", null],
      ]);
    }));

  it.each([
    ["contains a key", `rotate ${KEY}`],
    ["is too long", "x".repeat(501)],
    ["is more than one line", "left\nthe company"],
    ["holds what cannot be seen", "left\u202E"],
  ])("that %s is refused, and nothing is changed", (_, reason) =>
    withManager(async (home, manager) => {
      await manager.save("alice", KEY);
      const results = [
        await manager.syncAndGetKey("bob", { reason }),
        await manager.autoProvisionKey("bob", { reason }),
        await manager.save("alice", OTHER, { replace: "any", reason }),
        await manager.purge("alice", { reason }),
        await manager.block("alice", { reason }),
        await manager.unblock("alice", { reason }),
        await manager.rotate("alice", { reason }),
        await manager.renew("alice", { reason }),
        await manager.leaked(KEY, { reason }),
      ];
      for (const { error } of results) {
        expect(error?.code).toBe("USAGE");
        expect(error?.message).not.toContain(KEY);
      }
      expect(await told(home)).toEqual(["alice saved …b465"]);
    }),
  );
});

function age({ database }: Home, days: number): void {
  const earlier = `strftime('%Y-%m-%dT%H:%M:%fZ', at, '-${days} days')`;
  change(database, `UPDATE api_key_events SET at = ${earlier} WHERE user_id = 'alice'`);
}

describe("old events", () => {
  it("are removed by reconcile --fix, and by nothing else", async () => {
    const { home, run, given } = await stage();
    await given("sync --user alice");
    await given("sync --user bob");
    age(home, 401);
    const planned = documentsOf(await run("reconcile --json")).at(-1);
    expect([planned?.["history_removed"], (await told(home)).length]).toEqual([0, 2]);
    const fixed = documentsOf(await run("reconcile --fix --json")).at(-1);
    expect([fixed?.["history_removed"], (await told(home)).length]).toEqual([1, 1]);
    const again = await run("reconcile --fix");
    expect([again.code, again.stderr]).toEqual([0, expect.not.stringContaining("history")]);
  });

  it("are as old as KEYCTL_HISTORY_DAYS says", async () => {
    const { home, run, given } = await stage();
    await given("sync --user alice");
    age(home, 8);
    await run("reconcile --fix");
    expect(await told(home)).toHaveLength(1);
    const done = await run("reconcile --fix", { env: { KEYCTL_HISTORY_DAYS: "7" } });
    expect([done.code, done.stderr]).toEqual([
      0,
      expect.stringContaining("note: 1 old event was removed from the history"),
    ]);
    expect(await told(home)).toEqual([]);
  });

  it.each([
    ["0", "CONFIG_INVALID"],
    ["36501", "CONFIG_INVALID"],
    ["7d", "CONFIG_INVALID"],
    ["1.5", "CONFIG_INVALID"],
    ["", "CONFIG_EMPTY"],
  ])("with KEYCTL_HISTORY_DAYS=%j stop reconcile --fix before it changes anything", async (value, code) => {
    const { run, given } = await stage();
    await given("sync --user alice");
    const done = await run("reconcile --fix --json", { env: { KEYCTL_HISTORY_DAYS: value } });
    expect([done.code, documentsOf(done).at(-1)]).toMatchObject([4, { error: { code } }]);
    expect((await run("sync --user alice", { env: { KEYCTL_HISTORY_DAYS: value } })).code).toBe(0);
  });

  it("that cannot be removed are a warning", async () => {
    const { run, given } = await stage();
    await given("sync --user alice");
    const around = withCalls(() => ({ removeEventsBefore: () => Promise.reject(UNAVAILABLE) }));
    const done = await run("reconcile --fix --json", { around });
    expect([done.code, documentsOf(done).at(-1)]).toMatchObject([0, { warnings: [{ code: "HISTORY_NOT_WRITTEN" }] }]);
  });
});

/** What is done in turn to each of four users. */
const ROUNDS = [
  "created",
  "rotated",
  "replaced",
  "purged",
  "saved",
  "purged",
  "created",
  "rotated",
  "rotated",
  "purged",
] as const;

describe("forty commands by three people and two CI jobs on one store", () => {
  it("are told in their order, each with its actor and its reason", { timeout: 120_000 }, async () => {
    const { home, env } = await stage({}, emptyHome());
    const people: readonly Partial<Actor>[] = ["ann", "ben", "cleo"].map((osUser) => ({
      osUser,
      host: "ops1",
      ci: null,
    }));
    const jobs: readonly NodeJS.ProcessEnv[] = [
      { GITHUB_ACTIONS: "true", GITHUB_REPOSITORY: "acme/app", GITHUB_JOB: "rotate" },
      { GITLAB_CI: "true", CI_PROJECT_PATH: "acme/api", CI_JOB_NAME: "offboard" },
    ];
    const open = async (actor: Partial<Actor>, more: NodeJS.ProcessEnv) => {
      const config = readConfig({ ...home.environment, ...env, ...more }, { actor });
      const notices = { generated: () => {}, added: () => {}, readableByOthers: () => {}, guessable: () => {} };
      const options = { mayCreateStore: true, creates: false, creation: "", signal: AbortSignal.timeout(20_000) };
      return (await compose(config, { log: silent, notices }, options)).manager;
    };
    const managers = [
      ...(await Promise.all(people.map((person) => open({ ...person, command: "keyctl" }, {})))),
      ...(await Promise.all(jobs.map((job) => open({ osUser: "runner", host: "ci", command: "keyctl" }, job)))),
    ];
    const names = ["ann", "ben", "cleo", "GitHub Actions, acme/app, job rotate", "GitLab, acme/api, job offboard"];
    const expected: string[] = [];
    for (let turn = 0; turn < 40; turn += 1) {
      const manager = managers[turn % managers.length];
      const event = ROUNDS[Math.floor(turn / 4)];
      if (manager === undefined || event === undefined) throw new Error("there is nothing to do");
      const user = `user-${turn % 4}`;
      const reason = `turn ${turn}`;
      const key = keyEnding(String(turn).padStart(4, "0"));
      const acts = {
        created: () => manager.autoProvisionKey(user, { reason }),
        rotated: () => manager.rotate(user, { reason, graceMs: 600_000 }),
        replaced: () => manager.save(user, key, { replace: "any", reason }),
        purged: () => manager.purge(user, { reason }),
        saved: () => manager.save(user, key, { reason }),
      };
      const { error } = await acts[event]();
      expect([turn, error]).toEqual([turn, null]);
      // The notes of two managers are in the order of their times.
      await written(manager);
      expected.push(`${names[turn % managers.length]}: ${user} ${event}, ${reason}`);
    }
    const events = await historyOf(home);
    expect(
      events.map(({ userId, event, actor, reason }) => `${actor.ci ?? actor.osUser}: ${userId} ${event}, ${reason}`),
    ).toEqual(expected);
    for (const manager of managers) await manager.close();
    const ofOne = await withStore(home, async (store, signal) => {
      const all: string[] = [];
      for await (const { reason } of store.events({ keyHash: hashOf(keyEnding("0008")) }, () => signal))
        all.push(String(reason));
      return all;
    });
    expect(ofOne).toEqual(["turn 12", "turn 8"]);
  });
});
