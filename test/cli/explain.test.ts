import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { change } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";

const DAY = 24 * 3_600_000;
const ALICE = ["explain", "--user", "alice"];
const screen: InProcessOptions = { columns: 80, env: { NO_COLOR: "1" } };

/** alice's key is in the database for eleven days, and was saved by hand. */
async function homeWithRow(): Promise<Home> {
  const home = emptyHome();
  await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
  const then = new Date(Date.now() - 11 * DAY - 60_000).toISOString();
  change(home.database, `UPDATE api_keys SET created_at = '${then}'`);
  return home;
}

/** The home's folder has another name in each run. */
function shownIn(home: Home, text: string): string {
  return text.replaceAll(home.folder, "/srv");
}

describe("the screen of explain", () => {
  it("shows the database that wins, the file that lost, and how to use that", async () => {
    const home = await homeWithRow();
    home.writeKeyFile(OTHER);
    const run = await inProcess(home, ALICE, screen);
    expect(shownIn(home, run.stdout)).toMatch(/^✓ database {10}used {9}\*{15}b465 {2}manual, 11 days old\n/);
    expect(run.stdout).toContain("! key.txt           shadowed     ***************91aa");
    expect(run.stdout).toContain("· environment       absent       -                    OPENROUTER_API_KEY\n");
    expect(run.stdout).toContain("· auto-provisioned  not needed   -\n");
    expect(run.stdout).toMatch(/\n\nsync would keep the database key\n$/);
    expect(run.stderr).toBe(
      `store: sqlite:${home.database} (default)\n` +
        "hint: ./key.txt holds another key, ending 91aa; to use it instead:\n" +
        "      keyctl save --user alice --from-file key.txt --replace\n",
    );
    expect(run.code).toBe(0);
  });

  it("shows the file that wins where no store exists yet, and the command that saves it", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    const run = await inProcess(home, ALICE, { columns: 120, env: { NO_COLOR: "1", OPENROUTER_API_KEY: KEY } });
    expect(shownIn(home, run.stdout)).toBe(`\
· database          absent       -                    no store exists yet
✓ key.txt           used         ***************b465  /srv/work/key.txt
· environment       not needed   ***************b465  OPENROUTER_API_KEY: holds the same key
· auto-provisioned  not needed   -

sync would save the key from key.txt
`);
    expect(run.stderr).toBe(`store: sqlite:${home.database} (default)\nhint: keyctl sync --user alice\n`);
  });

  it("puts what does not fit beside a step below it", async () => {
    const home = await homeWithRow();
    change(home.database, "UPDATE api_keys SET key_encrypted = 'nonsense'");
    const run = await inProcess(home, ALICE, { ...screen, env: { NO_COLOR: "1", OPENROUTER_API_KEY: OTHER } });
    expect(run.stdout.split("\n").filter((line) => !line.includes("key.txt"))).toEqual([
      "✗ database          unavailable  -",
      "    manual, 11 days old; what is stored for user alice is not a key",
      "! environment       ignored      ***************91aa",
      "    OPENROUTER_API_KEY: not used: sync stops at the database",
      "· auto-provisioned  absent       -",
      "    not tried: sync stops at the database",
      "",
      "sync would fail: what is stored for user alice is not a key",
      "",
    ]);
    expect(run.code).toBe(7);
  });

  it.each([40, 53, 54, 60, 80])("has no line longer than a terminal of %i columns, but for paths", async (columns) => {
    const home = await homeWithRow();
    home.writeKeyFile("two\nlines\n");
    rmSync(home.masterKeys);
    const run = await inProcess(home, ALICE, { ...screen, columns });
    const lines = run.stdout.split("\n").filter((line) => !line.includes(home.folder));
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
    expect(run.stdout).toContain("***************b465");
    expect(run.stdout.replaceAll(/\s+/g, " ")).toContain("key.txt: holds two lines");
  });

  it("is tab-separated off a terminal, and says the rest on standard error", async () => {
    const home = await homeWithRow();
    const run = await inProcess(home, ALICE);
    expect(run.stdout).toBe(
      [
        "database\tused\t***************b465\tmanual, 11 days old\n",
        `key.txt\tabsent\t-\t${join(home.work, "key.txt")}\n`,
        "environment\tabsent\t-\tOPENROUTER_API_KEY\n",
        "auto-provisioned\tnot needed\t-\t\n",
      ].join(""),
    );
    expect(run.stderr).toBe(`sync would keep the database key\nstore: sqlite:${home.database} (default)\n`);
    expect((await inProcess(home, [...ALICE, "-q"])).stderr).toBe("");
  });

  it("is coloured on a terminal that may be", async () => {
    const home = await homeWithRow();
    expect((await inProcess(home, ALICE, { columns: 80 })).stdout).toContain("\u001b[32m✓\u001b[39m database");
    expect((await inProcess(home, [...ALICE, "--no-color"], { columns: 80 })).stdout).not.toContain("\u001b[");
  });

  it("says in words that sync would fail, where the database wins all the same", async () => {
    const home = await homeWithRow();
    rmSync(home.masterKeys);
    const run = await inProcess(home, ALICE, screen);
    expect(run.code).toBe((await inProcess(home, ["sync", "--user", "alice"])).code);
    expect(run.code).toBe(4);
    expect(run.stdout).toContain("✓ database          used         ***************b465  manual, 11 days old\n");
    expect(run.stdout.replaceAll("\n", " ")).toContain(
      "sync would fail: the database is sealed and there is no master key to open it with",
    );
    expect(run.stderr).toContain("hint: restore master-keys.json from its backup");
    expect(run.stderr.match(/hint: /g)).toHaveLength(1);
    expect((await inProcess(home, [...ALICE, "-q"])).stderr).toMatch(/^error: the database is sealed /);
  });

  it("names the file that OPENROUTER_API_KEY_FILE names by the variable, and the file of --key-file by its path", async () => {
    const home = emptyHome();
    writeFileSync(join(home.folder, "secret"), OTHER, { mode: 0o600 });
    const env = { OPENROUTER_API_KEY_FILE: "../secret" };
    const run = await inProcess(home, [...ALICE, "--key-file", "../there.txt"], { env });
    expect(shownIn(home, run.stdout)).toContain("key.txt\tabsent\t-\t/srv/there.txt\n");
    expect(run.stdout).toContain("environment\tused\t***************91aa\tOPENROUTER_API_KEY_FILE\n");
    expect(run.stderr).toContain("warning: the file named in place of key.txt does not exist\n");
  });
});

