import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { schemaVersion, migrate } from "../../../src/stores/sqlite/schema.ts";
import { openDatabase } from "../../../src/stores/sqlite/database.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { keyctl } from "../../support/programs/keyctl.ts";
import { fullAfter, keyctlAfter, OBEY_MODES } from "../../support/memory/drop-capabilities.ts";
import { backToSchema1 } from "../../support/sqlite/schema-1.ts";
import { savingProgram } from "../../support/programs/saving-program.ts";
import { openFile } from "../../support/sqlite/sqlite.ts";

const KEY = "sk-or-v1-0000000000000000000000000000000000000000000000000000000000b465";
const OTHER = "sk-or-v1-1111111111111111111111111111111111111111111111111111111191aa";
const DROP_ALL = "DROP TABLE api_keys; DROP TABLE api_key_meta; DROP TABLE api_key_journal; DROP TABLE api_key_events";
const patient = new AbortController().signal;

const save = (home: Home, user: string, key = KEY) =>
  keyctl(home, ["save", "--user", user, "--stdin", "--replace"], { input: key });

/** What a person sees when the store cannot be used, whatever the command: these two lines and nothing else. */
async function expectRefusal(home: Home, problem: string, hint: string, line = ":") {
  const commands = [["list"], ["get", "--user", "alice", "--stored"], ["save", "--user", "alice", "--stdin"]];
  const runs = await Promise.all(commands.map((args) => keyctlAfter(line, home, args, { input: KEY })));
  const refusal = { code: 7, stdout: "", stderr: `error: ${problem}\nhint: ${hint}\n` };
  expect(runs).toEqual(commands.map(() => refusal));
}

/** Everything in a folder, to see that nothing of it has changed. */
function contents(folder: string): Readonly<Record<string, string>> {
  const entries = readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return [[path, "folder"], ...Object.entries(contents(path))];
    if (entry.isSymbolicLink()) return [[path, `-> ${readlinkSync(path)}`]];
    return [[path, entry.isFile() ? createHash("sha256").update(readFileSync(path)).digest("hex") : "special"]];
  });
  return Object.fromEntries(entries) as Readonly<Record<string, string>>;
}

const PLACE = "check --store or KEYCTL_STORE";
const RESTORE = "put it aside and restore a backup; nothing was written to it";
const WRITABLE = "the file, its -wal and -shm if they are there, and its folder must be writable by this user";
const DAMAGED = "is damaged, or is not a SQLite database";

/** A database of ours with more in it than fits in a few pages. */
async function filled(path: string) {
  const database = await openFile(path);
  database.exec("PRAGMA journal_mode=DELETE");
  const row = database.prepare(
    "INSERT INTO api_keys (_id, user_id, provider, key_encrypted, source, created_at, updated_at) VALUES (?, ?, 'openrouter', ?, 'manual', '2026-11-22T00:00:00.000Z', '2026-11-22T00:00:00.000Z')",
  );
  for (let n = 0; n < 200; n += 1) row.run(String(n), `user-${n}`, `eyJ.${"x".repeat(300)}...`);
  database.close();
}

/** A database of ours to which this was done. All of it is in the one file. */
async function altered(path: string, sql = "") {
  const database = await openFile(path);
  database.exec(`PRAGMA journal_mode=DELETE; ${sql}`);
  database.close();
}

async function deploymentOf(home: Home) {
  const database = await openFile(home.database);
  const row = database.prepare("SELECT value FROM api_key_meta WHERE _id = 'deployment'").get();
  database.close();
  return row?.["value"];
}

