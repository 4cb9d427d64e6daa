import { describe, expect, it } from "vitest";
import { canariesIn } from "../support/fixtures/leak-canaries.ts";
import { hashOf, KEY, keyEnding, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { stage, withCalls } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import { always } from "../support/openrouter/faults.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import type { Run } from "../support/programs/keyctl.ts";

const plain = { NO_COLOR: "1" };

async function textOf({ given }: Stage, user: string): Promise<string> {
  return (await given(`get --user ${user} --reveal`)).stdout.trim();
}

async function withAlice() {
  const all = await stage();
  await all.given("provision --user alice --limit 10 --limit-reset monthly");
  const text = await textOf(all, "alice");
  return { ...all, text, hash: hashOf(text) };
}

/** These users have a key each, whose texts are returned. */
async function withUsers(count: number) {
  const all = await stage();
  const users = Array.from({ length: count }, (_, index) => `u${index}`);
  await all.given(`provision ${users.map((user) => `--user ${user}`).join(" ")} --limit 5 --max-keys ${count}`);
  const revealed = await all.given("get --all --stored --reveal --json");
  const texts = documentsOf(revealed).flatMap(({ key }) => (typeof key === "string" ? [key] : []));
  return { ...all, users, texts };
}

/** Nothing of these texts stands in any output, not even masked. */
function expectNoEcho({ stdout, stderr, log }: Run, ...texts: readonly string[]): void {
  const output = [stdout, stderr, log].join("\n");
  for (const text of texts) {
    expect(output).not.toContain(text);
    expect(output).not.toContain(maskOf(text));
    expect(output).not.toContain(text.slice(-12));
  }
  expect(canariesIn({ stdout, stderr })).toEqual([]);
}

describe("leaked", () => {
  it("disables the key of a user, replaces it, and says all about it", async () => {
    const { run, server, text, hash } = await withAlice();
    server.spend(hash, 2.5);
    const done = await run("leaked --stdin --json", { input: `${text}\n` });
    const [document, ...others] = documentsOf(done);
    const [key] = server.keys.keys();
    expect(document).toEqual({
      key_hash: hash,
      owner: { user_id: "alice", current: true },
      disabled_at: expect.stringMatching(/Z$/) as string,
      replaced_by: key,
      usage_since: 2.5,
      used_from: expect.stringMatching(/T00:00:00.000Z$/) as string,
      last_used_at: expect.stringMatching(/Z$/) as string,
      link: `https://openrouter.ai/logs?api_key_hash=${hash}`,
      action: "rotate",
      name: expect.stringMatching(/^keyctl/) as string,
      warnings: [],
      error: null,
    });
    expect([done.code, others, server.keys.size]).toEqual([0, [], 1]);
    expectNoEcho(done, text);
  });

  it("takes the SHA-256 of a key, in any case of letters", async () => {
    const { run, server, hash } = await withAlice();
    const done = await run(`leaked --hash ${hash.toUpperCase()} --json`);
    expect([done.code, documentsOf(done)[0]?.["key_hash"], server.keys.has(hash)]).toEqual([0, hash, false]);
  });

  it.each([
    ["neither of both", "", undefined],
    ["both", `--stdin --hash ${hashOf(KEY)}`, undefined],
    ["a hash that is too short", `--hash ${hashOf(KEY).slice(1)}`, undefined],
    ["a word", "--hash alice", undefined],
    ["two permissions", "--stdin --yes --max-keys 5", undefined],
    ["a time in the future", "--stdin --since 2999-01-01", undefined],
    ["a day that there is not", "--stdin --since 2026-02-30", undefined],
    ["no time", "--stdin --since yesterday", undefined],
    ["a time without its offset", "--stdin --since 2026-01-01T00:00:00", undefined],
  ])("is a usage error with %s", async (_, flags) => {
    const { run, server } = await stage();
    const done = await run(`leaked ${flags} --json`.split(/ +/), { input: KEY });
    expect([done.code, errorOf(done)?.code, server.count()]).toEqual([2, "USAGE", 0]);
    expect(errorOf(done)?.hint).toEqual(expect.any(String));
    expectNoEcho(done, KEY);
  });

  it.each([
    ["a key", ["--hash", KEY]],
    ["a key, as a word", [KEY]],
    ["a mask", ["--hash", maskOf(KEY)]],
  ])("refuses %s in its arguments, as ever", async (_, words) => {
    const { run, server } = await stage();
    const done = await run(["leaked", ...words, "--json"]);
    expect([done.code, errorOf(done)?.code, server.count()]).toEqual([2, "SECRET_IN_ARGV", 0]);
    if (!words.includes(maskOf(KEY))) expect(errorOf(done)?.hint).toContain("keyctl leaked --stdin   asks for the key");
    expectNoEcho(done, KEY);
  });

  it.each(["7d", "2026-01-01", "2026-01-01T00:00:00Z"])("counts what was spent since %s", async (since) => {
    const { run, hash } = await withAlice();
    expect((await run(`leaked --hash ${hash} --since ${since}`)).code).toBe(0);
  });

  it.each([
    ["that works", 10, "ATTENTION"],
    ["that is refused", 0, undefined],
  ])("says of an unknown key %s: exit %d", async (what, code, error) => {
    const { run, server } = await stage();
    if (what === "that works") server.addKey(OTHER, { workspace: server.addAccount().defaultWorkspace });
    const done = await run("leaked --stdin --json", { input: OTHER });
    expect([done.code, errorOf(done)?.code]).toEqual([code, error]);
    expect(documentsOf(done)).toMatchObject([{ owner: null, disabled_at: null, action: "none" }]);
    expectNoEcho(done, OTHER);
  });

  it("is exit 10 while it is not confirmed that the key is disabled", async () => {
    const { run, server, text } = await withAlice();
    server.behave(always("PATCH /keys/{hash}", { status: 403 }));
    const done = await run("leaked --stdin", { input: text, columns: 80, env: plain });
    expect(done.code).toBe(4);
    server.behave(always("PATCH /keys/{hash}", { status: 402 }));
    const again = await run("leaked --stdin", { input: text, columns: 80, env: plain });
    expect([again.code, again.stderr]).toEqual([10, expect.stringContaining("error: the leaked key may still work: ")]);
    expect(again.stdout).toMatch(/^✗ the key of user alice is not contained\n/);
    expectNoEcho(again, text);
  });

  it("says of a database that is down that the key may still work, and where it is disabled", async () => {
    const { run, text, hash } = await withAlice();
    const around = withCalls(() => ({
      find: async () => {
        throw new KeyctlError("STORE_UNAVAILABLE", "the database is down", { hint: "start it", retryable: true });
      },
    }));
    for (const input of [text, `${text}\n${OTHER}`]) {
      const { code, stderr } = await run("leaked --stdin", { input, env: plain, around });
      expect(code).toBe(7);
      expect(stderr).toContain("error: the database is down; the leaked key may still work\n");
      expect(stderr).toContain(`start it; or disable the key now at https://openrouter.ai/keys/${hash}\n`);
    }
  });

  it("is exit 3 without a key, unless that is accepted", async () => {
    const { run } = await stage();
    const done = await run("leaked --stdin --json", { input: "\r\n \n" });
    expect([done.code, errorOf(done)?.code]).toEqual([3, "EMPTY_SELECTION"]);
    expect((await run("leaked --stdin --allow-empty", { input: "" })).code).toBe(0);
  });

  it("says with --dry-run what would be done, and changes nothing", async () => {
    const { run, server, text, hash } = await withAlice();
    const sent = server.requests.filter(({ method }) => method !== "GET").length;
    const done = await run("leaked --stdin --dry-run --json", { input: text });
    expect([done.code, documentsOf(done)]).toMatchObject([0, [{ key_hash: hash, dry_run: true, action: "rotate" }]]);
    const shown = await run("leaked --stdin --dry-run", { input: text, columns: 80, env: plain });
    expect(shown.stdout).toMatch(/^✔ the key of user alice would be disabled, replaced and deleted\n/);
    expect(server.requests.filter(({ method }) => method !== "GET").length).toBe(sent);
    expect([...server.keys.values()]).toMatchObject([{ hash, disabled: false }]);
  });
});

describe("the screen of leaked", () => {
  it.each([80, 60])("fits a terminal of %i columns, but for the link", async (columns) => {
    const { run, server, text, hash } = await withAlice();
    server.spend(hash, 2.5);
    const { code, stdout, stderr } = await run("leaked --stdin -q", { input: text, columns, env: plain });
    const long = stdout.split("\n").filter((line) => line.length > columns);
    expect([code, long]).toEqual([0, [`  https://openrouter.ai/logs?api_key_hash=${hash}`]]);
    expect(stdout.replaceAll(/\s+/g, " ")).toMatch(
      /^✔ the key of user alice is disabled, replaced and deleted the new key is in use: keyctl get --user alice programs that run now hold the leaked key, and get a 401 until they read the new one spent \$2\.50 since 20\d\d-\d\d-\d\d \(whole days by UTC\); last used (?:just now|\d+ seconds? ago) https/,
    );
    expect(stderr).toBe("");
  });

  it.each([80, 60, undefined])("of many keys has a line each (%s columns)", async (columns) => {
    const { run, texts } = await withUsers(2);
    const input = [...texts, "no key", OTHER].join("\n");
    const env = { env: plain, input };
    const done = await run("leaked --stdin", columns === undefined ? env : { ...env, columns });
    expect(done.code).toBe(9);
    const long = done.stdout.split("\n").filter((line) => line.length > (columns ?? Number.POSITIVE_INFINITY));
    // The sentence of a fault may be longer.
    expect(long.filter((line) => !line.includes("line 3: "))).toEqual([]);
    const words = done.stdout.replaceAll(/\s+/g, " ");
    expect(words).toContain("is disabled, replaced and deleted");
    expect(words).toContain("line 3: this is neither a key nor the SHA-256 of one");
    expect(words.includes(hashOf(OTHER))).toBe(columns === undefined);
    expect(done.stderr).toContain("4 keys in ");
    expect(done.stderr).toContain("3 contained, 2 replaced, 1 failed\n");
    expect(done.stderr).toContain("error: 1 of 4 keys failed\n");
    expectNoEcho(done, ...texts, OTHER);
  });

  it("of a dry run counts what is deleted or refused already on its own", async () => {
    const { run, text } = await withAlice();
    await run("leaked --stdin", { input: text });
    const done = await run("leaked --stdin --dry-run", { input: `${text}\n${OTHER}`, env: plain });
    expect([done.code, done.stdout]).toEqual([0, expect.stringContaining("is deleted at OpenRouter already")]);
    expect(done.stderr).toContain(": 2 deleted or refused already; nothing was changed\n");
  });

  it("of a key of no user names it as OpenRouter does, so that people know what breaks", async () => {
    const { run, server } = await stage();
    server.addKey(OTHER, { name: "webshop by \u001B[2Jhand" });
    const done = await run("leaked --stdin --json", { input: OTHER });
    expect(documentsOf(done)[0]).toMatchObject({ owner: null, name: "webshop by \u001B[2Jhand", action: "disable" });
    const shown = await run("leaked --stdin", { input: OTHER, env: plain });
    expect(shown.stdout).toMatch(
      /^✔ the key "webshop by \\u001b\[2Jhand", of no user here, is disabled, and not replaced\n/,
    );
  });

  it("tells a user with a new key what running programs do, and a hash alone what it does not prove", async () => {
    const { run, server, text } = await withAlice();
    const { stdout, stderr } = await run("leaked --stdin", { input: text, env: plain });
    expect(stdout).toContain(
      "\n  programs that run now hold the leaked key, and get a 401 until they read the new one\n",
    );
    expect(stderr).not.toContain("was not asked");
    server.addKey(OTHER);
    const byHash = await run(`leaked --hash ${hashOf(OTHER)}`, { env: plain });
    expect([byHash.code, byHash.stderr]).toEqual([0, expect.stringContaining("the key itself was not asked")]);
  });

  it("of a key that keyctl did not create says how its user gets one", async () => {
    const { run, server, given } = await stage();
    server.addKey(KEY);
    await given("save --user alice --stdin", { input: KEY });
    const done = await run("leaked --stdin", { input: KEY, columns: 80, env: plain });
    expect([done.code, done.stdout]).toEqual([
      0,
      expect.stringMatching(/^✔ the key of user alice is disabled, and not replaced\n/),
    ]);
    expect(done.stderr).toContain("warning: user alice has no working key now: keyctl save --user alice --replace");
    expectNoEcho(done, KEY);
  });
});

describe("a report of a scanner", () => {
  it(
    "of a hundred lines is handled at once: each key once, and each fault by its line",
    { timeout: 60_000 },
    async () => {
      const { run, server, users, texts } = await withUsers(40);
      const foreign = Array.from({ length: 20 }, (_, index) => keyEnding(`f${index + 10}`));
      for (const key of foreign) server.addKey(key);
      const gone = Array.from({ length: 20 }, (_, index) => keyEnding(`e${index + 10}`));
      const hostile = [
        "sk-or-v1-short",
        "\u0000\u0000",
        "a".repeat(10_000),
        "GIT=1",
        "\u001B[2J",
        `x${KEY}`,
        maskOf(KEY),
      ];
      const input = [...texts, ...hostile, "", "   ", ...texts.map(hashOf), ...foreign, ...foreign, ...gone].join(
        "\r\n",
      );
      const done = await run("leaked --stdin --yes --json", { input: `\uFEFF${input}` });
      const documents = documentsOf(done);
      const summary = documents.at(-1);
      expect(summary).toMatchObject({
        type: "summary",
        command: "leaked",
        total: 87,
        done: 87,
        contained: 80,
        replaced: 40,
        not_confirmed: 0,
        left: 0,
        failed: 7,
        shard: null,
        complete: true,
        error: { code: "SOME_FAILED", exit_code: 9 },
      });
      const keys = documents.slice(0, -1);
      expect([done.code, keys.length, keys.every(({ type }) => type === "key")]).toEqual([9, 87, true]);
      expect(keys.filter(({ key_hash: hash }) => hash === null).map(({ line }) => line)).toEqual(
        hostile.map((_, index) => texts.length + index + 1),
      );
      expect(new Set(keys.slice(0, 40).map(({ owner }) => (owner as { user_id: string }).user_id))).toEqual(
        new Set(users),
      );
      expect(foreign.every((key) => server.keys.get(hashOf(key))?.disabled)).toBe(true);
      expect(texts.some((text) => server.keys.has(hashOf(text)))).toBe(false);
      expect(server.keys.size).toBe(60);
      expectNoEcho(done, ...texts, ...foreign, ...gone, KEY, "sk-or-v1-short", "GIT=1");
    },
  );

  it("has all of its keys disabled before the first one is replaced", { timeout: 60_000 }, async () => {
    const { run, server, texts } = await withUsers(8);
    const begun = server.requests.length;
    const done = await run("leaked --stdin --yes --concurrency 2 --json", { input: texts.join("\n") });
    const routes = server.requests.slice(begun).map(({ route, path }) => `${route} ${path}`);
    const first = routes.findIndex((route) => route.startsWith("POST /keys "));
    const disabled = new Set(routes.slice(0, first).filter((route) => route.startsWith("PATCH ")));
    expect([done.code, first > 0, disabled.size]).toEqual([0, true, 8]);
    expect(documentsOf(done).at(-1)).toMatchObject({ contained: 8, replaced: 8 });
  });

  it("of one faulty line is exit 9, and names the line", async () => {
    const done = await (await stage()).run("leaked --stdin --json", { input: "\n\nsecret-words-of-mine\n" });
    expect(done.code).toBe(9);
    expect(documentsOf(done)).toMatchObject([
      { type: "key", line: 3, key_hash: null, link: null, error: { code: "BAD_KEY_FORMAT", exit_code: 2 } },
      { type: "summary", failed: 1, error: { code: "SOME_FAILED" } },
    ]);
    expectNoEcho(done, "secret-words-of-mine");
  });

  it("of a line that is not one whole key names the line, and what a line holds", async () => {
    const cut = OTHER.slice(0, -1);
    const { run } = await stage();
    const done = await run("leaked --stdin", { input: ["", KEY + OTHER, cut].join("\n"), columns: 80, env: plain });
    const words = done.stdout.replaceAll(/\s+/g, " ");
    expect([done.code, words.includes("✔")]).toEqual([9, false]);
    expect(words).toContain("line 2: this holds several keys");
    expect(words).toContain("line 3: this is not one whole key");
    expect(done.stderr).toContain("one key (sk-or-v1-…) or 64 hex characters a line, and nothing else");
    const one = await run("leaked --stdin", { input: cut, columns: 80, env: plain });
    expect([one.code, one.stderr]).toEqual([2, expect.stringContaining("error: this is not one whole key")]);
    expectNoEcho(done, KEY, OTHER, cut);
  });

  it.each([
    ["quotes around it", `"${KEY}"`, "it holds a key in quotes"],
    ["a name before it", `OPENROUTER_API_KEY=${KEY}`, "it holds NAME=… instead of the key alone"],
  ])("of one key with %s says what is wrong, and what is wanted", async (_, input, fault) => {
    const done = await (await stage()).run("leaked --stdin", { input, env: plain });
    expect([done.code, done.stdout]).toEqual([9, expect.stringContaining(fault)]);
    expect(done.stderr).toContain("error: the line failed");
    expect(done.stderr).toContain("one key (sk-or-v1-…) or 64 hex characters a line, and nothing else");
    expectNoEcho(done, KEY);
  });

  it("of more than ten keys wants a permission, and is not touched without one", async () => {
    const { run, server, texts } = await withUsers(11);
    const sent = server.count();
    const refused = await run("leaked --stdin --json", { input: texts.join("\n") });
    expect([refused.code, errorOf(refused)]).toMatchObject([
      2,
      { code: "CONFIRMATION_NEEDED", hint: "keyctl leaked --stdin --json --yes" },
    ]);
    expect(errorOf(refused)?.message).toContain("standard input holds the keys");
    expect(server.count()).toBe(sent);
    const some = await run("leaked --stdin --max-keys 3 --json", { input: texts.join("\n") });
    expect([some.code, documentsOf(some).at(-1)]).toMatchObject([
      6,
      { contained: 3, left: 8, error: { code: "PROVISION_CAP", hint: "keyctl leaked --stdin --json --max-keys 11" } },
    ]);
    const all = await run("leaked --stdin --max-keys 11 --json", { input: texts.join("\n") });
    expect([all.code, documentsOf(all).at(-1)]).toMatchObject([0, { contained: 11, replaced: 8, error: null }]);
    expect(server.keys.size).toBe(11);
  });

  it("with a faulty line, beyond the permission, says also how many keys may still work and how to go on", async () => {
    const { run, texts } = await withUsers(3);
    const input = ["no key", ...texts].join("\n");
    const done = await run("leaked --stdin --max-keys 1 --json", { input });
    expect([done.code, errorOf(done)]).toMatchObject([
      9,
      {
        code: "SOME_FAILED",
        message: "1 of 4 keys failed, and 2 keys may still work: this run may handle no more",
        hint: "see the lines above; give one key (sk-or-v1-…) or 64 hex characters a line, and nothing else; keyctl leaked --stdin --json --max-keys 4   handles all",
      },
    ]);
  });

  it("of which some keys may still work is exit 10", async () => {
    const { run, server, text } = await withAlice();
    server.addKey(OTHER, { workspace: server.addAccount().defaultWorkspace });
    const done = await run("leaked --stdin --json", { input: [text, OTHER].join("\n") });
    expect([done.code, errorOf(done)?.code, documentsOf(done).at(-1)]).toMatchObject([
      10,
      "ATTENTION",
      { contained: 1, not_confirmed: 1 },
    ]);
  });

  it("goes on with the other keys where one cannot be replaced, and stops where none can be disabled", async () => {
    const { run, server, texts } = await withUsers(3);
    server.behave(always("POST /keys", { status: 401 }));
    const done = await run("leaked --stdin --json", { input: texts.join("\n") });
    expect([done.code, documentsOf(done).at(-1)]).toMatchObject([9, { done: 3, failed: 3, complete: true }]);
    expect([...server.keys.values()].every(({ disabled }) => disabled)).toBe(true);
    server.behave(always("PATCH /keys/{hash}", { status: 401 }));
    const stopped = await run("leaked --stdin --concurrency 1 --json", { input: texts.join("\n") });
    expect([stopped.code, documentsOf(stopped).at(-1)]).toMatchObject([
      4,
      { done: 1, total: 3, complete: false, error: { code: "MANAGEMENT_KEY_REFUSED" } },
    ]);
  });

  it("that does not end is handled in constant memory, line by line", { timeout: 60_000 }, async () => {
    const all = await stage();
    let resolve: () => void;
    const answered = new Promise<void>((answer) => (resolve = answer));
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let given = 0; given < 3_000; given += 1) {
        // The rest comes only when the first lines are answered.
        if (given === 1_500) await answered;
        yield Buffer.from(`no key ${given}\n`);
      }
    }
    const done = await all.run("leaked --stdin --yes --json", {
      input: endless(),
      onStdout: () => resolve(),
    });
    expect([done.code, documentsOf(done).at(-1)]).toMatchObject([9, { failed: 3_000 }]);
  });
});
