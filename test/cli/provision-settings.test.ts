import { describe, expect, it } from "vitest";
import type { KeyManager } from "../../src/core/manager/manager.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { asLibrary } from "../support/programs/library-in-process.ts";
import { journalOf, stage } from "../support/home/tool-with-openrouter.ts";
import type { WantedTerms } from "../../src/core/model/provision-rules.ts";

const SETTINGS = [
  "KEYCTL_PROVISION_LIMIT",
  "KEYCTL_PROVISION_LIMIT_RESET",
  "KEYCTL_PROVISION_EXPIRES_IN",
  "KEYCTL_PROVISION_WORKSPACE",
  "KEYCTL_MAX_PROVISIONS_PER_HOUR",
];

describe.each(SETTINGS)("%s that is set but empty", (name) => {
  const message = `${name} is set but empty`;

  it.each([
    "sync --user alice",
    "sync --provision --user alice --user bob",
    "sync --provision --user alice --user bob --log",
    "provision --user alice",
    "explain --user alice",
  ])("buys nothing in keyctl %s", async (args) => {
    const { home, server, run } = await stage();
    for (const value of ["", " \n"]) {
      const done = await run(`${args} --json`, { env: { [name]: value } });
      expect(errorOf(done)).toMatchObject({ code: "CONFIG_EMPTY", message });
      expect(done.code).toBe(4);
    }
    expect([server.count(), await journalOf(home)]).toEqual([0, []]);
  });

  it("buys nothing in a server", async () => {
    const { home, server, env } = await stage();
    await asLibrary(home, { ...env, [name]: "" }, async (manager) => {
      for (const { key, error } of [await manager.syncAndGetKey("alice"), await manager.autoProvisionKey("alice")]) {
        expect([key, error?.code, error?.message]).toEqual([null, "CONFIG_EMPTY", message]);
      }
    });
    expect([server.count(), await journalOf(home)]).toEqual([0, []]);
  });

  it("is told by doctor", async () => {
    const { run } = await stage();
    const done = await run("doctor --json", { env: { [name]: "", PATH: "/none" } });
    expect(documentsOf(done)[0]?.["checks"]).toContainEqual(
      expect.objectContaining({ id: "configuration", status: "fail", message }),
    );
    expect([errorOf(done)?.code, done.code]).toEqual(["CONFIG_EMPTY", 4]);
  });

  it("does not matter where no key is made", async () => {
    const { home, server, run, given } = await stage();
    const env = { [name]: "" };
    await given("save --user alice --stdin", { env, input: KEY });
    for (const args of [
      "list",
      "sync --user alice",
      "get --user alice",
      "explain --user alice",
      "purge --user alice --yes",
    ]) {
      expect([args, (await run(args, { env })).code]).toEqual([args, 0]);
    }
    for (const args of ["sync --user bob --no-provision", "get --user bob"]) {
      expect([args, (await run(args, { env })).code]).toEqual([args, 3]);
    }
    home.writeKeyFile(KEY);
    expect([(await run("sync --user bob", { env })).code, server.count()]).toEqual([0, 0]);
  });
});

describe("a setting that is set but empty", () => {
  it.each([
    ["KEYCTL_PROVISION_LIMIT", "--limit 5"],
    ["KEYCTL_PROVISION_LIMIT_RESET", "--limit-reset daily"],
    ["KEYCTL_PROVISION_EXPIRES_IN", "--expires-in 90d"],
  ])("does not matter where a flag says it: %s, %s", async (name, flag) => {
    const { server, run } = await stage();
    const done = await run(`provision --user alice ${flag}`, { env: { [name]: "" } });
    expect([done.code, server.count("POST /keys")]).toEqual([0, 1]);
  });
});

/** Far more than a number or a date can hold, and just more than keyctl takes. */
const TOO_LONG = ["99999999d", "999999999d", "36501d", "876001h"];

const DURATION_FLAGS = [
  ["--expires-in", "provision --user alice"],
  ["--timeout", "sync --user alice"],
  ["--stop-after", "sync --user alice --user bob"],
  ["--expires-within", "list"],
  ["--warn-within", "validate --user alice"],
  ["--not-validated-since", "validate --all"],
] as const;

describe.each(DURATION_FLAGS)("%s", (flag, args) => {
  it("has bounds", async () => {
    const { server, run } = await stage();
    for (const value of TOO_LONG) {
      const done = await run(`${args} ${flag} ${value} --json`);
      expect([value, errorOf(done)?.code, done.code]).toEqual([value, "USAGE", 2]);
      expect(errorOf(done)?.message).toContain("of at most 100y");
    }
    expect(server.count()).toBe(0);
  });

  it("takes a hundred years", async () => {
    const { run } = await stage();
    const done = await run(`${args} ${flag} 36500d --json`);
    expect(errorOf(done)?.code ?? "none").not.toMatch(/USAGE|BUG/);
  });
});

