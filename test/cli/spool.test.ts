import { keyIn } from "../../src/core/model/tombstone.ts";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import type { SpooledKey } from "../../src/core/ports/spool.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { fileSpool } from "../../src/stores/file-spool.ts";
import { storedUsers, withDatabase } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { firstMade, hashOf, KEY, MADE, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import type { Rule } from "../support/openrouter/faults.ts";
import { spooled, spoolFilesOf, spoolFolderOf } from "../support/fixtures/spooled-key.ts";
import {
  deploymentOf,
  journalOf,
  note,
  operation,
  stage,
  withCalls,
  withStore,
} from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";

const ALICE = parseUserId("alice");
const ALICE_HASH = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";

const unsent = async (home: Home) => `${await deploymentOf(home)}-${ALICE_HASH}-1.jwe`;
const sent = async (home: Home) => (await unsent(home)).replace(".jwe", ".sent.jwe");

function away(): KeyctlError {
  return new KeyctlError("STORE_UNAVAILABLE", "the database is away", { retryable: true });
}

/** A store that goes away when a row is to be inserted: before it was sent, or after, and then it may have arrived. */
function goingAway(when: "unsent" | "lost" | "landed"): (ports: Ports) => Ports {
  let isAway = false;
  return withCalls((store) => ({
    async insert(row, signal) {
      isAway = true;
      if (when === "unsent") throw away();
      if (when === "landed") await store.insert(row, signal);
      throw new KeyctlError("STORE_UNAVAILABLE", "nobody answered", { mayHaveHappened: true });
    },
    find: (user, signal) => (isAway ? Promise.reject(away()) : store.find(user, signal)),
  }));
}

/** Of the one key at OpenRouter, whose name says it. */
function nonceIn({ server }: Stage): string {
  const [key] = server.keys.values();
  return key?.name.split("-").at(-1) ?? "";
}

function losingClaims(ports: Ports): Ports {
  return { ...ports, spool: { ...ports.spool, claim: async () => false } };
}

describe("a key that was made and could not be stored", () => {
  it("is kept in a private file, or else deleted where it certainly was not stored", { timeout: 60_000 }, async () => {
    const cases = [
      { when: "unsent", keeps: true },
      { when: "lost", keeps: true },
      { when: "landed", keeps: true },
      { when: "unsent", keeps: false },
      { when: "lost", keeps: false },
    ] as const;
    const stages: Stage[] = [];
    for (const { keeps } of cases) {
      const all = await stage(firstMade());
      if (!keeps) writeFileSync(join(all.home.folder, "state"), "no folder can be made here");
      stages.push(all);
    }
    // At once, because each tries for ten seconds.
    const ends = await Promise.all(
      cases.map(async ({ when }, index) =>
        stages[index]?.run("sync --user alice --json", { around: goingAway(when), besideOthers: true }),
      ),
    );
    for (const [index, { when, keeps }] of cases.entries()) {
      const [all, end] = [stages[index], ends[index]];
      if (all === undefined || end === undefined) throw new Error("nothing was run");
      const { home, server, run } = all;
      const label = `${when}, ${keeps ? "kept" : "not kept"}`;
      expect([label, end.code, errorOf(end)?.code]).toEqual([label, 7, "STORE_UNAVAILABLE"]);
      expect([label, await journalOf(home), server.count("POST /keys")]).toEqual([label, ["op:1"], 1]);
      const message = errorOf(end)?.message;
      if (!keeps) {
        expect(message).toContain(when === "unsent" ? "was deleted again" : "may be in the database after all");
        expect([label, server.keys.size]).toEqual([label, when === "unsent" ? 0 : 1]);
        continue;
      }
      expect(message).toContain("it is safe");
      expect(errorOf(end)?.hint).toMatch(/^keyctl sync --user alice/);
      expect([label, server.keys.has(hashOf(MADE))]).toEqual([label, true]);
      const file = when === "unsent" ? await unsent(home) : await sent(home);
      expect(spoolFilesOf(home)).toEqual([file]);
      expect(statSync(join(spoolFolderOf(home), file)).mode & 0o777).toBe(0o600);
      expect(statSync(spoolFolderOf(home)).mode & 0o777).toBe(0o700);
      const text = readFileSync(join(spoolFolderOf(home), file), "utf8");
      expect(text).not.toContain("sk-or");
      expect(text).toContain("eyJ");
      // And when the database is back:
      const next = await run("sync --user alice --json");
      const comes = when !== "lost";
      expect([label, next.code, documentsOf(next)[0]?.["key"] === maskOf(MADE)]).toEqual([label, 0, comes]);
      expect([label, spoolFilesOf(home), server.keys.has(hashOf(MADE))]).toEqual([label, [], comes]);
      expect([label, await journalOf(home)]).toEqual([
        label,
        comes ? ["op:1", "out:1 saved"] : ["op:1", "op:2", "out:1 abandoned", "out:2 saved"],
      ]);
      expect([label, server.keys.size]).toEqual([label, 1]);
    }
  });
});

describe("--timeout", () => {
  it("bounds the import of what waits, and leaves it there", async () => {
    const all = await stage(firstMade());
    const { home, server, run } = all;
    await spooled(all);
    const waiting = spoolFilesOf(home);
    const started = performance.now();
    const late = await run("sync --user alice --timeout 500ms --json", { around: goingAway("unsent") });
    expect(performance.now() - started).toBeLessThan(8_000);
    expect([late.code, errorOf(late)?.code]).toEqual([7, "STORE_UNAVAILABLE"]);
    expect(spoolFilesOf(home)).toEqual(waiting);
    expect(documentsOf(await run("sync --user alice --json"))[0]).toMatchObject({
      key_hash: hashOf(MADE),
      error: null,
    });
    expect(server.count("POST /keys")).toBe(1);
  });
});

describe("a database that takes a key for none of the usual reasons", () => {
  it("costs no key: it waits in a file at once", async () => {
    const all = await stage(firstMade());
    const around = withCalls(() => ({
      insert: () => Promise.reject(new KeyctlError("STORE_CORRUPT", "the index is another")),
    }));
    const done = await all.run("sync --user alice --json", { around });
    expect([done.code, errorOf(done)?.message]).toEqual([7, expect.stringContaining("it is safe")]);
    expect(spoolFilesOf(all.home)).toEqual([await unsent(all.home)]);
    expect((await all.run("sync --user alice")).code).toBe(0);
  });
});

/** As in a copy of the database that is older than the operation which made the key. */
const forget = (home: Home, also = "") =>
  withDatabase(home, (database) => database.exec(`DELETE FROM api_key_journal WHERE user_id = 'alice'; ${also}`));

describe("a key that waits in a file, and a database that does not know its operation", () => {
  it("brings the operation in first, so that no other one takes its number", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    await forget(all.home);
    const first = await all.given("sync --user alice --json");
    expect(documentsOf(first)[0]).toMatchObject({ key: maskOf(MADE) });
    expect(await journalOf(all.home)).toEqual(["op:1", "out:1 saved"]);
    await all.given("purge --user alice --yes --revoke");
    await all.given("sync --user alice");
    expect(await journalOf(all.home)).toEqual(["op:1", "op:2", "out:1 saved", "out:2 saved", "rev:1 purged, revoke"]);
    expect((await all.run("reconcile --fix")).code).toBe(0);
    expect(all.server.keys.size).toBe(1);
  });

  it("decides against one that may have been sent, and deletes it", async () => {
    const all = await stage(firstMade());
    await spooled(all, { sent: true });
    await forget(all.home);
    await all.given("sync --user alice");
    expect(await journalOf(all.home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
    expect([all.server.keys.has(hashOf(MADE)), all.server.keys.size, spoolFilesOf(all.home)]).toEqual([false, 1, []]);
  });

  it.each([true, false])("deletes it when another key has got its number; sent: %s", async (isSent) => {
    const all = await stage(firstMade());
    await spooled(all, { sent: isSent });
    await forget(all.home);
    const state = { XDG_STATE_HOME: "/none" };
    await all.given("sync --user alice", { env: state });
    if (!isSent) await all.given("purge --user alice --yes", { env: state });
    const done = await all.given("sync --user alice --json");
    expect(documentsOf(done)[0]?.["key"]).not.toBe(maskOf(MADE));
    expect([all.server.keys.has(hashOf(MADE)), spoolFilesOf(all.home)]).toEqual([false, []]);
    expect((await all.run("reconcile")).code).toBe(0);
    expect((await all.run("sync --user alice")).code).toBe(0);
  });
});

describe("a key that waits in a file", () => {
  it.each([
    ["sync --user alice", "alice"],
    ["get --user alice", "alice"],
    ["sync --user alice --user bob --no-provision", "alice"],
    ["get --user alice --user bob", "alice"],
    ["reconcile --fix", "alice"],
    ["reconcile --fix --user alice", "alice"],
  ])("is brought in by %s", async (args, user) => {
    const all = await stage(firstMade());
    await spooled(all);
    await all.run(args);
    expect([await storedUsers(all.home), spoolFilesOf(all.home)]).toEqual([[user], []]);
    expect(await journalOf(all.home)).toEqual(["op:1", "out:1 saved"]);
    const got = await all.run("get --user alice --json");
    expect(documentsOf(got)[0]).toMatchObject({ key: maskOf(MADE), error: null });
    expect(all.server.count("POST /keys")).toBe(1);
  });

  it.each(["get --user alice --stored", "reconcile", "list", "sync --user bob --no-provision", "explain --user alice"])(
    "is left where it is by %s",
    async (args) => {
      const all = await stage(firstMade());
      await spooled(all);
      await all.run(args);
      expect([await storedUsers(all.home), spoolFilesOf(all.home)]).toEqual([[], [await unsent(all.home)]]);
    },
  );

  it("is not called an orphan by reconcile, which would bring it in, however old its operation is", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    await withDatabase(all.home, (database) => database.exec("DELETE FROM api_key_journal WHERE _id LIKE '%:op:%'"));
    await note(all.home, "alice", operation(1, nonceIn(all)), 3_600_000);
    const found = documentsOf(await all.run("reconcile --json"));
    expect(found[0]).toMatchObject({ class: "undecided", action: "none", key_hash: hashOf(MADE) });
    expect(found.at(-1)).toMatchObject({ to_fix: 0, error: null });
    await all.given("reconcile --fix");
    expect([await storedUsers(all.home), all.server.keys.size]).toEqual([["alice"], 1]);
  });

  it("comes before key.txt, for one and for many", async () => {
    for (const args of ["sync --user alice", "sync --provision --user alice --user bob"]) {
      const all = await stage(firstMade());
      await spooled(all);
      all.home.writeKeyFile(KEY);
      const done = await all.run(`${args} --json`);
      expect(documentsOf(done)[0]).toMatchObject({ user_id: "alice", key: maskOf(MADE), source: "database" });
    }
  });

  it("is in the way of provision and save, as a stored one is", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    expect((await all.run("provision --user alice")).code).toBe(8);
    const other = await stage(firstMade());
    await spooled(other);
    expect((await other.run("save --user alice --stdin", { input: KEY })).code).toBe(8);
  });

  it("is brought in and removed by purge --revoke", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    await all.given("purge --user alice --revoke --yes");
    await all.given("purge --user alice --revoke --yes");
    expect([all.server.keys.size, spoolFilesOf(all.home), await storedUsers(all.home)]).toEqual([0, [], []]);
  });

  it("gives way to a key that was saved meanwhile, and is deleted", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    await all.given("save --user alice --stdin", { input: KEY, env: { XDG_STATE_HOME: "/none" } });
    const done = await all.run("sync --user alice --json");
    expect(documentsOf(done)[0]).toMatchObject({ key: maskOf(KEY), error: null });
    expect([all.server.keys.size, spoolFilesOf(all.home)]).toEqual([0, []]);
    expect(await journalOf(all.home)).toEqual(["op:1", "out:1 abandoned"]);
  });

  it("stays in its file without a management key when it is decided against: somebody must delete it", async () => {
    const all = await stage(firstMade());
    await spooled(all, { sent: true });
    await all.run("get --user alice --timeout 500ms", { env: { OPENROUTER_PROVISIONING_KEY: "" } });
    expect([all.server.keys.size, spoolFilesOf(all.home)]).toEqual([1, [await sent(all.home)]]);
    await all.given("sync --user alice");
    expect([all.server.keys.has(hashOf(MADE)), spoolFilesOf(all.home)]).toEqual([false, []]);
  });

  it("does not come back when it was stored and purged meanwhile", async () => {
    const all = await stage(firstMade());
    await spooled(all, { sent: true });
    const hash = hashOf(MADE);
    await withStore(all.home, async (store, signal) => {
      const at = new Date().toISOString();
      await store.insertEntry(
        { kind: "out", n: 1, outcome: "saved", hash, upstreamHash: null, userId: ALICE, at },
        signal,
      );
      await store.insertEntry(
        { kind: "rev", n: 1, reason: "purged", revoke: false, block: false, userId: ALICE, at },
        signal,
      );
    });
    const inserts: string[] = [];
    const around = withCalls((store) => ({
      async insert(row, signal) {
        inserts.push(keyIn(row)?.keyHash ?? "");
        return store.insert(row, signal);
      },
    }));
    expect((await all.run("get --user alice", { around })).code).toBe(3);
    expect([inserts, await storedUsers(all.home), spoolFilesOf(all.home)]).toEqual([[], [], []]);
    // That purge had kept it.
    expect(all.server.keys.has(hash)).toBe(true);
  });

  it("whose insert may have been sent is never inserted again", async () => {
    const all = await stage(firstMade());
    await spooled(all, { sent: true });
    await all.given("sync --user alice");
    expect(await journalOf(all.home)).toEqual(["op:1", "op:2", "out:1 abandoned", "out:2 saved"]);
    expect([all.server.keys.has(hashOf(MADE)), all.server.keys.size]).toEqual([false, 1]);
  });

  it("is not claimed under a configuration that is refused, which would cost the key", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    const done = await all.run("get --user alice --json", { env: { OPENROUTER_PROVISIONING_KEY: "not a key" } });
    expect([done.code, errorOf(done)?.code]).toEqual([4, "CONFIG_INVALID"]);
    expect(spoolFilesOf(all.home)).toEqual([await unsent(all.home)]);
    const next = await all.run("get --user alice --json");
    expect(documentsOf(next)[0]).toMatchObject({ key: maskOf(MADE), error: null });
  });

  it.each([
    ["cannot be deleted", always("PATCH /keys/{hash}", { status: 400 })],
    ["is said to be missing, and shows", always("PATCH /keys/{hash}", { status: 404 })],
    [
      "is said to be missing, and works",
      ({ route }) => (route === "PATCH /keys/{hash}" || route === "GET /keys/{hash}" ? { status: 404 } : "pass"),
    ],
  ] satisfies readonly (readonly [string, Rule])[])(
    "stays in its file while the key that is decided against %s",
    async (_name, rule) => {
      const all = await stage(firstMade());
      await spooled(all, { sent: true });
      all.server.behave(rule);
      await all.run("get --user alice --timeout 3s");
      expect([all.server.keys.size, spoolFilesOf(all.home)]).toEqual([1, [await sent(all.home)]]);
      all.server.behave(() => "pass");
      await all.run("get --user alice");
      expect([all.server.keys.size, spoolFilesOf(all.home)]).toEqual([0, []]);
    },
  );

  it.each([
    ["that the database is bound to", "SELECT 1"],
    ["that nobody knows, because it was the first key", "DELETE FROM api_key_meta WHERE _id = 'account'"],
  ])("stays in its file with a management key of another account than the one %s", async (_name, sql) => {
    const all = await stage(firstMade());
    await spooled(all, { sent: true });
    await withDatabase(all.home, (database) => database.exec(sql));
    const env = { OPENROUTER_PROVISIONING_KEY: all.server.addAccount().managementKey };
    // Its operation is fresh, so that the command waits for it.
    await all.run("get --user alice --timeout 500ms", { env });
    expect([all.server.keys.size, spoolFilesOf(all.home)]).toEqual([1, [await sent(all.home)]]);
    expect(await journalOf(all.home)).toEqual(["op:1"]);
    await all.run("get --user alice");
    expect([all.server.keys.size, spoolFilesOf(all.home)]).toEqual([0, []]);
  });

  it("stays in its file when the database has moved to another account, where it is missing", async () => {
    const all = await stage(firstMade());
    await spooled(all, { sent: true });
    const env = { OPENROUTER_PROVISIONING_KEY: all.server.addAccount().managementKey };
    await all.run("reconcile --adopt-account", { env });
    await all.run("get --user alice --timeout 500ms", { env });
    expect([all.server.keys.size, spoolFilesOf(all.home)]).toEqual([1, [await sent(all.home)]]);
    await all.run("reconcile --adopt-account");
    await all.run("get --user alice");
    expect([all.server.keys.size, spoolFilesOf(all.home)]).toEqual([0, []]);
  });

  it("is left alone by who loses the claim", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    const done = await all.run("get --user alice --json --timeout 500ms", { around: losingClaims });
    expect(errorOf(done)?.code).toBe("PROVISION_PENDING");
    expect([await storedUsers(all.home), spoolFilesOf(all.home)]).toEqual([[], [await unsent(all.home)]]);
  });

  it("is claimed before it is inserted", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    const seen: (readonly string[])[] = [];
    const around = withCalls((store) => ({
      async insert(row, signal) {
        seen.push(spoolFilesOf(all.home));
        return store.insert(row, signal);
      },
    }));
    await all.run("sync --user alice", { around });
    expect(seen).toEqual([[await sent(all.home)]]);
  });

  it("stays, and may be sent again, when the database is away once more", { timeout: 40_000 }, async () => {
    const all = await stage(firstMade());
    await spooled(all);
    const done = await all.run("sync --user alice", { around: goingAway("unsent") });
    expect([done.code, spoolFilesOf(all.home)]).toEqual([7, [await unsent(all.home)]]);
    await all.given("sync --user alice");
    expect(await journalOf(all.home)).toEqual(["op:1", "out:1 saved"]);
  });

  it("that is damaged stops its user alone, and says where it is", async () => {
    const all = await stage(firstMade());
    await spooled(all);
    const path = join(spoolFolderOf(all.home), await unsent(all.home));
    writeFileSync(path, "{");
    const one = await all.run("sync --user alice --json");
    expect([one.code, errorOf(one)?.code]).toEqual([7, "ROW_UNREADABLE"]);
    expect(errorOf(one)?.message).toContain(path);
    const many = await all.run("sync --provision --user alice --user bob --json");
    expect(documentsOf(many)).toMatchObject([{ error: { code: "ROW_UNREADABLE" } }, { error: null }, {}]);
  });

  it("of another store is none of ours", async () => {
    const all = await stage(firstMade());
    await spooled(all, { deployment: "0".repeat(16) });
    await all.run("get --user alice --timeout 500ms");
    expect([await storedUsers(all.home), spoolFilesOf(all.home)]).toEqual([
      [],
      [`${"0".repeat(16)}-${ALICE_HASH}-1.jwe`],
    ]);
  });
});

