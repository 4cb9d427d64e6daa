import { describe, expect, it } from "vitest";
import { storedUsers } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, inProcess } from "../support/programs/in-process.ts";
import { hashOf, KEY, OTHER } from "../support/fixtures/keys.ts";
import { CTRL_C, CTRL_T, ENTER, onTerminal } from "../support/programs/pseudo-terminal.ts";

async function homeOf(...users: readonly string[]): Promise<Home> {
  const home = emptyHome();
  for (const user of users) await inProcess(home, ["save", "--user", user, "--stdin"], { input: KEY });
  return home;
}

async function hashOfAlice(home: Home): Promise<unknown> {
  const run = await inProcess(home, ["get", "--user", "alice", "--stored", "--json"]);
  return documentsOf(run)[0]?.["key_hash"];
}

describe("save on a terminal", () => {
  it("asks for the key and does not show it, whatever is typed", async () => {
    const home = emptyHome();
    const { code, screen } = await onTerminal(
      home,
      ["save", "--user", "alice"],
      [{ to: "OpenRouter key of alice:", type: KEY + CTRL_T + ENTER }],
    );
    expect(code).toBe(0);
    expect(screen).toContain("***************b465 (saved)");
    expect(screen).not.toContain("sk-or-");
    expect(screen).not.toContain("0000");
    expect(await hashOfAlice(home)).toBe(hashOf(KEY));
  });

  it("asks before it replaces another key, and then does", async () => {
    const home = await homeOf("alice");
    const { code, screen } = await onTerminal(
      home,
      ["save", "--user", "alice"],
      [
        { to: "OpenRouter key of alice:", type: OTHER + ENTER },
        { to: "Replace it?", type: `y${ENTER}` },
      ],
    );
    expect(code).toBe(0);
    expect(screen).toContain("***************91aa (replaced)");
    expect(await hashOfAlice(home)).toBe(hashOf(OTHER));
  });

  it("changes nothing when that is declined", async () => {
    const home = await homeOf("alice");
    const { code, screen } = await onTerminal(
      home,
      ["save", "--user", "alice"],
      [
        { to: "OpenRouter key of alice:", type: OTHER + ENTER },
        { to: "Replace it?", type: ENTER },
      ],
    );
    expect(code).toBe(2);
    expect(screen).toContain("note: nothing was changed");
    expect(await hashOfAlice(home)).toBe(hashOf(KEY));
  });

  it("ends with 130 at Ctrl-C, and saves nothing", async () => {
    const home = emptyHome();
    const { code, screen } = await onTerminal(
      home,
      ["save", "--user", "alice"],
      [{ to: "OpenRouter key of alice:", type: CTRL_C }],
    );
    expect(code).toBe(130);
    expect(screen).toContain("error: interrupted");
    expect((await inProcess(home, ["list"])).stderr).toContain("no store exists yet");
  });

  it("does not ask for a key for an id that is none", async () => {
    const { code, screen } = await onTerminal(emptyHome(), ["save", "--user", " alice"], []);
    expect(code).toBe(2);
    expect(screen).toContain("begins or ends with a blank");
  });
});

describe("purge on a terminal", () => {
  it.each([
    ["y", 0, []],
    ["n", 2, ["alice"]],
    ["", 2, ["alice"]],
    [CTRL_C, 130, ["alice"]],
  ])("asks, and %j ends with %i", async (answer, exit, left) => {
    const home = await homeOf("alice");
    const { code } = await onTerminal(
      home,
      ["purge", "--user", "alice"],
      [{ to: "Delete the key of alice (***************b465, from manual)?", type: answer + ENTER }],
    );
    expect(code).toBe(exit);
    expect(await storedUsers(home)).toEqual(left);
  });

  it.each(["", "0", "false", "no"])("asks where CI=%j says that this is no CI job", async (CI) => {
    const home = await homeOf("alice");
    const { code } = await onTerminal(
      home,
      ["purge", "--user", "alice"],
      [{ to: "Delete the key of alice", type: `y${ENTER}` }],
      { CI },
    );
    expect([code, await storedUsers(home)]).toEqual([0, []]);
  });

  it.each([
    ["the number of keys", "2", 0, []],
    ["another number", "3", 8, ["alice", "bob"]],
    ["a yes", "yes", 2, ["alice", "bob"]],
    ["Ctrl-C", CTRL_C, 130, ["alice", "bob"]],
  ])("--all wants the count typed; %s", async (_, answer, exit, left) => {
    const home = await homeOf("alice", "bob");
    const { code, screen } = await onTerminal(
      home,
      ["purge", "--all", "--yes"],
      [{ to: "Type the number of keys to continue:", type: answer + ENTER }],
    );
    expect(code).toBe(exit);
    expect(screen).toContain(`This deletes 2 keys, all of sqlite:${home.database}.`);
    expect(await storedUsers(home)).toEqual(left);
  });

  it("of some asks once for all of them", async () => {
    const home = await homeOf("alice", "bob", "carol");
    const { code } = await onTerminal(
      home,
      ["purge", "--user", "alice", "--user", "bob"],
      [{ to: "Delete 2 keys of 2 users", type: `y${ENTER}` }],
    );
    expect(code).toBe(0);
    expect(await storedUsers(home)).toEqual(["carol"]);
  });
});

describe("nobody is asked", () => {
  it.each([
    ["with --no-input", ["--no-input"], {}],
    ["with CI set", [], { CI: "1" }],
  ])("%s", async (_, flags, env) => {
    const home = await homeOf("alice");
    const purge = await onTerminal(home, ["purge", "--user", "alice", ...flags], [], env);
    expect(purge.code).toBe(2);
    expect(purge.screen).toContain(`hint: keyctl purge ${["--user", "alice", ...flags].join(" ")} --yes`);
    const save = await onTerminal(home, ["save", "--user", "alice", ...flags], [], env);
    expect(save.code).toBe(2);
    expect(save.screen).toContain("hint: keyctl save --user alice --stdin < key.txt");
  });
});
