import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { storedUsers } from "../support/sqlite/database.ts";
import { change } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";

const KEY = `sk-or-v1-${"0a1b2c3d".repeat(7)}0a1bb465`;
const OTHER = `sk-or-v1-${"9f8e7d6c".repeat(7)}9f8e91aa`;
const withKey = { OPENROUTER_API_KEY: KEY };

async function homeWith(...users: readonly string[]): Promise<Home> {
  const home = emptyHome();
  const { code } = await keyctl(home, ["sync", "--users-file", "-"], { env: withKey, input: users.join("\n") });
  expect(code).toBe(0);
  return home;
}

describe("--output", () => {
  it.each([
    ["the database", (home: Home) => home.database],
    ["the master keys", (home: Home) => home.masterKeys],
    ["a list of users", (home: Home) => join(home.work, "users.txt")],
  ])("does not replace %s", async (_, placeIn) => {
    const home = await homeWith("alice");
    writeFileSync(join(home.work, "users.txt"), "alice\n");
    const place = placeIn(home);
    const before = readFileSync(place);
    const run = await keyctl(home, ["get", "--all", "--stored", "--output", place]);
    expect(run.code).toBe(2);
    expect(run.stderr).toMatch(/^error: --output: .* already holds something else\n/);
    expect(readFileSync(place).equals(before)).toBe(true);
  });

  it("replaces the output of an earlier run, and takes a name that is new", async () => {
    const home = await homeWith("alice");
    const args = ["get", "--all", "--stored", "--output", "out.jsonl"];
    expect([(await keyctl(home, args)).code, (await keyctl(home, args)).code]).toEqual([0, 0]);
  });

  it.each(["", "folder/"])("names a file: %j", async (place) => {
    const home = await homeWith("alice");
    expect((await keyctl(home, ["get", "--all", "--output", place])).code).toBe(2);
  });

  it("leaves no draft with bare keys when the terminal is closed", async () => {
    const home = await homeWith("alice");
    const args = ["get", "--users-file", "-", "--reveal", "--json", "--output", "out.jsonl"];
    const tool = spawn(process.execPath, [BIN, ...args], { cwd: home.work, env: home.environment });
    onTestFinished(() => void tool.kill("SIGKILL"));
    tool.stdin.write("alice\n");
    await vi.waitFor(() => expect(readdirSync(home.work).join()).toContain(".keyctl-output-"), { timeout: 10_000 });
    tool.kill("SIGHUP");
    expect(await once(tool, "exit")).toEqual([143, null]);
    expect(readdirSync(home.work).filter((name) => name !== "out.jsonl")).toEqual([]);
  });
});

describe("a secret in the wrong place", () => {
  it("is not repeated when it is a line of the users, with --reveal too", async () => {
    const home = await homeWith("alice");
    const args = ["get", "--users-file", "-", "--reveal", "--json"];
    const run = await keyctl(home, args, { input: `alice\n${OTHER}\n` });
    expect(run.stdout).toContain(KEY);
    expect(run.stdout + run.stderr).not.toContain(OTHER);
    expect(run.code).toBe(9);
  });

  it("is not repeated when the master keys are given as the users", async () => {
    const home = await homeWith("alice");
    const [, secret = ""] = /"k": "([\w-]{43})"/.exec(readFileSync(home.masterKeys, "utf8")) ?? [];
    expect(secret).not.toBe("");
    const run = await keyctl(home, ["get", "--stored", "--json", "--users-file", home.masterKeys]);
    expect(run.stdout + run.stderr).not.toContain(secret);
  });

  it("is not repeated as the value of an option that nobody knows", async () => {
    const run = await keyctl(emptyHome(), ["sync", "--master-key=hunter2hunter2"]);
    expect(run.stderr).toContain("unknown option '--master-key'");
    expect(run.stderr).not.toContain("hunter2");
  });

  it("is not repeated as a store with a prefix too many", async () => {
    const env = { KEYCTL_STORE: "sqlite:mongodb://admin:hunter22@db.prod/keys" };
    const run = await keyctl(emptyHome(), ["list"], { env });
    expect(run.code).toBe(4);
    expect(run.stderr).not.toContain("hunter22");
  });
});

