import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";

/** A home whose HOME is not its working folder; nothing named `~` may ever stand in that. */
function atHome() {
  const home = emptyHome();
  const put = (name: string, content: string) => writeFileSync(join(home.folder, name), content, { mode: 0o600 });
  const inWork = () => readdirSync(home.work);
  return { home, put, inWork };
}

describe("~/ at the start of a path", () => {
  it("is the home folder in --store and KEYCTL_STORE, from whatever folder", async () => {
    const { home, put, inWork } = atHome();
    put("mine.txt", KEY);
    const made = await inProcess(home, [
      "sync",
      "--user",
      "alice",
      "--store",
      "sqlite:~/keys/a.db",
      "--create",
      "--key-file",
      "~/mine.txt",
    ]);
    expect([made.code, existsSync(join(home.folder, "keys", "a.db")), inWork()]).toEqual([0, true, []]);
    mkdirSync(join(home.work, "other"));
    const elsewhere = { ...home, work: join(home.work, "other") };
    const found = await inProcess(elsewhere, ["get", "--user", "alice", "--json"], {
      env: { KEYCTL_STORE: "sqlite:~/keys/a.db" },
    });
    expect(documentsOf(found)[0]).toMatchObject({ source: "database", key: maskOf(KEY), error: null });
    expect(readdirSync(elsewhere.work)).toEqual([]);
  });

  it("is the home folder in --from-file, --users-file and --output", async () => {
    const { home, put, inWork } = atHome();
    put("mine.txt", KEY);
    put("users", "alice\nbob\n");
    const saved = await inProcess(home, ["save", "--user", "alice", "--from-file", "~/mine.txt"]);
    const many = await inProcess(home, ["get", "--users-file", "~/users", "--stored", "--output", "~/out.jsonl"]);
    expect([saved.code, many.code, inWork()]).toEqual([0, 9, []]);
    expect(readFileSync(join(home.folder, "out.jsonl"), "utf8")).toContain('"user_id":"alice"');
    const missing = await inProcess(home, ["get", "--users-file", "~/nobody", "--json"]);
    expect(errorOf(missing)?.message).toBe(
      `the users file ${join(home.folder, "nobody")} cannot be read: it does not exist`,
    );
  });

  it("is the home folder in copy --to and KEYCTL_COPY_TO", async () => {
    const { home, inWork } = atHome();
    await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
    const copied = await inProcess(home, ["copy", "--to", "sqlite:~/copy.db", "--create", "--json"]);
    const again = await inProcess(home, ["copy", "--json"], { env: { KEYCTL_COPY_TO: "sqlite:~/copy.db" } });
    expect([copied.code, again.code, existsSync(join(home.folder, "copy.db")), inWork()]).toEqual([0, 0, true, []]);
  });

  it("is the home folder in every variable that names a file, and doctor and explain look there", async () => {
    const { home, put, inWork } = atHome();
    put("mine.txt", KEY);
    put("theirs.txt", OTHER);
    const env = {
      PATH: "/none",
      KEYCTL_KEY_FILE: "~/mine.txt",
      OPENROUTER_API_KEY_FILE: "~/theirs.txt",
      XDG_DATA_HOME: "~/data",
      XDG_CONFIG_HOME: "~/config",
    };
    const explained = await inProcess(home, ["explain", "--user", "alice", "--json"], { env });
    expect(documentsOf(explained)[0]).toMatchObject({
      winner: "key.txt",
      steps: [{}, { state: "used", detail: join(home.folder, "mine.txt") }, { state: "shadowed" }, {}],
    });
    expect((await inProcess(home, ["sync", "--user", "alice"], { env })).code).toBe(0);
    expect([existsSync(home.database), existsSync(home.masterKeys), inWork()]).toEqual([true, true, []]);
    const { stdout } = await inProcess(home, ["doctor", "--json"], { env });
    expect(stdout).toContain(`${join(home.folder, "mine.txt")}: one key (mode 0600)`);
  });

  it("is no home folder anywhere else in a path", async () => {
    const { home } = atHome();
    mkdirSync(join(home.work, "~"));
    writeFileSync(join(home.work, "~", "key.txt"), KEY, { mode: 0o600 });
    const found = await inProcess(home, ["get", "--user", "alice", "--json", "--key-file", "./~/key.txt"]);
    expect(documentsOf(found)[0]).toMatchObject({ source: "key.txt", key: maskOf(KEY) });
  });
});

describe("a store that SQLite's own programs would take", () => {
  it.each(["sqlite://rel.db", "sqlite::memory:", ":memory:", "sqlite:a.db?mode=ro", "file:a.db", "sqlite:~bob/a.db"])(
    "is refused before anything is made: %s",
    async (uri) => {
      const { home, inWork } = atHome();
      const flag = await inProcess(home, ["save", "--user", "alice", "--stdin", "--store", uri, "--json"], {
        input: KEY,
      });
      expect([errorOf(flag)?.code, flag.code]).toEqual(["USAGE", 2]);
      const variable = await inProcess(home, ["list", "--json"], { env: { KEYCTL_STORE: uri } });
      expect([errorOf(variable)?.code, variable.code]).toEqual(["CONFIG_INVALID", 4]);
      expect(errorOf(flag)?.hint).toMatch(/sqlite:<|in full/);
      expect(inWork()).toEqual([]);
    },
  );
});
