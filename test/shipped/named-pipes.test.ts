import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { KEY } from "../support/fixtures/keys.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, onlyIn } from "../support/programs/keyctl.ts";
import { storedUsers } from "../support/sqlite/database.ts";

/** Longer than the ten seconds that a pipe may take, on a busy machine too. */
const MS = 60_000;

/** A line of bash with the built tool; `$KEY` is a key. */
async function bash(home: Home, line: string) {
  const script = `keyctl() { '${process.execPath}' '${BIN}' "$@"; }\n${line}`;
  const options = onlyIn(home, { env: { KEY, NODE: process.execPath, BIN } });
  const began = performance.now();
  const { exitCode, stdout, stderr } = await execa("bash", ["-c", script], options);
  return { code: exitCode, stdout: String(stdout), stderr: String(stderr), ms: performance.now() - began };
}

function fifoIn(home: Home): void {
  execFileSync("mkfifo", ["-m", "600", join(home.work, "fifo")]);
}

describe("a pipe that a person named", () => {
  it.each([
    ["--from-file with a process substitution", 'keyctl save -u alice --from-file <(echo "$KEY")'],
    ["--from-file /dev/stdin", 'echo "$KEY" | keyctl save -u alice --from-file /dev/stdin'],
    ["--from-file with a FIFO", '(echo "$KEY" >fifo) & keyctl save -u alice --from-file fifo'],
    ["--key-file", 'keyctl sync -u alice --key-file <(echo "$KEY")'],
    ["KEYCTL_KEY_FILE", 'KEYCTL_KEY_FILE=fifo keyctl sync -u alice & echo "$KEY" >fifo; wait $!'],
    ["OPENROUTER_API_KEY_FILE", 'f() { OPENROUTER_API_KEY_FILE=$1 keyctl sync -u alice; }; f <(echo "$KEY")'],
    [
      "KEYCTL_STORE_FILE",
      `f() { OPENROUTER_API_KEY=$KEY KEYCTL_STORE_FILE=$1 keyctl sync -u alice --create; }
      f <(echo "sqlite:$XDG_DATA_HOME/keyctl/keyctl.db")`,
    ],
    [
      "OPENROUTER_API_KEY_FILE beside the same key in OPENROUTER_API_KEY",
      'f() { OPENROUTER_API_KEY=$KEY OPENROUTER_API_KEY_FILE=$1 keyctl sync -u alice; }; f <(echo "$KEY")',
    ],
    [
      "KEYCTL_STORE_FILE beside the same store in KEYCTL_STORE",
      `export OPENROUTER_API_KEY=$KEY KEYCTL_STORE="sqlite:$XDG_DATA_HOME/keyctl/keyctl.db"
      f() { KEYCTL_STORE_FILE=$1 keyctl sync -u alice --create; }; f <(echo "$KEYCTL_STORE")`,
    ],
    ["--users-file", "OPENROUTER_API_KEY=$KEY keyctl sync --users-file <(echo alice)"],
    ["--users-file /dev/stdin", "echo alice | OPENROUTER_API_KEY=$KEY keyctl sync --users-file /dev/stdin"],
    [
      "a users file that a question needs as a whole",
      `OPENROUTER_API_KEY=$KEY keyctl sync -u alice -u bob
      keyctl purge --users-file <(echo bob) --yes`,
    ],
    ["--csv", 'keyctl import --csv <(printf "user,key\\nalice,%s\\n" "$KEY")'],
    ["--jsonl", `keyctl import --jsonl <(printf '{"user":"alice","key":"%s"}' "$KEY")`],
  ])("is read: %s", { timeout: MS }, async (_, line) => {
    const home = emptyHome();
    fifoIn(home);
    const { code, stderr } = await bash(home, line);
    expect([code, stderr.includes("error:")]).toEqual([0, false]);
    expect(await storedUsers(home)).toEqual(["alice"]);
  });

  it("may hold the master keys, which a rekey then cannot change", { timeout: MS }, async () => {
    const home = emptyHome();
    await bash(home, 'keyctl save -u alice --from-file <(echo "$KEY")');
    const line = (words: string) =>
      `f() { KEYCTL_MASTER_KEYS_FILE=$1 keyctl ${words}; }; f <(cat '${home.masterKeys}')`;
    expect(await bash(home, line("get -u alice --reveal"))).toMatchObject({ code: 0, stdout: `${KEY}\n` });
    const rekey = await bash(home, line("rekey"));
    expect([rekey.code, rekey.stderr.split(";")[0]]).toEqual([
      4,
      "error: keyctl cannot add a master key to KEYCTL_MASTER_KEYS_FILE",
    ]);
  });

  it("may hold the management key, which every part of a run then knows", { timeout: MS }, async () => {
    const home = emptyHome();
    const line = `f() { OPENROUTER_PROVISIONING_KEY_FILE=$1 keyctl save -u alice --stdin <<<"$KEY"; }; f <(echo "$KEY")`;
    const { code, stderr } = await bash(home, line);
    expect([code, stderr]).toEqual([4, expect.stringContaining("management key")]);
  });

  it.each([
    ["OPENROUTER_API_KEY", "sync -u alice"],
    ["KEYCTL_STORE", "list"],
    ["OPENROUTER_PROVISIONING_KEY", "provision -u alice"],
  ])("must agree with %s", { timeout: MS }, async (variable, words) => {
    const line = `f() { ${variable}=one ${variable}_FILE=$1 keyctl ${words}; }; f <(echo two)`;
    const { code, stderr, ms } = await bash(emptyHome(), line);
    expect([code, stderr]).toEqual([
      4,
      expect.stringContaining(`${variable} and ${variable}_FILE hold different values`),
    ]);
    expect(ms).toBeLessThan(9_000);
  });

  it("is not waited for where its variable is not read", { timeout: MS }, async () => {
    const home = emptyHome();
    fifoIn(home);
    await bash(home, 'keyctl save -u alice --from-file <(echo "$KEY")');
    const line = 'KEYCTL_STORE="sqlite:$XDG_DATA_HOME/keyctl/keyctl.db" MONGODB_URI_FILE=fifo keyctl list --count';
    const { code, stdout, ms } = await bash(home, line);
    expect([code, stdout]).toEqual([0, "1\n"]);
    expect(ms).toBeLessThan(9_000);
  });

  it.each([
    ["--from-file", "keyctl save -u alice --from-file fifo", 2, "fifo cannot be read"],
    ["--users-file", "keyctl get --stored --users-file fifo", 2, "the users file fifo cannot be read"],
    ["--csv", "keyctl import --csv fifo", 2, "the import file fifo cannot be read"],
    ["--key-file", "keyctl sync -u alice --key-file fifo", 3, "fifo could not be read"],
    [
      "KEYCTL_STORE_FILE",
      "KEYCTL_STORE_FILE=fifo keyctl list",
      4,
      "the file that KEYCTL_STORE_FILE names cannot be used",
    ],
  ])("is waited for ten seconds: %s", { timeout: MS }, async (_, line, exit, problem) => {
    const home = emptyHome();
    fifoIn(home);
    const { code, stderr, ms } = await bash(home, line);
    expect([code, stderr]).toEqual([
      exit,
      expect.stringContaining(`${problem}: nothing was written to it within 10 s`),
    ]);
    expect(ms).toBeGreaterThan(9_000);
  });

  it.each([
    ["a key", 'echo "$KEY" >&3', "keyctl save -u alice --from-file fifo", 2],
    ["users", "echo alice >&3", "OPENROUTER_API_KEY=$KEY keyctl sync --users-file fifo", 2],
  ])("that stays open behind %s is waited for ten seconds", { timeout: MS }, async (_, write, line, exit) => {
    const home = emptyHome();
    fifoIn(home);
    const { code, stderr } = await bash(
      home,
      `(exec 3>fifo; ${write}; sleep 30) & ${line}; code=$?; kill $!; exit $code`,
    );
    expect([code, stderr]).toEqual([exit, expect.stringContaining("it did not end within 10 s")]);
  });

  it.each([
    ["more than 4 KiB", 'keyctl save -u alice --from-file <(yes "$KEY")', "it is larger than 4 KiB"],
    ["nothing", "keyctl save -u alice --from-file <(true)", "it is empty"],
    ["a device", "keyctl save -u alice --from-file /dev/zero", "it is a device"],
    ["a device with users", "keyctl sync --users-file /dev/zero", "it is a device"],
    ["a folder", "keyctl save -u alice --from-file .", "it is a directory"],
  ])("is refused with %s", { timeout: MS }, async (_, line, problem) => {
    const { code, stderr, ms } = await bash(emptyHome(), line);
    expect([code, stderr]).toEqual([2, expect.stringContaining(problem)]);
    expect(ms).toBeLessThan(9_000);
  });

  it.each([
    "save -u alice --from-file fifo",
    "sync -u alice --key-file fifo",
    "get --stored --users-file fifo",
    "import --csv fifo",
    "list --key-file fifo --store sqlite:missing.db",
  ])("delays no signal: %s", { timeout: MS }, async (words) => {
    const home = emptyHome();
    fifoIn(home);
    const line = `"$NODE" "$BIN" ${words} & tool=$!; sleep 2; kill -TERM $tool; wait $tool`;
    const { code, ms } = await bash(home, line);
    expect(words.startsWith("list") ? 7 : 143).toBe(code);
    expect(ms).toBeLessThan(9_000);
  });
});

