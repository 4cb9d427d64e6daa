import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CANARIES, canariesIn } from "../../support/fixtures/leak-canaries.ts";
import { hashOf, keyEnding } from "../../support/fixtures/keys.ts";
import { allThatIsStored } from "../../support/fixtures/stored-rows.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../../support/programs/in-process.ts";
import type { InProcessOptions } from "../../support/programs/in-process.ts";
import { madeKeys } from "../../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../../support/openrouter/of-test.ts";
import { environmentFor } from "../../support/recording/keyctl.ts";

const KEY = keyEnding("0001");
const OTHER = keyEnding("0002");

function importOf(home: Home, text: string, args: readonly string[] = ["--csv", "-"], options: InProcessOptions = {}) {
  return inProcess(home, ["import", ...args], { ...options, input: text });
}

async function keyOf(home: Home, user: string): Promise<string> {
  return (await inProcess(home, ["get", "-u", user, "--stored", "--reveal"])).stdout.trim();
}

describe("import", () => {
  it.each([
    ["--csv", `user,key,source\nalice,${KEY},old-system\nbob,${OTHER},\n`],
    ["--csv", `\uFEFFsource,Key,USER\r\nold-system,${KEY},alice\r\n,"${OTHER}",bob`],
    ["--csv", `note,key,user,source\n"a, ""b""\nc",${KEY},alice,old-system\nd,${OTHER},"bob",""\n`],
    [
      "--jsonl",
      `{"user":"alice","key":"${KEY}","source":"old-system"}\r\n\n{"note":{},"key":"${OTHER}","user":"bob","source":null}`,
    ],
  ])("stores the key of every user: %s %j", async (flag, text) => {
    const home = emptyHome();
    const { code, stdout } = await importOf(home, text, [flag, "-", "--json"]);
    expect(code).toBe(0);
    const [alice, bob, summary] = documentsOf({ stdout });
    const both = { type: "user", outcome: "imported", warnings: [], error: null };
    expect(alice).toMatchObject({ ...both, user_id: "alice", key_hash: hashOf(KEY), source: "old-system" });
    expect(bob).toMatchObject({ ...both, user_id: "bob", key: "***************0002", origin: "import" });
    const counts = { total: 2, done: 2, imported: 2, kept: 0, conflicts: 0, failed: 0, complete: true, error: null };
    expect(summary).toMatchObject({ type: "summary", command: "import", ...counts });
    expect([await keyOf(home, "alice"), await keyOf(home, "bob")]).toEqual([KEY, OTHER]);
  });

  it("keeps what is there: the same key is kept, and another one is a conflict that stays", async () => {
    const home = emptyHome();
    await inProcess(home, ["save", "-u", "alice", "--stdin"], { input: KEY });
    const text = `user,key\nalice,${KEY}\nalice,${OTHER}\nbob,${OTHER}\nbob,${OTHER}\nbob,${KEY}\n`;
    const { code, stdout } = await importOf(home, text, ["--csv", "-", "--json"]);
    const outcomes = documentsOf({ stdout }).map(({ line, outcome, origin }) => [line, outcome, origin]);
    expect(outcomes.slice(0, -1)).toEqual([
      [2, "kept", "manual"],
      [3, "conflict", "import"],
      [4, "imported", "import"],
      [5, "kept", "import"],
      [6, "conflict", "import"],
    ]);
    expect([code, errorOf({ stdout })]).toMatchObject([9, { code: "SOME_FAILED", message: "2 of 5 lines failed" }]);
    expect([await keyOf(home, "alice"), await keyOf(home, "bob")]).toEqual([KEY, OTHER]);
  });

  it("gives a line that cannot be used its own error with its number, and imports the others", async () => {
    const home = emptyHome();
    const env = { OPENROUTER_PROVISIONING_KEY: CANARIES["management key"] };
    const text = [
      "user,key,source",
      `ann,${CANARIES["management key"]},`,
      "ben,***************0001,",
      "cid,nothing,",
      `${CANARIES.key},${KEY},`,
      ` dan,${KEY},`,
      `eve,${KEY},"not a source"`,
      `fay,${KEY}`,
      `gus,"${CANARIES.key},`,
      `hal,${CANARIES.key}",`,
      `zoe,${KEY},`,
    ].join("\n");
    const { code, stdout, stderr } = await importOf(home, text, ["--csv", "-", "--json"], { env });
    const errors = documentsOf({ stdout }).map(({ line, error }) => [line, (error as { code: string } | null)?.code]);
    expect(errors.slice(0, -1)).toEqual([
      [2, "MANAGEMENT_KEY_AS_USER_KEY"],
      [3, "KEY_IS_MASKED"],
      [4, "BAD_KEY_FORMAT"],
      [5, "BAD_USER_ID"],
      [6, "BAD_USER_ID"],
      [7, "USAGE"],
      [8, "USAGE"],
      [9, "BAD_KEY_FORMAT"],
      [11, undefined],
    ]);
    expect([code, await keyOf(home, "zoe")]).toEqual([9, KEY]);
    const shown = await importOf(home, text, ["--csv", "-"], { env });
    expect(shown.stderr).toContain("warning: line 8: the line has 2 fields, and the header 3\n");
    expect(canariesIn({ stdout, stderr, shown: shown.stdout + shown.stderr })).toEqual([]);
  });

  it("does not store a key that keyctl created and that is marked for deletion", async () => {
    const server = await mockOpenRouter();
    const home = emptyHome();
    const env = environmentFor(server);
    await inProcess(home, ["provision", "-u", "alice"], { env });
    const { stdout: key } = await inProcess(home, ["get", "-u", "alice", "--reveal"], { env });
    server.behave(({ route }) => (route === "DELETE /keys/{hash}" ? { status: 503 } : "pass"));
    await inProcess(home, ["purge", "-u", "alice", "--revoke", "--yes", "--timeout", "1s"], { env });
    const run = await importOf(home, `user,key\nbob,${key}`, ["--csv", "-", "--json"], { env });
    expect(documentsOf(run)[0]).toMatchObject({ user_id: "bob", outcome: "failed", error: { code: "CONFLICT" } });
    expect(madeKeys(server).length).toBeLessThanOrEqual(1);
    expect((await inProcess(home, ["get", "-u", "bob", "--stored"])).code).toBe(3);
  });

  it("writes nothing with --dry-run, and says what the run would do, for a user's second line too", async () => {
    const home = emptyHome();
    await inProcess(home, ["save", "-u", "alice", "--stdin"], { input: KEY });
    const before = await allThatIsStored(home);
    const text = `user,key\nalice,${OTHER}\nbob,${KEY}\nbob,${KEY}\nbob,${OTHER}\n`;
    const dry = await importOf(home, text, ["--csv", "-", "--json", "--dry-run"]);
    expect(await allThatIsStored(home)).toBe(before);
    const wet = await importOf(home, text, ["--csv", "-", "--json"]);
    const outcomes = (run: typeof dry) => documentsOf(run).map(({ line, outcome }) => [line, outcome]);
    expect([dry.code, outcomes(dry)]).toEqual([wet.code, outcomes(wet)]);
    expect(documentsOf(dry).every(({ dry_run }) => dry_run === true)).toBe(true);
  });

  it("creates no store and no master key with --dry-run", async () => {
    const home = emptyHome();
    const { code } = await importOf(home, `user,key\nalice,${KEY}`, ["--csv", "-", "--dry-run"]);
    expect([code, existsSync(home.database), existsSync(home.masterKeys)]).toEqual([0, false, false]);
  });

  it("writes the documents to --output, warns of a file that others can read, and notes what it ignores", async () => {
    const home = emptyHome();
    writeFileSync(join(home.work, "keys.csv"), `user,key,team,cost\nalice,${KEY},a,b\n`, { mode: 0o644 });
    const { code, stdout, stderr } = await inProcess(home, ["import", "--csv", "keys.csv", "--output", "out.jsonl"]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^1 line in \ds: 1 imported\n$/)]);
    expect(stderr).toContain("note: not imported: team, cost\n");
    expect(stderr).toContain(
      "warning: keys.csv can be read by other users of this machine (mode 0644); chmod 600 it\n",
    );
    const documents = documentsOf({ stdout: readFileSync(join(home.work, "out.jsonl"), "utf8") });
    expect(documents.map(({ type }) => type)).toEqual(["user", "summary"]);
    expect(documents.at(-1)).toMatchObject({ warnings: [{ code: "KEY_FILE_MODE" }] });
  });

  it.each([
    [[], "", 2, "no input is given"],
    [["--csv", "-", "--jsonl", "-"], "", 2, "two inputs are given"],
    [["--csv", "none.csv"], "", 2, "the import file none.csv cannot be read: it does not exist"],
    [["--csv", "."], "", 2, "cannot be read: it is a directory"],
    [["--csv", "-"], "", 3, "there is no line with a key: nothing came on standard input"],
    [["--csv", "-"], "user,key\n", 3, "there is no line with a key"],
    [["--csv", "-"], "name,key\n", 2, "the first line names no column user"],
    [["--csv", "-"], "name,value\n", 2, "the first line names no column user and no column key"],
    [["--csv", "-"], "user,key,Key\n", 2, "two columns are named key"],
    [["--csv", "-"], `alice,${KEY}\n`, 2, "the first line holds a key, and not the names of columns"],
    [["--jsonl", "-"], `["alice","${KEY}"]`, 9, "1 of 1 line failed"],
    [["--jsonl", "-"], `{"user":"alice","key":7}\nnull\n{"user`, 9, "3 of 3 lines failed"],
  ])("%j with %j: exit %i, %s", async (args, text, code, message) => {
    const run = await importOf(emptyHome(), text, args);
    expect(run.code).toBe(code);
    expect(run.stderr).toContain(message);
    expect(run.stderr).not.toContain(KEY.slice(0, 40));
  });

  it("accepts an empty input with --allow-empty", async () => {
    expect((await importOf(emptyHome(), "user,key\n", ["--csv", "-", "--allow-empty"])).code).toBe(0);
  });
});