describe("what else is a number", () => {
  it.each([
    "provision --user alice --limit 9999999999",
    "provision --user alice --limit 1e9",
    "validate --user alice --min-remaining 9999999999",
    "validate --all --concurrency 501",
    "validate --all --concurrency 99999999999999999999",
    "validate --all --allow-unknown 9999999999",
    "purge --all --confirm 9999999999999",
    "sync --all --shard 1/9999999",
  ])("has bounds in keyctl %s", async (args) => {
    const { run } = await stage();
    const done = await run(`${args} --json`);
    expect([errorOf(done)?.code, done.code]).toEqual(["USAGE", 2]);
  });

  it.each([
    ["KEYCTL_PROVISION_LIMIT", "9999999999"],
    ["KEYCTL_PROVISION_EXPIRES_IN", "99999999d"],
    ["KEYCTL_PROVISION_EXPIRES_IN", "36501d"],
    ["KEYCTL_MAX_PROVISIONS_PER_HOUR", "9999999"],
  ])("has bounds in %s=%s", async (name, value) => {
    const { server, run } = await stage();
    for (const args of ["sync --user alice", "provision --user alice", "explain --user alice"]) {
      const done = await run(`${args} --json`, { env: { [name]: value } });
      expect([args, errorOf(done)?.code, done.code]).toEqual([args, "CONFIG_INVALID", 4]);
    }
    expect((await run("list", { env: { [name]: value } })).code).toBe(0);
    expect(server.count()).toBe(0);
  });
});

/** A program without types gives anything. */
const any = (value: unknown) => value as never;

describe("the numbers of the library", () => {
  it.each<readonly [string, Partial<WantedTerms>]>([
    ["a life without end", { expiresInMs: Number.POSITIVE_INFINITY }],
    ["a life longer than dates go", { expiresInMs: 99_999_999 * 86_400_000 }],
    ["a life of no time", { expiresInMs: 0 }],
    ["a life that is no number", { expiresInMs: any("90d") }],
    ["a limit below nothing", { limit: -1 }],
    ["a limit that is no number", { limit: Number.NaN }],
    ["a limit in letters", { limit: any("5") }],
    ["an endless limit", { limit: 1e300 }],
    ["an unknown reset", { limitReset: any("hourly") }],
    ["a label with a line end", { label: "a\nb" }],
    ["a label without an end", { label: "x".repeat(201) }],
    ["a workspace that is none", { workspace: "a b" }],
  ])("are checked in the terms of a key: %s", async (_name, terms) => {
    const { home, server, env } = await stage();
    const { key, error } = await asLibrary(home, env, (manager) => manager.autoProvisionKey("alice", { terms }));
    expect([key, error?.code, server.count(), await journalOf(home)]).toEqual([null, "USAGE", 0, []]);
  });

  it("are as the environment says where nothing is given", async () => {
    const { home, server, env } = await stage();
    const terms = { limit: undefined, limitReset: null, label: "shop" };
    await asLibrary(home, { ...env, KEYCTL_PROVISION_LIMIT: "3" }, (manager) =>
      manager.autoProvisionKey("alice", { terms: any(terms) }),
    );
    expect([...server.keys.values()]).toMatchObject([{ limit: 3, limitReset: null }]);
  });

  const calls: readonly (readonly [string, (manager: KeyManager, timeoutMs: number) => Promise<{ error: unknown }>])[] =
    [
      ["syncAndGetKey", (manager, timeoutMs) => manager.syncAndGetKey("alice", { timeoutMs })],
      ["ensureKeyForUser", (manager, timeoutMs) => manager.ensureKeyForUser("alice", { timeoutMs, validate: true })],
      ["getStoredKey", (manager, timeoutMs) => manager.getStoredKey("alice", { timeoutMs })],
      ["autoProvisionKey", (manager, timeoutMs) => manager.autoProvisionKey("alice", { timeoutMs })],
      ["saveKeyToDb", (manager, timeoutMs) => manager.saveKeyToDb("alice", KEY, "manual", { timeoutMs })],
      ["validate", (manager, timeoutMs) => manager.validate("alice", { timeoutMs })],
      ["validateKeyWithApi", (manager, timeoutMs) => manager.validateKeyWithApi(KEY, { timeoutMs })],
      ["explain", (manager, timeoutMs) => manager.explain("alice", { timeoutMs })],
      ["purge", (manager, timeoutMs) => manager.purge("alice", { timeoutMs })],
    ];

  it.each(calls)("are checked in the time-out of %s", async (_name, call) => {
    const { home, server, env } = await stage();
    await asLibrary(home, env, async (manager) => {
      for (const timeoutMs of [-1, Number.NaN, any("soon"), any("3000"), any(30_000n), any({})]) {
        expect((await call(manager, timeoutMs)).error).toMatchObject({ code: "USAGE" });
      }
    });
    expect(server.count()).toBe(0);
  });

  it("are checked in what a validation is to worry about", async () => {
    const { home, env } = await stage();
    await asLibrary(home, env, async (manager) => {
      for (const options of [
        { warnWithinMs: Number.NaN },
        { warnWithinMs: -1 },
        { warnWithinMs: 1e300 },
        { minRemaining: any("1") },
        { minRemaining: Number.NEGATIVE_INFINITY },
      ]) {
        expect((await manager.validate("alice", options)).error).toMatchObject({ code: "USAGE" });
        await expect(manager.validateMany(options)).rejects.toMatchObject({ code: "USAGE" });
      }
      for (const options of [
        { concurrency: 0 },
        { concurrency: 1.5 },
        { concurrency: Number.POSITIVE_INFINITY },
        { notValidatedSinceMs: Number.NaN },
      ]) {
        await expect(manager.validateMany(options)).rejects.toMatchObject({ code: "USAGE" });
      }
    });
  });
});

it("--limit none creates a key without a limit, whatever the variable says", async () => {
  const { server, run } = await stage();
  const env = { KEYCTL_PROVISION_LIMIT: "5" };
  const done = await run("provision --user alice --limit none --json", { env });
  expect([done.code, documentsOf(done)[0]?.["limit"]]).toEqual([0, null]);
  expect([...server.keys.values()].map(({ limit }) => limit)).toEqual([null]);
});
