import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { newRecord } from "../../../src/core/model/key-record.ts";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { sqliteStore } from "../../../src/stores/sqlite/store.ts";
import { rowsOf } from "../../support/sqlite/database-file.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { inProcess } from "../../support/programs/in-process.ts";
import { KEY, OTHER } from "../../support/fixtures/keys.ts";
import { managerOfTest } from "../../support/memory/manager.ts";
import { mockOpenRouter } from "../../support/openrouter/of-test.ts";
import { environmentFor } from "../../support/recording/keyctl.ts";
import { opened } from "../../support/sqlite/sqlite.ts";
import { operation } from "../../support/home/tool-with-openrouter.ts";

const patient = new AbortController().signal;
const ALICE = parseUserId("alice");
const USERS = "SELECT user_id FROM api_keys ORDER BY user_id";

function rowFor(user: string) {
  const key = ApiKey.parse(KEY);
  if (key === undefined) throw new Error("this is not a key");
  return newRecord(parseUserId(user), {
    key,
    sealed: "eyJ.sealed...",
    origin: "manual",
    now: "2026-11-22T00:00:00.000Z",
  });
}

/** Another database of keyctl's, with one user. */
async function anotherDatabase(path: string): Promise<void> {
  const store = sqliteStore(await opened(path));
  await store.insert(rowFor("zoë"), patient);
  await store.close();
}

interface Removal {
  readonly does: (path: string) => void | Promise<void>;
  readonly says: string;
}

const REMOVALS: Readonly<Record<string, Removal>> = {
  deleted: { does: (path) => rmSync(path), says: "was deleted or moved" },
  moved: { does: (path) => renameSync(path, `${path}.moved`), says: "was deleted or moved" },
  "moved with its folder": {
    does: (path) => renameSync(dirname(path), `${dirname(path)}.moved`),
    says: "was deleted or moved",
  },
  "replaced by another database": {
    async does(path) {
      await anotherDatabase(`${path}.another`);
      renameSync(`${path}.another`, path);
    },
    says: "was replaced by another file",
  },
  "replaced by a copy of itself": {
    does(path) {
      copyFileSync(path, `${path}.copy`);
      renameSync(`${path}.copy`, path);
    },
    says: "was replaced by another file",
  },
  "deleted, and another one made under its name": {
    async does(path) {
      for (const file of [path, `${path}-wal`, `${path}-shm`]) rmSync(file, { force: true });
      await anotherDatabase(path);
    },
    says: "was replaced by another file",
  },
  "behind a link that leads elsewhere now": {
    async does(path) {
      await anotherDatabase(`${path}.another`);
      rmSync(path);
      symlinkSync(`${path}.another`, path);
    },
    says: "was replaced by another file",
  },
};

const CALLS: readonly (readonly [name: string, call: (store: ReturnType<typeof sqliteStore>) => Promise<unknown>])[] = [
  ["ping", (store) => store.ping(patient)],
  ["find", (store) => store.find(ALICE, patient)],
  ["findMany", (store) => store.findMany([ALICE], patient)],
  ["count", (store) => store.count(patient)],
  [
    "scan",
    async (store) => {
      for await (const row of store.scan(() => patient)) return row;
    },
  ],
  ["insert", (store) => store.insert(rowFor("bob"), patient)],
  ["insertMany", (store) => store.insertMany([rowFor("bob"), rowFor("carol")], patient)],
  ["replace", (store) => store.replace(rowFor("alice"), rowFor("alice"), patient)],
  ["remove", (store) => store.remove(ALICE, rowFor("alice"), patient)],
  ["insertFirstKeyCheckValue", (store) => store.insertFirstKeyCheckValue({ kid: "k", value: "v" }, patient)],
  ["keyCheckValues", (store) => store.keyCheckValues(patient)],
  ["deployment", (store) => store.deployment(patient)],
  ["adoptDeployment", (store) => store.adoptDeployment("0123456789abcdef", patient)],
  [
    "insertEntry",
    (store) => store.insertEntry({ ...operation(1), userId: ALICE, at: "2026-11-22T00:00:00.000Z" }, patient),
  ],
  ["lastOperation", (store) => store.lastOperation(ALICE, patient)],
];

describe.each(Object.entries(REMOVALS))("a database file that is %s while it is open", (_, { does, says }) => {
  it("answers no call any more, and takes no write", async () => {
    const { database } = emptyHome();
    const store = sqliteStore(await opened(database));
    onTestFinished(() => store.close());
    await store.insert(rowFor("alice"), patient);
    await does(database);
    const there = existsSync(database) ? readFileSync(database) : null;
    for (const [name, call] of CALLS) {
      const thrown: unknown = await call(store).catch((error: unknown) => error);
      expect([name, thrown]).toMatchObject([name, { code: "STORE_UNAVAILABLE", mayHaveHappened: false }]);
      expect([name, String(thrown)]).toEqual([
        name,
        `KeyctlError: the database file ${database} ${says} while it was in use`,
      ]);
    }
    expect(existsSync(database) ? readFileSync(database) : null).toEqual(there);
  });
});

async function openThroughLink() {
  const home = emptyHome();
  const link = join(home.work, "link.db");
  await anotherDatabase(home.database);
  symlinkSync(home.database, link);
  const { connection, file } = await opened(link);
  connection.exec("PRAGMA journal_mode=WAL");
  const store = sqliteStore({ connection, file, isNew: false });
  onTestFinished(() => store.close());
  await store.insert(rowFor("alice"), patient);
  return { store, link, database: home.database };
}

