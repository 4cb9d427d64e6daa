import { describe, expect, it } from "vitest";
import { previousOf } from "../../src/core/protocol/settle-row.ts";
import { findKey } from "../../src/core/protocol/find-key.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { storedUsers, withDatabase } from "../support/sqlite/database.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import type { Run } from "../support/programs/keyctl.ts";
import { hashOf, KEY, keyEnding, OTHER } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import {
  changesAt,
  deploymentOf,
  everythingIn,
  journalOf,
  note,
  operation,
  stage,
  withCalls,
  withStore,
} from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";

const NONCE = "00112233aabbccdd";
const LONG_AGO_MS = 61_000;
const ALICE = "2bd806c97f0e";

interface Found extends Record<string, unknown> {
  readonly class: string;
}

function findingsOf(run: Run): readonly Found[] {
  return documentsOf(run).filter(({ type }) => type === "finding") as unknown as Found[];
}

const classesOf = (run: Run) => findingsOf(run).map((finding) => finding.class);
const summaryOf = (run: Run) => documentsOf(run).at(-1);
const sql = (home: Home, text: string) => withDatabase(home, (database) => database.exec(text));

async function name(home: Home, n = 1, nonce = NONCE): Promise<string> {
  return `keyctl/${await deploymentOf(home)}/${ALICE}/${n}-${nonce}`;
}

/** One key at OpenRouter that an operation of alice's, which was decided against, has left. */
async function orphan({ home, server }: Stage): Promise<void> {
  await note(home, "alice", operation(1));
  await note(home, "alice", { kind: "out", n: 1, outcome: "abandoned" });
  server.addKey(KEY, { name: await name(home) });
}

interface Case {
  readonly class: string;
  readonly action?: "delete" | "remove_row";
  readonly given: (stage: Stage) => Promise<void>;
  /** After --fix. */
  readonly keys: number;
  readonly rows?: readonly string[];
  readonly journal?: readonly string[];
}

const MADE = ["op:1", "out:1 saved"];

/** As `save --revoke` of KEY over alice's row, which dies before the key that it replaces is revoked. */
async function saveBack(home: Home): Promise<void> {
  await withStore(home, async (store, signal) => {
    const row = await findKey(store, parseUserId("alice"), signal);
    if (row === undefined) throw new Error("there is no row");
    const previous = previousOf(row, { revoke: true, keyEncrypted: null });
    const saved = { keyHash: hashOf(KEY), generation: 0, settled: false, previous, revision: 9 };
    await store.replace({ ...row, ...saved }, row, signal);
  });
}

