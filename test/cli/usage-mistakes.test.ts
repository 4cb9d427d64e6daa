import { describe, expect, it } from "vitest";
import { commandsFor } from "../../src/cli/mistakes/command-mistake.ts";
import { commandMeant, OTHER_WORDS } from "../../src/cli/mistakes/other-words.ts";
import { unknownWordsOf } from "../support/fixtures/hints.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { VERBS } from "../support/fixtures/verbs.ts";
import { emptyHome } from "../support/home/home.ts";
import { inProcess } from "../support/programs/in-process.ts";

/** The error and the hint, each without its mark. */
async function saidOf(line: string | readonly string[]): Promise<readonly string[]> {
  const words = typeof line === "string" ? line.split(" ") : line;
  const { code, stdout, stderr } = await inProcess(emptyHome(), words);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  return stderr
    .trimEnd()
    .split("\n")
    .map((each) => each.replace(/^(?:error|hint): /, ""));
}

describe("a word of another tool", () => {
  it.each([
    ["revoke", "purge --revoke"],
    ["delete", "purge"],
    ["rm", "purge"],
    ["remove", "purge"],
    ["unset", "purge"],
    ["show", "get"],
    ["add", "save"],
    ["set", "save"],
    ["version", "--version"],
    ["login", "doctor"],
    ["init", "doctor"],
    ["status", "doctor"],
    ["whoami", "doctor"],
    ["roll", "rotate"],
    ["ls", "list"],
    ["create", "provision"],
    ["new", "provision"],
    ["check", "validate"],
    ["test", "validate"],
    ["history-log", undefined],
    ["log", "history"],
    ["export", "copy"],
    ["config", "help environment"],
    ["encrypt", "rekey"],
    ["delete-key", "purge"],
    ["create_api_key", "provision"],
    ["REVOKE", "purge --revoke"],
    ["revok", undefined],
    ["look", undefined],
    ["fill", undefined],
    ["dev", undefined],
    ["purg", "purge"],
    ["List", "list"],
    ["merge", undefined],
    ["remake", undefined],
    ["x", undefined],
  ])("%s means %s", async (word, meaning) => {
    const [message = ""] = await saidOf([word]);
    const [, meant] = /; did you mean '(?:keyctl )?(.*)'\?$/.exec(message) ?? [];
    expect(meant).toBe(meaning);
  });

  it("never leads from its letters to another command than from its meaning", () => {
    expect(OTHER_WORDS.filter((word) => VERBS.some((verb) => verb === word))).toEqual([]);
    expect(commandMeant("revoke")).toBe("purge --revoke");
    expect(new Set(OTHER_WORDS).size).toBe(OTHER_WORDS.length);
  });

  it("never leads from its letters to what removes keys", async () => {
    const removing = OTHER_WORDS.filter((word) => (commandMeant(word) ?? "").startsWith("purge"));
    const near = removing.flatMap((word) => [
      word.slice(1),
      word.slice(0, -1),
      `${word}x`,
      `x${word}`,
      `y${word.slice(1)}`,
    ]);
    const unknown = [...new Set(near)].filter((word) => commandMeant(word) === undefined && word !== "");
    expect(unknown.length).toBeGreaterThan(100);
    const meant = unknown.flatMap((word) => commandsFor(word, VERBS));
    expect(meant.filter((each) => each.startsWith("purge"))).toEqual([]);
  });

  it("stands for commands and options that there are", async () => {
    const meanings = [...new Set(OTHER_WORDS.map((word) => commandMeant(word)))];
    for (const meaning of meanings) expect(await unknownWordsOf(`keyctl ${meaning}`, emptyHome())).toEqual([]);
  });
});

