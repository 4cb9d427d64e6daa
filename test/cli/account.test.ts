import { describe, expect, it } from "vitest";
import { change, rowsOf } from "../support/sqlite/database-file.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { hashOf, KEY, keyEnding, OTHER } from "../support/fixtures/keys.ts";
import type { Run } from "../support/programs/keyctl.ts";
import { describeWithMongodb } from "../support/mongodb/of-test.ts";
import { always } from "../support/openrouter/faults.ts";
import type { Fault, Rule } from "../support/openrouter/faults.ts";
import type { OpenRouterServer, MockOptions } from "../support/openrouter/server.ts";
import type { Route } from "../support/openrouter/routes.ts";
import { mongoPlace, sqlitePlace } from "../support/home/places.ts";
import type { Place } from "../support/home/places.ts";
import { journalOf, note, operation, stage } from "../support/home/tool-with-openrouter.ts";

const GET_KEY: Route = "GET /key";
const WORKSPACES: Route = "GET /workspaces";
const ONE_KEY: Route = "GET /keys/{hash}";
const ORG = { organization: "org_1" } as const;
const COMPANY_AND_PERSON: readonly (readonly [string, MockOptions])[] = [
  ["an organisation", ORG],
  ["a person", {}],
];

async function bound(place: Place, options: MockOptions = ORG) {
  const all = await stage({ newKey: newKeys(), ...options }, place.home);
  const other = all.server.addAccount(options.organization === undefined ? null : "org_2");
  await all.given("sync --user alice");
  const stranger = { env: { OPENROUTER_PROVISIONING_KEY: other.managementKey } };
  return { ...all, place, other, stranger };
}

/** The database has moved to another account; what was given before is there no more. */
async function moved(place: Place, ...before: readonly string[]) {
  const all = await bound(place);
  for (const line of before) await all.given(line, { input: KEY });
  await all.run("reconcile --adopt-account", all.stranger);
  return all;
}

function endOf(run: Run): readonly unknown[] {
  return [run.code, errorOf(run)?.code];
}

/** The texts of keys that are made, one after the other. */
function newKeys(): () => string {
  let number = 0;
  return () => keyEnding(String((number += 1)).padStart(4, "0"));
}

const FIRST = hashOf(keyEnding("0001"));

/** What was asked while this was done. */
async function routesOf(server: OpenRouterServer, work: () => Promise<unknown>): Promise<readonly unknown[]> {
  const before = server.requests.length;
  await work();
  return server.requests.slice(before).map(({ route }) => route);
}

/** What doctor says of the management key. */
function managementKeyCheck(diagnosis: Pick<Run, "stdout">): Readonly<Record<string, unknown>> | undefined {
  const checks = documentsOf(diagnosis)[0]?.["checks"] as readonly Readonly<Record<string, unknown>>[];
  return checks.find(({ id }) => id === "management_key");
}

/** Changes at OpenRouter that the other account's key was sent with. */
function strangeChanges({ requests }: OpenRouterServer): readonly unknown[] {
  return requests.filter(({ credential, method }) => credential.endsWith("another account") && method !== "GET");
}