it("that nobody writes to takes half of the time, and is what the error is about", { timeout: MS }, async () => {
  const home = emptyHome();
  fifoIn(home);
  const run = await bash(home, "KEYCTL_KEY_FILE=fifo keyctl sync -u alice --timeout 4s --no-provision");
  expect(run.stderr).toContain("nothing was written to it within 2 s");
  expect(run.code).toBe(3);
});

it("says why a file cannot be read where two variables name files that cannot", { timeout: MS }, async () => {
  const run = await bash(emptyHome(), "MONGODB_URI_FILE=/nope MONGO_URI_FILE=/nope2 keyctl list");
  expect(run.stderr).toContain("error: the file that MONGODB_URI_FILE names cannot be used: it does not exist");
  expect(run.code).toBe(4);
});

it("reads ./key.txt only where it is a regular file, and at once", { timeout: MS }, async () => {
  const home = emptyHome();
  execFileSync("mkfifo", ["-m", "600", join(home.work, "key.txt")]);
  const { code, stderr, ms } = await bash(home, "keyctl sync -u alice");
  expect([code, stderr]).toEqual([3, expect.stringContaining("Could not read key.txt: it is not a regular file")]);
  expect(ms).toBeLessThan(9_000);
});

it("reads a regular file that /dev/stdin names from its beginning, twice if it must", { timeout: MS }, async () => {
  const home = emptyHome();
  writeFileSync(join(home.work, "users.txt"), "alice\nbob\n");
  const line = "OPENROUTER_API_KEY=$KEY keyctl sync --users-file /dev/stdin <users.txt";
  expect((await bash(home, line)).code).toBe(0);
  expect(await storedUsers(home)).toEqual(["alice", "bob"]);
});
