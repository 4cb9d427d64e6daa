import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Host } from "../../src/main.ts";
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

  it("prints the document of a failure that comes before the command where --json asks for it", async () => {
    const run = await execIn(emptyHome(), ["-u", "bob", "--json", "--", "app"]);
    expect(errorOf(run)).toMatchObject({ code: "NO_KEY", exit_code: 3 });
  });

  it.each([
    [["-u", "alice"], "no command is given"],
    [["-u", "alice", "--"], "no command is given"],
    [["-u", "alice", "node", "app.js"], "the command stands after --"],
    [["-u", "alice", "node", "--", "app.js"], "the command stands after --"],
    [["--", "app"], "no user given"],
    [["-u", "alice", "-u", "bob", "--", "app"], "keyctl exec is for one user at a time"],
    [["-u", "alice", "--env", "A", "--env", "B", "--", "app"], "the key is put into one variable"],
    [["-u", "alice", "--env", "A-B", "--", "app"], "'A-B' is no variable"],
    [["-u", "alice", "--env", "A=secret", "--", "app"], "--env takes a name without a value"],
    [["-u", "alice", "--usr", "--", "app"], "unknown option '--usr'"],
  ])("refuses %j before anything is opened", async (args, message) => {
    const home = homeWithKey();
    const { code, stderr, started } = await execIn(home, args);
    expect([code, started, existsSync(home.database)]).toEqual([2, [], false]);
    expect(stderr).toContain(`error: ${message}`);
    expect(stderr).not.toContain("secret");
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
