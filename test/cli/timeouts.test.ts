import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { newJwk } from "../support/fixtures/jwk.ts";
import { hashOf, KEY, MADE, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { always, on } from "../support/openrouter/faults.ts";
import { journalOf, note, operation, stage, withCalls } from "../support/home/tool-with-openrouter.ts";

const made = { newKey: () => MADE };
/** Far less than what is waited for, and enough for a machine that is busy. */
const IN_TIME_MS = 8_000;

async function timed<Result>(work: Promise<Result>): Promise<readonly [Result, number]> {
  const started = performance.now();
  return [await work, performance.now() - started];
}

/** Input that gives this and then neither more nor an end. */
async function* openAfter(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
  await new Promise<never>(() => {});
}

async function* inTwoParts(text: string, pauseMs: number): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text.slice(0, 20));
  await new Promise((resolve) => setTimeout(resolve, pauseMs));
  yield Buffer.from(text.slice(20));
}

describe("a command for master keys that is slower than --timeout", () => {
  const SLOW = { KEYCTL_MASTER_KEYS_COMMAND: "sleep 30", KEYCTL_AUTO_PROVISION: "0" };
  const MESSAGE = "the command in KEYCTL_MASTER_KEYS_COMMAND did not end in time";

  it.each<readonly [string, InProcessOptions]>([
    ["sync --user bob", { env: { OPENROUTER_API_KEY: OTHER } }],
    ["sync --user bob --user carol", { env: { OPENROUTER_API_KEY: OTHER } }],
    ["get --user alice --stored", {}],
    ["save --user bob --stdin", { input: OTHER }],
    ["validate --user alice", {}],
    ["rekey --keep-key", {}],
    ["provision --user bob", {}],
  ])("is named, in time: %s", async (line, options) => {
    const { home, server, run, given } = await stage();
    const { k } = newJwk();
    await given("save --user alice --stdin", { input: KEY, env: { KEYCTL_MASTER_KEYS: k } });
    const env = { ...SLOW, ...options.env };
    const [done, elapsed] = await timed(run(`${line} --timeout 1s --json`, { ...options, env }));
    expect(elapsed).toBeLessThan(IN_TIME_MS);
    expect(done.code).toBe(4);
    expect(errorOf(done)).toMatchObject({ code: "CONFIG_INVALID", message: MESSAGE });
    expect(server.count("POST /keys")).toBe(0);
    expect(existsSync(home.masterKeys)).toBe(false);
  });

  it("is what doctor names, beside all that needs no master key", async () => {
    const { run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY, env: { KEYCTL_MASTER_KEYS: newJwk().k } });
    const [done, elapsed] = await timed(
      run("doctor --json --timeout 1s", { env: { ...SLOW, PATH: process.env["PATH"] ?? "" } }),
    );
    expect(elapsed).toBeLessThan(IN_TIME_MS);
    expect(done.code).toBe(4);
    const checks = documentsOf(done)[0]?.["checks"] as readonly { id: string; status: string; message: string }[];
    expect(checks.find(({ id }) => id === "master_keys")).toMatchObject({ status: "fail", message: MESSAGE });
    expect(checks.find(({ id }) => id === "store")).toMatchObject({ status: "pass" });
  });
});

describe("standard input that never ends", () => {
  it.each([
    ["save --user alice --stdin", ""],
    ["save --user alice --stdin", `${KEY}\n`],
    ["validate --stdin", `${KEY}\n`],
  ])("is named when the time is over: %s", async (line, text) => {
    const home = emptyHome();
    const args = [...line.split(" "), "--timeout", "300ms", "--json"];
    const [done, elapsed] = await timed(inProcess(home, args, { input: openAfter(text) }));
    expect(elapsed).toBeLessThan(IN_TIME_MS);
    expect(done.code).toBe(2);
    expect(errorOf(done)).toMatchObject({ code: "USAGE", message: "standard input did not end within 300 ms" });
    expect(existsSync(home.database)).toBe(false);
  });

  it("has as long as --timeout says", async () => {
    const done = await inProcess(emptyHome(), ["save", "--user", "alice", "--stdin", "--timeout", "1m"], {
      input: inTwoParts(KEY, 600),
    });
    expect(done).toMatchObject({ code: 0, stdout: `${maskOf(KEY)} (saved)\n` });
  });
});

