import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Host } from "../../src/main.ts";
import { whyNotStarted } from "../../src/cli/terminal/why-not-started.ts";
import { CANARIES } from "../support/fixtures/leak-canaries.ts";
import { hashOf, keyEnding } from "../support/fixtures/keys.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { always } from "../support/openrouter/faults.ts";
import { madeKeys } from "../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { withDatabase } from "../support/sqlite/database.ts";
import { environmentFor } from "../support/recording/keyctl.ts";

const KEY = keyEnding("b465");

type Started = Parameters<Host["runCommand"]>;

/** Runs exec with a command that only reports how it was started. */
async function execIn(home: Home, args: readonly string[], options: InProcessOptions = {}) {
  const started: Started[] = [];
  const run = await inProcess(home, ["exec", ...args], {
    ...options,
    onCommand: async (...start) => {
      started.push(start);
      return { kind: "ended", exitCode: 42 };
    },
  });
  return { ...run, started };
}

const notThere: Host["runCommand"] = async ([file = ""]) =>
  whyNotStarted(file, file === "node" ? "EACCES" : "ENOENT", "/none");

function notStarted(...words: readonly string[]) {
  return inProcess(homeWithKey(), ["exec", "-u", "alice", "--json", "--", ...words], { onCommand: notThere });
}

function keyGiven({ started }: { readonly started: readonly Started[] }): string {
  return started[0]?.[1]["OPENROUTER_API_KEY"] ?? "";
}

function homeWithKey(): Home {
  const home = emptyHome();
  home.writeKeyFile(KEY);
  return home;
}

