import { expect, it } from "vitest";
import { BIN } from "../support/programs/keyctl.ts";
import { ENTER, onTerminal, programOnTerminal } from "../support/programs/pseudo-terminal.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";

async function withUsers(...users: readonly string[]) {
  const set = await stage();
  for (const user of users) await set.given(`provision --user ${user} --limit 10 --limit-reset monthly`);
  return { ...set, env: environmentFor(set.server) };
}

it.each([
  ["y", [], "old keys stay active for 10 minutes", 0, 4],
  ["n", [], "old keys stay active for 10 minutes", 2, 2],
  ["y", ["--grace", "0"], "old keys are deleted at once", 0, 2],
])("rotate of many users asks with the count; %s %j", async (answer, flags, fate, exit, keys) => {
  const { home, server, env } = await withUsers("alice", "bob");
  const question = `This rotates 2 keys at OpenRouter (${fate}).`;
  const { code, screen } = await onTerminal(
    home,
    ["rotate", "--all", ...flags],
    [{ to: question, type: answer + ENTER }],
    env,
  );
  expect([code, server.keys.size]).toEqual([exit, keys]);
  expect(screen).toContain(exit === 0 ? "2 users of 2 selected" : "nothing was changed");
});

it("asks nothing about one user, or about nobody who is old enough", async () => {
  const { home, env } = await withUsers("alice");
  expect((await onTerminal(home, ["rotate", "--user", "alice"], [], env)).code).toBe(0);
  expect((await onTerminal(home, ["rotate", "--all", "--older-than", "60d"], [], env)).code).toBe(0);
});

it("cannot ask where CI is set, and says what to type", async () => {
  const users = Array.from({ length: 11 }, (_, index) => `u${index}`);
  const { home, server, env } = await withUsers(...users);
  const { code, screen } = await onTerminal(home, ["rotate", "--all"], [], { ...env, CI: "1" });
  expect([code, server.keys.size]).toEqual([2, 11]);
  expect(screen).toContain("hint: keyctl rotate --all --max-keys 11");
});

it.each([80, 60])("shows both keys within %i columns, without colour where NO_COLOR is set", async (columns) => {
  const { home, env } = await withUsers("alice");
  const command = `stty cols ${columns}; exec '${process.execPath}' '${BIN}' rotate --user alice --quiet`;
  const { code, screen } = await programOnTerminal(home, ["sh", "-c", command], [], { ...env, NO_COLOR: "1" });
  const lines = screen.split(/\r*\n/).filter((line) => line !== "" && !line.startsWith("warning: "));
  expect([code, lines.filter((line) => line.length > columns)]).toEqual([0, []]);
  expect(lines[0]).toMatch(/^✔ new key \*{15}\w{4} created, verified/);
  expect(screen).toContain("then:  keyctl rotate --finish");
});