describe("a database that cannot be used", () => {
  const unusable: readonly (readonly [
    name: string,
    make: (path: string) => unknown,
    problem: (path: string) => string,
    hint: string,
  ])[] = [
    ["holds text", (path) => writeFileSync(path, "user,key\n"), (path) => `the database ${path} ${DAMAGED}`, RESTORE],
    [
      "holds random bytes",
      (path) => writeFileSync(path, createHash("shake256", { outputLength: 20_000 }).update("garbage").digest()),
      (path) => `the database ${path} ${DAMAGED}`,
      RESTORE,
    ],
    [
      "is cut off in its first page",
      async (path) => {
        await filled(path);
        truncateSync(path, 50);
      },
      (path) => `the database ${path} ${DAMAGED}`,
      RESTORE,
    ],
    [
      "is cut off in the middle",
      async (path) => {
        await filled(path);
        truncateSync(path, Math.floor(statSync(path).size / 2));
      },
      (path) => `the database ${path} ${DAMAGED}`,
      RESTORE,
    ],
    [
      "is overwritten from its second page on",
      async (path) => {
        await filled(path);
        const bytes = readFileSync(path);
        writeFileSync(path, bytes.fill(0xff, 4096));
      },
      (path) => `the database ${path} ${DAMAGED}`,
      RESTORE,
    ],
    [
      "belongs to another program",
      async (path) => {
        await altered(path, `${DROP_ALL}; CREATE TABLE cookies (name TEXT)`);
      },
      () => "the database file belongs to another program",
      "name another file with --store sqlite:<path>; nothing was written to this one",
    ],
    [
      "has a table of our name and not our schema",
      (path) => altered(path, "DELETE FROM api_key_meta WHERE _id = 'schema'"),
      () => "the database file belongs to another program",
      "name another file with --store sqlite:<path>; nothing was written to this one",
    ],
    [
      "was made by a newer keyctl",
      (path) => altered(path, "UPDATE api_key_meta SET value = '99' WHERE _id = 'schema'"),
      () => "the database was created by a newer keyctl (schema 99, this one knows 5)",
      "upgrade keyctl; nothing was written",
    ],
    ["is a folder", (path) => mkdirSync(path), (path) => `the database ${path} is not a regular file`, PLACE],
    [
      "is a named pipe",
      (path) => execFileSync("mkfifo", [path]),
      (path) => `the database ${path} is not a regular file`,
      PLACE,
    ],
    [
      "is a link to nothing",
      (path) => symlinkSync("unmounted/keyctl.db", path),
      (path) => `the database ${path} is a symbolic link to nothing`,
      PLACE,
    ],
    [
      "is a link to itself",
      (path) => symlinkSync("keyctl.db", path),
      (path) => `the database ${path} cannot be opened: its path is a loop of symbolic links`,
      PLACE,
    ],
  ];

  it.each(unusable)("is refused in one line and stays as it is when it %s", async (_, make, problem, hint) => {
    const home = emptyHome();
    const folder = dirname(home.database);
    mkdirSync(folder, { recursive: true });
    await make(home.database);
    const before = contents(folder);
    await expectRefusal(home, problem(home.database), hint);
    expect(contents(folder)).toEqual(before);
  });

  const places: readonly (readonly [name: string, place: (home: Home) => string, problem: string])[] = [
    ["its name is too long", ({ folder }) => join(folder, "x".repeat(300)), "cannot be opened: its path is too long"],
    [
      "its path is too long",
      ({ folder }) => join(folder, "x/".repeat(2_500), "keyctl.db"),
      "cannot be opened: its path is too long",
    ],
    [
      "a part of its path is a file",
      ({ folder }) => join(folder, "file", "keyctl.db"),
      "cannot be opened: a part of its path is not a folder",
    ],
    ["it is a device", () => "/dev/null", "is not a regular file"],
  ];

  it.each(places)("is refused in one line, and nothing is made, when %s", async (_, place, problem) => {
    const home = emptyHome();
    writeFileSync(join(home.folder, "file"), "");
    const before = contents(home.folder);
    const path = place(home);
    const named: Home = { ...home, environment: { ...home.environment, KEYCTL_STORE: `sqlite:${path}` } };
    await expectRefusal(named, `the database ${path} ${problem}`, PLACE);
    expect(contents(home.folder)).toEqual(before);
  });

  it("is an error of exit code 7 in the JSON document too", async () => {
    const home = emptyHome();
    mkdirSync(home.database, { recursive: true });
    const run = await keyctl(home, ["sync", "--user", "alice", "--json"], { env: { OPENROUTER_API_KEY: KEY } });
    expect(JSON.parse(run.stdout)).toMatchObject({
      user_id: "alice",
      key: null,
      synced: false,
      error: { code: "STORE_UNAVAILABLE", exit_code: 7 },
    });
    expect(run.code).toBe(7);
  });
});