const CASES: Readonly<Record<string, Case>> = {
  "a key that was decided against": {
    class: "orphan",
    action: "delete",
    given: orphan,
    keys: 0,
    journal: ["op:1", "out:1 abandoned"],
  },
  "a second key of one operation": {
    class: "orphan",
    action: "delete",
    async given({ server, given }) {
      await given("sync --user alice");
      const [key] = server.keys.values();
      server.addKey(KEY, { name: key?.name ?? "" });
    },
    keys: 1,
    rows: ["alice"],
    journal: MADE,
  },
  "a key whose removal is owed": {
    class: "orphan",
    action: "delete",
    async given({ server, run, given }) {
      await given("sync --user alice");
      server.behave(always("PATCH /keys/{hash}", { status: 400 }));
      await run("purge --user alice --revoke --yes");
      server.behave(() => "pass");
    },
    keys: 0,
    journal: [...MADE, "rev:1 purged, revoke"],
  },
  "a key that was kept and is owed after all": {
    class: "orphan",
    action: "delete",
    async given({ home, given }) {
      await given("sync --user alice");
      await given("purge --user alice --yes");
      await note(home, "alice", { kind: "del", n: 1 });
    },
    keys: 0,
    journal: ["del:1", ...MADE, "rev:1 purged"],
  },
  "a key that a later saved one has followed": {
    class: "orphan",
    action: "delete",
    async given({ home, given }) {
      await given("sync --user alice");
      await sql(home, "DELETE FROM api_keys");
      await given("sync --user alice");
    },
    keys: 1,
    rows: ["alice"],
    journal: ["op:1", "op:2", "out:1 saved", "out:2 saved", "rev:1 superseded, revoke"],
  },
  "an operation that nobody has ended": {
    class: "orphan",
    action: "delete",
    async given({ home, server }) {
      await note(home, "alice", operation(1), LONG_AGO_MS);
      server.addKey(KEY, { name: await name(home) });
    },
    keys: 0,
    journal: ["op:1", "out:1 abandoned"],
  },
  "a purge that died before its row was gone": {
    class: "purge_pending",
    action: "remove_row",
    async given({ home, given }) {
      await given("sync --user alice");
      await note(home, "alice", { kind: "rev", n: 1, reason: "purged", revoke: false, block: false });
    },
    keys: 1,
    rows: [],
    journal: [...MADE, "rev:1 purged"],
  },
  "an operation that is under way": {
    class: "undecided",
    async given({ home, server }) {
      await note(home, "alice", operation(1), 30_000);
      server.addKey(KEY, { name: await name(home) });
    },
    keys: 1,
    journal: ["op:1"],
  },
  "a nonce that no operation has": {
    class: "unknown_nonce",
    async given({ home, server, given }) {
      await given("sync --user alice");
      server.addKey(KEY, { name: await name(home) });
    },
    keys: 2,
    rows: ["alice"],
    journal: MADE,
  },
  "a user that this store does not know": {
    class: "unknown_nonce",
    async given({ home, server }) {
      server.addKey(KEY, { name: (await name(home)).replace(ALICE, "0123456789ab") });
    },
    keys: 1,
  },
  "a key of another store": {
    class: "other_deployment",
    async given({ server, given }) {
      await given("save --user bob --stdin", { input: OTHER });
      server.addKey(KEY, { name: `keyctl/${"0".repeat(16)}/${ALICE}/1-${NONCE}` });
    },
    keys: 1,
    rows: ["bob"],
  },
  "a row that was removed by hand": {
    class: "no_row",
    async given({ home, given }) {
      await given("sync --user alice");
      await sql(home, "DELETE FROM api_keys");
    },
    keys: 1,
    rows: [],
    journal: MADE,
  },
  "a row whose key was removed by hand": {
    class: "dangling_row",
    async given({ home, server, given }) {
      await given("sync --user alice");
      await sql(home, "UPDATE api_keys SET created_at = '2026-01-01T00:00:00.000Z'");
      for (const hash of server.keys.keys()) server.removeKey(hash);
    },
    keys: 0,
    rows: ["alice"],
    journal: MADE,
  },
  "a key that was disabled by hand": {
    class: "disabled",
    async given({ server, given }) {
      await given("sync --user alice");
      for (const key of server.keys.values()) key.disabled = true;
    },
    keys: 1,
    rows: ["alice"],
    journal: MADE,
  },
  "a key that has expired": {
    class: "expired",
    async given({ server, given }) {
      await given("sync --user alice");
      const [key] = server.keys.values();
      Object.assign(key ?? {}, { expiresAt: "2026-01-01T00:00:00Z" });
    },
    keys: 1,
    rows: ["alice"],
    journal: MADE,
  },
  "one key shared by two users": {
    class: "duplicate",
    async given({ given }) {
      await given("save --user bob --stdin", { input: KEY });
      await given("save --user carol --stdin", { input: KEY });
    },
    keys: 0,
    rows: ["bob", "carol"],
  },
};

