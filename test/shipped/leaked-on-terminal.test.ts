import { expect, it } from "vitest";
import { canariesIn } from "../support/fixtures/leak-canaries.ts";
import { hashOf, keyEnding } from "../support/fixtures/keys.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { ENTER, onTerminal, programOnTerminal } from "../support/programs/pseudo-terminal.ts";
import { terminalSession } from "../support/programs/terminal-session.ts";
import { environmentFor } from "../support/recording/keyctl.ts";

const QUESTION = "The key that leaked, or its SHA-256:";

async function withAlice() {
  const set = await stage();
  await set.given("provision --user alice --limit 10 --limit-reset monthly");
  const text = (await set.given("get --user alice --reveal")).stdout.trim();
  return { ...set, text, hash: hashOf(text), env: environmentFor(set.server) };
}

it.each([80, 60])("asks for the key and hides it, within %i columns", async (columns) => {
  const { home, server, env, text, hash } = await withAlice();
  const command = `stty cols ${columns}; exec '${process.execPath}' '${BIN}' leaked --stdin --quiet`;
  const typed = [{ to: QUESTION, type: text + ENTER }];
  const { code, screen } = await programOnTerminal(home, ["sh", "-c", command], typed, { ...env, NO_COLOR: "1" });
  expect([code, server.keys.has(hash), server.keys.size]).toEqual([0, false, 1]);
  expect(screen).toContain("✔ the key of user alice is disabled, replaced and deleted");
  expect([screen.includes(text.slice(9)), screen.includes(text.slice(-8)), canariesIn({ screen })]).toEqual([
    false,
    false,
    [],
  ]);
  const lines = screen.split(/\r*\n/).filter((line) => !line.includes("https://") && !line.includes(QUESTION));
  expect(lines.filter((line) => line.length > columns)).toEqual([]);
});

it.each([
  ["y", 0, true],
  ["n", 2, false],
])("asks about several hashes: %s", async (answer, exit, isDisabled) => {
  const { home, server, env } = await withAlice();
  const others = [keyEnding("0001"), keyEnding("0002")].map((key) => server.addKey(key));
  const words = others.flatMap(({ hash }) => ["--hash", hash]);
  const question = "This disables 2 keys at OpenRouter, and replaces those that keyctl created. Go on?";
  const { code } = await onTerminal(home, ["leaked", ...words], [{ to: question, type: answer + ENTER }], env);
  expect([code, others.every(({ disabled }) => disabled)]).toEqual([exit, isDisabled]);
});

it("asks nothing about one hash, or with --yes", async () => {
  const { home, server, env, hash } = await withAlice();
  const other = server.addKey(keyEnding("0001"));
  expect((await onTerminal(home, ["leaked", "--hash", hash], [], env)).code).toBe(0);
  const words = ["leaked", "--hash", hash, "--hash", other.hash, "--yes"];
  expect((await onTerminal(home, words, [], env)).code).toBe(0);
  expect(other.disabled).toBe(true);
});

it("gives the user a new key although a signal comes once the old one is disabled", async () => {
  const { home, server, env, hash } = await withAlice();
  const disabled = new Promise<void>((resolve) => {
    server.behave(({ route }) => {
      if (route !== "GET /activity") return "pass";
      resolve();
      return { delayMs: 1_000 };
    });
  });
  const tool = terminalSession(home, ["leaked", "--hash", hash], { env });
  await disabled;
  await tool.send("SIGINT");
  const { code, screen } = await tool.ended;
  expect([code, server.keys.has(hash), server.keys.size]).toEqual([130, false, 1]);
  expect(screen).toContain("✔ the key of user alice is disabled, replaced and deleted");
  expect(screen).toContain("interrupted by SIGINT; before that, the key was contained");
});

it("repeats nothing of a scanner's report on a pipe, also where every line is hostile", async () => {
  const { home, env, text } = await withAlice();
  const hostile = [`export KEY=${text}`, `${text}${text}`, `"${text}"`, `\u001B]0;${text}\u0007`, `${text} # note`];
  for (const words of [
    ["leaked", "--stdin"],
    ["leaked", "--stdin", "--json"],
    ["leaked", "--stdin", "--dry-run", "--debug"],
  ]) {
    const { code, stdout, stderr } = await keyctl(home, words, { input: hostile.join("\n"), env });
    expect(code).toBe(9);
    expect([stdout, stderr].filter((output) => output.includes(text.slice(-8)))).toEqual([]);
    expect([stdout, stderr].filter((output) => output.includes("\u001B"))).toEqual([]);
  }
});
