import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { OTHER } from "../support/fixtures/keys.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";

const ALICE = "keyctl --json sync --user alice";

/** A slip, and what is said of it. */
const SLIPS: readonly (readonly [args: string, message: string, hint?: string])[] = [
  ["sync -user=alice", "unknown option '-user'; did you mean --user alice?", ALICE],
  ["sync -user alice", "unknown option '-user'; did you mean --user alice?", ALICE],
  ["sync -user", "unknown option '-user'; did you mean --user?", "keyctl --json sync --user <id>"],
  ["sync -use=alice", "unknown option '-use'; did you mean --user alice?"],
  ["sync -usr=alice", "unknown option '-usr'; did you mean --user alice?"],
  ["sync -user=", "unknown option '-user'; did you mean --user ''?"],
  ["sync -u=alice", "-u takes no = before its value; did you mean --user alice?", ALICE],
  ["sync -u=", "-u takes no = before its value; did you mean --user ''?"],
  ["sync -qu=alice", "unknown option '-qu'; did you mean --user alice?"],
  ["sync -u =alice", "the value of --user begins with =; did you mean --user alice?"],
  ["sync --user =alice", "the value of --user begins with =; did you mean --user alice?"],
  ["sync --user = alice", "the value of --user begins with =; did you mean --user alice?"],
  ["sync --user =", "the value of --user begins with ="],
  ["sync --user = -q", "the value of --user begins with ="],
  ["sync -users-file=ids", "unknown option '-users-file'; did you mean --users-file ids?"],
  ["sync -users-file ids", "unknown option '-users-file'; did you mean --users-file ids?"],
  ["sync -quiet --user alice", "unknown option '-quiet'; did you mean --quiet?"],
  ["sync -quit --user alice", "unknown option '-quit'; did you mean -q --user it?"],
  ["sync -qualice", "unknown option '-qualice'; did you mean -q --user alice?"],
  ["sync -json -u alice", "unknown option '-json'; did you mean --json?"],
  ["sync -no-provision -u alice", "unknown option '-no-provision'; did you mean --no-provision?"],
  ["sync -u alice -store=sqlite:x.db", "unknown option '-store'; did you mean --store sqlite:x.db?"],
  ["sync -u alice -help", "unknown option '-help'; did you mean --help?"],
  ["sync -u alice -token=hunter2", "unknown option '-token'"],
  ["sync -u alice --token=hunter2", "unknown option '--token'"],
  ["-user=alice sync", "unknown option '-user'"],
  ["-u=alice sync", "unknown option '-u' before the command", "keyctl sync --json --user alice"],
  ["-quiet sync -u alice", "unknown option '-uiet'"],
  ["sync --user --no-provision", "--user needs a value, and '--no-provision' is an option"],
  ["sync -u --all", "--user needs a value, and '--all' is an option"],
  ["sync -qu -q", "--user needs a value, and '-q' is an option", "keyctl --json sync -qu <id> -q"],
  ["sync --user --json", "--user needs a value, and '--json' is an option", "keyctl --json sync --user <id> --json"],
  ["sync --user --shard=1/2", "--user needs a value, and '--shard=1/2' is an option"],
  ["sync --user -- alice", "--user needs a value, and '--' is an option"],
  ["sync --user", "--user needs a value", "keyctl --json sync --user <id>"],
  ["provision --user --limit 5", "--user needs a value, and '--limit' is an option"],
  ["provision -user=alice", "unknown option '-user'; did you mean --user alice?"],
  ["provision -u alice --limit =5", "the value of --limit begins with =; did you mean --limit 5?"],
  ["get -user=alice", "unknown option '-user'; did you mean --user alice?"],
  ["purge -user=alice --yes", "unknown option '-user'; did you mean --user alice?"],
  ["save -user=alice --stdin", "unknown option '-user'; did you mean --user alice?"],
  [
    "save -u alice --from-file=",
    "--from-file needs a value, and this one is empty",
    "keyctl --json save -u alice --from-file <path>",
  ],
  ["sync --users-file= --dry-run", "--users-file needs a value, and this one is empty"],
  [
    "get -u alice --key-file=",
    "--key-file needs a value, and this one is empty",
    "keyctl --json get -u alice --key-file <path>",
  ],
  [
    "purge -u alice --yes --force",
    "unknown option '--force'; did you mean '--yes'?",
    "keyctl --json purge -u alice --yes",
  ],
  ["save -u alice -from-file=x", "unknown option '-from-file'; did you mean --from-file x?"],
];

describe("a slip on the command line", () => {
  it.each(["--users-file", "--output", "--key-file", "--store"])("is an empty value of %s", async (option) => {
    const { run } = await stage();
    const done = await run(["--json", "sync", option, ""]);
    expect(errorOf(done)).toMatchObject({ code: "USAGE", message: `${option} needs a value, and this one is empty` });
  });

  it.each(SLIPS)("keyctl %s", async (args, message, hint) => {
    const { home, server, run } = await stage();
    const done = await run(`--json ${args}`, { input: OTHER });
    expect(errorOf(done)).toMatchObject({ code: "USAGE", exit_code: 2, message });
    if (hint !== undefined) expect(errorOf(done)?.hint).toBe(hint);
    expect([done.code, server.count(), existsSync(home.database)]).toEqual([2, 0, false]);
    expect(done.stdout + done.stderr).not.toContain("hunter2");
  });

  it.each([
    ["-u alice", "alice"],
    ["-ualice", "alice"],
    ["-qu alice", "alice"],
    ["--user alice", "alice"],
    ["--user=alice", "alice"],
    ["--user==alice", "=alice"],
    ["--user=--json", "--json"],
    ["-u -alice", "-alice"],
    ["--user a=b", "a=b"],
    ["--store sqlite:-user.db --create --user alice", "alice"],
  ])("is none in %s", async (words, user) => {
    const { run } = await stage();
    const done = await run(`get ${words} --json`);
    expect(documentsOf(done)[0]).toMatchObject({ user_id: user, error: { code: "NO_KEY" } });
  });

  it("is none behind --, where no option stands", async () => {
    const { run } = await stage();
    const done = await run("get --json -- -user=bob");
    expect(errorOf(done)).toMatchObject({
      code: "USAGE",
      message: "unexpected argument '-user=bob'; did you mean --user=-user=bob?",
    });
  });
});