const HARMLESS: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  "a key in its row": async ({ given }) => void (await given("sync --user alice")),
  "a key that was renamed in the dashboard": async ({ server, given }) => {
    await given("sync --user alice");
    for (const key of server.keys.values()) key.name = "Alice's key, do not touch";
  },
  "a key that took the name of another store": async ({ server, given }) => {
    await given("sync --user alice");
    for (const key of server.keys.values()) key.name = `keyctl/${"0".repeat(16)}/${ALICE}/1-${NONCE}`;
  },
  "a key that was purged and kept": async ({ given }) => {
    await given("sync --user alice");
    await given("purge --user alice --yes");
  },
  "a key that was replaced and kept": async ({ given }) => {
    await given("sync --user alice");
    await given("save --user alice --stdin --replace", { input: KEY });
  },
  "a key of somebody's own, and one that was decided against and renamed": async (all) => {
    await orphan(all);
    const [key] = all.server.keys.values();
    if (key !== undefined) key.name = "my own";
    all.server.addKey(OTHER, { name: "keyctl/of/mine" });
  },
  "a purged key, and the one that was made after it": async ({ given }) => {
    await given("sync --user alice");
    await given("purge --user alice --yes");
    await given("sync --user alice");
  },
};

describe("reconcile finds", () => {
  it.each(Object.entries(CASES))("%s", async (_title, { class: kind, action = "none", given }) => {
    const all = await stage();
    await all.given("list");
    await given(all);
    const { home, server, run } = all;
    const before = { database: await everythingIn(home), changes: changesAt(server) };
    const done = await run("reconcile --json");
    expect(findingsOf(done)).toMatchObject([{ class: kind, action, done: false, error: null }]);
    // What is to be done can be typed; for the keys of others, nothing is.
    expect(findingsOf(done)[0]?.["hint"]).toEqual(
      kind === "other_deployment" ? null : expect.stringMatching(/^keyctl |https:/),
    );
    const isTask = action !== "none";
    // What others make, and what is being made now, is told and alarms nobody.
    const isNoted = kind === "other_deployment" || kind === "undecided";
    expect([done.code, errorOf(done)?.code ?? null]).toEqual(isNoted ? [0, null] : [10, "ATTENTION"]);
    expect(summaryOf(done)).toMatchObject({
      dry_run: true,
      to_fix: isTask ? 1 : 0,
      fixed: 0,
      reported: isTask || isNoted ? 0 : 1,
      noted: isNoted ? 1 : 0,
    });
    expect({ database: await everythingIn(home), changes: changesAt(server) }).toEqual(before);
  });

  it.each(Object.entries(HARMLESS))("nothing to say of %s", async (_title, given) => {
    const all = await stage();
    await given(all);
    const before = await everythingIn(all.home);
    for (const line of ["reconcile --json", "reconcile --fix --json", "reconcile --user alice --fix --json"]) {
      const done = await all.run(line);
      expect([done.code, findingsOf(done)]).toEqual([0, []]);
    }
    expect([await everythingIn(all.home), all.server.count("DELETE /keys/{hash}")]).toEqual([before, 0]);
  });
});

describe.each([
  ["reconcile --fix", ""],
  ["reconcile --fix --user alice", " --user alice"],
])("%s", (_title, only) => {
  it.each(Object.entries(CASES))("%s", async (_name, { action = "none", given, keys, rows = [], journal = [] }) => {
    const all = await stage();
    await given(all);
    const { home, server, run } = all;
    const done = await run(`reconcile --fix --json${only}`);
    const isTask = action !== "none";
    if (isTask) expect(findingsOf(done)).toMatchObject([{ action, done: true, error: null }]);
    expect([done.code, server.keys.size, await storedUsers(home), await journalOf(home)]).toEqual([
      isTask ? 0 : done.code,
      keys,
      rows,
      journal,
    ]);
    if (!isTask) expect(findingsOf(done).every((finding) => finding["done"] === false)).toBe(true);
    // And then it is done.
    const again = await run(`reconcile --fix --json${only}`);
    expect(findingsOf(again).filter((finding) => finding["action"] !== "none")).toEqual([]);
    if (isTask) expect(again.code).toBe(0);
  });
});

