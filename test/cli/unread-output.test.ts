import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { change, rowsOf } from "../support/sqlite/database-file.ts";
import { storedUsers } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import { inProcess } from "../support/programs/in-process.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { stage, withCalls } from "../support/home/tool-with-openrouter.ts";
import { masterKeysInUse } from "../support/fixtures/stored-rows.ts";

const withKey = { OPENROUTER_API_KEY: KEY };

function users(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `user-${index}`);
}

/** What takes this many writes, and then is gone. */
function readerOf(writes: number) {
  let seen = 0;
  return {
    seen: () => seen,
    onStdout: () => {
      seen += 1;
      if (seen >= writes) throw Object.assign(new Error("write EPIPE"), { code: "EPIPE" });
    },
  };
}

function onFullDisk(): never {
  throw Object.assign(new Error("write ENOSPC"), { code: "ENOSPC" });
}

const NOTE = "note: the reader of the output has closed it; the run continues\n";
const lost = (rest: string) =>
  new RegExp(`^error: the output could not be written \\(EPIPE\\); ${rest}\nhint: .+\n$`, "m");

/** A home with these users' keys. */
async function homeOf(count: number, env: Readonly<Record<string, string>> = withKey) {
  const home = emptyHome();
  const ids = users(count);
  await inProcess(home, ["sync", "--users-file", "-", "--quiet"], { env, input: ids.join("\n") });
  writeFileSync(join(home.work, "users.txt"), ids.join("\n"));
  return home;
}

describe("a reader that has seen enough", () => {
  it.each([
    [["get", "--all", "--stored"], 1],
    [["get", "--all", "--stored", "--json"], 2],
    [["list"], 1],
    [["list", "--json"], 1],
    [["copy", "--create", "--dry-run", "--to", "sqlite:copy.db"], 1],
    [["copy", "--create", "--dry-run", "--to", "sqlite:copy.db", "--json"], 1],
    [["rekey", "--dry-run"], 1],
    [["rekey", "--dry-run", "--json"], 1],
    [["--help"], 1],
    [["--version"], 1],
    [["help", "exit-codes"], 1],
  ])("ends %j quietly at write %i", async (args, at) => {
    const home = emptyHome();
    await inProcess(home, ["sync", "-u", "alice", "-u", "bob"], { env: withKey });
    const reader = readerOf(at);
    const run = await inProcess(home, args, { env: withKey, onStdout: reader.onStdout });
    expect(reader.seen()).toBe(at);
    expect(run).toMatchObject({ code: 0 });
    expect(run.stderr).not.toContain("error");
  });

  it.each([
    [["sync", "--user", "alice"], "note: the run finished: alice, ***************b465, environment\n"],
    [["get", "--user", "alice", "--reveal"], "note: the run finished: alice, ***************b465, environment\n"],
    [["get", "--user", "alice", "--json"], "note: the run finished: alice, ***************b465, environment\n"],
    [["save", "--user", "alice", "--stdin"], "note: the run finished: alice, ***************b465, saved\n"],
    [["explain", "--user", "alice"], ""],
    [["sync", "--user", "alice", "--json", "--quiet"], ""],
  ])("has missed the one result of %j: exit 1, and what was done", async (args, note) => {
    const run = await inProcess(emptyHome(), args, { env: withKey, input: KEY, onStdout: readerOf(1).onStdout });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(`${note}error: the output could not be written (EPIPE)\n`);
  });

  it("has missed an error as well, which is said all the same", async () => {
    const home = emptyHome();
    await inProcess(home, ["sync", "-u", "alice"], { env: withKey });
    const args = ["save", "--user", "alice", "--stdin", "--json"];
    const run = await inProcess(home, args, { input: OTHER, onStdout: readerOf(1).onStdout });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(
      /^error: user alice already has another key .*\nhint: .*\nerror: the output could not be written \(EPIPE\)\n/m,
    );
  });
});

