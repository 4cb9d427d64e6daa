import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { plain } from "../../src/cli/terminal/paint.ts";
import { redactor } from "../../src/cli/terminal/redactor.ts";
import { Terminal } from "../../src/cli/terminal/terminal.ts";
import { CANARIES, canariesIn, filesBelow } from "../support/fixtures/leak-canaries.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { always } from "../support/openrouter/faults.ts";
import type { Rule } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { change, rowsOf } from "../support/sqlite/database-file.ts";

const WATCHED = fileURLToPath(new URL("../support/faults/watched-keyctl.mjs", import.meta.url));
const KEY = CANARIES.key;
const OTHER = CANARIES["replaced key"];
const URI = `mongodb://admin:${encodeURIComponent(CANARIES.password)}@db.example/keys`;

/** What makes other programs talkative: none of it may make us say a secret. */
const TALKATIVE = { NODE_DEBUG: "*", DEBUG: "*", MONGODB_LOG_ALL: "debug" };

/** What a run finds in its home, environment and input. */
interface Setting {
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Applied to a database that holds alice's key and bob's, sealed with the canary master key. */
  readonly database?: string;
  /** `<n> before` or `<n> after` a port call. */
  readonly at?: string;
  /** What goes wrong at OpenRouter, which else makes the key with the name `replaced key`. */
  readonly upstream?: Rule;
  /** Alice has a key that was made there. */
  readonly made?: true;
}