describe("reconcile", () => {
  it("has a summary and a line for each finding, on a terminal", async () => {
    const all = await stage();
    await orphan(all);
    const { home, run } = all;
    const seen = await run("reconcile", { columns: 120, env: { NO_COLOR: "1" } });
    const [header, line, ...more] = seen.stdout.split("\n");
    expect(header).toMatch(/^FINDING +USER +KEY +ACTION$/);
    expect(line).toBe(`orphan   alice  ${await name(home)}  to be deleted`);
    expect(more).toEqual([""]);
    expect(seen.stderr).toContain("1 key at OpenRouter: 0 matched, 0 kept, 1 to remove; 0 warnings\n");
    expect(seen.stderr).toContain("error: 1 key to remove\nhint: keyctl reconcile --fix\n");
    const done = await run("reconcile --fix", { columns: 120, env: { NO_COLOR: "1" } });
    expect(done.stdout).toContain("  deleted\n");
    expect(done.stderr).toContain("1 key at OpenRouter: 0 matched, 0 kept, 1 of 1 removed; 0 warnings\n");
    expect(done.code).toBe(0);
  });

  it("looks at one user only when told to", async () => {
    const all = await stage();
    await orphan(all);
    const { home, server, run, given } = all;
    await given("sync --user bob");
    await sql(home, "DELETE FROM api_keys");
    expect(classesOf(await run("reconcile --json"))).toEqual(expect.arrayContaining(["orphan", "no_row"]));
    expect(classesOf(await run("reconcile --json --user alice"))).toEqual(["orphan"]);
    expect(classesOf(await run("reconcile --json --user bob"))).toEqual(["no_row"]);
    expect(classesOf(await run("reconcile --json --user carol"))).toEqual([]);
    await given("reconcile --fix --user carol");
    expect(server.keys.size).toBe(2);
  });

  it("finds the keys of every workspace, disabled ones too, over many pages", async () => {
    const { home, server, run } = await stage({ pageSize: 3 });
    await note(home, "alice", operation(1));
    await note(home, "alice", { kind: "out", n: 1, outcome: "abandoned" });
    const workspace = server.addWorkspace("other");
    for (let index = 0; index < 8; index += 1) {
      const place = index % 2 === 0 ? { workspace } : {};
      server.addKey(keyEnding(`c${index}`), { name: await name(home), disabled: index % 3 === 0, ...place });
    }
    const done = await run("reconcile --fix --json");
    expect([done.code, summaryOf(done), server.keys.size]).toMatchObject([0, { listed: 8, to_fix: 8, fixed: 8 }, 0]);
  });

  it.each([
    ["its first page", { number: 1 }],
    ["its second pass", { number: 4 }],
  ])("changes nothing when the list breaks off on %s", async (_name, { number }) => {
    const all = await stage({ pageSize: 1 });
    await orphan(all);
    const { home, server, run } = all;
    const before = await everythingIn(home);
    server.behave((request) => (request.route === "GET /keys" && request.number >= number ? { status: 400 } : "pass"));
    const done = await run("reconcile --fix --json");
    expect([done.code, errorOf(done)?.code, changesAt(server)]).toEqual([6, "PROVIDER_UNAVAILABLE", {}]);
    expect(await everythingIn(home)).toBe(before);
  });

  it("says nothing of missing keys while keys come and go", async () => {
    const { home, server, run, given } = await stage();
    await given("sync --user alice");
    await sql(home, "UPDATE api_keys SET created_at = '2026-01-01T00:00:00.000Z'");
    for (const hash of server.keys.keys()) server.removeKey(hash);
    let come = 0;
    server.behave(({ route }) => {
      // One more in each pass, so that no two agree.
      if (route === "GET /workspaces") server.addKey(keyEnding(`f${(come += 1)}`));
      return "pass";
    });
    const done = await run("reconcile --json");
    expect([done.code, classesOf(done)]).toEqual([0, []]);
    expect(done.stderr).toContain("warning: keys changed while they were listed");
  });

  it("refuses a management key that OpenRouter refuses", async () => {
    const { run, given } = await stage();
    await given("list");
    await given("save --user alice --stdin", { input: KEY });
    const done = await run("reconcile --json", { env: { OPENROUTER_PROVISIONING_KEY: OTHER } });
    expect([done.code, errorOf(done)?.code]).toEqual([4, "MANAGEMENT_KEY_REFUSED"]);
  });

  it("reports what cannot be removed, removes the rest, and ends it another time", async () => {
    const all = await stage();
    await orphan(all);
    const { home, server, run } = all;
    server.addKey(OTHER, { name: await name(home) });
    server.behave(({ route, path }) =>
      route === "DELETE /keys/{hash}" && path.includes(hashOf(KEY)) ? { status: 400 } : "pass",
    );
    const done = await run("reconcile --fix --json");
    expect([done.code, errorOf(done)?.code]).toEqual([10, "REVOKE_PENDING"]);
    expect(summaryOf(done)).toMatchObject({ to_fix: 2, fixed: 1, complete: true });
    expect([...server.keys.keys()]).toEqual([hashOf(KEY)]);
    server.behave(() => "pass");
    expect((await run("reconcile --fix")).code).toBe(0);
    expect(server.keys.size).toBe(0);
  });

  it("reads the records of a key only after it was listed", async () => {
    const all = await stage();
    await orphan(all);
    const { server, run } = all;
    const seen: number[] = [];
    const listed = () => server.count("GET /keys");
    const around = withCalls((store) => ({
      find: (...args) => (seen.push(listed()), store.find(...args)),
      entries: (...args) => (seen.push(listed()), store.entries(...args)),
      outcomesOf: (...args) => (seen.push(listed()), store.outcomesOf(...args)),
      scanJournal: (...args) => (seen.push(listed()), store.scanJournal(...args)),
    }));
    await run("reconcile --fix", { around });
    expect(seen.length).toBeGreaterThan(3);
    expect(new Set(seen)).toEqual(new Set([listed()]));
  });

  it("takes the row first: a key that is owed and in a row is deleted only after that", async () => {
    const { home, server, run, given } = await stage();
    await given("sync --user alice");
    await note(home, "alice", { kind: "rev", n: 1, reason: "purged", revoke: true, block: false });
    const rowsAt: number[] = [];
    const around = withCalls((store) => ({
      async remove(user, seen, signal) {
        rowsAt.push(server.count("PATCH /keys/{hash}"));
        return store.remove(user, seen, signal);
      },
    }));
    const done = await run("reconcile --fix --json", { around });
    expect([done.code, rowsAt, server.keys.size, await storedUsers(home)]).toEqual([0, [0], 0, []]);
  });

  it("takes the row first also where somebody has saved a key by hand that is owed after all", async () => {
    const { home, server, given } = await stage({ newKey: () => KEY });
    await given("sync --user alice");
    await given("purge --user alice --yes");
    await given("save --user alice --stdin", { input: KEY });
    await note(home, "alice", { kind: "del", n: 1 });
    await given("reconcile --fix");
    expect([server.keys.size, await storedUsers(home)]).toEqual([0, []]);
  });

  it("keeps the note of what such a row has replaced: that is revoked before the row goes", async () => {
    const keys = [KEY, OTHER];
    const { home, server, run, given } = await stage({ newKey: () => keys.shift() ?? "" });
    await given("sync --user alice");
    await given("purge --user alice --yes");
    await given("sync --user alice");
    // While reconcile judges the first key, somebody saves it back over the second one, and dies before that is revoked.
    let looks = 0;
    const repairs = 2;
    const around = withCalls((store) => ({
      async entries(user, signal) {
        looks += 1;
        const entries = await store.entries(user, signal);
        if (looks === repairs) await saveBack(home);
        return entries;
      },
    }));
    await note(home, "alice", { kind: "del", n: 1 });
    await run("reconcile --fix", { around });
    expect(await journalOf(home)).toContain("rev:2 superseded, revoke");
    await given("reconcile --fix");
    expect([server.keys.size, await storedUsers(home)]).toEqual([0, []]);
  });

  it("leaves a key alone whose row cannot be taken out", async () => {
    const { home, server, run, given } = await stage();
    await given("sync --user alice");
    await note(home, "alice", { kind: "rev", n: 1, reason: "purged", revoke: true, block: false });
    const done = await run("reconcile --fix --json", { around: withCalls(() => ({ remove: async () => false })) });
    expect([done.code, server.keys.size, await storedUsers(home)]).toEqual([8, 1, ["alice"]]);
    expect(server.count("PATCH /keys/{hash}")).toBe(0);
  });

  it("decides against a stale operation before it deletes its key, and obeys whoever was first", async () => {
    const { home, server, run } = await stage();
    await note(home, "alice", operation(1), LONG_AGO_MS);
    server.addKey(KEY, { name: await name(home) });
    const saved = { kind: "out", n: 1, outcome: "saved", hash: hashOf(KEY), upstreamHash: null } as const;
    const around = withCalls((store) => ({
      async insertEntry(entry, signal) {
        const at = new Date().toISOString();
        if (entry.kind === "out") await store.insertEntry({ ...saved, userId: parseUserId("alice"), at }, signal);
        return store.insertEntry(entry, signal);
      },
    }));
    await run("reconcile --fix --json", { around });
    expect([server.keys.size, await journalOf(home)]).toEqual([1, ["op:1", "out:1 saved"]]);
  });

  it("follows OpenRouter's own id where that is not our hash", async () => {
    const { server, run, given } = await stage({ hashOf: (key) => hashOf(`theirs ${key}`) });
    await given("sync --user alice");
    expect((await run("reconcile")).code).toBe(0);
    await given("purge --user alice --revoke --yes");
    expect(server.keys.size).toBe(0);
  });

  it("makes no database, and has nothing to say without one", async () => {
    const { server, run } = await stage();
    expect([(await run("reconcile")).code, server.count()]).toEqual([3, 0]);
  });
});