describe("the folder of such files", () => {
  const key: SpooledKey = {
    deployment: "9f2c0a7d41b6e853",
    userId: ALICE,
    n: 1,
    sent: false,
    keyEncrypted: "eyJ",
    keyHash: hashOf(OTHER),
    keyTail: "91aa",
    origin: "auto-provisioned",
    createdAt: "2026-11-22T02:14:07.113Z",
    name: "keyctl/x",
    label: null,
    limit: 5,
    limitReset: null,
    expiresAt: null,
    upstreamHash: null,
    limitDue: null,
    restrictions: null,
  };

  it("gives back what was written, and each claim once", async () => {
    const spool = fileSpool(join(emptyHome().folder, "spool"));
    expect([spool.mayHoldKeys(), await spool.list(key.deployment)]).toEqual([false, []]);
    await spool.write(key);
    expect(await spool.list(key.deployment, ALICE)).toEqual([key]);
    expect(await spool.list(key.deployment, parseUserId("bob"))).toEqual([]);
    expect([await spool.claim(key), await spool.claim(key)]).toEqual([true, false]);
    expect(await spool.list(key.deployment)).toEqual([{ ...key, sent: true }]);
    await spool.release(key);
    expect(await spool.list(key.deployment)).toEqual([key]);
    expect(await spool.claim(key)).toBe(true);
    await spool.remove(key);
    await spool.remove(key);
    expect(await spool.list(key.deployment)).toEqual([]);
  });

  it("leaves nothing behind when a file cannot be written", async () => {
    const folder = join(emptyHome().folder, "spool");
    const spool = fileSpool(folder);
    await spool.write(key);
    await spool.remove({ ...key, sent: false });
    // Its name is taken by a folder: the file cannot come to its place.
    const [name = ""] = readdirSync(folder);
    rmSync(join(folder, name), { force: true });
    mkdirSync(join(folder, name, "taken"), { recursive: true });
    await expect(spool.write(key)).rejects.toThrow();
    expect(readdirSync(folder)).toEqual([name]);
  });

  it("is passed by when it cannot be read by us, for users who have nothing there", async () => {
    const home = emptyHome();
    const folder = join(home.folder, "spool");
    const spool = fileSpool(folder);
    await spool.write(key);
    writeFileSync(join(folder, "readme.txt"), "not ours");
    chmodSync(join(folder, "readme.txt"), 0o000);
    expect(await spool.list(key.deployment)).toEqual([key]);
  });
});