describe("exec", () => {
  it("finds and saves the key as get does, and starts the command with it", async () => {
    const home = homeWithKey();
    const { code, stdout, log, started } = await execIn(home, [
      "--user",
      "alice",
      "--",
      "node",
      "app.js",
      "--json",
      "-q",
    ]);
    expect([code, stdout]).toEqual([42, ""]);
    expect(log).toContain("[KeyManager] ✅ Saved key to database (source: key.txt): ***************b465");
    const [[words, environment] = [[], {}]] = started;
    expect(words).toEqual(["node", "app.js", "--json", "-q"]);
    expect(environment).toMatchObject({ OPENROUTER_API_KEY: KEY, HOME: home.folder });
    const again = await execIn(home, ["--user", "alice", "-q", "--", "true"]);
    expect([again.code, again.stdout, again.stderr]).toEqual([42, "", ""]);
  });

  it("puts the key into the variable of --env alone, whatever was there", async () => {
    const env = { OPENROUTER_API_KEY: KEY, APP_KEY: "older" };
    const { started } = await execIn(emptyHome(), ["-u", "alice", "--env", "APP_KEY", "--", "app"], { env });
    expect(started[0]?.[1]).toMatchObject({ APP_KEY: KEY });
    expect(started[0]?.[1]).not.toHaveProperty("OPENROUTER_API_KEY");
  });

  it("starts nothing without a key, never makes one, and ends with its own code", async () => {
    const server = await mockOpenRouter();
    const env = environmentFor(server);
    const { code, stdout, stderr, started } = await execIn(emptyHome(), ["-u", "bob", "--", "app"], { env });
    expect([code, stdout, started, server.keys.size]).toEqual([3, "", [], 0]);
    expect(stderr).toContain("error: no key for user bob\nhint: keyctl save --user bob\n");
  });

  it("with --renew replaces a key that is confirmed to be dead before the start, and no other", async () => {
    const server = await mockOpenRouter();
    const home = emptyHome();
    const env = environmentFor(server);
    await inProcess(home, ["provision", "-u", "alice"], { env });
    const alive = await execIn(home, ["-u", "alice", "--renew", "--", "app"], { env });
    const [first = ""] = madeKeys(server);
    expect([alive.code, hashOf(keyGiven(alive)), server.keys.size]).toEqual([42, first, 1]);
    // A key that was created just now may not have reached all of OpenRouter.
    await withDatabase(home, (database) =>
      database.exec("UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'"),
    );
    server.removeKey(first);
    const renewed = await execIn(home, ["-u", "alice", "--renew", "--", "app"], { env });
    expect([renewed.code, [hashOf(keyGiven(renewed))]]).toEqual([42, madeKeys(server)]);
    expect(renewed.stderr).toContain("[Auto-Renewal] ✅ New key created and saved: ");
  });

  it("with --renew starts nothing with a dead key that may not be renewed, and uses one that nobody could check", async () => {
    const server = await mockOpenRouter();
    const home = emptyHome();
    const env = environmentFor(server);
    await inProcess(home, ["provision", "-u", "alice"], { env });
    const [hash = ""] = madeKeys(server);
    server.behave(always("GET /key", { status: 503 }));
    const unchecked = await execIn(home, ["-u", "alice", "--renew", "--timeout", "1s", "--", "app"], { env });
    expect([unchecked.code, hashOf(keyGiven(unchecked))]).toEqual([42, hash]);
    expect(unchecked.stderr).toContain("warning: the key was not checked: ");
    server.behave(() => "pass");
    const key = server.keys.get(hash);
    if (key !== undefined) key.disabled = true;
    await withDatabase(home, (database) =>
      database.exec("UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'"),
    );
    const dead = await execIn(home, ["-u", "alice", "--renew", "--", "app"], { env });
    expect([dead.code, dead.started]).toEqual([5, []]);
  });

  it("prints a document where --json asks for it and the command cannot be started", async () => {
    const missing = await notStarted("nosuchcmd", "a", "b");
    expect([missing.code, errorOf(missing)]).toMatchObject([
      127,
      {
        code: "USAGE",
        exit_code: 127,
        message: "the command 'nosuchcmd' was not found",
        hint: "check the name and PATH; a word of your shell needs it:   -- sh -c 'nosuchcmd a b'",
      },
    ]);
    const refused = await notStarted("node");
    expect([refused.code, errorOf(refused)]).toMatchObject([126, { exit_code: 126 }]);
    const joined = await notStarted("node --version");
    expect(errorOf(joined)).toMatchObject({
      hint: "write its words apart:   -- node --version   or let a shell read them:   -- sh -c 'node --version'",
    });
  });

  it("prints the document of a failure that comes before the command where --json asks for it", async () => {
    const run = await execIn(emptyHome(), ["-u", "bob", "--json", "--", "app"]);
    expect(errorOf(run)).toMatchObject({ code: "NO_KEY", exit_code: 3 });
  });

  it.each([
    [["-u", "alice"], "no command is given"],
    [["-u", "alice", "--"], "no command is given"],
    [["-u", "alice", "node", "app.js"], "the command stands after --"],
    [["-u", "alice", "node", "--", "app.js"], "the command stands after --"],
    [["--", "app"], "no user given\nhint: keyctl exec --user <id> -- app\n"],
    [["-u", "alice", "--json"], "no command is given\nhint: keyctl exec -u alice --json -- node app.js\n"],
    [["--env", "KEY"], "no user given\nhint: keyctl exec --env KEY --user <id> -- node app.js\n"],
    [["-u", "alice", "-u", "bob", "--", "app"], "keyctl exec is for one user at a time"],
    [["-u", "alice", "--env", "A", "--env", "B", "--", "app"], "the key is put into one variable"],
    [["-u", "alice", "--env", "A-B", "--", "app"], "'A-B' is no variable"],
    [["-u", "alice", "--env", "A=secret", "--", "app"], "--env takes a name without a value"],
    [["-u", "alice", "--usr", "--", "app"], "unknown option '--usr'"],
    [["-u", "alice", "--usr", "bob", "--", "app"], "unknown option '--usr'"],
    [["-user=alice", "node"], "unknown option '-user'"],
  ])("refuses %j before anything is opened", async (args, message) => {
    const home = homeWithKey();
    const { code, stderr, started } = await execIn(home, args);
    expect([code, started, existsSync(home.database)]).toEqual([2, [], false]);
    expect(stderr).toContain(`error: ${message}`);
    expect(stderr).not.toContain("secret");
  });

  it.each([
    ["node --version", "keyctl exec --user alice -- node --version"],
    ["node --help", "keyctl exec --user alice -- node --help"],
    ["curl -u x https://example.com", "keyctl exec --user alice -- curl -u x https://example.com"],
    ["python3 -c print(1)", "keyctl exec --user alice -- python3 -c 'print(1)'"],
    ["npm run x -- --json", "keyctl exec --user alice -- npm run x -- --json"],
    ["--env KEY -q node -q", "keyctl exec --user alice --env KEY -q -- node -q"],
  ])("reads no word of a command without -- as its own: %s", async (words, hint) => {
    const { code, stdout, stderr, started } = await execIn(homeWithKey(), ["--user", "alice", ...words.split(" ")]);
    const isQuiet = words.startsWith("--env");
    const said = `error: the command stands after --\n${isQuiet ? "" : `hint: ${hint}\n`}`;
    expect([code, stdout, stderr, started]).toEqual([2, "", said, []]);
  });

  it.each([
    [["node", "app.js"], "the command stands after --\nhint: keyctl exec --user <id> -- node app.js\n"],
    [
      ["alice", "--", "node", "app.js"],
      "unexpected argument 'alice'; did you mean --user alice?\nhint: keyctl exec --user alice -- node app.js\n",
    ],
    [
      ["-u", "a b", "node", `${CANARIES.key.slice(0, 12)} ${CANARIES.key.slice(12)}`],
      "the command stands after --\nhint: keyctl exec -u 'a b' -- <command>\n",
    ],
  ])("says how %j is typed", async (args, message) => {
    expect(await execIn(emptyHome(), args)).toMatchObject({ code: 2, stderr: `error: ${message}` });
  });

  it("shows its help, with whatever other options", async () => {
    for (const args of [["--help"], ["-u", "alice", "-h"], ["-u", "alice", "--help", "node"]]) {
      expect(await execIn(emptyHome(), args)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("Usage: keyctl exec"),
      });
    }
  });

  it.each([
    ["PATH", "the system"],
    ["HOME", "the system"],
    ["LD_PRELOAD", "the loader of programs"],
    ["DYLD_INSERT_LIBRARIES", "the loader of programs"],
    ["GCONV_PATH", "the loader of programs"],
    ["MALLOC_CHECK_", "the loader of programs"],
    ["LC_ALL", "the C library"],
    ["NODE_OPTIONS", "Node"],
    ["NODE_EXTRA_CA_CERTS", "Node"],
    ["PYTHONPATH", "Python"],
    ["PERL5OPT", "Perl"],
    ["RUBYOPT", "Ruby"],
    ["JAVA_TOOL_OPTIONS", "Java"],
    ["BASH_ENV", "shells"],
    ["ENV", "shells"],
    ["PS4", "shells"],
    ["IFS", "shells"],
    ["SHELLOPTS", "shells"],
    ["https_proxy", "programs that use a proxy"],
    ["ALL_PROXY", "programs that use a proxy"],
  ])("refuses --env %s, which would print the key or break the start", async (name, reader) => {
    const { code, stderr, started } = await execIn(homeWithKey(), ["-u", "alice", "--env", name, "--", "app"]);
    expect([code, started]).toEqual([2, []]);
    expect(stderr).toContain(`error: ${name} is read by ${reader} at a start, which would fail or print the key\n`);
  });

  it("looks for a key in the command's words, and for nothing else: they are another program's", async () => {
    const home = homeWithKey();
    const refused = await execIn(home, ["-u", "alice", "--", "curl", `Bearer ${CANARIES.key}`]);
    expect([refused.code, refused.started]).toEqual([2, []]);
    const words = ["psql", "postgres://me:password@db/app", "********", "--user", "bob"];
    expect((await execIn(home, ["-u", "alice", "--", ...words])).started[0]?.[0]).toEqual(words);
  });

  it("names the whole command again, with --create before its words, where a store is missing", async () => {
    const { code, stderr } = await execIn(homeWithKey(), ["-u", "a", "--store", "sqlite:no.db", "--", "echo", "a b"]);
    expect(code).toBe(7);
    expect(stderr).toContain("keyctl exec -u a --store sqlite:no.db --create -- echo 'a b'   creates it");
  });
});
