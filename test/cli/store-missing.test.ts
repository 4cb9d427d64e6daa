import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { storedUsers, withDatabase } from "../support/sqlite/database.ts";
import { change, rowsOf } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { openManager } from "../support/memory/manager.ts";
import { openRouterServer } from "../support/openrouter/server.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import { treeOf } from "../support/home/tree.ts";

const FOUND = { OPENROUTER_API_KEY: KEY };
/** Commands that make a store when they are told to, and the words that they are given. */
const MAKERS: readonly (readonly string[])[] = [
  ["sync", "-u", "alice"],
  ["sync", "-u", "alice", "-u", "bob"],
  ["get", "-u", "alice"],
  ["save", "-u", "alice", "--stdin"],
];
const OTHERS: readonly (readonly string[])[] = [
  ["get", "-u", "alice", "--stored"],
  ["purge", "-u", "alice"],
  ["validate", "-u", "alice"],
  ["list"],
  ["list", "--count"],
  ["explain", "-u", "alice"],
  ["rekey"],
  ["copy", "--to", "sqlite:copy.db", "--create"],
];

/** How a store can be named, and what says so. */
const NAMED: readonly (readonly [from: string, env: Record<string, string>, flags: readonly string[]])[] = [
  ["--store", {}, ["--store", "sqlite:none.db"]],
  ["KEYCTL_STORE", { KEYCTL_STORE: "sqlite:none.db" }, []],
  ["KEYCTL_STORE_FILE", { KEYCTL_STORE_FILE: "place" }, []],
];

describe.each(NAMED)("a store that %s names and that is not there", (from, env, flags) => {
  it.each([...MAKERS, ...OTHERS])("is exit 7 for %s %s %s, and nothing is made", async (...args) => {
    const home = emptyHome();
    writeFileSync(join(home.work, "place"), "sqlite:none.db\n");
    const before = treeOf(home.folder);
    const run = await inProcess(home, [...args, ...flags], { env: { ...env, ...FOUND }, input: OTHER });
    expect(run.code).toBe(7);
    expect(run.stderr).toContain(`there is no store at sqlite:${join(home.work, "none.db")} (from ${from})`);
    expect(treeOf(home.folder)).toEqual(before);
  });

  it("is made by the command of the hint", async () => {
    const home = emptyHome();
    writeFileSync(join(home.work, "place"), "sqlite:none.db\n");
    const args = ["save", "--user", "it's me", "--stdin", ...flags];
    const { stderr } = await inProcess(home, args, { env, input: KEY });
    const again = ["save", "--user", "'it'\\''s me'", "--stdin", ...flags, "--create"].join(" ");
    expect(stderr).toContain(`\nhint: keyctl ${again}   creates it; or check ${from}\n`);
    expect((await inProcess(home, [...args, "--create"], { env, input: KEY })).code).toBe(0);
    expect((await inProcess(home, args, { env, input: KEY })).code).toBe(0);
    expect(await storedUsers({ ...home, database: join(home.work, "none.db") })).toEqual(["it's me"]);
  });

  it("is shown a way for a command that makes none", async () => {
    const home = emptyHome();
    writeFileSync(join(home.work, "place"), "sqlite:none.db\n");
    const path = join(home.work, "none.db");
    const init = ["rekey", "--init", ...(from === "--store" ? ["--store", `sqlite:${path}`] : [])];
    const { stderr } = await inProcess(home, ["list", ...flags], { env });
    expect(stderr).toContain(`\nhint: check ${from}; keyctl ${init.join(" ")}   makes a new store there\n`);
    expect((await inProcess(home, init, { env })).code).toBe(0);
    expect((await inProcess(home, ["list", "--count", ...flags], { env })).stdout).toBe("0\n");
  });

  it("buys no key, and nothing is called purged", async () => {
    const home = emptyHome();
    writeFileSync(join(home.work, "place"), "sqlite:none.db\n");
    const openRouter = await mockOpenRouter();
    for (const args of [
      ["sync", "-u", "alice"],
      ["provision", "-u", "alice"],
      ["sync", "-u", "alice", "-u", "bob"],
      ["purge", "-u", "alice", "--revoke", "--yes"],
      ["reconcile", "--fix"],
    ]) {
      const options = { env: { ...env, ...environmentFor(openRouter) } };
      const run = await inProcess(home, [...args, "--json", ...flags], options);
      expect([args, run.code, errorOf(run)?.code]).toEqual([args, 7, "STORE_MISSING"]);
    }
    expect(openRouter.count()).toBe(0);
  });
});