describe("file modes that stand in the way", () => {
  it("lets a read-only file be read, and refuses to write to it", async () => {
    const home = emptyHome();
    await save(home, "alice");
    withMode(home.database, 0o400);
    const list = await keyctlAfter(OBEY_MODES, home, ["list", "--count"]);
    expect(list).toMatchObject({ code: 0, stdout: "1\n" });
    const run = await keyctlAfter(OBEY_MODES, home, ["save", "--user", "bob", "--stdin"], { input: OTHER });
    expect(run).toEqual({
      code: 7,
      stdout: "",
      stderr: `error: the database ${home.database} is read-only\nhint: ${WRITABLE}\n`,
    });
  });

  it("loses nothing in a read-only folder", async () => {
    const home = emptyHome();
    await save(home, "alice");
    withMode(dirname(home.database), 0o500);
    const run = await keyctlAfter(OBEY_MODES, home, ["save", "--user", "bob", "--stdin"], { input: OTHER });
    expect(run.code).toBe(7);
    expect(run.stdout).toBe("");
    expect(run.stderr.split("\n").slice(1)).toEqual([`hint: ${WRITABLE}`, ""]);
    expect(run.stderr).toMatch(/^error: the database .* (cannot be opened|is read-only)\n/);
    chmodSync(dirname(home.database), 0o700);
    expect((await keyctl(home, ["list", "--count"])).stdout).toBe("1\n");
  });

  it.each([
    ["the file cannot be read", (home: Home) => home.database, 0o000, "cannot be opened"],
    [
      "the folder cannot be searched",
      (home: Home) => dirname(home.database),
      0o000,
      "cannot be opened: permission denied",
    ],
  ])("is not taken for an absent store when %s", async (_, path, mode, problem) => {
    const home = emptyHome();
    await save(home, "alice");
    withMode(path(home), mode);
    await expectRefusal(home, `the database ${home.database} ${problem}`, WRITABLE, OBEY_MODES);
  });

  it("refuses to make a database in a read-only folder", async () => {
    const home = emptyHome();
    const folder = dirname(home.database);
    mkdirSync(folder, { recursive: true });
    withMode(folder, 0o500);
    const run = await keyctlAfter(OBEY_MODES, home, ["save", "--user", "alice", "--stdin"], { input: KEY });
    expect(run).toEqual({
      code: 7,
      stdout: "",
      stderr: `error: the database ${home.database} cannot be opened: permission denied\nhint: ${WRITABLE}\n`,
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("a full disk", () => {
  const FULL =
    /^error: the database .* could not be (written: the disk is full|read or written: .*)\nhint: .*nothing was lost(?:; then run it again)?\n$/;

  it.each([0, 4, 12])("that takes %d KiB cannot hold a new database; with room again it can", async (kibibytes) => {
    const home = emptyHome();
    const args = ["save", "--user", "alice", "--stdin"];
    const run = await keyctlAfter(fullAfter(kibibytes), home, args, { input: KEY });
    expect(run).toEqual({ code: 7, stdout: "", stderr: expect.stringMatching(FULL) });
    expect((await save(home, "alice")).code).toBe(0);
    expect((await keyctl(home, ["get", "--user", "alice", "--stored", "--reveal"])).stdout).toBe(`${KEY}\n`);
  });

  it("ends a bulk run, and every user it has reported is stored", async () => {
    const home = emptyHome();
    await save(home, "alice", OTHER);
    const users = Array.from({ length: 4_000 }, (_, index) => `user-${index}`);
    const run = await keyctlAfter(fullAfter(1_024), home, ["sync", "--users-file", "-", "--json"], {
      input: users.join("\n"),
      env: { OPENROUTER_API_KEY: KEY },
    });
    expect(run.code).toBe(7);
    expect(run.stderr).toMatch(FULL);
    const documents = run.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string; user_id: string; synced: boolean });
    expect(documents.at(-1)).toMatchObject({ type: "summary", complete: false, error: { code: "STORE_UNAVAILABLE" } });
    const reported = documents.filter(({ type, synced }) => type === "user" && synced).map(({ user_id }) => user_id);
    expect(reported.length).toBeGreaterThan(0);
    expect(reported.length).toBeLessThan(users.length);

    const database = await openFile(home.database);
    onTestFinished(() => database.close());
    expect(database.prepare("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
    const stored = database.prepare("SELECT user_id FROM api_keys").all();
    expect(stored.map((row) => String(row["user_id"])).toSorted()).toEqual(["alice", ...reported].toSorted());
    expect((await keyctl(home, ["get", "--user", "alice", "--stored", "--reveal"])).stdout).toBe(`${OTHER}\n`);
  });

  it("leaves no part of a first master key behind", async () => {
    const home = emptyHome();
    // A rollback journal needs no room until something is written, so that the master key is the first to find none.
    await altered(home.database);
    const run = await keyctlAfter(fullAfter(0), home, ["save", "--user", "alice", "--stdin"], { input: KEY });
    expect(run.code).toBe(4);
    expect(run.stderr).toMatch(/^error: the first master key could not be written to .* \(EFBIG\)\nhint: .*\n$/);
    expect(readdirSync(dirname(home.masterKeys))).toEqual([]);
    expect((await save(home, "alice")).code).toBe(0);
  });
});

describe("what a database is made of", () => {
  it.each(["0", "022", "077"])("has modes 0700 and 0600 under umask %s, also while it is in use", async (umask) => {
    const home = emptyHome();
    const program = savingProgram(home, ["alice"], `umask ${umask}`);
    await program.saved(3);
    program.stop();
    const made = ["data", "data/keyctl", "config", "config/keyctl"].map((name) => join(home.folder, name));
    expect(made.map((folder) => [folder, modeOf(folder)])).toEqual(made.map((folder) => [folder, 0o700]));
    const files = ["data/keyctl", "config/keyctl"].flatMap((name) =>
      readdirSync(join(home.folder, name)).map((file) => join(home.folder, name, file)),
    );
    expect(files.length).toBeGreaterThanOrEqual(2);
    for (const file of files.filter((path) => existsSync(path))) expect([file, modeOf(file)]).toEqual([file, 0o600]);
    await program.kill();
  });

  it("leaves the mode of a folder that was there alone", async () => {
    const home = emptyHome();
    mkdirSync(join(home.folder, "data"));
    chmodSync(join(home.folder, "data"), 0o755);
    await save(home, "alice");
    expect(modeOf(join(home.folder, "data"))).toBe(0o755);
    expect(modeOf(dirname(home.database))).toBe(0o700);
  });

  it("writes through a link to where the database is, and keeps the link", async () => {
    const home = emptyHome();
    await save(home, "alice");
    const elsewhere = join(home.folder, "elsewhere.db");
    renameSync(home.database, elsewhere);
    symlinkSync(elsewhere, home.database);
    expect((await save(home, "bob")).code).toBe(0);
    expect(lstatSync(home.database).isSymbolicLink()).toBe(true);
    expect((await keyctl(home, ["list", "--count", "--store", `sqlite:${elsewhere}`])).stdout).toBe("2\n");
  });

  it("syncs every commit, overwrites what is deleted, and never waits long by itself", async () => {
    const database = await openFile(emptyHome().database);
    onTestFinished(() => database.close());
    const settings = ["synchronous", "secure_delete"].map((name) => database.prepare(`PRAGMA ${name}`).get());
    expect(settings).toEqual([{ synchronous: 2 }, { secure_delete: 1 }]);
    expect(database.prepare("PRAGMA busy_timeout").get()?.["timeout"]).toBeLessThanOrEqual(20);
  });

  it("has a write-ahead log where SQLite is 3.51.3 or newer, else a rollback journal", async () => {
    const database = await openFile(emptyHome().database);
    onTestFinished(() => database.close());
    const version = String(database.prepare("SELECT sqlite_version() AS version").get()?.["version"]);
    const isSafe = version.localeCompare("3.51.3", "en", { numeric: true }) >= 0;
    expect(database.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: isSafe ? "wal" : "delete" });
  });

  it.each(["WAL", "DELETE"])("keeps the journal mode that it finds: %s", async (mode) => {
    const home = emptyHome();
    await altered(home.database, `PRAGMA journal_mode=${mode}`);
    const again = await openFile(home.database);
    onTestFinished(() => again.close());
    expect(again.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: mode.toLowerCase() });
  });
});

describe("the schema", () => {
  it("is not made by opening for reading", async () => {
    const home = emptyHome();
    expect(await openDatabase(home.database, false, patient)).toBeUndefined();
    expect(existsSync(dirname(home.database))).toBe(false);
  });

  it.each([
    ["an empty file", async (path: string) => writeFileSync(path, "")],
    ["a database without a table", (path: string) => altered(path, DROP_ALL)],
  ])("is made in %s, which is what a killed start leaves behind", async (_, make) => {
    const home = emptyHome();
    mkdirSync(dirname(home.database), { recursive: true });
    await make(home.database);
    const list = await keyctl(home, ["list"]);
    expect(list).toMatchObject({ code: 0, stdout: "" });
    expect(list.stderr).toMatch(/^no store exists yet at /);
    expect((await keyctl(home, ["get", "--user", "alice", "--stored"])).code).toBe(3);
    expect((await save(home, "alice")).code).toBe(0);
    expect((await keyctl(home, ["list", "--count"])).stdout).toBe("1\n");
  });

  it("does only the steps that are missing, also when another process did them first", async () => {
    const database = await openFile(emptyHome().database);
    onTestFinished(() => database.close());
    const meta = () => database.prepare("SELECT * FROM api_key_meta ORDER BY _id").all();
    const before = meta();
    expect(before).toMatchObject([{ _id: "deployment" }, { _id: "schema", value: "5" }]);
    migrate(database, "empty");
    expect(meta()).toEqual(before);
  });

  it("is not taken for another program's when it is made between two looks at it", async () => {
    const path = emptyHome().database;
    const [looking, making] = [await openFile(path), await openFile(path)];
    onTestFinished(() => [looking, making].forEach((database) => database.close()));
    looking.exec(DROP_ALL);
    const interrupted = new Proxy(looking, {
      get: (database, name) =>
        name === "prepare"
          ? (sql: string) => {
              try {
                return database.prepare(sql);
              } finally {
                migrate(making, "empty");
              }
            }
          : Reflect.get(database, name),
    });
    expect(["empty", 5]).toContain(schemaVersion(interrupted));
  });

  it("is one step's whole work or nothing of it", async () => {
    const database = await openFile(emptyHome().database);
    onTestFinished(() => database.close());
    // A table that the step would make is there already, so that the step fails after it has begun.
    database.exec(`${DROP_ALL}; CREATE VIEW api_key_meta AS SELECT 1`);
    expect(() => schemaVersion(database)).toThrow();
    database.exec("DROP VIEW api_key_meta");
    database.exec("CREATE TABLE api_keys_user (x)");
    expect(() => migrate(database, "empty")).toThrow();
    expect(database.prepare("SELECT name FROM sqlite_schema").all()).toEqual([{ name: "api_keys_user" }]);
  });

  it("gives each database an id of its own that stays", async () => {
    const [one, two] = [emptyHome(), emptyHome()];
    const first = await deploymentOf(one);
    expect(first).toMatch(/^[0-9a-f]{16}$/);
    await save(one, "alice");
    expect(await deploymentOf(one)).toBe(first);
    expect(await deploymentOf(two)).not.toBe(first);
  });
});

function schemaOf(database: DatabaseSync) {
  return database.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all();
}

function contentOf(database: DatabaseSync) {
  return {
    keys: database.prepare("SELECT * FROM api_keys ORDER BY user_id").all(),
    meta: database.prepare("SELECT * FROM api_key_meta WHERE _id <> 'schema' ORDER BY _id").all(),
  };
}

async function oldHome() {
  const home = emptyHome();
  await save(home, "alice");
  await save(home, "bob", OTHER);
  const database = await openFile(home.database);
  backToSchema1(database);
  const content = contentOf(database);
  expect(schemaVersion(database)).toBe(1);
  database.close();
  return { home, content };
}

describe("a database of the first version", () => {
  it("opens, keeps all that it holds, and becomes what a new one is", async () => {
    const { home, content } = await oldHome();
    const list = await keyctl(home, ["list", "--json"]);
    expect(
      list.stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([
      { user_id: "alice", limit: null, limit_reset: null, expires_at: null, error: null },
      { user_id: "bob", limit: null, limit_reset: null, expires_at: null, error: null },
    ]);
    expect((await keyctl(home, ["get", "--user", "alice", "--stored", "--reveal"])).stdout).toBe(`${KEY}\n`);

    const [migrated, fresh] = [await openFile(home.database), await openFile(emptyHome().database)];
    onTestFinished(() => [migrated, fresh].forEach((database) => database.close()));
    expect(contentOf(migrated)).toMatchObject(content);
    expect(schemaOf(migrated)).toEqual(schemaOf(fresh));
    expect(schemaVersion(migrated)).toBe(5);
    expect(migrated.prepare("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
    expect((await save(home, "alice", OTHER)).code).toBe(0);
    expect((await keyctl(home, ["get", "--user", "alice", "--stored", "--reveal"])).stdout).toBe(`${OTHER}\n`);
  });

  it("is brought up to date once by processes that open it at the same time", async () => {
    const { home, content } = await oldHome();
    const runs = await Promise.all(
      Array.from({ length: 8 }, () => keyctl(home, ["get", "--user", "alice", "--stored", "--reveal"])),
    );
    expect(runs.map(({ code, stdout, stderr }) => (code === 0 ? stdout : stderr))).toEqual(runs.map(() => `${KEY}\n`));
    const database = await openFile(home.database);
    onTestFinished(() => database.close());
    expect(contentOf(database)).toMatchObject(content);
  });

  it("goes on under a program of that version that has it open", async () => {
    const { home } = await oldHome();
    const database = await openFile(home.database);
    onTestFinished(() => database.close());
    backToSchema1(database);
    const statements = [
      "INSERT INTO api_keys (_id, user_id, provider, key_encrypted, source, created_at, updated_at) VALUES ('1', 'carol', 'openrouter', 'eyJ.x...', 'manual', '', '')",
      "SELECT user_id FROM api_keys ORDER BY user_id",
    ].map((sql) => database.prepare(sql));
    expect((await keyctl(home, ["list", "--count"])).stdout).toBe("2\n");
    statements[0]?.run();
    expect(statements[1]?.all()).toEqual(["alice", "bob", "carol"].map((user_id) => ({ user_id })));
  });
});

describe("what stands on the disk", () => {
  it.each(["WAL", "DELETE"])("holds no key in clear while a program is writing, journal mode %s", async (mode) => {
    const home = emptyHome();
    await altered(home.database, `PRAGMA journal_mode=${mode}`);
    const program = savingProgram(home, ["alice", "bob"]);
    let journals = 0;
    for (let round = 1; round <= 25 || journals === 0; round += 1) {
      await program.saved(round);
      program.stop();
      for (const [name, bytes] of filesOf(dirname(home.database))) {
        expect([name, bytes.includes("sk-or-v1-"), bytes.includes("5ec7e75ec7e7")]).toEqual([name, false, false]);
        if (/-(wal|journal)$/.test(name) && bytes.length > 0) journals += 1;
      }
      program.resume();
    }
    await program.kill();
  });

  it("holds a sealed key no longer than the database does", async () => {
    const home = emptyHome();
    await save(home, "alice");
    const text = readFileSync(home.database, "latin1");
    const [sealed = "none"] = /eyJ[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]{22}(?=[0-9a-f]{64})/.exec(text) ?? [];
    const holding = () =>
      filesOf(dirname(home.database)).flatMap(([name, bytes]) => (bytes.includes(sealed) ? [name] : []));
    expect(holding()).toEqual(["keyctl.db"]);
    expect((await keyctl(home, ["purge", "--user", "alice", "--yes"])).code).toBe(0);
    expect(holding()).toEqual([]);
  });
});

/** Until the test ends: the mode is put back before the home is removed. */
function withMode(path: string, mode: number): void {
  const before = statSync(path).mode;
  chmodSync(path, mode);
  onTestFinished(() => chmodSync(path, before));
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

/** The files of a folder at one moment; one that goes while they are read was not there. */
function filesOf(folder: string): readonly (readonly [name: string, bytes: Buffer])[] {
  return readdirSync(folder).flatMap((name) => {
    try {
      return [[name, readFileSync(join(folder, name))] as const];
    } catch {
      return [];
    }
  });
}