describe("--timeout and a key that is being made", () => {
  const ANSWER =
    "note: timed out; still waiting up to 20s for OpenRouter's answer: it may have created a key for user alice\n";

  it.each(["sync --user alice", "provision --user alice", "sync --provision --user alice --user bob"])(
    "is over before the answer, which is waited for: %s",
    async (line) => {
      const { server, run } = await stage();
      server.behave(always("POST /keys", { delayMs: 1_100 }));
      const [done, elapsed] = await timed(run(`${line} --timeout 500ms --json`));
      expect(done.code).toBe(0);
      expect(documentsOf(done)[0]).toMatchObject({ user_id: "alice", error: null });
      expect(done.stderr).toContain(ANSWER);
      expect(elapsed).toBeGreaterThan(1_000);
      expect(server.count("POST /keys")).toBe(line.includes("bob") ? 2 : 1);
      expect(server.keys.size).toBe(server.count("POST /keys"));
    },
  );

  it("says nothing of it under --quiet, nor where it is made in time", async () => {
    const { server, run } = await stage();
    server.behave(on("POST /keys", { delayMs: 900 }));
    expect((await run("sync --user alice --timeout 300ms --quiet")).stderr).not.toContain("note: the time is over");
    expect((await run("sync --user bob --timeout 30s")).stderr).not.toContain("note: the time is over");
  });

  it("says what is waited for next when the answer does not tell whether there is a key", async () => {
    const { home, server, run } = await stage(made);
    server.behave(({ route }) => {
      if (route === "POST /keys") return { status: 502, obeyed: true, body: "html" };
      return route === "GET /keys" ? { delayMs: 1_500 } : "pass";
    });
    const done = await run("sync --user alice --timeout 900ms --json");
    expect(done.code).toBe(6);
    expect(errorOf(done)).toMatchObject({ code: "PROVIDER_UNAVAILABLE" });
    expect(done.stderr).toContain(
      "note: timed out; still waiting up to 20s for OpenRouter, to remove the key that it may have created for user alice\n",
    );
    expect(server.keys.get(hashOf(MADE))).toBeUndefined();
    expect(await journalOf(home)).toEqual(["op:1", "out:1 abandoned"]);
  });

  it("waits for the database to take the key", async () => {
    const { server, run } = await stage(made);
    let refusals = 0;
    const away = withCalls((store) => ({
      async insert(row, signal) {
        refusals += 1;
        if (refusals <= 15) throw new KeyctlError("STORE_UNAVAILABLE", "the database is away", { retryable: true });
        return store.insert(row, signal);
      },
    }));
    const done = await run("sync --user alice --timeout 500ms --json", { around: away });
    expect(done.code).toBe(0);
    expect(documentsOf(done)[0]).toMatchObject({ key_hash: hashOf(MADE), error: null });
    expect(done.stderr).toContain(
      "note: timed out; still waiting up to 10s for the database, to store the key that was created for user alice\n",
    );
    expect(server.count("POST /keys")).toBe(1);
  });

  it.each([
    ["is given the winner's key, where another process has stored one first", true],
    ["is a conflict, where another process has decided against the key and stored none", false],
  ])("%s", async (_, isStored) => {
    const { home, server, run } = await stage(made);
    server.behave(always("POST /keys", { delayMs: 1_000 }));
    const before = withCalls((store) => ({
      async insert(row, signal) {
        if (isStored)
          await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: OTHER, besideOthers: true });
        else await note(home, "alice", { kind: "out", n: 1, outcome: "abandoned" });
        return store.insert(row, signal);
      },
    }));
    const done = await run("sync --user alice --timeout 500ms --json", { around: before });
    if (isStored) expect(documentsOf(done)[0]).toMatchObject({ key_hash: hashOf(OTHER), error: null });
    else expect([done.code, errorOf(done)?.code]).toEqual([8, "CONFLICT"]);
    expect(server.keys.get(hashOf(MADE))).toBeUndefined();
    expect(await journalOf(home)).toEqual(["op:1", "out:1 abandoned"]);
  });
});

describe("--timeout before a key is being made", () => {
  it("bounds the look for what a stranger's operation has left", async () => {
    const { home, server, run, given } = await stage();
    await given("save --user bob --stdin", { input: KEY });
    await note(home, "alice", operation(1), 120_000);
    server.behave(always("GET /keys", "hang"));
    const [done, elapsed] = await timed(run("sync --user alice --timeout 700ms --json"));
    expect(elapsed).toBeLessThan(IN_TIME_MS);
    expect([done.code, errorOf(done)?.code]).toEqual([6, "PROVIDER_UNAVAILABLE"]);
    expect(server.count("POST /keys")).toBe(0);
  });
});