describe("a database that is open through a symbolic link", () => {
  it("names the log beside the real file when the log is gone", async () => {
    const { store, database } = await openThroughLink();
    rmSync(`${database}-wal`);
    await expect(store.insert(rowFor("bob"), patient)).rejects.toMatchObject({
      message: `the database file ${database}-wal was deleted or replaced while it was in use`,
    });
  });

  it.each([
    ["nothing", "was deleted or moved"],
    ["another database", "was replaced by another file"],
  ])("takes no write once the link follows its file to another place, and at the old one is %s", async (now, says) => {
    const { store, link, database } = await openThroughLink();
    renameSync(database, `${database}.moved`);
    rmSync(link);
    symlinkSync(`${database}.moved`, link);
    if (now === "another database") copyFileSync(link, database);
    await expect(store.insert(rowFor("bob"), patient)).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: `the database file ${database} ${says} while it was in use`,
    });
  });
});

it("a database file that is moved and comes back is the same", async () => {
  const { database } = emptyHome();
  const store = sqliteStore(await opened(database));
  onTestFinished(() => store.close());
  await store.insert(rowFor("alice"), patient);
  renameSync(database, `${database}.moved`);
  await expect(store.insert(rowFor("bob"), patient)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  renameSync(`${database}.moved`, database);
  expect(await store.insert(rowFor("carol"), patient)).toBe(true);
  expect(rowsOf(database, USERS).map(({ user_id }) => user_id)).toEqual(["alice", "carol"]);
});

it("a log that is deleted while it is in use takes no write with it", async () => {
  const { database } = emptyHome();
  const store = sqliteStore(await opened(database));
  onTestFinished(() => store.close());
  await store.insert(rowFor("alice"), patient);
  rmSync(`${database}-wal`);
  await expect(store.insert(rowFor("bob"), patient)).rejects.toMatchObject({
    code: "STORE_UNAVAILABLE",
    message: `the database file ${database}-wal was deleted or replaced while it was in use`,
  });
});

it.each(["insert", "insertMany"] as const)(
  "a file that goes while an %s is under way: nobody says that it was done, nor that it was not",
  async (call) => {
    const { database } = emptyHome();
    const { connection, file } = await opened(database);
    const store = sqliteStore({ connection, file, isNew: true });
    connection.function("take_away", () => {
      renameSync(database, `${database}.moved`);
      return 0;
    });
    connection.exec("CREATE TEMP TRIGGER at_once AFTER INSERT ON api_keys BEGIN SELECT take_away(); END");
    const row = rowFor("alice");
    const writing = call === "insert" ? store.insert(row, patient) : store.insertMany([row], patient);
    await expect(writing).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", mayHaveHappened: true });
    await store.close();
    renameSync(`${database}.moved`, database);
    expect(rowsOf(database, USERS)).toEqual([{ user_id: "alice" }]);
  },
);

/** A program that was open before, and an OpenRouter that would make keys for it. */
async function running(home: Home) {
  const openRouter = await mockOpenRouter();
  const manager = await managerOfTest(home, environmentFor(openRouter));
  expect((await manager.syncAndGetKey("alice")).error).toBeNull();
  return { manager, openRouter };
}

describe.each(Object.entries(REMOVALS))("a program whose database file is %s", (_, { does }) => {
  it("is not ready, hands out no key and buys none", async () => {
    const home = emptyHome();
    const { manager, openRouter } = await running(home);
    await does(home.database);
    await expect(manager.check()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    for (const user of ["alice", "bob"]) {
      const { key, synced, error } = await manager.syncAndGetKey(user);
      expect([key, synced, error?.code]).toEqual([null, false, "STORE_UNAVAILABLE"]);
    }
    expect((await manager.saveKeyToDb("carol", OTHER)).error?.code).toBe("STORE_UNAVAILABLE");
    expect((await manager.autoProvisionKey("dave")).error?.code).toBe("STORE_UNAVAILABLE");
    expect(openRouter.count("POST /keys")).toBe(1);
  });
});

describe.each(["deleted", "moved"] as const)("beside a program whose database file was %s", (how) => {
  it("no second database is made under its name, and no second key", async () => {
    const home = emptyHome();
    const { openRouter } = await running(home);
    await REMOVALS[how]?.does(home.database);
    for (const args of [["sync", "-u", "alice"], ["get", "-u", "alice", "--stored"], ["list"], ["rekey", "--init"]]) {
      const run = await inProcess(home, args, { env: environmentFor(openRouter) });
      expect([args, run.code]).toEqual([args, 7]);
      expect(run.stderr).toContain(
        `error: the database ${home.database} is gone, and ${home.database}-wal, which belongs to it, is still there\n`,
      );
    }
    expect([existsSync(home.database), openRouter.count("POST /keys")]).toEqual([false, 1]);
  });
});

it("a database that was removed with all that belongs to it is made anew by who saves a key", async () => {
  const home = emptyHome();
  home.writeKeyFile(KEY);
  expect((await inProcess(home, ["sync", "-u", "alice"])).code).toBe(0);
  rmSync(dirname(home.database), { recursive: true });
  mkdirSync(dirname(home.database));
  expect((await inProcess(home, ["get", "-u", "alice", "--stored"])).code).toBe(3);
  expect((await inProcess(home, ["sync", "-u", "alice"])).code).toBe(0);
});
