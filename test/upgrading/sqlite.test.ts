import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { withDatabase } from "../support/sqlite/database.ts";
import { openFile } from "../support/sqlite/sqlite.ts";
import { BUILDS, earlier, told } from "../support/upgrading/earlier.ts";
import { homeOf } from "../support/upgrading/stores.ts";

const OTHER = `sk-or-v1-${"f".repeat(60)}91aa`;

async function revealed(home: Home, user: string): Promise<string> {
  const { code, stdout, stderr } = await inProcess(home, ["get", "--stored", "--reveal", "--user", user]);
  // What an earlier build has found out about a key is said with it.
  const unexpected = stderr.replaceAll(
    /^(?:\[KeyManager\]|warning: the key of user \S+ is not valid: its last check).*\n/gm,
    "",
  );
  expect({ user, code, stderr: unexpected }).toEqual({ user, code: 0, stderr: "" });
  return stdout.trimEnd();
}

/** Tables with their columns, and indexes with their statements, as SQLite tells them. */
async function schemaOf(home: Home): Promise<object> {
  return withDatabase(home, (database) => {
    const indexes = database
      .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")
      .all();
    const tables = ["api_keys", "api_key_journal", "api_key_meta"].map((name) => [
      name,
      database.prepare("SELECT * FROM pragma_table_xinfo(?)").all(name),
    ]);
    return { indexes, tables };
  });
}

/** The row of each user as it stands there, without what the upgrade adds. */
function rowsOf(home: Home): Promise<readonly object[]> {
  return withDatabase(home, (database) => database.prepare("SELECT * FROM api_keys ORDER BY user_id").all());
}

it("a build and a store are kept of every schema before this one", async () => {
  const home = emptyHome();
  await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: OTHER });
  const version = await withDatabase(home, (database) =>
    Number(database.prepare("SELECT value FROM api_key_meta WHERE _id = 'schema'").get()?.["value"]),
  );
  expect(BUILDS).toEqual(Array.from({ length: version - 1 }, (_, index) => `schema-${index + 1}`));
});

describe.each(BUILDS)("an embedded store that the build with %s has made", (build) => {
  it("is opened by any command, which keeps every row, every key, the checks and the store's id", async () => {
    const { home, keys } = await homeOf(build);
    const text = readFileSync(new URL(`../support/upgrading/${build}.sql`, import.meta.url), "utf8");
    const { stdout, code } = await inProcess(home, ["list", "--json"]);
    expect(code).toBe(0);
    const users = documentsOf({ stdout }).map((document) => document["user_id"]);
    expect(users.map(String).toSorted()).toEqual(Object.keys(keys).toSorted());
    for (const [user, key] of Object.entries(keys)) expect(await revealed(home, user)).toBe(key);
    for (const row of await rowsOf(home)) {
      for (const value of Object.values(row)) if (typeof value === "string") expect(text).toContain(value);
    }
    const [, deployment] = /'deployment','([0-9a-f]{16})'/.exec(text) ?? [];
    const meta = await withDatabase(home, (database) =>
      database.prepare("SELECT value FROM api_key_meta WHERE _id = 'deployment'").get(),
    );
    expect(meta?.["value"]).toBe(deployment);
  });

  it("has the schema of a new store afterwards", async () => {
    const { home } = await homeOf(build);
    await inProcess(home, ["list"]);
    const fresh = emptyHome();
    await inProcess(fresh, ["save", "--user", "alice", "--stdin"], { input: OTHER });
    expect(await schemaOf(home)).toEqual(await schemaOf(fresh));
  });

  it("is one to work on: keys are replaced, removed, copied and re-encrypted", async () => {
    const { home, keys } = await homeOf(build);
    const given = async (args: readonly string[], input = "") => {
      const { code, stderr } = await inProcess(home, args, { input });
      expect({ args, code, stderr: code === 0 ? "" : stderr }).toEqual({ args, code: 0, stderr: "" });
    };
    await given(["save", "--user", "alice", "--stdin", "--replace"], OTHER);
    await given(["purge", "--user", "łukasz@example.com", "--yes"]);
    await given(["rekey", "--keep-key"]);
    await given(["copy", "--to", "sqlite:copy.db", "--create"]);
    const left = { ...keys, alice: OTHER };
    const copied = { ...home, environment: { ...home.environment, KEYCTL_STORE: "sqlite:copy.db" } };
    for (const [user, key] of Object.entries(left)) {
      if (user === "łukasz@example.com") continue;
      expect([await revealed(home, user), await revealed(copied, user)]).toEqual([key, key]);
    }
  });
});