/** What is typed, and the command that is printed as the hint of it. */
const LINES: readonly (readonly [typed: string, message: string, hint: string])[] = [
  ["get alice", "unexpected argument 'alice'; did you mean --user alice?", "keyctl get --user alice"],
  ["get alice --reveal", "unexpected argument 'alice'; did you mean --user alice?", "keyctl get --user alice --reveal"],
  [
    "--store sqlite:x.db get alice --debug",
    "unexpected argument 'alice'; did you mean --user alice?",
    "keyctl --store sqlite:x.db get --user alice --debug",
  ],
  [
    "get alice bob",
    "unexpected arguments 'alice' and 'bob'; did you mean --user alice --user bob?",
    "keyctl get --user alice --user bob",
  ],
  ["get --user alice bob", "unexpected argument 'bob'", "keyctl get --help"],
  [
    "create key --user alice",
    "unknown command 'create'; did you mean 'keyctl provision'?",
    "keyctl provision --user alice",
  ],
  ["provision user alice", "unexpected argument 'user'; omit it", "keyctl provision --user alice"],
  ["rotate key --user alice", "unexpected argument 'key'; omit it", "keyctl rotate --user alice"],
  ["delete key alice", "unknown command 'delete'; did you mean 'keyctl purge'?", "keyctl purge --user alice"],
  ["get users", "unexpected argument 'users'; did you mean 'keyctl list'?", "keyctl list"],
  ["validate all", "unexpected argument 'all'; did you mean --all?", "keyctl validate --all"],
  ["validate --users a,b", "unknown option '--users'; did you mean '--user'?", "keyctl validate --user a --user b"],
  ["explain alice bob", "unexpected argument 'alice'; did you mean --user alice?", "keyctl explain --user alice"],
  ["show alice", "unknown command 'show'; did you mean 'keyctl get'?", "keyctl get --user alice"],
  ["show alice --revel", "unknown command 'show'; did you mean 'keyctl get'?", "keyctl get --user alice --reveal"],
  ["rm alice --force", "unknown command 'rm'; did you mean 'keyctl purge'?", "keyctl purge --user alice --yes"],
  [
    "revoke -u alice",
    "unknown command 'revoke'; did you mean 'keyctl purge --revoke'?",
    "keyctl purge --revoke -u alice",
  ],
  ["revoke", "unknown command 'revoke'; did you mean 'keyctl purge --revoke'?", "keyctl purge --help"],
  ["ls", "unknown command 'ls'; did you mean 'keyctl list'?", "keyctl list"],
  ["run alice -- node -v", "unknown command 'run'; did you mean 'keyctl exec'?", "keyctl exec --user alice -- node -v"],
  ["list --user alice", "unknown option '--user'; keyctl list is about all users", "keyctl get --user alice --stored"],
  ["list --user", "unknown option '--user'; keyctl list is about all users", "keyctl get --user <id> --stored"],
  ["list alice", "unexpected argument 'alice'; keyctl list is about all users", "keyctl get --user alice --stored"],
  [
    "copy sqlite:x.db",
    "unexpected argument 'sqlite:x.db'; did you mean --to sqlite:x.db?",
    "keyctl copy --to sqlite:x.db",
  ],
  ["import k.csv", "unexpected argument 'k.csv'; did you mean --csv k.csv?", "keyctl import --csv k.csv"],
  ["get --usr alice", "unknown option '--usr'; did you mean '--user'?", "keyctl get --user alice"],
  ["get --usr=alice", "unknown option '--usr'; did you mean '--user'?", "keyctl get --user alice"],
  ["get --id alice", "unknown option '--id'; did you mean '--user'?", "keyctl get --user alice"],
  ["get --user alice --replace", "unknown option '--replace'; keyctl save has it", "keyctl get --help"],
  ["get --user alice --json=true", "--json takes no value", "keyctl get --user alice --json"],
  ["get --user alice --reveal=false", "--reveal takes no value; omit it", "keyctl get --user alice"],
  [
    "get --user alice --format json",
    "unknown option '--format'; did you mean '--json'?",
    "keyctl get --user alice --json",
  ],
  ["get --user alice --format yaml", "unknown option '--format'", "keyctl get --help"],
  [
    "get --user alice --color=never",
    "unknown option '--color'; did you mean '--no-color'?",
    "keyctl get --user alice --no-color",
  ],
  ["get --user alice --color", "unknown option '--color'", "keyctl get --help"],
  [
    "get --user alice --users",
    "unknown option '--users'; did you mean '--user'?",
    "keyctl get --user alice --user <id>",
  ],
  [
    "provision --user a -o x.jsonl",
    "unknown option '-o'; did you mean '--output'?",
    "keyctl provision --user a --output x.jsonl",
  ],
  ["sync --all -o x.jsonl", "unknown option '-o'; did you mean '--output'?", "keyctl sync --all --output x.jsonl"],
  ["list -o json", "unknown option '-o'; did you mean '--json'?", "keyctl list --json"],
  ["provision --user a -s 5", "unknown option '-s'", "keyctl provision --help"],
  ["purge -f users.txt", "unknown option '-f'; did you mean '--users-file'?", "keyctl purge --users-file users.txt"],
  ["purge --user alice -f", "unknown option '-f'; did you mean '--yes'?", "keyctl purge --user alice --yes"],
  ["purge -f alice", "unknown option '-f'", "keyctl purge --help"],
  [
    "save --user a -f k.txt",
    "unknown option '-f'; did you mean '--from-file'?",
    "keyctl save --user a --from-file k.txt",
  ],
  ["sync --user a --provision yes", "--provision takes no value", "keyctl sync --user a --provision"],
  ["purge --user a --dry-run false", "--dry-run takes no value; omit it", "keyctl purge --user a"],
  ["purge --user a --yes true", "--yes takes no value", "keyctl purge --user a --yes"],
  ["purge --all -n", "unknown option '-n'; did you mean '--dry-run'?", "keyctl purge --all --dry-run"],
  ["purge -n alice", "unknown option '-n'", "keyctl purge --help"],
  ["rotate -n 5 --all", "unknown option '-n'", "keyctl rotate --help"],
  ["get --reveal alice", "unexpected argument 'alice'; did you mean --user alice?", "keyctl get --reveal --user alice"],
  ["explain --user alice bob", "unexpected argument: this command is for one user", "keyctl explain --help"],
  ["purge --user a --alll", "unknown option '--alll'; did you mean '--all'?", "keyctl purge --help"],
  ["get alice --all", "unexpected argument 'alice'; did you mean --user alice?", "keyctl get --help"],
  ["--user alice", "unknown option '--user'; the command comes first", "keyctl --help"],
  ["--user alice get", "unknown option '--user' before the command", "keyctl get --user alice"],
  ["--list", "unknown option '--list'; did you mean 'keyctl list'?", "keyctl list"],
  ["-v", "unknown option '-v'; did you mean '--version'?", "keyctl --version"],
];