async function manyOrphans(count: number, others = 0): Promise<Stage> {
  const all = await stage();
  await note(all.home, "alice", operation(1));
  await note(all.home, "alice", { kind: "out", n: 1, outcome: "abandoned" });
  const orphans = await name(all.home);
  for (let index = 0; index < count; index += 1) all.server.addKey(keyEnding(`d${index}`), { name: orphans });
  const nobodys = await name(all.home, 2);
  for (let index = 0; index < others; index += 1) all.server.addKey(keyEnding(`e${index}`), { name: nobodys });
  return all;
}

const changed = (server: OpenRouterServer) => server.count("PATCH /keys/{hash}") + server.count("DELETE /keys/{hash}");

describe("the limit of --fix", () => {
  it("is ten keys", async () => {
    const { server, run } = await manyOrphans(10);
    expect([(await run("reconcile --fix")).code, server.keys.size]).toEqual([0, 0]);
  });

  it("asks for the count above that, and changes nothing", async () => {
    const { home, server, run } = await manyOrphans(11);
    const before = await everythingIn(home);
    const refused = await run("reconcile --fix --json");
    expect([refused.code, errorOf(refused)]).toMatchObject([
      2,
      { code: "CONFIRMATION_NEEDED", hint: "keyctl reconcile --fix --json --confirm 11" },
    ]);
    expect(summaryOf(refused)).toMatchObject({ to_fix: 11, fixed: 0, complete: false });
    const other = await run("reconcile --fix --confirm 12 --json");
    expect([other.code, errorOf(other)?.code]).toEqual([8, "COUNT_CHANGED"]);
    expect([changed(server), await everythingIn(home)]).toEqual([0, before]);
    const done = await run("reconcile --fix --confirm 11 --json");
    expect([done.code, summaryOf(done)?.["fixed"], server.keys.size]).toEqual([0, 11, 0]);
  });

  it("is one of a hundred of ours where that is more", async () => {
    const within = await manyOrphans(11, 1_089);
    expect([(await within.run("reconcile --fix")).code, within.server.keys.size]).toEqual([10, 1_089]);
    const beyond = await manyOrphans(11, 1_088);
    expect([(await beyond.run("reconcile --fix")).code, beyond.server.keys.size]).toEqual([2, 1_099]);
  });

  it("holds for the smallest count that is given, too", async () => {
    const { server, run } = await manyOrphans(2);
    expect((await run("reconcile --fix --confirm 1")).code).toBe(8);
    expect(changed(server)).toBe(0);
  });
});
