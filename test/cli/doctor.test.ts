import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { change } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { BIN } from "../support/programs/keyctl.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";

/** No other keyctl on the PATH, and no git. */
const ALONE = { PATH: "/none", NO_COLOR: "1", KEYCTL_AUTO_PROVISION: "0" };
const screen: InProcessOptions = { columns: 80, env: ALONE };

async function homeWithRow(): Promise<Home> {
  const home = emptyHome();
  await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
  return home;
}

/** The lines of these titles, and what is below them. */
function linesOf(stdout: string, title: string): readonly string[] {
  const lines = stdout.split("\n");
  const start = lines.findIndex((line) => line.slice(2).startsWith(title));
  const more = lines.slice(start + 1).findIndex((line) => !line.startsWith("    "));
  return lines.slice(start, start + 1 + more);
}

function checksOf(run: { readonly stdout: string }): readonly Record<string, unknown>[] {
  return documentsOf(run)[0]?.["checks"] as readonly Record<string, unknown>[];
}

/** What doctor says of the master keys, and its exit code. */
async function masterKeyLine(home: Home, env: Readonly<Record<string, string>> = {}) {
  const run = await inProcess(home, ["doctor", "--json"], { env: { ...ALONE, ...env } });
  return { code: run.code, check: checksOf(run).find(({ id }) => id === "master_keys") };
}

describe("the screen of doctor", () => {
  it("has a headline, a line for each check and the totals", async () => {
    const home = await homeWithRow();
    const run = await inProcess(home, ["doctor"], { ...screen, columns: 200 });
    const [headline, empty, ...lines] = run.stdout.split("\n");
    expect(headline).toMatch(/^keyctl \d+\.\d+\.\d+, Node \d+\.\d+\.\d+,( SQLite \d+\.\d+\.\d+,)? \w+ \w+$/);
    expect(empty).toBe("");
    expect(
      lines.map((line) =>
        line
          .replaceAll(home.folder, "~")
          .replace(/SQLite [\d.]+, journal mode \w+/, "SQLite")
          .replace(/\d+ ms/, "1 ms"),
      ),
    ).toEqual([
      "✓ store            sqlite:~/data/keyctl/keyctl.db (default), 1 key",
      "✓ server           SQLite, index present, writable",
      "✓ encryption       1 key, sealed",
      "✓ master keys      1, from ~/config/keyctl/master-keys.json (mode 0600)",
      "✓ management key   none, and automatic creation is off (KEYCTL_AUTO_PROVISION)",
      "✓ OpenRouter       reachable, 1 ms, clock within 1 s",
      "✓ key.txt          ./key.txt: none",
      "✓ environment      KEYCTL_OPENROUTER_URL, KEYCTL_AUTO_PROVISION, XDG_DATA_HOME, XDG_CONFIG_HOME, XDG_STATE_HOME, NO_COLOR",
      "✓ PATH             no other keyctl",
      "",
      "9 passed, 0 warnings, 0 failed",
      "",
    ]);
    expect(run).toMatchObject({ code: 0, stderr: "" });
  });

  it.each([
    [[], "KEYCTL_STORE, MONGODB_URI (not read: KEYCTL_STORE names the store)"],
    [
      ["--store", "sqlite:keys.db"],
      "KEYCTL_STORE (not read: --store names the store), MONGODB_URI (not read: --store names the store)",
    ],
  ])("says which variables that name a store are not read (%j)", async (flags, expected) => {
    const env = { ...ALONE, KEYCTL_STORE: "sqlite:keys.db", MONGODB_URI: "mongodb://u:hunter2@db/keyctl" };
    const { stdout } = await inProcess(emptyHome(), ["doctor", ...flags], { ...screen, columns: 250, env });
    expect(linesOf(stdout, "environment").join("\n")).toContain(expected);
    expect(stdout).not.toContain("hunter2");
  });

  it("has the hint below its line, and ends with an error that counts", async () => {
    const home = await homeWithRow();
    home.writeKeyFile(OTHER);
    chmodSync(join(home.work, "key.txt"), 0o640);
    const run = await inProcess(home, ["doctor"], screen);
    expect(linesOf(run.stdout, "key.txt")).toEqual([
      "! key.txt          ./key.txt: readable by group (0640)",
      "                   hint: chmod 600 key.txt",
    ]);
    expect(run.stdout).toContain("\n\n8 passed, 1 warning, 0 failed\n");
    expect(run).toMatchObject({ code: 10, stderr: "error: 1 check needs attention\nhint: chmod 600 key.txt\n" });
  });

  it.each([30, 40, 60, 80])(
    "has no line longer than a terminal of %i columns, but for paths and hints",
    async (columns) => {
      const home = await homeWithRow();
      const env = { ...ALONE, OPENROUTER_API_KEY: "nonsense" };
      change(home.database, "UPDATE api_keys SET key_encrypted = 'nonsense'");
      const run = await inProcess(home, ["doctor"], { columns, env });
      const long = run.stdout.split("\n").filter((line) => line.length > columns);
      expect(long.filter((line) => !line.includes(home.folder) && !line.includes("hint: "))).toEqual([]);
      expect(run.stdout.replaceAll(/\s+/g, " ")).toContain(
        "1 row holds no key: alice hint: keyctl save --user alice --replace",
      );
    },
  );

  it("is tab-separated off a terminal, with the totals on standard error", async () => {
    const home = await homeWithRow();
    const run = await inProcess(home, ["doctor"], { env: { ...ALONE, OPENROUTER_API_KEY: "nonsense" } });
    const rows = run.stdout
      .slice(0, -1)
      .split("\n")
      .map((line) => line.split("\t"));
    expect(rows.map(([id, status]) => [id, status])).toEqual([
      ["store", "pass"],
      ["server", "pass"],
      ["encryption", "pass"],
      ["master_keys", "pass"],
      ["management_key", "pass"],
      ["openrouter", "pass"],
      ["key_file", "pass"],
      ["environment", "attention"],
      ["environment", "pass"],
      ["path", "pass"],
    ]);
    expect(rows.every((cells) => cells.length === 4)).toBe(true);
    expect(run.stderr).toMatch(/^9 passed, 1 warning, 0 failed\nerror: 1 check needs attention\n/);
  });

  it("is coloured on a terminal that may be", async () => {
    const home = await homeWithRow();
    expect((await inProcess(home, ["doctor"], { columns: 80 })).stdout).toContain("\u001b[32m✓\u001b[39m store");
    expect((await inProcess(home, ["doctor", "--no-color"], { columns: 80 })).stdout).not.toContain("\u001b[");
  });
});