/** No other keyctl on the PATH. */
const ALONE = { PATH: "/none" };
const none: Setting = {};
const inFile: Setting = { files: { "work/key.txt": `${KEY}\n` } };
const inEnvironment: Setting = { env: { OPENROUTER_API_KEY: KEY } };
const onInput: Setting = { input: `${KEY}\n` };
const stored: Setting = { database: "" };
const storedAndInFile: Setting = { ...stored, ...inFile };
const wrongMasterKey: Setting = {
  ...stored,
  env: { KEYCTL_MASTER_KEYS: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
};
const damaged: Setting = {
  database: "UPDATE api_keys SET key_encrypted = substr(key_encrypted, 1, length(key_encrypted) - 4) || 'AAAA'",
};
const unreadable: Setting = { database: `UPDATE api_keys SET key_encrypted = 'sk-or-v1 ' || substr('${KEY}', 10)` };
const inClear: Setting = {
  database: `UPDATE api_keys SET key_encrypted = '${KEY}', key_hash = NULL`,
  env: { KEYCTL_REQUIRE_SEALED: "0" },
};
const corrupt: Setting = { files: { "data/keyctl/keyctl.db": `not a database, but ${KEY}` } };
const malformedFile: Setting = { files: { "work/key.txt": `export OPENROUTER_API_KEY="${KEY}"\n` } };
const twoKeys: Setting = { files: { "work/key.txt": `${KEY}\n${OTHER}\n` } };
const undecodable: Setting = { files: { "work/key.txt": Buffer.concat([Buffer.from(KEY), Buffer.from([0xff])]) } };
const malformedVariable: Setting = { env: { OPENROUTER_API_KEY: `${KEY} ${OTHER}` } };
const managementKeyInFile: Setting = { files: { "work/key.txt": CANARIES["management key"] } };
const managementKeyInVariable: Setting = { env: { OPENROUTER_API_KEY: CANARIES["management key"] } };
const users: Setting = { files: { "work/users": "\uFEFFcarol\r\n dave\r\nerin\r\n", "work/key.txt": KEY } };
const keyAmongUsers: Setting = { files: { "work/users": `carol\n${KEY}\n ${OTHER}\n`, "work/key.txt": KEY } };
const passwordIn = (...names: readonly string[]): Setting => ({
  env: Object.fromEntries(names.map((name) => [name, URI])),
});
const command = (text: string): Setting => ({ ...inFile, env: { KEYCTL_MASTER_KEYS_COMMAND: text } });

const unreachable: Setting = { env: { KEYCTL_OPENROUTER_URL: "http://127.0.0.1:9/api/v1" } };
const made: Setting = { made: true };

type Case = readonly [args: string, setting: Setting, code: number];

const CASES: readonly Case[] = [
  ["sync -u carol", inFile, 0],
  ["sync -u carol --debug --json", inFile, 0],
  ["sync -u carol -q", inEnvironment, 0],
  ["sync -u alice", storedAndInFile, 0],
  ["sync -u alice --json", { ...stored, ...inEnvironment }, 0],
  ["sync -u carol", none, 0],
  ["sync -u carol --no-provision", none, 3],
  ["sync -u carol --json --debug", malformedFile, 3],
  ["sync -u carol --no-provision --json --debug", malformedFile, 3],
  ["sync -u carol", twoKeys, 3],
  ["sync -u carol --no-provision", undecodable, 3],
  ["sync -u carol --json", malformedVariable, 3],
  ["sync -u carol --debug", { files: { "work/key.txt/x": KEY } }, 3],
  ["sync -u alice --debug", { ...wrongMasterKey, files: inFile.files ?? {} }, 4],
  ["sync -u carol", { ...inFile, env: { KEYCTL_MASTER_KEYS: `${CANARIES["master key"]}!` } }, 4],
  ["sync -u carol", { ...inFile, env: { KEYCTL_MASTER_KEYS: `{"keys":[{"k":"${CANARIES["master key"]}"}]}` } }, 4],
  ["sync -u carol", { ...inFile, env: { KEYCTL_MASTER_KEYS: `{"keys":"${CANARIES["master key"]}` } }, 4],
  ["sync -u carol", command("cat ../config/keyctl/master-keys.json"), 0],
  ["sync -u carol --debug", command("cat ../config/keyctl/master-keys.json >&2; exit 1"), 4],
  ["sync -u carol --debug", command("cat key.txt"), 4],
  ["sync -u alice", damaged, 7],
  ["sync -u alice --json --debug", { ...damaged, ...inEnvironment }, 7],
  ["sync -u alice", unreadable, 7],
  ["sync -u alice", inClear, 0],
  ["sync -u carol --json --debug", { ...inEnvironment, ...corrupt }, 7],
  ["sync -u carol", { ...none, env: { KEYCTL_STORE: `${URI}?tls=maybe` } }, 4],
  ["sync -u carol --json --debug --timeout 300ms", passwordIn("MONGODB_URI", "MONGO_URI"), 7],
  ["sync -u carol --debug --timeout 300ms", { files: { "work/store": URI }, env: { KEYCTL_STORE_FILE: "store" } }, 7],
  [`sync -u carol --store ${URI}`, none, 2],
  [`sync -u carol --json --store=${URI}`, none, 2],
  ["sync -u carol", { ...inFile, env: { OPENROUTER_API_KEY_FILE: "key.txt", OPENROUTER_API_KEY: OTHER } }, 4],
  ["sync -u carol", { env: { OPENROUTER_MANAGEMENT_KEY: OTHER } }, 4],
  ["sync --users-file users", users, 9],
  ["sync --users-file users --json --debug", keyAmongUsers, 9],
  ["sync --users-file users --log", keyAmongUsers, 9],
  ["sync --users-file users --output out.jsonl", keyAmongUsers, 9],
  ["sync --users-file -", { ...inEnvironment, input: `${KEY}\n` }, 9],
  ["sync --all --json --log", stored, 0],
  ["sync -u alice -u bob --output out.jsonl", storedAndInFile, 0],
  ["sync --all", { ...damaged, ...inFile }, 9],
  ["sync --bogus", inFile, 2],
  ["sync -u carol --json", { ...inFile, at: "3 before" }, 130],
  ["sync -u carol --debug", { ...inFile, at: "7 after" }, 130],
  ["sync -u carol --json --debug", managementKeyInFile, 4],
  ["sync -u carol -u dave --debug", managementKeyInVariable, 9],
  ["get -u alice", stored, 0],
  ["get -u alice --json --debug", storedAndInFile, 0],
  ["get -u alice --stored -q", stored, 0],
  ["get -u alice --stored --debug", { ...wrongMasterKey }, 4],
  ["get -u alice --reveal", { ...wrongMasterKey }, 4],
  ["get -u alice --reveal", damaged, 7],
  ["get -u alice --reveal --json", unreadable, 7],
  ["get -u alice --stored", inClear, 0],
  ["get -u carol --reveal", none, 3],
  ["get -u carol", malformedFile, 3],
  ["get --all --reveal", stored, 2],
  ["get --all --output out.jsonl --stored", inClear, 0],
  ["get -u alice", { ...stored, at: "1 after" }, 130],
  ["save -u carol --stdin", onInput, 0],
  ["save -u carol --stdin --json --debug", onInput, 0],
  ["save -u carol --stdin", { input: `${KEY} ${OTHER}` }, 2],
  ["save -u carol --stdin --debug", { input: KEY.repeat(400) }, 2],
  ["save -u carol --from-file key.txt", inFile, 0],
  ["save -u carol --from-file key.txt --json", twoKeys, 2],
  ["save -u carol --from-file missing", inFile, 2],
  ["save -u carol --from-file key.txt --debug", managementKeyInFile, 4],
  ["save -u carol --stdin --json", { input: CANARIES["management key"] }, 4],
  ["save -u carol", inFile, 2],
  ["save -u alice --stdin", { ...stored, input: OTHER }, 8],
  ["save -u alice --stdin --replace --debug", { ...stored, input: OTHER }, 0],
  ["save -u alice --stdin --replace --json", { ...inClear, input: OTHER }, 0],
  ["save -u alice --stdin --replace", { ...wrongMasterKey, input: OTHER }, 4],
  ["save -u carol --stdin --debug", { ...onInput, ...corrupt }, 7],
  [`save -u carol ${KEY}`, none, 2],
  [`save -u carol --source ${KEY} --json --debug`, none, 2],
  [`save -u ${KEY} --stdin`, onInput, 2],
  ["save -u carol --stdin --debug", { ...onInput, at: "4 after" }, 130],
  ["purge -u alice --yes", storedAndInFile, 0],
  ["purge -u alice --json", stored, 2],
  ["purge -u alice --yes --json --debug", inClear, 0],
  ["purge -u alice --yes", unreadable, 0],
  ["purge --all --store sqlite:../data/keyctl/keyctl.db --confirm 3", inClear, 8],
  ["purge --all --store sqlite:../data/keyctl/keyctl.db --confirm 2 --output out.jsonl", inClear, 0],
  ["purge -u alice --yes --debug", { ...stored, at: "4 after" }, 130],
  ["purge -u alice --block --yes", storedAndInFile, 0],
  ["purge -u alice -u carol --block --yes --json --debug", { ...stored, ...inEnvironment }, 0],
  [`purge -u alice --block --yes --reason ${KEY} --json --debug`, stored, 2],
  [`unblock -u alice --reason ${KEY}`, stored, 2],
  ["unblock -u alice --json --debug", inClear, 0],
  ["list --risk blocked --json --debug", stored, 0],
  ["history --since 1d", storedAndInFile, 0],
  ["history -u alice --json --debug", inClear, 0],
  [`history -u ${KEY} --json --debug`, none, 2],
  ["explain -u alice", storedAndInFile, 0],
  ["explain -u alice --json --debug", { ...stored, env: { OPENROUTER_API_KEY: OTHER } }, 0],
  ["explain -u alice", { ...wrongMasterKey, files: inFile.files ?? {} }, 4],
  ["explain -u alice --json", inClear, 0],
  ["explain -u carol", twoKeys, 3],
  ["explain -u carol --json --debug", malformedVariable, 3],
  ["explain -u carol --json", managementKeyInFile, 4],
  ["explain -u carol --debug", managementKeyInVariable, 4],
  ["explain -u alice --json --debug", { ...damaged, ...inEnvironment }, 7],
  ["explain -u alice", unreadable, 7],
  ["explain -u carol --debug", { ...inEnvironment, ...corrupt }, 7],
  ["explain -u carol", { ...inFile, env: { KEYCTL_MASTER_KEYS: `${CANARIES["master key"]}!` } }, 4],
  ["explain -u alice --json", { ...stored, at: "2 after" }, 130],
  [`explain -u ${KEY}`, none, 2],
  ["doctor --deep", { ...storedAndInFile, env: ALONE }, 0],
  ["doctor --json --debug", { ...stored, env: { ...ALONE, OPENROUTER_API_KEY: OTHER } }, 0],
  ["doctor --deep", wrongMasterKey, 4],
  ["doctor --deep --json --debug", damaged, 10],
  ["doctor", unreadable, 10],
  ["doctor --json", inClear, 10],
  ["doctor", { ...stored, ...twoKeys }, 10],
  ["doctor --json", { ...stored, ...malformedVariable }, 10],
  ["doctor --debug", { ...stored, ...managementKeyInVariable }, 10],
  ["doctor --debug", { ...inEnvironment, ...corrupt }, 7],
  ["doctor", { ...inFile, env: { KEYCTL_MASTER_KEYS: `${CANARIES["master key"]}!` } }, 4],
  ["doctor --debug", { ...stored, env: { OPENROUTER_MANAGEMENT_KEY: OTHER } }, 10],
  ["doctor --json", { ...stored, at: "2 after" }, 130],
  ["list", inClear, 0],
  ["list --json --debug", inClear, 0],
  ["list --json", unreadable, 9],
  ["list", { ...unreadable, ...inEnvironment }, 9],
  ["list --debug", corrupt, 7],
  [`list --hash ${KEY}`, stored, 2],
  ["list --json", { ...stored, at: "3 after" }, 130],
  ["copy --to sqlite:../data/copy.db --create --debug", stored, 0],
  ["copy --to sqlite:../data/copy.db --create --json", inClear, 0],
  ["copy --to sqlite:../data/copy.db --create --dry-run", inClear, 0],
  ["copy --to sqlite:../data/copy.db --create --debug", unreadable, 9],
  ["copy --to sqlite:../data/copy.db --create --json", damaged, 9],
  ["copy --to sqlite:../data/copy.db --create", wrongMasterKey, 4],
  ["copy --debug", { ...stored, ...passwordIn("KEYCTL_COPY_TO") }, 7],
  ["copy --json", { ...stored, files: { "work/to": URI }, env: { KEYCTL_COPY_TO_FILE: "to" } }, 7],
  [`copy --to ${URI}`, stored, 2],
  ["copy --to sqlite:copy.db --debug", { ...stored, ...passwordIn("KEYCTL_COPY_TO") }, 4],
  ["copy --to sqlite:../data/copy.db --create --json", { ...inClear, at: "store.insertMany after" }, 130],
  ["sync -u carol --debug", { upstream: always("POST /keys", "echo") }, 4],
  ["sync -u carol --json --debug", { upstream: always("POST /keys", "cut-body") }, 6],
  ["sync -u carol --debug", { upstream: always("POST /keys", "not-json") }, 6],
  ["sync -u carol --debug", { upstream: always("POST /keys", "html") }, 6],
  ["sync -u carol --json", { upstream: always("POST /keys", { status: 401 }) }, 4],
  ["sync -u carol --debug", { upstream: always("POST /keys", { status: 403 }) }, 4],
  ["sync -u carol --debug --timeout 1s", unreachable, 6],
  ["sync -u carol -u dave --provision --json --debug", none, 0],
  ["sync -u carol --debug", { at: "store.insert before" }, 130],
  ["sync -u carol --debug", { at: "store.insert after" }, 130],
  ["sync -u carol --debug", { at: "store.insertEntry#1 after" }, 130],
  ["provision -u carol --debug", none, 0],
  ["provision -u carol --json --label shop --limit 5", inFile, 0],
  ["provision -u alice --debug", stored, 8],
  ["provision -u carol --json", { upstream: always("POST /keys", "echo") }, 4],
  ["provision -u carol -u dave --output out.jsonl", none, 0],
  [`provision -u carol --label ${KEY}`, none, 2],
  ["purge -u alice --yes --revoke --debug", made, 0],
  ["purge -u alice --yes --revoke --json", { ...made, upstream: always("PATCH /keys/{hash}", "echo") }, 10],
  ["purge -u alice --yes --revoke --debug", stored, 8],
  ["purge -u alice --yes --revoke-foreign --json", { ...stored, upstream: always("DELETE /keys/{hash}", "echo") }, 8],
  ["purge -u carol --yes --revoke --debug", { ...stored, upstream: always("GET /keys", "echo") }, 6],
  ["save -u alice --stdin --replace --revoke --debug", { ...made, input: KEY }, 0],
  [
    "save -u alice --stdin --replace --revoke --json",
    { ...made, input: KEY, upstream: always("DELETE /keys/{hash}", "echo") },
    10,
  ],
  ["rotate -u alice --debug", made, 0],
  ["rotate -u alice --grace 0 --json --debug", made, 0],
  ["rotate -u alice --dry-run --json", made, 0],
  ["rotate -u alice -u bob --output out.jsonl --debug", made, 9],
  ["rotate -u alice --debug", stored, 8],
  ["rotate -u alice --json --debug", { ...made, upstream: always("POST /keys", "echo") }, 4],
  ["rotate -u alice --debug", { ...made, upstream: always("GET /keys/{hash}", "echo") }, 6],
  ["rotate -u alice --grace 0 --debug", { ...made, upstream: always("DELETE /keys/{hash}", "echo") }, 10],
  ["rotate -u alice --debug", { ...made, at: "store.replace after" }, 130],
  ["rotate --finish --json --debug", made, 0],
  [`rotate -u ${KEY}`, none, 2],
  ["get -u alice --validate --debug", made, 0],
  ["reconcile --debug", made, 0],
  ["reconcile --json --debug", stored, 10],
  ["reconcile --fix --debug", { ...made, upstream: always("GET /keys", "echo") }, 6],
  ["reconcile --json", { ...made, upstream: always("GET /workspaces", { status: 401 }) }, 4],
  [`reconcile -u ${KEY}`, none, 2],
  ["help environment", inEnvironment, 0],
  [`help ${KEY}`, none, 2],
  ["--help", inEnvironment, 0],
  ["--debug", inEnvironment, 2],
];

describe("no secret leaves a run", () => {
  it.each(CASES)("keyctl %s", async (args, setting, code) => {
    const home = await homeFor(setting);
    const env = await openRouterFor(home, setting);
    const given = filesBelow(home.folder);
    const run = await runIn(home, args.split(" "), { ...setting, env: { ...env, ...setting.env } });

    const written = Object.entries(filesBelow(home.folder)).filter(
      ([path, bytes]) => given[path]?.equals(bytes) !== true && !holdsClearRows(path, setting),
    );
    expect(canariesIn({ stdout: run.stdout, stderr: run.stderr, ...Object.fromEntries(written) })).toEqual([]);
    expect(run.stderr).not.toMatch(/\n {4}at /);
    expect({ code: run.code, stderr: run.code === code ? "" : run.stderr }).toEqual({ code, stderr: "" });
  });

  it("prints the key with --reveal on standard output, and nowhere else", async () => {
    const home = await homeFor(stored);
    const run = await runIn(home, ["get", "-u", "alice", "--reveal", "--debug"], stored);
    expect(run.stdout).toBe(`${KEY}\n`);
    expect(canariesIn({ stderr: run.stderr })).toEqual([]);
    const both = await runIn(home, ["get", "--all", "--reveal", "--json"], stored);
    expect(both.stdout.split("\n").filter((line) => line.includes(KEY))).toHaveLength(2);
    expect(canariesIn({ stderr: both.stderr })).toEqual([]);
  });

  it("masks a key in the stack of a bug that --debug shows", async () => {
    const setting = { ...inFile, at: "1 before", env: { WATCH_ERROR: `a driver that repeats ${KEY} and ${URI}` } };
    const run = await runIn(await homeFor(setting), ["sync", "-u", "carol", "--debug"], setting);
    expect(run.code).toBe(1);
    expect(run.stderr).toContain("a driver that repeats ***************b465");
    expect(run.stderr).toMatch(/\n {4}at /);
    expect(canariesIn({ stderr: run.stderr, stdout: run.stdout })).toEqual([]);
  });

  it.each([
    ["WAL", "store.insertMany during", 2],
    ["WAL", "store.close before", 4],
    ["DELETE", "store.insertMany during", 2],
    ["DELETE", "store.close before", 4],
  ])("leaves nothing in clear in a database with journal mode %s, killed at: %s", async (mode, at, rows) => {
    const home = await homeFor({ ...users, database: `PRAGMA journal_mode=${mode}` });
    const run = await runIn(home, ["sync", "--users-file", "users"], { at, env: { WATCH_SIGNAL: "SIGKILL" } });
    expect(run.signal).toBe("SIGKILL");
    const files = filesBelow(dirname(home.database));
    const cutOff = at.endsWith("during") ? ["keyctl.db-journal"] : [];
    expect(Object.keys(files)).toEqual(expect.arrayContaining(mode === "WAL" ? ["keyctl.db-wal"] : cutOff));
    expect(canariesIn(files)).toEqual([]);
    expect(rowsOf(home.database, "SELECT user_id FROM api_keys")).toHaveLength(rows);
  });
});

describe("a child process", () => {
  const probe =
    "env > child.env; tr '\\0' ' ' < /proc/$PPID/cmdline > parent.argv; cat ../config/keyctl/master-keys.json";

  it("gets none of our secrets in its environment or its arguments", async () => {
    const secrets = {
      OPENROUTER_API_KEY: KEY,
      OPENROUTER_MANAGEMENT_KEY: CANARIES["management key"],
      KEYCTL_STORE: URI,
      MONGODB_URI: URI,
      MONGO_URI: URI,
      KEYCTL_COPY_TO: URI,
      KEYCTL_MASTER_KEYS_COMMAND: probe,
      KEPT: "for the command",
    };
    const home = await homeFor(stored);
    const run = await runIn(home, ["get", "-u", "alice", "--store", `sqlite:${home.database}`], { env: secrets });
    expect(run.code).toBe(0);
    const seen = filesBelow(home.work);
    expect(Buffer.from(seen["child.env"] ?? "").toString()).toContain("KEPT=for the command");
    expect(Buffer.from(seen["parent.argv"] ?? "").toString()).toContain("get -u alice");
    expect(canariesIn(seen)).toEqual([]);
    expect(canariesIn({ stdout: run.stdout, stderr: run.stderr })).toEqual([]);
  });
});

describe("what the library gives and throws", () => {
  it.each<readonly [string, Setting, code: string | null]>([
    ["a key", storedAndInFile, null],
    ["a row that does not open", damaged, "ROW_UNREADABLE"],
    ["a row that holds no key", unreadable, "ROW_UNREADABLE"],
    ["a wrong master key", wrongMasterKey, "MASTER_KEY_WRONG"],
    [
      "a malformed key.txt",
      { ...none, ...malformedFile, env: { USER_ID: "carol", KEYCTL_AUTO_PROVISION: "0" } },
      "NO_KEY",
    ],
    ["a database that is none", corrupt, "STORE_CORRUPT"],
    ["a URI with a password", passwordIn("KEYCTL_STORE"), "STORE_UNAVAILABLE"],
    ["such a URI with a bad option", { ...none, env: { KEYCTL_STORE: `${URI}?tls=maybe` } }, "CONFIG_INVALID"],
    [
      "master keys that are none",
      { ...inFile, env: { KEYCTL_MASTER_KEYS: `${CANARIES["master key"]}!` } },
      "CONFIG_INVALID",
    ],
  ])("holds no secret however it is printed: %s", async (_, setting, code) => {
    const home = await homeFor(setting);
    const script = `
      import { inspect } from "node:util";
      import { KeyManager, syncUserApiKey, getUserApiKey } from ${JSON.stringify(LIBRARY)};
      const user = process.env.USER_ID ?? "alice";
      const seen = [await syncUserApiKey(user)];
      if (seen[0].error !== null) await getUserApiKey(user).catch((thrown) => seen.push(thrown));
      await KeyManager.open().then((manager) => seen.push(manager), (thrown) => seen.push(thrown));
      try { \`\${seen[0].key ?? seen[0].missing.key}\` } catch (thrown) { seen.push(thrown) }
      const texts = (thing) => [
        inspect(thing, { showHidden: true, depth: Infinity, getters: true }),
        JSON.stringify(thing), thing?.toString(), String(thing?.stack), inspect(thing?.cause, { showHidden: true, depth: Infinity }),
      ];
      for (const thing of seen) console.log(...texts(thing), ...texts(thing?.error), ...texts(thing?.key));
      console.log("code:", seen[0].error?.code ?? null);`;
    const { stdout, stderr } = await execa(process.execPath, ["--input-type=module", "--eval", script], {
      ...processOptions(home, setting),
      env: { ...processOptions(home, setting).env, NODE_DEBUG: "" },
    });
    expect(stdout).toContain(`code: ${code}`);
    expect(canariesIn({ stdout, stderr })).toEqual([]);
  });
});

describe("the search for canaries", () => {
  const forms: readonly (readonly [string, string | Uint8Array])[] = [
    ["plain", KEY],
    ["a half of it", KEY.slice(20, 50)],
    ["base64", Buffer.from(`a${KEY}`).toString("base64")],
    ["base64url", Buffer.from(`?>${CANARIES.password}`).toString("base64url")],
    ["hex", Buffer.from(OTHER).toString("hex").toUpperCase()],
    ["a printed Buffer", inspect(Buffer.from(KEY))],
    ["URL-encoded", URI],
    ["UTF-16", Buffer.from(KEY, "utf16le")],
    ["the bytes of a master key", Buffer.from(CANARIES["master key"], "base64url")],
  ];
  it.each(forms)("finds %s", (_, text) => {
    expect(canariesIn({ somewhere: text })).not.toEqual([]);
  });

  it("does not take a mask or a hash for a canary", () => {
    expect(canariesIn({ stdout: "***************b465 sk-or-v1-" })).toEqual([]);
  });

  it("finds in the output of a real run what that run printed", async () => {
    const home = await homeFor(stored);
    const run = await runIn(home, ["get", "-u", "alice", "--reveal"], stored);
    expect(canariesIn({ stdout: run.stdout })).toEqual(["stdout: key as plain text"]);
  });

  it("finds a key that only the redactor had held back", async () => {
    expect(canariesIn({ terminal: await said((text) => text) })).toContain("terminal: key as plain text");
    expect(canariesIn({ terminal: await said(redactor([])) })).toEqual([]);
  });
});

/** What a terminal with this redactor says of an error and a document that hold secrets. */
async function said(redact: (text: string) => string): Promise<string> {
  let text = "";
  const stream = {
    write: async (more: string) => void (text += more),
    columns: undefined,
    isOpen: true,
    isBlocked: false,
    drained: async () => {},
  };
  const options = {
    signal: new AbortController().signal,
    json: false,
    quiet: false,
    debug: true,
    isInteractive: false,
    animates: false,
  };
  const terminal = new Terminal({ stdout: stream, stderr: stream }, redact, options, {
    stdout: plain,
    stderr: plain,
  });
  terminal.stack(new Error(`a driver that repeats ${KEY}`));
  await terminal.documents([{ user_id: KEY, store: URI }]);
  return text;
}

const LIBRARY = new URL("../../dist/library/index.js", import.meta.url).href;

/** The variables for an OpenRouter that makes a canary. */
async function openRouterFor(
  home: Home,
  { upstream, made: isMade }: Setting,
): Promise<Readonly<Record<string, string>>> {
  const newKeys = [OTHER];
  const newKey = () => newKeys.pop() ?? CANARIES["made key"];
  const server = await mockOpenRouter({ managementKey: CANARIES["management key"], newKey });
  const env = { KEYCTL_OPENROUTER_URL: server.url };
  if (isMade === true) expect(await runIn(home, ["sync", "-u", "alice"], { env })).toMatchObject({ code: 0 });
  if (upstream !== undefined) server.behave(upstream);
  return env;
}

let sealed: Uint8Array | undefined;

/** A home as the setting says, with the canary master key in its place. */
async function homeFor({ files = {}, database }: Setting): Promise<Home> {
  const home = emptyHome();
  write(home.masterKeys, JSON.stringify({ keys: [{ kty: "oct", k: CANARIES["master key"] }] }));
  for (const [path, content] of Object.entries(files)) write(join(home.folder, path), content);
  if (database === undefined) return home;
  sealed ??= await sealedDatabase();
  write(home.database, sealed);
  if (database !== "") change(home.database, database);
  return home;
}

async function sealedDatabase(): Promise<Uint8Array> {
  const home = await homeFor({});
  const env = { OPENROUTER_API_KEY: KEY };
  expect(await keyctl(home, ["sync", "-u", "alice", "-u", "bob"], { env })).toMatchObject({ code: 0 });
  return readFileSync(home.database);
}

function runIn(home: Home, args: readonly string[], setting: Setting) {
  const { at, input = "" } = setting;
  const watch = { WATCH_CALLS: "/dev/null", WATCH_SIGNAL: "SIGINT", ...(at === undefined ? {} : { WATCH_AT: at }) };
  const { env } = processOptions(home, setting);
  return keyctl(home, args, { env: { ...watch, ...env }, input }, at === undefined ? BIN : WATCHED);
}

function processOptions(home: Home, { env = {} }: Setting) {
  const management = {
    OPENROUTER_PROVISIONING_KEY: CANARIES["management key"],
    KEYCTL_OPENROUTER_URL: "http://127.0.0.1:9/api/v1",
  };
  return { cwd: home.work, extendEnv: false, env: { ...home.environment, ...TALKATIVE, ...management, ...env } };
}

/** The test itself has put a key in clear there. */
function holdsClearRows(path: string, setting: Setting): boolean {
  return path.startsWith("data/") && (setting.database ?? "").includes(KEY);
}

function write(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, content, { mode: 0o600 });
}