describe("the hint of a command line that is not understood", () => {
  it.each(LINES)("keyctl %s", async (typed, message, hint) => {
    expect(await saidOf(typed)).toEqual([message, hint]);
  });

  it.each(LINES.filter(([, , hint]) => !/<|--help$/.test(hint)))("of keyctl %s is understood", async (_, __, hint) => {
    const { stderr } = await inProcess(emptyHome(), hint.split(" ").slice(1), {
      onCommand: async () => ({ kind: "ended", exitCode: 0 }) as never,
    });
    expect(stderr).not.toMatch(/unknown|unexpected|takes no value/);
  });

  it("is quoted for a shell", async () => {
    expect(await saidOf(["get", "o'brien $(reboot)"])).toEqual([
      `unexpected argument 'o'brien $(reboot)'; did you mean --user 'o'\\''brien $(reboot)'?`,
      `keyctl get --user 'o'\\''brien $(reboot)'`,
    ]);
    expect((await saidOf(["get", "--", "-x"]))[1]).toBe("keyctl get --user=-x");
  });

  it("is not a line whose values would be refused", async () => {
    expect((await saidOf("get alice --shard 5/4"))[0]).toContain("--shard takes");
    expect((await saidOf("rm alice --confirm many"))[1]).toBe("keyctl purge --help");
  });
});

describe("a secret that is typed", () => {
  it.each([
    [["save", "alice", "hunter2"], "keyctl save --user alice"],
    [["add", "alice", "hunter2"], "keyctl save --user alice"],
    [["save", "--user", "alice", "--key", "hunter2"], "keyctl save --user <id>   asks for a key and hides it"],
    [["save", "--user", "alice", "--api-key=hunter2"], "keyctl save --user <id>   asks for a key and hides it"],
    [["add", "alice", "--token=hunter2"], "keyctl save --help"],
    [["save", "--user", "alice", "hunter2"], "keyctl save --help"],
    [["exec", "alice", "--token", "hunter2", "--", "node"], "keyctl save --user <id>   asks for a key and hides it"],
    [["get", "sk-or-v1-hunter2"], "keyctl save --user <id>   asks for a key and hides it"],
    [["show", "sk-or-v1-hunter2"], "keyctl get --help"],
    [["save", "alice", "--reason", "sk-or-v1-hunter2"], "keyctl save --help"],
    [["get", "--usr", "alice", "--qwert=hunter2"], "keyctl get --help"],
    [["show", "alice", "--qwert=hunter2"], "keyctl get --help"],
  ])("is not repeated: %j", async (words, hint) => {
    const said = await saidOf(words);
    expect(said.at(-1)).toBe(hint);
    expect(said.join("\n")).not.toContain("hunter2");
  });

  it.each([[["get", KEY]], [["show", KEY]], [["save", "alice", KEY]], [["--key", KEY]], [["get", "--usr", KEY]]])(
    "is refused as one where it is a key: %#",
    async (words) => {
      const said = (await saidOf(words)).join("\n");
      expect(said).toContain("there is a key on the command line");
      expect(said).not.toContain(KEY.slice(-20));
    },
  );
});