describe("the document of doctor", () => {
  it("has the version, the store, the counts and each check", async () => {
    const home = await homeWithRow();
    change(home.database, `UPDATE api_keys SET key_encrypted = '${KEY}'`);
    const run = await inProcess(home, ["doctor", "--json"], {
      env: { ...ALONE, KEYCTL_STORE: `sqlite:${home.database}` },
    });
    expect(run.code).toBe(10);
    const [document] = documentsOf(run);
    expect(document).toMatchObject({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      node: process.versions.node,
      store: `sqlite:${home.database}`,
      passed: 8,
      attention: 0,
      failed: 1,
      warnings: [],
      error: { code: "ATTENTION", exit_code: 10, message: "1 check failed", hint: "keyctl rekey", retryable: false },
    });
    expect(checksOf(run)).toContainEqual({
      id: "encryption",
      status: "fail",
      message:
        "1 key is stored in plain text and not used: alice; see that https://openrouter.ai/keys lists it as yours",
      hint: "keyctl rekey",
    });
    expect(checksOf(run)[0]).toEqual({
      id: "store",
      status: "pass",
      message: `sqlite:${home.database} (from KEYCTL_STORE), 1 key`,
      hint: null,
    });
  });

  it("says what it can when the configuration is refused", async () => {
    const run = await inProcess(emptyHome(), ["doctor", "--json"], { env: { ...ALONE, KEYCTL_STORE: "" } });
    expect(run.code).toBe(4);
    expect(documentsOf(run)[0]).toMatchObject({
      store: null,
      failed: 1,
      error: { code: "CONFIG_EMPTY", exit_code: 4 },
    });
    expect(checksOf(run).map(({ id, status }) => `${String(id)} ${String(status)}`)).toEqual([
      "configuration fail",
      "environment pass",
      "path pass",
    ]);
  });
});