describe("what makes a store that is named", () => {
  it.each(MAKERS)("is %s %s %s with --create, or with KEYCTL_CREATE_STORE", async (...args) => {
    for (const [flags, env] of [
      [["--create"], {}],
      [[], { KEYCTL_CREATE_STORE: "1" }],
    ] as const) {
      const home = emptyHome();
      const options = { env: { ...FOUND, ...env }, input: KEY };
      const run = await inProcess(home, [...args, ...flags, "--store", "sqlite:new/keys.db"], options);
      expect([args, run.code]).toEqual([args, 0]);
      expect(await storedUsers({ ...home, database: join(home.work, "new", "keys.db") })).toContain("alice");
    }
  });

  it("is copy, for where it copies to; with --dry-run nothing is", async () => {
    const home = emptyHome();
    await inProcess(home, ["save", "-u", "alice", "--stdin"], { input: KEY });
    const copy = ["copy", "--to", "sqlite:backup.db", "--json"];
    for (const args of [copy, [...copy, "--dry-run"]]) {
      const run = await inProcess(home, args);
      expect([run.code, errorOf(run)?.code]).toEqual([7, "STORE_MISSING"]);
      expect(errorOf(run)?.hint).toBe(`keyctl ${args.join(" ")} --create   creates it; or check --to`);
    }
    expect((await inProcess(home, [...copy, "--dry-run", "--create"])).code).toBe(0);
    expect(existsSync(join(home.work, "backup.db"))).toBe(false);
    expect((await inProcess(home, [...copy, "--create"])).code).toBe(0);
    expect((await inProcess(home, copy)).code).toBe(0);
  });

  it("is provision", async () => {
    const home = emptyHome();
    const options = { env: environmentFor(await mockOpenRouter()) };
    const args = ["provision", "-u", "alice", "--store", "sqlite:keys.db"];
    expect((await inProcess(home, args, options)).code).toBe(7);
    expect((await inProcess(home, [...args, "--create"], options)).code).toBe(0);
  });

  it.each(OTHERS.filter(([verb]) => verb !== "copy"))(
    "is not %s %s %s, whatever the variable says",
    async (...args) => {
      const home = emptyHome();
      const env = { KEYCTL_CREATE_STORE: "1", KEYCTL_STORE: "sqlite:none.db" };
      expect((await inProcess(home, args, { env })).code).toBe(7);
      expect(existsSync(join(home.work, "none.db"))).toBe(false);
    },
  );

  it("is not get --stored, which says so", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["get", "-u", "alice", "--stored", "--create"]);
    expect([run.code, run.stderr]).toEqual([
      2,
      "error: --stored only reads, and creates no store\nhint: give --stored or --create, not both\n",
    ]);
  });

  it("is no variable that says neither yes nor no", async () => {
    const env = { ...FOUND, KEYCTL_STORE: "sqlite:none.db", KEYCTL_CREATE_STORE: "maybe" };
    const run = await inProcess(emptyHome(), ["sync", "-u", "alice", "--json"], { env });
    expect([run.code, errorOf(run)?.code]).toEqual([4, "CONFIG_INVALID"]);
  });
});

describe("what is no store", () => {
  const FILES: Readonly<Record<string, (path: string) => void>> = {
    "an empty file": (path) => writeFileSync(path, ""),
    "a database without a table": (path) => change(path, "VACUUM"),
  };

  it.each(Object.entries(FILES))("is %s, until it is made one", async (_, make) => {
    const home = emptyHome();
    const path = join(home.work, "keys.db");
    make(path);
    const before = readFileSync(path);
    const sync = ["sync", "-u", "alice", "--store", "sqlite:keys.db"];
    for (const args of [sync, ["list", "--store", "sqlite:keys.db"]]) {
      expect((await inProcess(home, args, { env: FOUND })).stderr).toContain("there is no store at ");
      expect(readFileSync(path).equals(before)).toBe(true);
    }
    expect((await inProcess(home, [...sync, "--create"], { env: FOUND })).code).toBe(0);
    expect((await inProcess(home, sync, { env: FOUND })).code).toBe(0);
  });

  it("is the database of another program, with --create too", async () => {
    const home = emptyHome();
    const path = join(home.work, "cookies.db");
    change(path, "CREATE TABLE cookies (name TEXT)");
    for (const flags of [[], ["--create"]]) {
      const run = await inProcess(home, ["sync", "-u", "alice", "--store", `sqlite:${path}`, ...flags], { env: FOUND });
      expect([run.code, run.stderr]).toEqual([7, expect.stringContaining("belongs to another program")]);
    }
    expect(rowsOf(path, "SELECT name FROM sqlite_schema")).toEqual([{ name: "cookies" }]);
  });
});

