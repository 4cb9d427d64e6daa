import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it, onTestFinished } from "vitest";
import { change, rowsOf } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";

/** More lines than pipes and buffers hold. */
const USERS = 2_000;

/** A home with the keys of this many users, in clear but the first, and a file of their names. */
async function homeWith(users: number): Promise<Home> {
  const home = emptyHome();
  expect(await keyctl(home, ["save", "--user", "user-0", "--stdin"], { input: KEY })).toMatchObject({ code: 0 });
  const columns = "provider, key_hash, key_tail, source, created_at, updated_at, revision";
  change(
    home.database,
    `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${users - 1})
     INSERT INTO api_keys (_id, user_id, key_encrypted, ${columns})
     SELECT n, 'user-' || n, '${KEY}', ${columns} FROM numbers, api_keys`,
  );
  writeFileSync(join(home.work, "users.txt"), Array.from({ length: users }, (_, n) => `user-${n}\n`).join(""));
  return home;
}

function left({ database }: Home): number {
  return Number(rowsOf(database, "SELECT count(*) AS count FROM api_keys")[0]?.["count"]);
}

/** A line of shell that runs the tool as `keyctl`; the exit code is that of the first of its last pipeline. */
async function shell(home: Home, line: string) {
  const script = `keyctl() { "$NODE" "$BIN" "$@"; }\n${line}\nexit "\${PIPESTATUS[0]}"`;
  const env = { ...home.environment, NODE: process.execPath, BIN };
  const child = spawn("bash", ["-c", script], { cwd: home.work, env });
  child.stdin.end();
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: code as number | null, stdout, stderr };
}

/** The command, writing to a pipe that nobody reads any more. */
function toClosedPipe(command: string): string {
  return `mkfifo pipe; (exec 3<pipe) & exec 4>pipe; wait; keyctl ${command} >&4; code=$?; (exit $code)`;
}

describe("a purge whose reader goes away", () => {
  it.each([
    "purge --users-file users.txt --yes",
    "purge --users-file users.txt --yes --json",
    `purge --all --store "sqlite:$XDG_DATA_HOME/keyctl/keyctl.db" --confirm ${USERS} --json`,
  ])("deletes every key, and says on stderr what nobody has read: %s", async (command) => {
    const home = await homeWith(USERS);
    const { code, stdout, stderr } = await shell(home, `keyctl ${command} | head -1`);
    expect(stdout.match(/\n/g)).toHaveLength(1);
    expect(stderr).toMatch(
      /error: the output could not be written \(EPIPE\); the run finished: 2,000 users in \d+s: 2,000 purged; 2,000 keys stay active at OpenRouter\nhint: .+\n$/,
    );
    expect(code).toBe(1);
    expect(left(home)).toBe(0);
  });

  it("reads standard input no further, and says how many keys it has deleted", async () => {
    const home = await homeWith(USERS);
    const { code, stderr } = await shell(
      home,
      "keyctl purge --users-file - --yes --json < <(cat users.txt; sleep 30) | head -1",
    );
    const deleted =
      /the rest of standard input was not read: ([\d,]+) users in \d+s: ([\d,]+) purged; [\d,]+ keys stay active at OpenRouter\n/.exec(
        stderr,
      );
    expect(code).toBe(1);
    expect(deleted?.[1]).toBe(deleted?.[2]);
    expect(left(home)).toBe(USERS - Number(deleted?.[1]?.replaceAll(",", "")));
  });

  it("is ended by a signal as ever", async () => {
    const home = await homeWith(USERS);
    const args = ["purge", "--users-file", "users.txt", "--yes", "--json"];
    const child = spawn(process.execPath, [BIN, ...args], { cwd: home.work, env: home.environment });
    onTestFinished(() => void child.kill("SIGKILL"));
    const ended = Promise.all([text(child.stderr), once(child, "close")]);
    await once(child.stdout, "data");
    child.stdout.destroy();
    child.kill("SIGTERM");
    const [stderr, [code]] = await ended;
    expect(code).toBe(143);
    expect(stderr).toContain("error: interrupted by SIGTERM\n");
    expect(left(home)).toBeGreaterThan(0);
  });
});

describe("one result that nobody reads", () => {
  it.each([
    ["sync --user bob", "note: the run finished: bob, ***************b465, key.txt\n"],
    [
      "purge --user user-0 --yes --json",
      "note: the run finished: user-0, ***************b465, purged; it stays active at OpenRouter\n",
    ],
    [
      "save --user user-0 --from-file other.txt --replace",
      "note: the run finished: user-0, ***************91aa, replaced\n",
    ],
    ["save --user user-0 --from-file other.txt --json", "error: user user-0 already has another key"],
    ["doctor --timeout 10s", "error: "],
  ])("is an error, after what was done: %s", async (command, said) => {
    const home = await homeWith(1);
    writeFileSync(join(home.work, "other.txt"), KEY.replace(/b465$/, "91aa"), { mode: 0o600 });
    // Reason enough for a doctor.
    writeFileSync(join(home.work, "key.txt"), KEY, { mode: 0o644 });
    const { code, stderr } = await shell(home, toClosedPipe(command));
    expect(stderr).toContain(said);
    expect(stderr.slice(stderr.indexOf(said))).toContain("\nerror: the output could not be written (EPIPE)\n");
    expect(code).toBe(1);
  });
});
