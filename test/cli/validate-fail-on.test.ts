import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { keyEnding } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

const VALID = keyEnding("aaaa");
const SOON = keyEnding("bbbb");
const INVALID = keyEnding("cccc");

/** A key that works, one that works and has used up its limit, and one that OpenRouter does not know. */
async function stage() {
  const server = await mockOpenRouter();
  const home = emptyHome();
  const env = { KEYCTL_OPENROUTER_URL: server.url };
  const run = (args: string, more: InProcessOptions = {}) => inProcess(home, args.split(" "), { env, ...more });
  for (const [user, input] of Object.entries({ alice: VALID, bob: SOON, carol: INVALID })) {
    await run(`save --user ${user} --stdin`, { input });
  }
  server.addKey(VALID, { limit: 10 });
  server.addKey(SOON, { limit: 5, usage: 5 });
  return { run, server };
}

/** The exit code and the error, which is null exactly when the exit code is 0. */
async function endOf(run: ReturnType<typeof inProcess>): Promise<readonly [number | undefined, string | null]> {
  const ended = await run;
  const error = errorOf(ended);
  expect(error?.exit_code ?? 0).toBe(ended.code);
  return [ended.code, error?.code ?? null];
}

describe("validate --fail-on", () => {
  it("decides for many users which results are an error, and says all of them as ever", async () => {
    const { run } = await stage();
    const ends: readonly (readonly [string, number, string | null])[] = [
      ["", 9, "SOME_INVALID"],
      [" --fail-on invalid", 9, "SOME_INVALID"],
      [" --fail-on unknown", 0, null],
      [" --fail-on attention", 10, "ATTENTION"],
      [" --fail-on unknown,attention", 10, "ATTENTION"],
      [" --fail-on none", 0, null],
      [" --fail-on unknown --min-remaining 1", 0, null],
      [" --fail-on invalid,unknown,attention", 9, "SOME_INVALID"],
    ];
    for (const [flags, code, error] of ends) {
      const ended = await run(`validate --all --json${flags}`);
      expect([flags, ended.code, errorOf(ended)?.code ?? null]).toEqual([flags, code, error]);
      expect(documentsOf(ended).at(-1)).toMatchObject({ valid: 2, invalid: 1, unknown: 0, complete: true });
      const carol = documentsOf(ended).find(({ user_id }) => user_id === "carol");
      expect(carol).toMatchObject({ verdict: "invalid", valid: false });
      const isError = flags === "" || flags.includes("invalid");
      expect(carol?.["error"] === null).toBe(!isError);
    }
  });

  it("tolerates unknown verdicts, but no run that stopped early", async () => {
    const { run, server } = await stage();
    server.behave(always("GET /key", { status: 500 }));
    const short = "--timeout 500ms";
    expect(await endOf(run(`validate --all --json ${short}`))).toEqual([6, "SOME_UNKNOWN"]);
    expect(await endOf(run(`validate --all --json ${short} --fail-on invalid`))).toEqual([0, null]);
    expect(await endOf(run(`validate --all --json --stop-after 1ms --fail-on none`))).toEqual([6, "SOME_UNKNOWN"]);
  });

  it("is for one user and for a key on standard input too", async () => {
    const { run } = await stage();
    expect(await endOf(run("validate --user carol --json"))).toEqual([5, "KEY_INVALID"]);
    expect(await endOf(run("validate --user carol --json --fail-on unknown"))).toEqual([0, null]);
    expect(await endOf(run("validate --user bob --json --fail-on attention"))).toEqual([10, "ATTENTION"]);
    expect(await endOf(run("validate --stdin --json --fail-on none", { input: INVALID }))).toEqual([0, null]);
    expect(await endOf(run("validate --user nobody --json --fail-on none"))).toEqual([3, "NO_KEY"]);
  });

  it("takes these three names and none, and nothing else", async () => {
    const home = emptyHome();
    await fc.assert(
      fc.asyncProperty(fc.stringMatching(/^[a-z,]{1,12}$/), async (text) => {
        const names = text.split(",");
        const isKnown = names.every((name) => ["invalid", "unknown", "attention"].includes(name)) || text === "none";
        const [code] = await endOf(
          inProcess(home, ["validate", "--all", "--allow-empty", "--json", "--fail-on", text]),
        );
        expect(code).toBe(isKnown ? 0 : 2);
      }),
      { numRuns: 25 },
    );
  });
});

describe("validate --expect-at-least", () => {
  it("fails where fewer keys were checked: an empty or wrong store is no success", async () => {
    const { run } = await stage();
    const flags = "validate --all --json --fail-on none --expect-at-least";
    expect(await endOf(run(`${flags} 3`))).toEqual([0, null]);
    expect(await endOf(run(`${flags} 4`))).toEqual([3, "TOO_FEW_KEYS"]);
    expect(await endOf(inProcess(emptyHome(), `${flags} 1`.split(" ")))).toEqual([3, "TOO_FEW_KEYS"]);
    expect(await endOf(inProcess(emptyHome(), `${flags} 1 --allow-empty`.split(" ")))).toEqual([3, "TOO_FEW_KEYS"]);
  });

  it("counts no key that could not be checked", async () => {
    const { run, server } = await stage();
    server.behave(always("GET /key", { status: 500 }));
    const flags = "--fail-on none --expect-at-least 1 --timeout 500ms";
    const run3 = await run(`validate --all --json ${flags}`);
    expect(await endOf(Promise.resolve(run3))).toEqual([3, "TOO_FEW_KEYS"]);
    expect(errorOf(run3)?.message).toBe("only 0 of 3 keys could be checked, and at least 1 is expected");
  });

  it("counts one user, too, and has nothing to count where a key is piped in", async () => {
    const { run } = await stage();
    const flags = "--json --fail-on none --expect-at-least";
    expect(await endOf(run(`validate --user alice ${flags} 1`))).toEqual([0, null]);
    expect(await endOf(run(`validate --user alice ${flags} 2`))).toEqual([3, "TOO_FEW_KEYS"]);
    expect(await endOf(run(`validate --stdin ${flags} 1`))).toEqual([2, "USAGE"]);
  });

  it.each(["", "0", "-1", "1.5", "many"])("is USAGE with %j, as an empty variable is", async (value) => {
    const run = await inProcess(emptyHome(), ["validate", "--all", "--json", "--expect-at-least", value]);
    expect([run.code, errorOf(run)?.code]).toEqual([2, "USAGE"]);
  });
});