describe("the default store", () => {
  it.each([
    ["sync", "-u", "alice"],
    ["get", "-u", "alice"],
    ["save", "-u", "alice", "--stdin"],
  ])("is made by %s %s %s without a word", async (...args) => {
    const home = emptyHome();
    expect((await inProcess(home, args, { env: FOUND, input: KEY })).code).toBe(0);
    expect(await storedUsers(home)).toEqual(["alice"]);
  });

  it("that is named must be there as any other", async () => {
    const home = emptyHome();
    const store = ["--store", `sqlite:${home.database}`];
    expect((await inProcess(home, ["sync", "-u", "alice", ...store], { env: FOUND })).code).toBe(7);
    expect(existsSync(dirname(home.database))).toBe(false);
    expect((await inProcess(home, ["sync", "-u", "alice"], { env: FOUND })).code).toBe(0);
    expect((await inProcess(home, ["sync", "-u", "alice", ...store], { env: FOUND })).code).toBe(0);
  });
});

describe("a store that was just created, where CI is set", () => {
  const CASES: readonly (readonly [title: string, env: Record<string, string>, flags: readonly string[]])[] = [
    ["by itself", {}, []],
    ["with --create", { KEYCTL_STORE: "sqlite:ci.db" }, ["--create"]],
    ["with KEYCTL_CREATE_STORE", { KEYCTL_STORE: "sqlite:ci.db", KEYCTL_CREATE_STORE: "1" }, []],
  ];

  it.each(CASES)(
    "%s: no key is created for it, and none in a database that was cut off in its making",
    async (_, env, flags) => {
      for (const begun of [false, true]) {
        const home = emptyHome();
        if (begun) await cutOff(home);
        const openRouter = await openRouterServer();
        try {
          const options = { env: { CI: "true", ...environmentFor(openRouter), ...env } };
          const run = await inProcess(home, ["sync", "-u", "alice", ...flags], options);
          expect([run.code, openRouter.count("POST /keys")]).toEqual([3, 0]);
          expect(run.stderr).toContain("the database was just created, and CI is set: no key is created for it");
          expect((await inProcess(home, ["sync", "-u", "alice", ...flags], options)).code).toBe(0);
          expect(openRouter.count("POST /keys")).toBe(1);
        } finally {
          await openRouter.close();
        }
      }
    },
  );
});

/** What a killed start leaves behind: a file without a schema. */
async function cutOff(home: Home): Promise<void> {
  for (const path of [home.database, join(home.work, "ci.db")]) {
    mkdirSync(dirname(path), { recursive: true });
    change(path, "VACUUM");
    expect(rowsOf(path, "SELECT name FROM sqlite_schema")).toEqual([]);
  }
}

describe("KeyManager", () => {
  it("opens a store that is named where it is there, or where it is to be made", async () => {
    const home = emptyHome();
    const env = { KEYCTL_STORE: `sqlite:${join(home.work, "keys.db")}` };
    await expect(openManager(home, env)).rejects.toMatchObject({ code: "STORE_MISSING" });
    const made = await openManager(home, { ...env, KEYCTL_CREATE_STORE: "1" });
    expect((await made.saveKeyToDb("alice", KEY)).error).toBeNull();
    await made.close();
    const again = await openManager(home, env);
    await again.check();
    await again.close();
    expect(
      await withDatabase({ ...home, database: join(home.work, "keys.db") }, (database) =>
        database.prepare("SELECT count(*) AS count FROM api_keys").get(),
      ),
    ).toEqual({ count: 1 });
  });
});