describe("a reader that goes away from a run that changes something", () => {
  it.each([
    [["purge", "--users-file", "users.txt", "--yes"], 2],
    [["purge", "--users-file", "users.txt", "--yes", "--json"], 1],
    [["purge", "--users-file", "users.txt", "--yes", "--json"], 30],
    [["purge", "--users-file", "users.txt", "--yes", "--quiet"], 1],
  ])("does not end %j at write %i", async (args, at) => {
    const home = await homeOf(30);
    const reader = readerOf(at);
    const run = await inProcess(home, args, { onStdout: reader.onStdout });
    expect(run.code).toBe(1);
    expect(reader.seen()).toBe(at);
    expect(run.stderr).toMatch(
      /error: the output could not be written \(EPIPE\); the run finished: 30 users in \d+s: 30 purged; 30 keys stay active at OpenRouter\n/,
    );
    expect(run.stderr.includes(NOTE)).toBe(!args.includes("--quiet"));
    expect(await storedUsers(home)).toEqual([]);
  });

  it.each(["purge --users-file users.txt --yes", "provision --users-file users.txt --max-keys 30 --json"])(
    "is a disk that is full as well: %s",
    async (line) => {
      const { home, server, run } = await stage();
      const ids = users(30);
      writeFileSync(join(home.work, "users.txt"), ids.join("\n"));
      if (line.startsWith("purge")) await run("sync --users-file users.txt --quiet", { env: withKey });
      const done = await run(line, { onStdout: onFullDisk });
      expect(done.code).toBe(1);
      expect(done.stderr).toMatch(/^note: the output could not be written \(ENOSPC\); the run continues$/m);
      expect(done.stderr).toMatch(/\(ENOSPC\); the run finished: 30 users in \d+s: 30 (purged|made)/m);
      const left = line.startsWith("purge") ? [] : ids.toSorted();
      expect([await storedUsers(home), server.keys.size]).toEqual([left, left.length]);
    },
  );

  it("does not end a sync of many, whose summary alone is missed", async () => {
    const home = emptyHome();
    writeFileSync(join(home.work, "users.txt"), users(3).join("\n"));
    const args = ["sync", "--users-file", "users.txt", "--json"];
    const run = await inProcess(home, args, { env: withKey, onStdout: readerOf(2).onStdout });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(lost("the run finished: 3 users in \\d+s: 3 synced"));
    expect(await storedUsers(home)).toHaveLength(3);
  });

  it("does not end get, which saves what it finds", async () => {
    const home = emptyHome();
    writeFileSync(join(home.work, "users.txt"), users(1200).join("\n"));
    const args = ["get", "--users-file", "users.txt", "--json", "--reveal"];
    const run = await inProcess(home, args, { env: withKey, onStdout: readerOf(1).onStdout });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(lost("the run finished: 1,200 users in \\d+s: 1,200 synced"));
    expect(await storedUsers(home)).toHaveLength(1200);
  });

  it("says what went wrong with the run itself first, and outranks it", async () => {
    const home = await homeOf(2);
    writeFileSync(join(home.work, "users.txt"), "user-0\n\u0007\nuser-1\n");
    const args = ["purge", "--users-file", "users.txt", "--yes", "--json"];
    const run = await inProcess(home, args, { onStdout: readerOf(1).onStdout });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/^error: 1 of 3 users failed\nhint: .*\nerror: the output could not be written/m);
    expect(await storedUsers(home)).toEqual([]);
  });

  it("says so where the run could not be finished", async () => {
    const home = emptyHome();
    writeFileSync(join(home.work, "users.txt"), users(1200).join("\n"));
    let batches = 0;
    const failing = withCalls((store) => ({
      async insertMany(records, signal) {
        batches += 1;
        if (batches > 1) throw new KeyctlError("STORE_UNAVAILABLE", "the store is gone");
        return store.insertMany(records, signal);
      },
    }));
    const args = ["sync", "--users-file", "users.txt", "--json"];
    const run = await inProcess(home, args, {
      env: withKey,
      onStdout: readerOf(1).onStdout,
      around: failing,
    });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/^error: the store is gone\n/m);
    expect(run.stderr).toMatch(lost("the run stopped early: 500 users in \\d+s: 500 synced; 700 not started"));
  });

  it("lets go of standard input, which may go on for ever", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["sync", "--users-file", "-", "--json"], {
      env: withKey,
      input: openAfter("alice\nbob\n"),
      onStdout: readerOf(1).onStdout,
    });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(lost("the rest of standard input was not read: 2 users in \\d+s: 2 synced"));
    expect(await storedUsers(home)).toEqual(["alice", "bob"]);
  });

  it("has not missed what is in the file of --output", async () => {
    const home = await homeOf(3);
    const args = ["validate", "--users-file", "users.txt", "--output", "verdicts.jsonl"];
    const run = await inProcess(home, args, { env: withKey, onStdout: readerOf(1).onStdout });
    // The mock server does not know this key.
    expect(run.code).toBe(9);
    expect(run.stderr).not.toContain("could not be written");
    const lines = readFileSync(join(home.work, "verdicts.jsonl"), "utf8").trimEnd().split("\n");
    expect(lines).toHaveLength(4);
  });

  it.each([[[]], [["--json"]]])("does not end a rekey, nor the verdicts of validate: %j", async (more) => {
    const home = await homeOf(3);
    const validated = await inProcess(home, ["validate", "--all", ...more], { onStdout: readerOf(1).onStdout });
    expect(validated.code).toBe(1);
    expect(validated.stderr).toMatch(lost("the run finished: 3 keys checked in \\d+s: 3 invalid"));
    expect(rowsOf(home.database, "SELECT last_check IS NOT NULL AS checked FROM api_keys")).toEqual(
      [1, 1, 1].map((checked) => ({ checked })),
    );
    const before = await masterKeysInUse(home);
    const rekeyed = await inProcess(home, ["rekey", ...more], { onStdout: readerOf(1).onStdout });
    expect(rekeyed.code).toBe(1);
    expect(rekeyed.stderr).toMatch(
      lost("the run finished: 3 keys in \\d+s: 3 re-encrypted; the active master key is .*"),
    );
    expect(await masterKeysInUse(home)).not.toEqual(before);
  });

  it("does not end a rekey at the first row that it cannot open", async () => {
    const home = await homeOf(20);
    change(
      home.database,
      "UPDATE api_keys SET key_encrypted = replace(key_encrypted, '.', '.A') WHERE user_id < 'user-13'",
    );
    const reader = readerOf(1);
    const run = await inProcess(home, ["rekey", "--json"], { onStdout: reader.onStdout });
    expect(run.code).toBe(1);
    expect(reader.seen()).toBe(1);
    expect(run.stderr).toMatch(/^error: \d+ of 20 keys cannot be decrypted and were left unchanged\n/m);
    expect(run.stderr).toMatch(lost("the run finished: 20 keys in .*"));
  });

  it.each([[[]], [["--json"]]])("does not end a reconcile, with or without --fix: %j", async (more) => {
    const { server, run } = await stage();
    // Three keys whose answers were lost, and that could not be looked for.
    server.behave(({ route }) => {
      if (route === "POST /keys") return "reset-after";
      return route === "GET /keys" ? { status: 403 } : "pass";
    });
    for (const user of users(3)) expect((await run(["sync", "--user", user])).code).toBe(6);
    server.behave(() => "pass");
    expect(server.keys.size).toBe(3);
    const planned = await run(["reconcile", ...more], { onStdout: readerOf(1).onStdout });
    expect(planned.code).toBe(1);
    expect(planned.stderr).toMatch(/^error: 3 keys to remove\nhint: .*\nerror: the output/m);
    expect(planned.stderr).toMatch(lost("the run finished: 3 keys at OpenRouter: .*, 3 to remove; .*"));
    expect(server.keys.size).toBe(3);
    const fixed = await run(["reconcile", "--fix", ...more], { onStdout: readerOf(1).onStdout });
    expect(fixed.code).toBe(1);
    expect(fixed.stderr).toMatch(lost("the run finished: 3 keys at OpenRouter: .*, 3 of 3 removed; .*"));
    expect(server.keys.size).toBe(0);
  });

  it.each([[[]], [["--json"]]])("does not end a provisioning: %j", async (more) => {
    const { home, server, run } = await stage();
    writeFileSync(join(home.work, "users.txt"), users(5).join("\n"));
    const args = ["provision", "--users-file", "users.txt", "--limit", "1", ...more];
    const done = await run(args, { onStdout: readerOf(1).onStdout });
    expect(done.code).toBe(1);
    expect(done.stderr).toMatch(lost("the run finished: 5 users in \\d+s: 5 made"));
    expect([server.keys.size, await storedUsers(home)]).toEqual([5, users(5)]);
  });

  it.each([[[]], [["--json"]]])("does not end a copy: %j", async (more) => {
    const home = await homeOf(30);
    const copy = join(home.folder, "copy.db");
    const run = await inProcess(home, ["copy", "--create", "--to", `sqlite:${copy}`, ...more], {
      onStdout: readerOf(1).onStdout,
    });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(lost("the run finished: 30 .*"));
    expect(rowsOf(copy, "SELECT count(*) AS count FROM api_keys")).toEqual([{ count: 30 }]);
  });
});

/** Input that gives this and then neither more nor an end. */
async function* openAfter(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
  await new Promise<never>(() => {});
}