function accountTests(emptyPlace: () => Place): void {
  describe("the account of a database", () => {
    it.each(COMPANY_AND_PERSON)("is that of its first key: of %s", async (_name, options) => {
      const place = emptyPlace();
      const all = await stage(options, place.home);
      expect(await routesOf(all.server, () => all.given("sync --user alice"))).toEqual(["POST /keys", GET_KEY]);
      const organization = options.organization ?? null;
      const record = { organization_id: organization, workspace_ids: [all.server.defaultWorkspace] };
      expect(await place.account()).toEqual(record);
    });

    it.each([
      ["by its organisation", ORG, [GET_KEY, "POST /keys"]],
      ["by its workspace", {}, [WORKSPACES, "POST /keys"]],
    ] as const)("is known %s, with one request a process", async (_name, options, routes) => {
      const { server, given } = await bound(emptyPlace(), options);
      expect(await routesOf(server, () => given("provision --user bob"))).toEqual(routes);
      const two = await routesOf(server, () => given("provision --user carol --user dave"));
      expect(two).toEqual([...routes, "POST /keys"]);
      expect(await routesOf(server, () => given("sync --user bob"))).toEqual([]);
      expect(await routesOf(server, () => given("get --user alice"))).toEqual([]);
    });

    it("is the same for every management key of it", async () => {
      const { server, given, place } = await bound(emptyPlace(), {});
      const env = { OPENROUTER_PROVISIONING_KEY: server.addManagementKey() };
      const before = await place.account();
      await given("sync --user bob", { env });
      await given("purge --user bob --yes --revoke", { env });
      expect([await place.account(), [...server.keys.keys()]]).toEqual([before, [FIRST]]);
    });

    it("stays when the first key is gone, also where its workspace is", async () => {
      const { server, given, place } = await bound(emptyPlace(), {});
      await given("sync --user bob");
      server.removeKey(FIRST);
      await given("sync --user carol");
      await place.setAccount({ organization_id: null, workspace_ids: ["another"] });
      await given("sync --user dave");
      expect(server.keys.size).toBe(3);
      expect(await place.account()).toEqual({ organization_id: null, workspace_ids: ["another"] });
    });

    it.each(COMPANY_AND_PERSON)("is found out for one that an earlier version has left: %s", async (_name, options) => {
      const { server, given, place } = await bound(emptyPlace(), options);
      const before = await place.account();
      await place.setAccount(undefined);
      const routes = await routesOf(server, () => given("sync --user bob"));
      expect([routes, await place.account()]).toEqual([[ONE_KEY, GET_KEY, "POST /keys"], before]);
    });

    it("is taken from a list of all keys, where the newest are gone", async () => {
      const { server, given, run, place } = await bound(emptyPlace());
      const before = await place.account();
      const users = Array.from({ length: 21 }, (_, number) => `--user u${number}`);
      await given(`provision --max-keys 21 ${users.join(" ")}`);
      for (const hash of server.keys.keys()) if (hash !== FIRST) server.removeKey(hash);
      await place.setAccount(undefined);
      const refused = await run("sync --user bob --json");
      expect([refused.code, await place.account()]).toEqual([4, undefined]);
      const reconciled = await run("reconcile --json");
      expect([documentsOf(reconciled).at(-1)?.["matched"], await place.account()]).toEqual([1, before]);
      await given("sync --user bob");
    });

    it("goes along with a copy, which is then of that account alone", async () => {
      const { home, given, run, place, stranger } = await bound(emptyPlace());
      const to = `sqlite:${home.work}/copy.db`;
      await given(`copy --to ${to} --create --dry-run`);
      await given(`copy --to ${to} --create`);
      const [record] = rowsOf(`${home.work}/copy.db`, "SELECT value FROM api_key_meta WHERE _id = 'account'");
      expect(JSON.parse(String(record?.["value"]))).toEqual(await place.account());
      const there = { KEYCTL_STORE: to };
      expect((await run("sync --user bob", { env: { ...there, ...stranger.env } })).code).toBe(4);
      expect((await run("sync --user bob", { env: there })).code).toBe(0);
      await given(`copy --to ${to}`);
    });

    it.each(["", " --dry-run"])("is not mixed with that of another database by copy%s", async (flag) => {
      const { home, given, run, stranger } = await bound(emptyPlace());
      const to = `sqlite:${home.work}/copy.db`;
      await given("sync --user carol --create", { env: { KEYCTL_STORE: to, ...stranger.env } });
      const refused = await run(`copy --json --to ${to}${flag}`);
      expect([refused.code, errorOf(refused)]).toMatchObject([
        8,
        { code: "CONFLICT", message: "the destination is bound to another account at OpenRouter; nothing was copied" },
      ]);
      expect(rowsOf(`${home.work}/copy.db`, "SELECT user_id FROM api_keys")).toEqual([{ user_id: "carol" }]);
    });

    it("that is damaged is said to be, until it is written again", async () => {
      const { run, given, place } = await bound(emptyPlace());
      await place.setAccount({ organization_id: 5 });
      const broken = await run("sync --user bob --json");
      expect([broken.code, errorOf(broken)]).toMatchObject([
        7,
        { code: "STORE_CORRUPT", hint: expect.stringContaining("keyctl reconcile --adopt-account") as string },
      ]);
      await given("reconcile --adopt-account");
      await given("sync --user bob");
    });
  });

  describe("a management key of another account", () => {
    const COMMANDS: readonly (readonly [command: string, input?: string])[] = [
      ["sync --user bob"],
      ["provision --user bob"],
      ["provision --user bob --user carol"],
      ["purge --user alice --revoke --yes"],
      ["purge --user alice --revoke-foreign --yes"],
      ["purge --user alice --user bob --revoke --yes"],
      // What it was to revoke is owed, and has no row.
      ["purge --user erin --revoke --yes"],
      ["save --user alice --stdin --replace --revoke", KEY],
      ["reconcile"],
      ["reconcile --fix"],
      ["reconcile --fix --user erin"],
    ];

    it.each(COMPANY_AND_PERSON)("creates, revokes, compares and changes nothing: of %s", async (_name, options) => {
      const { server, given, run, place, stranger } = await bound(emptyPlace(), options);
      await given("sync --user erin");
      await given("purge --user erin --yes");
      const [before, keys] = [await place.everything(), structuredClone([...server.keys])];
      const refusals = [];
      for (const [command, input = ""] of COMMANDS) {
        const refused = await run(`${command} --json`, { ...stranger, input });
        refusals.push([command, refused.code, errorOf(refused)?.code]);
      }
      expect(refusals).toEqual(COMMANDS.map(([command]) => [command, 4, "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT"]));
      expect([await place.everything(), [...server.keys]]).toEqual([before, keys]);
      expect(strangeChanges(server)).toEqual([]);
    });

    it("is named in the error, with the two ways out", async () => {
      const { run, stranger } = await bound(emptyPlace());
      const { code, stderr, log } = await run("sync --user bob", stranger);
      expect([code, log.split("\n").slice(-2)[0]]).toEqual([
        4,
        "[KeyManager] ❌ Auto-provision failed: the management key belongs to another OpenRouter account than the keys of this database; nothing was changed",
      ]);
      expect(stderr).toMatch(/\nhint: set OPENROUTER_PROVISIONING_KEY to .*keyctl reconcile --adopt-account/);
    });

    it("is told from ours where an earlier version has left no record", async () => {
      const { server, run, place, stranger } = await bound(emptyPlace());
      await place.setAccount(undefined);
      const before = await place.everything();
      for (const command of ["sync --user bob", "purge --user alice --revoke --yes", "reconcile"]) {
        expect((await run(command, stranger)).code).toBe(4);
      }
      expect([await place.everything(), strangeChanges(server)]).toEqual([before, []]);
    });

    it("is named by doctor, which changes nothing", async () => {
      const { server, given, run, place, stranger } = await bound(emptyPlace());
      await given("save --user bob --stdin", { input: OTHER });
      for (const record of [await place.account(), undefined]) {
        await place.setAccount(record as object | undefined);
        const before = await place.everything();
        const diagnosis = await run("doctor --json", stranger);
        expect([diagnosis.code, await place.everything(), strangeChanges(server)]).toEqual([10, before, []]);
        expect(managementKeyCheck(diagnosis)).toEqual({
          id: "management_key",
          status: "fail",
          message: "it belongs to another account than this database: it sees 0 of your 2 keys",
          hint: "set OPENROUTER_PROVISIONING_KEY_FILE to a management key of the database's account; or   keyctl reconcile --adopt-account",
        });
        const own = await run("doctor --json");
        expect([managementKeyCheck(own)?.["status"], await place.everything()]).toEqual(["pass", before]);
      }
    });

    it("is no obstacle to what needs none", async () => {
      const { server, given, stranger } = await bound(emptyPlace());
      const routes = await routesOf(server, async () => {
        await given("sync --user alice", stranger);
        await given("get --user alice --reveal", stranger);
        await given("purge --user alice --yes", stranger);
        await given("save --user bob --stdin", { ...stranger, input: OTHER });
      });
      expect(routes).toEqual([]);
    });

    it("calls no key deleted that it does not see", async () => {
      const { server, given, run, place, stranger } = await bound(emptyPlace());
      await given("save --user bob --stdin", { input: OTHER });
      server.addKey(OTHER);
      server.behave(always(GET_KEY, { status: 401 }));
      const before = await place.everything();
      const validated = await run("validate --user bob --json", stranger);
      expect([validated.code, errorOf(validated)?.code]).toEqual([4, "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT"]);
      expect(await place.everything()).toBe(before);
    });
  });

  describe("reconcile --adopt-account", () => {
    it.each(COMPANY_AND_PERSON)("binds the database to the account of this management key: %s", async (_, options) => {
      const { server, run, place, other, stranger } = await bound(emptyPlace(), options);
      const adopted = await run("reconcile --adopt-account --json", stranger);
      expect([adopted.code, documentsOf(adopted)]).toMatchObject([
        10,
        [
          { class: "other_account", user_id: "alice", key_hash: FIRST, action: "none" },
          { listed: 0, matched: 0, to_fix: 0, reported: 1 },
        ],
      ]);
      expect(await place.account()).toEqual({
        organization_id: other.organization,
        workspace_ids: [other.defaultWorkspace],
        adopted_at: expect.any(String) as string,
      });
      expect((await run("provision --user bob", stranger)).code).toBe(0);
      // The newest key was created in the other account since then: what is left of the first one there is not.
      const ours = await run("purge --user alice --revoke --yes --json");
      expect([ours.code, documentsOf(ours)[0]]).toMatchObject([0, { revocation: "done" }]);
      expect([...server.keys.values()].map(({ workspace }) => workspace)).toEqual([other.defaultWorkspace]);
      const after = await run("reconcile --json", stranger);
      expect([after.code, documentsOf(after)]).toMatchObject([0, [{ matched: 1, reported: 0 }]]);
    });

    it("goes with a copy into a store that was bound to the account later or earlier", async () => {
      const { home, run, given, place, stranger } = await bound(emptyPlace());
      const to = `sqlite:${home.work}/copy.db`;
      const there = { env: { ...stranger.env, KEYCTL_STORE: to } };
      await given("save --user bob --stdin --create", { input: OTHER, env: { KEYCTL_STORE: to } });
      await given("reconcile --adopt-account", there);
      await run("reconcile --adopt-account", stranger);
      await given(`copy --to ${to}`);
      const [record] = rowsOf(`${home.work}/copy.db`, "SELECT value FROM api_key_meta WHERE _id = 'account'");
      expect(JSON.parse(String(record?.["value"]))).toEqual(await place.account());
      expect(documentsOf(await run("reconcile --json", there))[0]).toMatchObject({ class: "other_account" });
    });

    it("keeps the time of the first time", async () => {
      const { run, place, stranger } = await bound(emptyPlace());
      await run("reconcile --adopt-account", stranger);
      const before = await place.account();
      await run("reconcile --adopt-account", stranger);
      expect(await place.account()).toEqual(before);
    });

    describe("leaves keys in the account before, whose absence", () => {
      const PURGE = "purge --user alice --revoke --yes --json --timeout 5s";
      const ELSEWHERE =
        "answered 404, which proves nothing: the key is older than the database's binding to this account";

      const REVOKE_PENDING = [10, "REVOKE_PENDING"];

      it("proves nothing of a key that was replaced", async () => {
        const { server, run, stranger } = await moved(
          emptyPlace(),
          "purge --user alice --yes",
          "save --user alice --stdin",
        );
        const purged = await run(PURGE.replace("--revoke", "--revoke-foreign"), stranger);
        expect([...endOf(purged), server.keys.has(FIRST)]).toEqual([...REVOKE_PENDING, true]);
        expect(errorOf(purged)?.message).toContain(ELSEWHERE);
      });

      it("proves nothing of a key that nobody can ask", async () => {
        const { server, run, stranger } = await moved(emptyPlace());
        const env = { ...stranger.env, KEYCTL_MASTER_KEYS: Buffer.alloc(32, 9).toString("base64url") };
        const purged = await run(PURGE, { env });
        expect([...endOf(purged), server.keys.has(FIRST)]).toEqual([...REVOKE_PENDING, true]);
        expect(errorOf(purged)?.message).toContain(ELSEWHERE);
      });

      it("proves nothing once its row is gone, until the account before has deleted it", async () => {
        const { server, run, stranger } = await moved(emptyPlace());
        const first = await run(PURGE, stranger);
        expect([...endOf(first), errorOf(first)?.message]).toEqual([
          ...REVOKE_PENDING,
          expect.stringContaining("still accepts it"),
        ]);
        for (let time = 0; time < 2; time += 1) {
          const again = await run(PURGE, stranger);
          expect([...endOf(again), documentsOf(again)[0]]).toMatchObject([...REVOKE_PENDING, { purged: false }]);
          expect(errorOf(again)?.message).toContain(`(its hash there is ${FIRST})`);
        }
        for (const line of ["reconcile --json", "reconcile --user alice --fix --json"]) {
          const reported = await run(line, stranger);
          expect([reported.code, documentsOf(reported)[0]]).toMatchObject([10, { class: "other_account" }]);
        }
        expect([(await run(PURGE)).code, server.keys.size]).toEqual([0, 0]);
        for (const line of [PURGE, "reconcile --json"]) expect((await run(line, stranger)).code).toBe(0);
      });

      it("is no matter where its deletion was proven there", async () => {
        const { run, stranger } = await moved(emptyPlace(), "purge --user alice --revoke --yes");
        for (const line of [PURGE, "reconcile --json"]) expect((await run(line, stranger)).code).toBe(0);
      });

      it("is no matter where that was proven of a retained key, though another one is purged now", async () => {
        const before = ["purge --user alice --yes", "purge --user alice --revoke --yes", "save --user alice --stdin"];
        const { run, stranger } = await moved(emptyPlace(), ...before);
        const purged = await run(PURGE.replace("--revoke", "--revoke-foreign"), stranger);
        expect([purged.code, documentsOf(purged)[0]]).toMatchObject([0, { revocation: "done", error: null }]);
      });

      it("is no matter where the key itself is refused", async () => {
        const { server, run, stranger } = await moved(emptyPlace());
        server.removeKey(FIRST);
        const purged = await run(PURGE, stranger);
        expect([purged.code, documentsOf(purged)[0]]).toMatchObject([0, { revocation: "done" }]);
        for (const line of [PURGE, "reconcile --json"]) expect((await run(line, stranger)).code).toBe(0);
      });

      it("proves nothing of what was created since then, with a key of the account before", async () => {
        const { server, run, stranger } = await moved(emptyPlace());
        expect((await run("provision --user bob", stranger)).code).toBe(0);
        expect((await run("purge --user bob --yes", stranger)).code).toBe(0);
        expect((await run("provision --user bob", stranger)).code).toBe(0);
        const env = { KEYCTL_MASTER_KEYS: Buffer.alloc(32, 9).toString("base64url") };
        const purged = await run(PURGE.replace("alice", "bob"), { env });
        expect([...endOf(purged), server.keys.size]).toEqual([...REVOKE_PENDING, 3]);
      });

      it("is no verdict", async () => {
        const { server, run, given, stranger } = await bound(emptyPlace());
        // One that was saved by hand is not too new to be judged.
        await given("purge --user alice --yes");
        await given("save --user alice --stdin", { input: keyEnding("0001") });
        await run("reconcile --adopt-account", stranger);
        server.behave(always(GET_KEY, { status: 401 }));
        const validated = await run("validate --user alice --json", stranger);
        expect([validated.code, documentsOf(validated)[0]]).toMatchObject([6, { verdict: "unknown" }]);
        expect(errorOf(validated)?.message).toContain(ELSEWHERE);
      });
    });

    it("says so, and changes nothing where it is bound to that account already", async () => {
      const { run, place } = await bound(emptyPlace());
      const before = await place.account();
      const { code, stderr } = await run("reconcile --adopt-account");
      expect([code, await place.account()]).toEqual([0, before]);
      expect(stderr).toContain("note: the database is bound to the account of this management key\n");
    });

    it("fails where OpenRouter does not tell the account", async () => {
      const { server, run, place, stranger } = await bound(emptyPlace(), {});
      const before = await place.everything();
      server.behave(always(WORKSPACES, { status: 403 }));
      const refused = await run("reconcile --adopt-account --json", stranger);
      expect([refused.code, errorOf(refused)]).toMatchObject([
        6,
        { code: "PROVIDER_UNAVAILABLE", message: expect.stringContaining("OpenRouter answered 403") as string },
      ]);
      expect(await place.everything()).toBe(before);
    });
  });
}

