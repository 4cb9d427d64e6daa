import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { storedUsers } from "../support/sqlite/database.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";

async function homeOf(...users: readonly string[]): Promise<Home> {
  const home = emptyHome();
  for (const user of users) await inProcess(home, ["save", "--user", user, "--stdin"], { input: KEY });
  return home;
}

/** The command in the hint of a run, as words. */
function hinted(stderr: string): readonly string[] {
  const [, command = ""] = /^hint: keyctl (.*?)(?: {3}.*)?$/m.exec(stderr) ?? [];
  return command.split(" ");
}

describe("a hint keeps the flags that were given", () => {
  it.each([
    [["purge", "--user", "alice", "--timeout", "9s", "-q"], "--yes"],
    [["purge", "--user", "alice", "--user", "bob", "--stop-after", "9s", "--allow-empty"], "--yes"],
    [["purge", "--all", "--shard", "1/1"], "--confirm"],
    [["purge", "--all", "--confirm=7"], "--confirm"],
    [["purge", "--all", "--confirm", "7", "--json"], "--confirm"],
  ])("%j: typed as printed, it works", async (words, flag) => {
    const home = await homeOf("alice", "bob");
    const given = [...words, "--store", `sqlite:${home.database}`];
    const refused = await inProcess(
      home,
      given.filter((word) => word !== "-q"),
    );
    expect([2, 8]).toContain(refused.code);
    const command = hinted(refused.stderr);
    expect(command).toEqual(expect.arrayContaining([flag, "--store"]));
    for (const word of words.filter((one) => !["-q", "7", "--confirm=7"].includes(one)))
      expect(command).toContain(word);
    expect(command.filter((word) => word === "--confirm").length).toBeLessThanOrEqual(1);
    expect((await inProcess(home, command)).code).toBe(0);
    expect(await storedUsers(home)).toEqual(words.includes("bob") || flag === "--confirm" ? [] : ["bob"]);
  });

  it("of save --replace", async () => {
    const home = await homeOf("alice");
    const words = ["save", "--user", "alice", "--stdin", "--source", "import", "--timeout", "9s"];
    const refused = await inProcess(home, words, { input: OTHER });
    expect(hinted(refused.stderr)).toEqual([...words, "--replace"]);
  });

  it("and another command in it looks at the same store", async () => {
    const { home, given, run } = await stage();
    const elsewhere = ["--store", `sqlite:${join(home.work, "else where.db")}`];
    await given(["save", "--user", "alice", "--stdin", "--create", ...elsewhere], { input: KEY });
    const foreign = await run(["purge", "--user", "alice", "--revoke", "--yes", ...elsewhere]);
    const flag = `--store 'sqlite:${join(home.work, "else where.db")}'`;
    expect(foreign.stderr).toContain(`hint: keyctl purge ${flag} --user alice --revoke-foreign   deletes`);
    const absent = await run(["validate", "--user", "bob", "--json", ...elsewhere]);
    expect(errorOf(absent)?.hint).toContain(flag);
    expect(errorOf(await run("validate --user bob --json"))?.hint).not.toContain("--store");
  });

  it("tells why it cannot ask", async () => {
    const home = await homeOf("alice", "bob");
    const said = async (words: string, options = {}) => (await inProcess(home, words.split(" "), options)).stderr;
    expect(await said("purge --user alice")).toContain("cannot prompt: no terminal;");
    expect(await said("purge --user alice --no-input")).toContain("cannot prompt: --no-input was given;");
    expect(await said("purge --user alice", { env: { CI: "1" } })).toContain("cannot prompt: CI is set;");
    expect(await said("purge --users-file -", { input: "alice\n" })).toContain("standard input holds the users;");
  });
});

async function two() {
  const all = await stage();
  await all.given("sync --user alice");
  await all.given("save --user bob --stdin", { input: KEY });
  await all.given("sync --user carol");
  return all;
}

describe("purge of many says what became of the keys at OpenRouter", () => {
  it("which stay active, and how to end them", async () => {
    const { server, run, given } = await two();
    const purged = await given("purge --user alice --user bob --user carol --yes");
    expect(purged.stdout.match(/purged; it stays active at OpenRouter$/gm)).toHaveLength(3);
    expect(purged.stderr).toContain("; 3 keys stay active at OpenRouter\n");
    expect(purged.stderr).toContain(
      "hint: keyctl purge --user alice --user bob --user carol --yes --revoke   deletes them there; 1 key that keyctl did not create: https://openrouter.ai/keys\n",
    );
    expect(server.keys.size).toBe(2);
    const ended = await run(hinted(purged.stderr));
    expect([ended.code, server.keys.size]).toEqual([0, 0]);
    expect(ended.stderr).toContain("; 2 keys were deleted at OpenRouter\n");
  });

  it("which were deleted, in documents too", async () => {
    const { run } = await two();
    const purged = await run("purge --user alice --user carol --yes --revoke");
    expect(purged.stdout.match(/purged; deleted at OpenRouter$/gm)).toHaveLength(2);
    expect(purged.stderr).toContain("; 2 keys were deleted at OpenRouter\n");
    expect(purged.stderr).not.toContain("deletes");
  });

  it("as the single form does, with a command that can be typed", async () => {
    const { server, run, given } = await two();
    const purged = await given("purge --user alice --yes");
    expect(purged.stdout).toContain("purged (it stays active at OpenRouter)");
    expect(purged.stderr).toContain("hint: keyctl purge --user alice --revoke   deletes it there\n");
    await run([...hinted(purged.stderr), "--yes"]);
    expect(server.keys.size).toBe(1);
  });
});