describe("doctor looks at", () => {
  it("the file of the master keys and its mode, and says that once", async () => {
    const home = await homeWithRow();
    chmodSync(home.masterKeys, 0o644);
    const { code, check } = await masterKeyLine(home);
    expect(code).toBe(10);
    expect(check).toMatchObject({ status: "attention", hint: `chmod 600 ${home.masterKeys}` });
    expect((await inProcess(home, ["doctor"], { env: ALONE })).stderr).not.toContain("warning:");
  });

  it("master keys that a command prints", async () => {
    const home = await homeWithRow();
    const env = { KEYCTL_MASTER_KEYS_COMMAND: `cat '${home.masterKeys}'`, PATH: process.env["PATH"] ?? "" };
    expect((await masterKeyLine(home, env)).check).toMatchObject({
      status: "pass",
      message: "1, from KEYCTL_MASTER_KEYS_COMMAND",
    });
    const broken = { ...env, KEYCTL_MASTER_KEYS_COMMAND: "exit 3" };
    expect(await masterKeyLine(home, broken)).toMatchObject({ code: 4, check: { status: "fail" } });
  });

  it("every row with --deep, and names the users whose rows cannot be decrypted", async () => {
    const home = await homeWithRow();
    await inProcess(home, ["save", "--user", "bob", "--stdin"], { input: OTHER });
    change(
      home.database,
      "UPDATE api_keys SET key_encrypted = (SELECT key_encrypted FROM api_keys WHERE user_id = 'alice')",
    );
    const shallow = await inProcess(home, ["doctor"], { env: ALONE });
    expect(shallow.code).toBe(0);
    const deep = await inProcess(home, ["doctor", "--deep", "--json"], { env: ALONE });
    expect(deep.code).toBe(10);
    expect(checksOf(deep)).toContainEqual({
      id: "encryption",
      status: "fail",
      message: "1 row cannot be decrypted: bob",
      hint: "keyctl save --user bob --replace",
    });
  });

  it("key.txt in git's keeping, whatever GIT_DIR says", async () => {
    const home = await homeWithRow();
    home.writeKeyFile(KEY);
    const git = async (...args: readonly string[]) => execa("git", args, { cwd: home.work });
    await git("init", "--quiet");
    const env = { PATH: process.env["PATH"] ?? "", GIT_DIR: "/none", GIT_WORK_TREE: "/none" };
    const keyFile = async () =>
      checksOf(await inProcess(home, ["doctor", "--json"], { env })).find(({ id }) => id === "key_file");
    expect(await keyFile()).toMatchObject({ status: "pass" });
    await git("add", "key.txt");
    expect(await keyFile()).toEqual({
      id: "key_file",
      status: "attention",
      message: "./key.txt: tracked by git",
      hint: "git rm --cached key.txt",
    });
  });

  it("the keyctl that a shell would start", async () => {
    const home = await homeWithRow();
    const [first, second] = [join(home.folder, "first"), join(home.folder, "second")];
    for (const folder of [first, second]) mkdirSync(folder);
    writeFileSync(join(second, "keyctl"), "#!/bin/sh\n", { mode: 0o755 });
    const pathCheck = async () => {
      const run = await inProcess(home, ["doctor", "--json"], { env: { PATH: `${first}:${second}` } });
      return checksOf(run).find(({ id }) => id === "path");
    };
    expect(await pathCheck()).toEqual({
      id: "path",
      status: "attention",
      message: `${join(second, "keyctl")} is another program, not this one`,
      hint: "use openrouter-keyctl",
    });
    symlinkSync(BIN, join(first, "keyctl"));
    expect(await pathCheck()).toMatchObject({ status: "pass" });
  });

  it("names of variables, each that is set, and nothing that they hold", async () => {
    const home = await homeWithRow();
    const env = {
      ...ALONE,
      OPENROUTER_MANAGEMENT_KEY: OTHER,
      OPENROUTER_PROVISIONING_KEY: "",
      KEYCTL_KEY_FILE: "elsewhere.txt",
      CI: "yes please",
    };
    const run = await inProcess(home, ["doctor", "--json"], { env });
    expect(checksOf(run).find(({ id }) => id === "environment")).toMatchObject({
      message:
        "OPENROUTER_MANAGEMENT_KEY, KEYCTL_OPENROUTER_URL, KEYCTL_KEY_FILE, KEYCTL_AUTO_PROVISION, XDG_DATA_HOME, XDG_CONFIG_HOME, XDG_STATE_HOME, NO_COLOR, CI",
    });
    expect(run.stdout).not.toMatch(/yes please|91aa/);
  });

  it("master keys that are lost, beside the rest", async () => {
    const home = await homeWithRow();
    rmSync(home.masterKeys);
    const { code, check } = await masterKeyLine(home);
    expect(code).toBe(4);
    expect(check).toMatchObject({ status: "fail", message: "none, and the database is sealed: no key can be used" });
  });
});