describe("a key that an earlier build created at OpenRouter", () => {
  it.each(["schema-2", "schema-3", "schema-4"] as const)("keeps its terms and its generation (%s)", async (build) => {
    const { home } = await homeOf(build);
    const rows = documentsOf(await inProcess(home, ["list", "--json"]));
    const find = (user: string) => rows.find((row) => row["user_id"] === user);
    expect(find("carol")).toMatchObject({ generation: 1, limit: 5, limit_reset: "monthly", verdict: "valid" });
    expect(find("erin")).toMatchObject({ generation: 0, limit: null, origin: "manual" });
  });
});

describe.each(BUILDS)("the build with %s, run beside this one on an embedded store", (build) => {
  it("refuses the store once it is upgraded, and changes nothing", async () => {
    const { home } = await homeOf(build);
    await inProcess(home, ["list"]);
    const before = readFileSync(home.database);
    const [refusal] = await told(
      earlier(
        home,
        build,
        `const { code, message } = await keyctl.KeyManager.open().catch((thrown) => thrown); tell({ code, message });`,
      ),
    );
    const { code, message } = refusal as { readonly code: string; readonly message: string };
    expect(code).toBe(build === "schema-3" || build === "schema-4" ? "STORE_NEWER" : "STORE_CORRUPT");
    expect(message).toContain(`by a newer keyctl (schema 5, this one knows ${build.slice(-1)})`);
    expect(readFileSync(home.database).equals(before)).toBe(true);
  });

  it("goes on with a store that it had open before the upgrade, and what it saves is there", async () => {
    const { home, keys } = await homeOf(build);
    const running = earlier(
      home,
      build,
      `const keys = await keyctl.KeyManager.open();
       await keys.getStoredKey("alice");
       tell("open");
       await said.next();
       const { error } = await keys.saveKeyToDb("zoe", ${JSON.stringify(OTHER)});
       const { key } = await keys.getStoredKey("alice");
       tell([error?.code ?? null, key.reveal()]);
       await keys.close();`,
    );
    await new Promise((resolve) => running.stdout.once("data", resolve));
    expect((await inProcess(home, ["list"])).code).toBe(0);
    running.stdin.end("go\n");
    expect(await told(running)).toEqual(["open", [null, keys["alice"]]]);
    expect(await revealed(home, "zoe")).toBe(OTHER);
    for (const [user, key] of Object.entries(keys)) expect(await revealed(home, user)).toBe(key);
  });
});

describe("an embedded store of a later keyctl", () => {
  it.each([
    ["list"],
    ["get", "--stored", "--user", "alice"],
    ["sync", "--user", "alice"],
    ["explain", "--user", "alice"],
  ])("is STORE_NEWER for %s, which says what to do", async (...args) => {
    const { home } = await homeOf("schema-4");
    const database = await openFile(home.database);
    database.exec("UPDATE api_key_meta SET value = '6' WHERE _id = 'schema'");
    database.close();
    const run = await inProcess(home, [...args, "--json"]);
    expect(run.code).toBe(7);
    expect(errorOf(run)).toMatchObject({
      code: "STORE_NEWER",
      message: "the database was created by a newer keyctl (schema 6, this one knows 5)",
      hint: "upgrade keyctl; nothing was written",
    });
  });
});