describe("a key whose database turns out to be damaged when it is in its row", () => {
  it("waits in a file, and is named", async () => {
    const damage = new KeyctlError("STORE_CORRUPT", "the database is damaged");
    const { home, run, server } = await stage(firstMade());
    const around = withCalls((store) => ({
      insertEntry: (entry, signal) =>
        entry.kind === "out" ? Promise.reject(damage) : store.insertEntry(entry, signal),
    }));
    const done = await run("sync --user alice --json", { around });
    expect([done.code, errorOf(done)?.code, server.count("POST /keys")]).toEqual([7, "STORE_UNAVAILABLE", 1]);
    expect(errorOf(done)?.message).toContain("a key was created for user alice");
    expect(spoolFilesOf(home)).toEqual([await sent(home)]);
  });
});

describe("a key that waits for another database", () => {
  it.each([
    ["sync --user alice --json", 1],
    ["provision --user alice --json", 1],
    ["sync --user alice --user bob --provision --json", 2],
  ])("is not joined by a second one: %s", async (line, created) => {
    const all = await stage(firstMade());
    const { home, server, run, given } = all;
    await spooled(all);
    const [file = ""] = spoolFilesOf(home);
    for (const end of ["", "-wal", "-shm", "-wal-owner"]) rmSync(`${home.database}${end}`, { force: true });
    // The next command makes another database.
    await given("save --user other --stdin", { input: KEY });
    const done = await run(line);
    const [alice] = documentsOf(done);
    expect(alice).toMatchObject({ key: null, error: { code: "CONFLICT", message: expect.stringContaining(file) } });
    expect([server.count("POST /keys"), spoolFilesOf(home)]).toEqual([created, [file]]);
    expect((await run("doctor")).stdout).toContain("in another database than this one");
  });
});