accountTests(sqlitePlace);
describeWithMongodb("on a MongoDB server", () => accountTests(mongoPlace));

/** Nobody says which account it is, and no key of ours is found. */
function silent(fault: Fault): Rule {
  return ({ route }) => (route === WORKSPACES || route === ONE_KEY ? fault : "pass");
}

describe("an account that cannot be found out", () => {
  const SILENCES: readonly (readonly [string, Fault])[] = [
    ["403", { status: 403 }],
    ["404", { status: 404 }],
    ["400", { status: 400 }],
    ["a gateway's 404", "no-route"],
    ["HTML", "html"],
    ["503", { status: 503, headers: { "retry-after": "3600" } }],
  ];

  const WARNING = {
    code: "ACCOUNT_UNKNOWN",
    message: expect.stringMatching(
      /^it is not known whether the management key belongs to the account of this database: Open/,
    ) as string,
  };

  it.each(SILENCES)("is a warning after %s, and a new key is created", async (_name, fault) => {
    const { server, run } = await bound(sqlitePlace(), {});
    server.behave(silent(fault));
    const done = await run("sync --user bob --json --timeout 20s");
    const warnings = [{ code: "NO_LIMIT" }, WARNING];
    expect([done.code, documentsOf(done)[0]]).toMatchObject([0, { source: "auto-provisioned", warnings }]);
  });

  it("is told once a run", async () => {
    const { server, run } = await bound(sqlitePlace(), {});
    server.behave(silent({ status: 403 }));
    const done = await run("provision --user bob --user carol --json --limit 5");
    const warnings = documentsOf(done).map((document) => (document["warnings"] as object[]).length);
    // The summary says each once more.
    expect([done.code, warnings]).toEqual([0, [1, 0, 1]]);
    expect(server.count(WORKSPACES)).toBe(1);
  });

  it.each(SILENCES)("takes no absence for proof after %s", async (_name, fault) => {
    const { server, run } = await bound(sqlitePlace(), {});
    server.removeKey(FIRST);
    server.behave(silent(fault));
    const purged = await run("purge --user alice --revoke --yes --json --timeout 20s");
    expect([purged.code, documentsOf(purged)[0]]).toMatchObject([10, { revocation: "pending", warnings: [WARNING] }]);
    expect(errorOf(purged)?.message).toContain("answered 404, which proves nothing");
  });

  it("deletes a key that is there, and confirms that with the key itself", async () => {
    const { server, run } = await bound(sqlitePlace(), {});
    server.behave(silent({ status: 403 }));
    const purged = await run("purge --user alice --revoke --yes --json");
    expect([purged.code, documentsOf(purged)[0]]).toMatchObject([0, { revocation: "done", warnings: [WARNING] }]);
  });

  it("is worth a look to doctor", async () => {
    const { server, run } = await bound(sqlitePlace(), {});
    server.behave(silent({ status: 403 }));
    expect(managementKeyCheck(await run("doctor --json"))).toMatchObject({
      status: "attention",
      message: expect.stringMatching(/^accepted, but its account is not known: OpenRouter answered 403/) as string,
    });
  });

  it("makes a refused key unknown, and stops no run", async () => {
    const { home, server, given, run } = await bound(sqlitePlace(), {});
    for (let number = 0; number < 25; number += 1) {
      await given(`save --user u${number} --stdin`, { input: keyEnding(`b0${String(number).padStart(2, "0")}`) });
    }
    server.removeKey(FIRST);
    change(home.database, "UPDATE api_keys SET created_at = '2026-01-01T00:00:00.000Z'");
    server.behave(always(WORKSPACES, { status: 403 }));
    const done = await run("validate --all --json");
    const summary = documentsOf(done).at(-1);
    expect([done.code, summary]).toMatchObject([6, { unknown: 26, invalid: 0, complete: true, warnings: [WARNING] }]);
  });

  it("reports no row whose key is not on the list", async () => {
    const { home, server, run } = await bound(sqlitePlace(), {});
    change(home.database, "UPDATE api_keys SET created_at = '2026-01-01T00:00:00.000Z'");
    server.removeKey(FIRST);
    const known = await run("reconcile --json");
    expect(documentsOf(known)).toMatchObject([{ class: "dangling_row" }, { reported: 1, warnings: [] }]);
    // The list itself is there, but nothing says whose it is.
    server.behave(({ route, number }) =>
      route === ONE_KEY || (route === WORKSPACES && number > 4) ? { status: 400 } : "pass",
    );
    const unknown = await run("reconcile --json");
    expect([unknown.code, documentsOf(unknown)]).toMatchObject([0, [{ listed: 0, reported: 0, warnings: [WARNING] }]]);
  });
});

describe("a stale operation", () => {
  it("is left as it is with a management key of another account", async () => {
    const { home, run, stranger } = await bound(sqlitePlace());
    await note(home, "bob", operation(1), 120_000);
    const refused = await run("sync --user bob --json", stranger);
    expect([refused.code, errorOf(refused)?.code]).toEqual([4, "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT"]);
    expect(await journalOf(home, "bob")).toEqual(["op:1"]);
  });
});
