import { describe, expect, it } from "vitest";
import { keyEnding } from "../support/fixtures/keys.ts";
import { errorOf } from "../support/programs/in-process.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import type { Seed } from "../support/openrouter/keys.ts";

const WIDE = { columns: 160, env: { NO_COLOR: "1" } };
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();

/** One key for each user, as OpenRouter knows it; null: it knows no such key. */
async function withKeys(seeds: Readonly<Record<string, Seed | null>>) {
  const all = await stage();
  for (const [index, [user, seed]] of Object.entries(seeds).entries()) {
    const key = keyEnding(`e${index}`);
    if (seed !== null) all.server.addKey(key, seed);
    await all.given(["save", "--user", user, "--stdin"], { input: key });
  }
  return all;
}

const MIXED = {
  fine: { limit: 5 },
  soon: { limit: 5, expiresAt: inDays(3) },
  spent: { limit: 5, usage: 5, limitReset: "monthly" },
  low: { limit: 5, usage: 4.7 },
};

describe("validate of many", () => {
  it.each([
    ["on a pipe", {}],
    ["on a terminal", WIDE],
  ])("names every key that is the reason of its exit code, %s", async (_name, options) => {
    const { run } = await withKeys(MIXED);
    const done = await run("validate --all --warn-within 7d --min-remaining 0.5", options);
    expect(done.code).toBe(10);
    expect(done.stdout).toMatch(new RegExp(`^soon\\s.*\\svalid\\s+expires on ${inDays(3).slice(0, 10)}\\s`, "m"));
    expect(done.stdout).toMatch(/^spent\s.*\svalid\s+has used up its limit \(monthly\)\s/m);
    expect(done.stdout).toMatch(/^low\s.*\svalid\s+has \$0\.30 left\s/m);
    expect(done.stdout).not.toMatch(/^fine/m);
  });

  it("says 'used up' only of keys with nothing left", async () => {
    const { run } = await withKeys(MIXED);
    const done = await run("validate --all --min-remaining 0.5", WIDE);
    expect(done.stdout).toContain("1 has used up its limit, 1 has less than $0.50 left");
    const usual = await run("validate --all", WIDE);
    expect([usual.code, usual.stdout]).toEqual([0, expect.stringContaining("1 has used up its limit")]);
    expect(usual.stdout).not.toContain("less than");
  });

  it("has a remedy for each reason", async () => {
    const { run } = await withKeys(MIXED);
    const expiry = await run("validate --user soon --user fine --warn-within 7d --json");
    expect(errorOf(expiry)?.hint).toBe("see the lines above; keyctl save --user <id> --replace   stores another key");
    const limit = await run("validate --user low --user fine --min-remaining 0.5 --json");
    expect(errorOf(limit)?.hint).toBe("see the lines above; raise its limit at https://openrouter.ai/keys");
  });

  it("names the unknown ones, and what to do before it is run again", async () => {
    const { server, run } = await withKeys({ alice: { limit: 5 }, bob: { limit: 5 }, carol: null });
    server.behave(({ route }) => (route === "GET /key" ? { status: 402 } : "pass"));
    const done = await run("validate --user alice --user bob --timeout 9s", WIDE);
    expect(done.code).toBe(6);
    expect(done.stdout.match(/^(alice|bob) .* unknown .*provider error/gm)).toHaveLength(2);
    expect(done.stderr).toContain(
      "hint: add credits at https://openrouter.ai/settings/credits; then   keyctl validate --user alice --user bob --timeout 9s --not-validated-since 1h   checks only these\n",
    );
  });

  it("names the worst first on a terminal, and says how to see the rest", async () => {
    const users = Array.from(
      { length: 12 },
      (_, index) => [`user${index}`, index === 11 ? null : MIXED.spent] as const,
    );
    const { run } = await withKeys(Object.fromEntries(users));
    const done = await run("validate --all --min-remaining 0.5", WIDE);
    expect(done.stdout).toMatch(/\nuser11 .* invalid /);
    expect(done.stderr).toContain("… 2 more: keyctl validate --all --min-remaining 0.5 > <file>\n");
  });
});

describe("validate of one", () => {
  it.each([
    [
      "soon",
      "--warn-within 7d",
      /expires on \d{4}-\d\d-\d\d$/,
      "keyctl save --user soon --replace   stores another key",
    ],
    [
      "spent",
      "--min-remaining 0.5",
      /has used up its limit \(monthly\)$/,
      "raise its limit at https://openrouter.ai/keys",
    ],
    ["low", "--min-remaining 0.5", /has \$0\.30 left$/, "raise its limit at https://openrouter.ai/keys"],
  ])("says of %s what it is, and its remedy", async (user, flags, said, hint) => {
    const { run } = await withKeys(MIXED);
    const error = errorOf(await run(`validate --user ${user} ${flags} --json`));
    expect(error?.message).toMatch(said);
    expect(error?.hint).toBe(hint);
  });
});
