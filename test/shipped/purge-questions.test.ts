import { describe, expect, it } from "vitest";
import { storedUsers } from "../support/sqlite/database.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { ENTER, onTerminal } from "../support/programs/pseudo-terminal.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";

/** Alice's first key was replaced and kept at OpenRouter; with `key`, a second one is in the database. */
async function replaced(key: boolean) {
  const all = await stage();
  await all.given("sync --user alice");
  await all.given("save --user alice --stdin --replace", { input: KEY });
  await all.given("purge --user alice --yes");
  if (key) await all.given("sync --user alice");
  return { ...all, env: environmentFor(all.server) };
}

describe("purge --revoke on a terminal asks for every key that goes", () => {
  it.each([
    ["y", 0, 0, []],
    ["n", 2, 2, ["alice"]],
  ])("of a user with a key in the database; %s", async (answer, exit, keys, users) => {
    const { home, server, env } = await replaced(true);
    const { code } = await onTerminal(
      home,
      ["purge", "--user", "alice", "--revoke"],
      [
        {
          to: "here and at OpenRouter, and there every other key that keyctl created for this user (1 is kept there)?",
          type: answer + ENTER,
        },
      ],
      env,
    );
    expect([code, server.keys.size, await storedUsers(home)]).toEqual([exit, keys, users]);
  });

  it.each([
    ["y", 0, 0],
    ["n", 2, 1],
  ])("of a user without one; %s", async (answer, exit, keys) => {
    const { home, server, env } = await replaced(false);
    const question =
      "alice has no key in the database. Delete at OpenRouter every key that keyctl created for this user (1 is kept there)?";
    const purge = ["purge", "--user", "alice", "--revoke"];
    const { code } = await onTerminal(home, purge, [{ to: question, type: answer + ENTER }], env);
    expect([code, server.keys.size]).toEqual([exit, keys]);
  });

  it("asks nothing where nothing is kept", async () => {
    const { home, server, given } = await stage();
    await given("sync --user alice");
    const { code } = await onTerminal(home, ["purge", "--user", "bob", "--revoke"], [], environmentFor(server));
    expect([code, server.keys.size]).toEqual([0, 1]);
  });

  it.each([
    [
      ["--user", "alice", "--user", "bob"],
      "and at OpenRouter every key that keyctl created for these users (1 more is kept there)?",
      "y",
      0,
    ],
    [["--all"], "and at OpenRouter every key that keyctl created for these users. Type the number", "1", 0],
  ])("of many: %j", async (selection, question, answer, exit) => {
    const { home, server, env } = await replaced(true);
    const purge = ["purge", ...selection, "--revoke"];
    const { code } = await onTerminal(home, purge, [{ to: question, type: answer + ENTER }], env);
    expect([code, server.keys.size, await storedUsers(home)]).toEqual([exit, 0, []]);
  });
});

describe("purge --block on a terminal says what blocking means, and asks", () => {
  const MEANS = "A blocked user gets no key, from any source, until keyctl unblock. ";

  it.each([
    ["y", 0, "1"],
    ["n", 2, "0"],
  ])("of a user with a key; %s", async (answer, exit, blocked) => {
    const { home, env, given, run } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    const question = `${MEANS}Delete the key of alice (***************b465, from manual), and block this user?`;
    const purge = ["purge", "--user", "alice", "--block"];
    const { code, screen } = await onTerminal(home, purge, [{ to: question, type: answer + ENTER }], env);
    expect([code, (await run("list --risk blocked --count")).stdout]).toEqual([exit, `${blocked}\n`]);
    expect(screen.includes("alice is blocked")).toBe(exit === 0);
  });

  it("of a user without a key, and of one who is blocked already no more", async () => {
    const { home, env, run } = await stage();
    const question = `${MEANS}eve has no key in the database. Block this user?`;
    const purge = ["purge", "--user", "eve", "--block", "--reason", "left"];
    expect((await onTerminal(home, purge, [{ to: question, type: `y${ENTER}` }], env)).code).toBe(0);
    expect((await onTerminal(home, purge, [], env)).code).toBe(0);
    expect((await run("list --risk blocked")).stdout).toContain("\tleft\n");
  });

  it.each([
    [["--user", "alice", "--user", "bob"], "Delete 1 key of 2 users from ", ", and block 2 users?", "y", 2],
    [["--all"], "This deletes 1 key, all of ", ", and blocks its user. Type the number", "1", 1],
  ])("of many: %j", async (selection, begins, ends, answer, blocked) => {
    const { home, env, given, run } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    const { code, screen } = await onTerminal(
      home,
      ["purge", ...selection, "--block"],
      [{ to: ends, type: answer + ENTER }],
      env,
    );
    expect(screen).toContain(`${MEANS}${begins}`);
    expect([code, (await run("list --risk blocked --count")).stdout]).toEqual([0, `${blocked}\n`]);
  });
});

describe("a question about many", () => {
  it("has the number of keys and of users, and says what is refused", async () => {
    const { home, env, given } = await replaced(true);
    await given("save --user bob --stdin", { input: KEY });
    const purge = ["purge", "--user", "alice", "--user", "bob", "--user", "carol", "--revoke"];
    const question = "Delete 1 key of 3 users from ";
    const { code, screen } = await onTerminal(home, purge, [{ to: question, type: `n${ENTER}` }], env);
    expect(screen).toContain("(1 more that keyctl did not create stays)");
    expect([code, await storedUsers(home)]).toEqual([2, ["alice", "bob"]]);
    expect(screen).toContain("note: nothing was changed");
    expect(screen).not.toContain("error:");
    expect(screen).not.toContain("hint:");
  });

  it("is not asked where keyctl created none of the keys", async () => {
    const { home, server, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    await given("save --user bob --stdin", { input: KEY.replace("v1-", "v1-b") });
    for (const selection of [
      ["--user", "alice"],
      ["--user", "alice", "--user", "bob"],
    ]) {
      const { code, screen } = await onTerminal(home, ["purge", ...selection, "--revoke"], [], environmentFor(server));
      expect(code).toBe(8);
      expect(screen).not.toContain("?");
      expect(screen).toMatch(/hint: keyctl purge .*--revoke-foreign {3}deletes/);
    }
    expect(await storedUsers(home)).toEqual(["alice", "bob"]);
  });
});
