import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { InProcessOptions } from "../../support/programs/in-process.ts";
import { documentsOf, errorOf } from "../../support/programs/in-process.ts";
import { firstMade, KEY, MADE, maskOf, OTHER } from "../../support/fixtures/keys.ts";
import { always } from "../../support/openrouter/faults.ts";
import { spooled, spoolFilesOf } from "../../support/fixtures/spooled-key.ts";
import { everythingIn, operation, note, stage } from "../../support/home/tool-with-openrouter.ts";
import type { Stage } from "../../support/home/tool-with-openrouter.ts";

const madeFirst = () => stage(firstMade());
const names = (count: number) => Array.from({ length: count }, (_, index) => `u${index}\n`).join("");

const NO_MANAGEMENT_KEY = { OPENROUTER_PROVISIONING_KEY: "" };
const MALFORMED = { OPENROUTER_PROVISIONING_KEY: "no key" };

interface Case {
  readonly title: string;
  readonly line: string;
  readonly options?: InProcessOptions;
  /** Brings the home into the state that is foretold. */
  readonly given?: (all: Stage) => Promise<unknown>;
  readonly code: number;
}

/** A key of another user, so that the store and the master keys are there. */
const withStore = ({ given }: Stage) => given("save --user other --stdin", { input: KEY });
const withoutMasterKeys = async (all: Stage) => {
  await withStore(all);
  rmSync(all.home.masterKeys);
};
const ONE_AN_HOUR = { KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" };
const capUsedUp = ({ given }: Stage) => given("sync --user other", { env: ONE_AN_HOUR });
const brokenFile = async ({ home }: Stage) => home.writeKeyFile("no key");
const inBothVariables = { OPENROUTER_API_KEY: KEY, OPENROUTER_API_KEY_FILE: "/none" };

const CASES: readonly Case[] = [
  { title: "a key is created", line: "sync --user alice", code: 0 },
  {
    title: "the hourly cap is used up",
    line: "sync --user alice",
    given: capUsedUp,
    options: { env: ONE_AN_HOUR },
    code: 6,
  },
  {
    title: "the hourly cap is used up, which a person's own wish does not ask",
    line: "sync --user alice --user bob --provision",
    given: capUsedUp,
    options: { env: ONE_AN_HOUR },
    code: 0,
  },
  { title: "CI is set", line: "sync --user alice", options: { env: { CI: "true" } }, code: 3 },
  {
    title: "CI is set, and many users",
    line: "sync --user alice --user bob --provision",
    options: { env: { CI: "true" } },
    code: 9,
  },
  { title: "CI is set", line: "provision --user alice", options: { env: { CI: "true" } }, code: 0 },
  ...["sync --user alice", "sync --user alice --user bob --provision", "provision --user alice"].map((line) => ({
    title: "the master keys are missing",
    line,
    given: withoutMasterKeys,
    code: 4,
  })),
  {
    title: "the master keys are missing and key.txt holds a key",
    line: "sync --user alice --user bob",
    given: async (all: Stage) => {
      await withoutMasterKeys(all);
      all.home.writeKeyFile(KEY);
    },
    code: 4,
  },
  ...["sync --provision", "provision"].map((verb) => ({
    title: "more users than keys that may be created",
    line: `${verb} --max-keys 3 --users-file -`,
    given: async ({ given }: Stage) => given("save --user u1 --stdin", { input: KEY }),
    options: { input: names(10) },
    code: 6,
  })),
  { title: "there is no management key", line: "sync --user alice", options: { env: NO_MANAGEMENT_KEY }, code: 3 },
  ...["sync --provision", "sync --provision --max-keys 5", "provision"].map((verb) => ({
    title: "there is no management key",
    line: `${verb} --user alice --user bob`,
    options: { env: NO_MANAGEMENT_KEY },
    code: 4,
  })),
  ...["sync", "sync --provision --user bob", "provision"].map((verb) => ({
    title: "the management key is malformed",
    line: `${verb} --user alice`,
    options: { env: MALFORMED },
    code: 4,
  })),
  ...["sync", "sync --provision --user bob", "provision"].map((verb) => ({
    title: "the settings are empty",
    line: `${verb} --user alice`,
    options: { env: { KEYCTL_PROVISION_LIMIT: "" } },
    code: 4,
  })),
  ...["sync", "sync --provision --user bob"].map((verb) => ({
    title: "key.txt is broken",
    line: `${verb} --user alice`,
    given: brokenFile,
    code: verb === "sync" ? 3 : 9,
  })),
  ...["--user other", "--user other --user alice", "--user alice"].map((users) => ({
    title: "the environment is ambiguous",
    line: `sync ${users}`,
    given: withStore,
    options: { env: inBothVariables },
    code: users === "--user other" ? 0 : 4,
  })),
  ...["sync", "sync --provision --user bob", "provision", "provision --user bob"].map((verb) => ({
    title: "a key waits in the spool",
    line: `${verb} --user alice`,
    given: spooled,
    code: { sync: 0, provision: 8, "provision --user bob": 0 }[verb] ?? 0,
  })),
  ...["sync", "sync --provision --user bob", "provision"].map((verb) => ({
    title: "a spooled key that may have been stored and purged waits",
    line: `${verb} --user alice`,
    given: (all: Stage) => spooled(all, { sent: true }),
    code: 0,
  })),
  ...["sync", "sync --user bob", "provision", "provision --user bob"].map((verb) => ({
    title: "a damaged file waits in the spool",
    line: `${verb} --user alice`,
    given: async (all: Stage) => {
      await spooled(all);
      const [file = ""] = spoolFilesOf(all.home);
      writeFileSync(join(all.home.folder, "state", "keyctl", "spool", file), "{}");
    },
    code: verb.endsWith("bob") ? 9 : 7,
  })),
  ...["sync", "sync --provision --user bob", "provision"].map((verb) => ({
    title: "the row was decided against",
    line: `${verb} --user alice`,
    given: async (all: Stage) => {
      await all.given("sync --user alice");
      await unsettle(all);
    },
    code: 0,
  })),
  {
    title: "key.txt holds a key that is about to be deleted",
    line: "sync --user alice",
    given: owedInFile,
    code: 3,
  },
];

const made = ({ given }: Stage) => given("sync --user alice");

/** alice's row stands, and her operation was given up before it was decided. */
async function unsettle({ home }: Stage): Promise<void> {
  const { withDatabase } = await import("../../support/sqlite/database.ts");
  await withDatabase(home, (database) =>
    database.exec("UPDATE api_keys SET settled = 0; DELETE FROM api_key_journal WHERE _id LIKE '%:out:%'"),
  );
  await note(home, "alice", { kind: "out", n: 1, outcome: "abandoned" });
}

/** keyctl's own key in key.txt, which OpenRouter has not deleted yet. */
async function owedInFile(all: Stage): Promise<void> {
  await all.given("sync --user alice");
  all.server.behave(always("PATCH /keys/{hash}", { status: 400 }));
  await all.run("purge --user alice --revoke --yes");
  all.server.behave(() => "pass");
  all.home.writeKeyFile(MADE);
}

/** What both documents of a user say. */
function told(run: { readonly stdout: string }) {
  return documentsOf(run).map(({ user_id, source, left, failed, error }) => ({
    user_id,
    source,
    left,
    failed,
    error: (error as { code: string; message: string } | null)?.code ?? null,
  }));
}

describe("a dry run ends as the run that it foretells, and writes nothing", () => {
  it.each(CASES)("$title: $line", async ({ line, options, given, code }) => {
    const all = await madeFirst();
    await given?.(all);
    const state = async () => [await everythingIn(all.home).catch(() => "none"), spoolFilesOf(all.home)];
    const before = [await state(), all.server.count()];
    const foretold = await all.run(`${line} --dry-run --json`, options);
    expect([await state(), all.server.count()]).toEqual(before);
    const explained = line === "sync --user alice" ? await all.run("explain --user alice --json", options) : undefined;
    expect([await state(), all.server.count()]).toEqual(before);
    const real = await all.run(`${line} --json`, options);
    expect([real.code, foretold.code]).toEqual([code, code]);
    expect(told(foretold)).toEqual(told(real));
    if (explained === undefined) return;
    const [{ winner, error, warnings } = {}] = documentsOf(explained);
    const failure = errorOf(real)?.message;
    if (failure === undefined) return expect([winner, error]).toEqual([documentsOf(real)[0]?.["source"], null]);
    expect(JSON.stringify([error, warnings])).toContain(
      failure.replace("the database was just created", "there is no database yet"),
    );
  });

  it("counts what --max-keys leaves", async () => {
    const { run } = await stage();
    for (const verb of ["sync --provision", "provision"]) {
      const done = await run(`${verb} --max-keys 3 --users-file - --dry-run --json`, { input: names(9) });
      expect([done.code, documentsOf(done).at(-1)]).toMatchObject([
        6,
        {
          to_create: 3,
          left: 6,
          failed: 0,
          error: {
            code: "PROVISION_CAP",
            message: "6 users would be left without a key: this run may create no more keys",
            hint: "--max-keys 9   creates all of them",
          },
        },
      ]);
    }
  });

  it("of a purge sees a key that waits in the spool", async () => {
    const all = await madeFirst();
    await spooled(all);
    const foretold = await all.run("purge --user alice --revoke --dry-run --json");
    expect(spoolFilesOf(all.home)).toHaveLength(1);
    const real = await all.run("purge --user alice --revoke --yes --json");
    expect([documentsOf(foretold)[0], documentsOf(real)[0]]).toMatchObject([
      { key: maskOf(MADE), action: "purge" },
      { key: maskOf(MADE), purged: true, revocation: "done" },
    ]);
  });
});

describe("returns_from", () => {
  const PURGES = ["purge --user alice", "purge --user alice --revoke"];
  it.each<readonly [title: string, line: string, given: (all: Stage) => unknown, env: object, returnsFrom: unknown]>([
    ...PURGES.map((line) => ["the settings are empty", line, made, { KEYCTL_PROVISION_LIMIT: "" }, []] as const),
    ...PURGES.map((line) => ["the cap is invalid", line, made, { KEYCTL_MAX_PROVISIONS_PER_HOUR: "x" }, []] as const),
    ...PURGES.map((line) => ["the hourly cap is used up", line, made, ONE_AN_HOUR, []] as const),
    ["the management key is malformed", "purge --user alice", made, MALFORMED, []],
    [
      "the master keys are missing",
      "purge --user alice --revoke",
      async (all) => {
        await made(all);
        rmSync(all.home.masterKeys);
      },
      {},
      [],
    ],
    ["the variable is ambiguous", "purge --user alice", made, inBothVariables, []],
    ["there is no row, and key.txt holds a key that is to be deleted", "purge --user alice", owedInFile, {}, []],
    [
      "another key was saved over one that is to be deleted",
      "purge --user alice",
      async (all) => {
        await owedInFile(all);
        await all.given("save --user alice --stdin", { input: KEY });
      },
      {},
      [],
    ],
    ["the variable holds the key that goes", "purge --user alice --revoke", made, { OPENROUTER_API_KEY: MADE }, []],
    [
      "the variable holds a key that is kept",
      "purge --user alice",
      made,
      { OPENROUTER_API_KEY: MADE },
      ["environment"],
    ],
    [
      "key.txt holds a key that was replaced, kept, and goes with the others",
      "purge --user alice --revoke-foreign",
      async (all) => {
        await made(all);
        await all.given("save --user alice --stdin --replace", { input: OTHER });
        all.home.writeKeyFile(MADE);
      },
      {},
      [],
    ],
    ["nothing is in the way", "purge --user alice", made, {}, ["auto-provisioned"]],
    ["nobody had a key", "purge --user bob", made, {}, ["auto-provisioned"]],
  ])("is what the next sync does: %s, %s", async (_title, line, given, change, returnsFrom) => {
    const all = await madeFirst();
    await given(all);
    const env = change as Record<string, string>;
    const foretold = await all.run(`${line} --dry-run --json`, { env });
    const real = await all.run(`${line} --yes --json`, { env });
    expect([documentsOf(foretold)[0], documentsOf(real)[0]]).toMatchObject([
      { returns_from: returnsFrom },
      { returns_from: returnsFrom },
    ]);
    const user = line.includes("bob") ? "bob" : "alice";
    const next = documentsOf(await all.run(`sync --user ${user} --json`, { env }))[0];
    expect(next?.["source"] ?? null).toBe((returnsFrom as string[])[0] ?? null);
  });

  it("is told a person by a dry run, and of a user without a row", async () => {
    const { home, run, given } = await stage();
    await given("save --user alice --stdin", { input: KEY });
    home.writeKeyFile(OTHER);
    const NOTE = "note: key.txt holds a key: the next sync of this user stores that key\n";
    for (const line of ["purge --user alice --dry-run", "purge --user bob --yes", "purge --user alice --yes"]) {
      expect((await run(line)).stderr.startsWith(NOTE)).toBe(true);
    }
  });
});

describe("--log of many users", () => {
  it.each<readonly [title: string, line: string, given: (all: Stage) => unknown, env: object, code: number]>([
    ["key.txt is empty", "sync --provision", ({ home }) => home.writeKeyFile(""), {}, 9],
    [
      "key.txt holds a key, and no management key",
      "sync --provision",
      ({ home }) => home.writeKeyFile(KEY),
      NO_MANAGEMENT_KEY,
      0,
    ],
    [
      "everybody has a key, and no management key",
      "sync --provision",
      async ({ given }) => {
        for (const user of ["a", "b"]) await given(`save --user ${user} --stdin`, { input: KEY });
      },
      NO_MANAGEMENT_KEY,
      0,
    ],
    [
      "one has a key, and a malformed management key",
      "sync --provision",
      async ({ given }) => {
        await given("save --user a --stdin", { input: KEY });
      },
      MALFORMED,
      4,
    ],
    [
      "everybody has a key, and the variable is ambiguous",
      "sync",
      async ({ given }) => {
        for (const user of ["a", "b"]) await given(`save --user ${user} --stdin`, { input: KEY });
      },
      inBothVariables,
      4,
    ],
    ["CI is set", "sync --provision", () => {}, { CI: "true" }, 9],
    ["no management key", "sync --provision --max-keys 1", () => {}, NO_MANAGEMENT_KEY, 4],
    ["fewer keys than users", "sync --provision --max-keys 1", () => {}, {}, 6],
    ["fewer keys than users", "provision --max-keys 1", () => {}, {}, 6],
  ])("changes no result: %s, %s", async (_title, verb, given, change, code) => {
    const env = change as Record<string, string>;
    const ends = [];
    for (const log of ["", " --log"]) {
      const all = await stage();
      await given(all);
      const done = await all.run(`${verb} --user a --user b${log} --json`, { env });
      const documents = documentsOf(done).map((document) => ({
        ...document,
        elapsed_ms: 0,
        key: null,
        key_hash: null,
        name: null,
      }));
      ends.push(JSON.stringify([done.code, documents]).replaceAll(all.home.folder, "/srv"));
      expect(done.code).toBe(code);
    }
    expect(ends[1]).toBe(ends[0]);
  });
});

describe("a creation that OpenRouter refuses", () => {
  it.each(["sync --provision", "provision", "sync --provision --log", "provision --log"])(
    "leaves its slot to the next user: %s",
    async (verb) => {
      const { server, run } = await stage();
      server.behave(always("POST /keys", { status: 400 }));
      const done = await run(`${verb} --max-keys 1 --users-file - --json`, { input: names(3) });
      expect([server.keys.size, server.count("POST /keys")]).toEqual([0, 3]);
      expect(documentsOf(done).at(-1)).toMatchObject({ left: 0, failed: 3 });
      expect(done.stdout).not.toContain("this run may create");
    },
  );

  it("leaves none where a key may be there", async () => {
    const { server, run } = await stage();
    server.behave(always("POST /keys", { status: 500 }));
    const done = await run("provision --max-keys 1 --users-file - --json", { input: names(2) });
    expect([server.count("POST /keys"), documentsOf(done).at(-1)]).toMatchObject([1, { left: 1, failed: 1 }]);
    expect(documentsOf(done)[1]?.["error"]).toMatchObject({
      message: "no key was created: this run may create no more than 1",
    });
  });
});

describe("a line of a bulk run", () => {
  it("says what is to be corrected", async () => {
    const { home, run } = await stage();
    home.writeKeyFile("no key");
    const done = await run("sync --user a --user b");
    expect(done.stdout).toContain("no key for user a: key.txt is there and holds no valid key");
  });
});

it("an operation of another process does not keep a dry run waiting", async () => {
  const { home, run, given } = await stage();
  await given("save --user other --stdin", { input: KEY });
  await note(home, "alice", operation(1));
  expect((await run("sync --user alice --dry-run --timeout 5s")).code).toBe(0);
});