describe("the document of explain", () => {
  it("has every source, its state, mask, hash and detail", async () => {
    const home = await homeWithRow();
    home.writeKeyFile("hello");
    const run = await inProcess(home, [...ALICE, "--json"], { env: { OPENROUTER_API_KEY: OTHER } });
    expect(documentsOf(run)).toEqual([
      {
        user_id: "alice",
        winner: "database",
        steps: [
          {
            source: "database",
            state: "used",
            key: maskOf(KEY),
            key_hash: hashOf(KEY),
            detail: "manual, 11 days old",
          },
          {
            source: "key.txt",
            state: "ignored",
            key: null,
            key_hash: null,
            detail: `${join(home.work, "key.txt")}: holds something other than one valid key`,
          },
          {
            source: "environment",
            state: "shadowed",
            key: maskOf(OTHER),
            key_hash: hashOf(OTHER),
            detail: "OPENROUTER_API_KEY",
          },
          { source: "auto-provisioned", state: "not_needed", key: null, key_hash: null, detail: null },
        ],
        store: `sqlite:${home.database}`,
        warnings: [{ code: "KEY_FILE_IGNORED", message: "key.txt holds something other than one valid key" }],
        error: null,
      },
    ]);
  });

  it("says why a variable is ignored", async () => {
    const home = await homeWithRow();
    const env = { OPENROUTER_API_KEY: OTHER, OPENROUTER_API_KEY_FILE: "key.txt" };
    const [document] = documentsOf(await inProcess(home, [...ALICE, "--json"], { env }));
    expect(document?.["steps"]).toContainEqual({
      source: "environment",
      state: "ignored",
      key: null,
      key_hash: null,
      detail: "OPENROUTER_API_KEY and OPENROUTER_API_KEY_FILE hold different values",
    });
  });
});