describe("text from outside", () => {
  it("does not run when a hint is pasted", async () => {
    const home = emptyHome();
    const save = (key: string, ...flags: readonly string[]) =>
      keyctl(home, ["save", "--user", "$(touch pasted)", "--stdin", ...flags], { input: key });
    await save(KEY);
    const { stderr } = await save(OTHER, "--replace");
    expect(
      stderr
        .split("\n")
        .filter((line) => line.startsWith("hint:"))
        .join(),
    ).not.toContain("$(touch");
  });

  it("cannot write a log line or move the cursor, in a tail or a path", async () => {
    const home = await homeWith("alice");
    change(home.database, `UPDATE api_keys SET key_tail = char(27) || '[31m' || char(10) || '[KeyManager] fake'`);
    const purged = await keyctl(home, ["purge", "--user", "alice", "--yes"]);
    expect(purged.stdout).toBe("***************???? purged (it stays active at OpenRouter)\n");

    const config = join(home.folder, "c\u001B[31m\n[KeyManager] ✅ Saved key");
    mkdirSync(join(config, "keyctl"), { recursive: true });
    writeFileSync(join(config, "keyctl", "master-keys.json"), "junk", { mode: 0o600 });
    const run = await keyctl(home, ["sync", "--user", "bob"], { env: { ...withKey, XDG_CONFIG_HOME: config } });
    expect(run.code).toBe(4);
    expect(run.stderr).not.toContain("\u001B");
    expect(run.log).not.toContain("Saved key");
  });
});

describe("what is broken elsewhere", () => {
  it.each([
    [["get", "--user", "alice"], "OPENROUTER_API_KEY_FILE"],
    [["sync", "--user", "alice"], "OPENROUTER_API_KEY_FILE"],
    [["purge", "--user", "alice", "--yes"], "OPENROUTER_API_KEY_FILE"],
    [["list"], "OPENROUTER_PROVISIONING_KEY_FILE"],
    [["get", "--user", "alice"], "OPENROUTER_PROVISIONING_KEY_FILE"],
  ])("does not fail %j, which does not need it: %s", async (args, name) => {
    const home = await homeWith("alice");
    expect((await keyctl(home, args, { env: { [name]: "/nowhere" } })).code).toBe(0);
  });

  it("fails a sync that needs it", async () => {
    const env = { OPENROUTER_PROVISIONING_KEY_FILE: "/nowhere" };
    expect((await keyctl(emptyHome(), ["sync", "--user", "alice"], { env })).code).toBe(4);
  });
});

describe("a bulk run", () => {
  it("takes a time limit of months", async () => {
    const home = await homeWith("alice");
    const run = await keyctl(home, ["get", "--all", "--stop-after", "90d", "--json"]);
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: "" });
  });

  it("reads no device that has no end", async () => {
    const run = await keyctl(emptyHome(), ["sync", "--users-file", "/dev/zero"]);
    expect(run.stderr).toContain(
      "it is a device\nhint: give a file with one user id per line, or pipe the ids to --users-file -",
    );
    expect(run.code).toBe(2);
  });

  it("of purge deletes no more keys than were confirmed", async () => {
    const home = await homeWith("alice", "bob");
    const args = ["purge", "--all", "--store", `sqlite:${home.database}`, "--confirm", "2", "--json"];
    const meanwhile = `INSERT OR IGNORE INTO api_keys (_id, user_id, provider, key_encrypted, source, created_at, updated_at)
      SELECT 'another', 'zoe', provider, key_encrypted, source, created_at, updated_at FROM api_keys WHERE user_id = 'bob'`;
    // Saved when the keys were counted, and before they are gone through.
    let counts = 0;
    const run = await inProcess(home, args, {
      around: (ports) => ({
        ...ports,
        store: {
          ...ports.store,
          async count(signal) {
            const count = await ports.store.count(signal);
            counts += 1;
            change(home.database, meanwhile);
            return count;
          },
        },
      }),
    });
    expect(counts).toBe(1);
    expect({ code: run.code, error: errorOf(run)?.code }).toEqual({ code: 8, error: "COUNT_CHANGED" });
    expect(await storedUsers(home)).toEqual(["zoe"]);
  });
});

describe("a damaged row", () => {
  it("of a master key that is not here is its user's error alone", async () => {
    const home = await homeWith("alice", "bob", "carol");
    change(
      home.database,
      `UPDATE api_keys SET key_encrypted = (
      SELECT replace(key_encrypted, substr(key_encrypted, 60, 4), 'AAAA') FROM api_keys WHERE user_id = 'bob') WHERE user_id = 'bob'`,
    );
    for (const flags of [[], ["--log"]]) {
      const run = await keyctl(home, ["sync", "--all", ...flags]);
      expect(run.code).toBe(9);
      expect(run.stdout).toContain("carol\t***************b465\tdatabase");
    }
  });

  it("cannot hold a number that no program can read", async () => {
    const home = await homeWith("alice");
    expect(() => change(home.database, "UPDATE api_keys SET revision = 9223372036854775807")).toThrow();
    expect(existsSync(home.database)).toBe(true);
  });
});
