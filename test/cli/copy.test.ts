import { existsSync, linkSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { entryId } from "../../src/stores/format/journal-entry.ts";
import { change, rowsOf } from "../support/sqlite/database-file.ts";
import { newJwk } from "../support/fixtures/jwk.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { treeOf } from "../support/home/tree.ts";

const USERS = ["alice", "bob", "carol"];
const withKey = { env: { OPENROUTER_API_KEY: KEY } };

/** A home whose store holds a key of each of these users. */
async function homeOf(users: readonly string[] = USERS): Promise<Home> {
  const home = emptyHome();
  await inProcess(home, ["sync", "--users-file", "-"], { ...withKey, input: users.join("\n") });
  return home;
}

function copyOf(home: Home): string {
  return join(home.work, "copy.db");
}

async function copy(home: Home, flags: readonly string[] = [], options: InProcessOptions = {}) {
  return inProcess(home, ["copy", "--to", "sqlite:copy.db", "--create", ...flags], options);
}

const ROWS = "SELECT * FROM api_keys ORDER BY user_id";
const CHECKS = "SELECT * FROM api_key_meta WHERE _id GLOB 'check:*'";

/** All that is stored there. */
function contentOf(database: string) {
  return [rowsOf(database, ROWS), rowsOf(database, "SELECT * FROM api_key_meta ORDER BY _id")];
}

async function saveIn(home: Home, store: string, user: string, key: string): Promise<void> {
  const args = ["save", "--user", user, "--stdin", "--store", store, "--create"];
  const run = await inProcess(home, args, { input: key });
  expect(run.code).toBe(0);
}

describe("copy", () => {
  it("makes a store with the same rows, and proves each", async () => {
    const home = await homeOf();
    change(home.database, "UPDATE api_keys SET revision = 7, generation = 2, settled = 0, last_validated = created_at");
    const run = await copy(home);
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/^3 rows in \d+s: 3 copied\n3 rows verified: present and readable\n$/);
    expect(run.stderr).toBe(
      `from sqlite:${home.database} (default) to sqlite:${copyOf(home)} (from --to)\n3 keys in the destination\n`,
    );
    expect(rowsOf(copyOf(home), ROWS)).toEqual(rowsOf(home.database, ROWS));
    expect(rowsOf(copyOf(home), CHECKS).map((row) => row["_id"])).toEqual(
      rowsOf(home.database, CHECKS).map((row) => row["_id"]),
    );
    const get = await inProcess(home, ["get", "-u", "bob", "--stored", "--reveal", "--store", "sqlite:copy.db"]);
    expect(get.stdout).toBe(`${KEY}\n`);
  });

  it("documents what it did", async () => {
    const home = await homeOf();
    const run = await copy(home, ["--json"]);
    expect(documentsOf(run)).toEqual([
      {
        type: "summary",
        command: "copy",
        store: `sqlite:${home.database}`,
        to: `sqlite:${copyOf(home)}`,
        total: 3,
        done: 3,
        copied: 3,
        kept: 0,
        conflicts: 0,
        verified: 3,
        unverified: 0,
        in_clear: 0,
        journals: { copied: 0, kept: 0, conflicts: 0, verified: 0, unverified: 0 },
        blocked: { copied: 0, kept: 0, conflicts: 0, verified: 0, unverified: 0 },
        to_total: 3,
        dry_run: false,
        elapsed_ms: expect.any(Number),
        complete: true,
        warnings: [],
        error: null,
      },
    ]);
  });

  it("done again keeps all, and brings what has come meanwhile", async () => {
    const home = await homeOf();
    await copy(home);
    const before = contentOf(copyOf(home));
    const again = await copy(home);
    expect(again.stdout).toMatch(/^3 rows in \d+s: 3 there already\n3 rows verified: present and readable\n$/);
    expect(contentOf(copyOf(home))).toEqual(before);
    await saveIn(home, `sqlite:${home.database}`, "dave", OTHER);
    const more = await copy(home, ["--json"]);
    expect(documentsOf(more)).toMatchObject([{ copied: 1, kept: 3, verified: 4, to_total: 4 }]);
  });

  it("leaves what the destination has beside", async () => {
    const home = await homeOf();
    await saveIn(home, "sqlite:copy.db", "zoë", OTHER);
    const run = await copy(home, ["--json"]);
    expect(documentsOf(run)).toMatchObject([{ total: 3, copied: 3, verified: 3, to_total: 4, error: null }]);
  });

  it("seals on its way what the source holds in plain text, and names it", async () => {
    const home = await homeOf();
    change(home.database, `UPDATE api_keys SET key_encrypted = '${KEY}', key_hash = NULL WHERE user_id <> 'carol'`);
    const run = await copy(home);
    expect(run.stdout).toMatch(/3 copied\n3 rows verified: present and readable\n$/);
    expect(run.stderr).toContain(
      "warning: 2 keys were stored in plain text and sealed in the copy: alice, bob; another program may have put them there: see that https://openrouter.ai/keys lists them as yours\n",
    );
    expect(run.stderr).not.toContain("rekey");
    expect(run.stdout + run.stderr).not.toContain(KEY);
    const there = rowsOf(copyOf(home), "SELECT key_encrypted FROM api_keys");
    expect(there.filter((row) => !String(row["key_encrypted"]).startsWith("eyJ"))).toEqual([]);
    const got = await inProcess(home, ["get", "--user", "alice", "--stored", "--reveal", "--store", "sqlite:copy.db"]);
    expect(got.stdout).toBe(`${KEY}\n`);
    expect(documentsOf(await copy(home, ["--json"]))).toMatchObject([
      { copied: 0, kept: 3, verified: 3, in_clear: 0, warnings: [] },
    ]);
  });

  it("seals what a change keeps in plain text until it is final", async () => {
    const home = await homeOf();
    const previous = JSON.stringify({ revoke: false, generation: 0, key_encrypted: KEY, source: "manual" });
    change(
      home.database,
      `UPDATE api_keys SET settled = 0, generation = 1, previous = '${previous}' WHERE user_id = 'bob'`,
    );
    await copy(home);
    const [row] = rowsOf(copyOf(home), "SELECT previous FROM api_keys WHERE user_id = 'bob'");
    expect(String(row?.["previous"])).toContain('"key_encrypted":"eyJ');
    expect(readFileSync(copyOf(home)).includes(KEY)).toBe(false);
  });

  it("of rows in clear alone makes a first master key for the copy", async () => {
    const home = await homeOf();
    change(
      home.database,
      `UPDATE api_keys SET key_encrypted = '${KEY}'; DELETE FROM api_key_meta WHERE _id GLOB 'check:*'`,
    );
    const elsewhere = { env: { XDG_CONFIG_HOME: join(home.folder, "other") } };
    const run = await copy(home, [], elsewhere);
    expect(run.code).toBe(0);
    expect(run.stderr).toContain("note: created the first master key: ");
    expect(rowsOf(copyOf(home), CHECKS)).toHaveLength(1);
  });

  it("ends at --stop-after with what it has done, and goes on the next time", async () => {
    const home = await homeOf(Array.from({ length: 1_500 }, (_, index) => `user-${index}`));
    const run = await copy(home, ["--json", "--stop-after", "1ms"]);
    expect(run.code).toBe(6);
    const [summary] = documentsOf(run);
    expect(summary).toMatchObject({ total: 1_500, complete: false, verified: 0, error: { code: "SOME_UNKNOWN" } });
    expect(summary?.["done"]).toBeLessThan(1_500);
    expect(summary?.["to_total"]).toBe(summary?.["copied"]);
    expect(documentsOf(await copy(home, ["--json"]))).toMatchObject([{ kept: summary?.["copied"], verified: 1_500 }]);
  });

  it("says with --quiet the result alone", async () => {
    const home = await homeOf();
    const run = await copy(home, ["--quiet"]);
    expect(run.stderr).toBe("");
    expect(run.stdout).toMatch(/^3 rows in/);
  });
});

/** As if keyctl had made the keys of these users. */
const remember = (database: string, nonce: string, ...users: readonly string[]) => {
  for (const name of users) {
    const user = parseUserId(name);
    const terms = { label: null, limit: 5, limit_reset: null, expires_at: null, workspace: null };
    const [op, out] = [entryId(user, "op", 1), entryId(user, "out", 1)];
    const bodies = [
      { nonce, ...terms },
      { outcome: "saved", hash: hashOf(KEY), upstream_hash: null },
    ];
    const [made, ended] = bodies.map((body) => JSON.stringify(body));
    change(
      database,
      `INSERT INTO api_key_journal (_id, user_id, at, body) VALUES
         ('${op}', '${name}', '2026-11-22T00:00:00.000Z', '${made}'),
         ('${out}', '${name}', '2026-11-22T00:00:01.000Z', '${ended}')`,
    );
  }
};

describe("the journal", () => {
  const JOURNAL = "SELECT * FROM api_key_journal ORDER BY _id";
  const DEPLOYMENT = "SELECT value FROM api_key_meta WHERE _id = 'deployment'";
  const ONE = "1".repeat(16);

  it("comes along with the deployment id, and is proven", async () => {
    const home = await homeOf();
    remember(home.database, ONE, "alice", "bob");
    const run = await copy(home);
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(
      /^3 rows in \d+s: 3 copied\n3 rows verified: present and readable\nthe journals of 2 users: 2 copied; 2 are there\n$/,
    );
    expect(rowsOf(copyOf(home), JOURNAL)).toEqual(rowsOf(home.database, JOURNAL));
    expect(rowsOf(copyOf(home), DEPLOYMENT)).toEqual(rowsOf(home.database, DEPLOYMENT));
    expect(documentsOf(await copy(home, ["--json"]))).toMatchObject([
      { kept: 3, journals: { copied: 0, kept: 2, conflicts: 0, verified: 2, unverified: 0 }, error: null },
    ]);
  });

  it("stays where it is with --dry-run", async () => {
    const home = await homeOf();
    remember(home.database, ONE, "alice");
    const before = treeOf(home.folder);
    const run = await copy(home, ["--dry-run"]);
    expect(run.stdout).toMatch(/3 to copy\nthe journal of 1 user: 1 to copy\n$/);
    expect(treeOf(home.folder)).toEqual(before);
  });

  it.each([[[]], [["--dry-run"]]])("of another store that has made keys refuses the copy: %j", async (flags) => {
    const home = await homeOf();
    remember(home.database, ONE, "alice");
    await saveIn(home, "sqlite:copy.db", "zoë", OTHER);
    remember(copyOf(home), ONE, "zoë");
    const before = [...contentOf(copyOf(home)), rowsOf(copyOf(home), JOURNAL)];
    const run = await copy(home, ["--json", ...flags]);
    expect([run.code, errorOf(run)?.code]).toEqual([8, "CONFLICT"]);
    expect([...contentOf(copyOf(home)), rowsOf(copyOf(home), JOURNAL)]).toEqual(before);
  });

  it("that has split names the user, whose row stays behind, and the rest comes", async () => {
    const home = await homeOf();
    await copy(home);
    change(copyOf(home), "DELETE FROM api_keys");
    remember(home.database, ONE, "alice", "bob");
    remember(copyOf(home), "2".repeat(16), "alice");
    const { value } = rowsOf(home.database, DEPLOYMENT)[0] ?? {};
    change(copyOf(home), `UPDATE api_key_meta SET value = '${String(value)}' WHERE _id = 'deployment'`);
    const run = await copy(home, ["--json"]);
    expect(run.code).toBe(9);
    expect(documentsOf(run)).toMatchObject([
      { type: "user", user_id: "alice", key: null, outcome: "journal_conflict", error: { code: "CONFLICT" } },
      { type: "user", user_id: "alice", key: maskOf(KEY), outcome: "conflict", error: { code: "CONFLICT" } },
      {
        copied: 2,
        conflicts: 1,
        journals: { copied: 1, conflicts: 1, verified: 1 },
        error: { code: "SOME_FAILED", message: "1 of 3 rows failed, and the journal of 1 user" },
      },
    ]);
  });
});

describe("copy --dry-run", () => {
  it("makes nothing and says what would be copied", async () => {
    const home = await homeOf();
    const before = treeOf(home.folder);
    const run = await copy(home, ["--dry-run"]);
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toMatch(/^3 rows in \d+s: 3 to copy\n$/);
    expect(run.stderr).toContain("note: nothing was written\n");
    expect(treeOf(home.folder)).toEqual(before);
  });

  it("tells what is there from what is not, and names a conflict", async () => {
    const home = await homeOf();
    await saveIn(home, "sqlite:copy.db", "alice", KEY);
    await saveIn(home, "sqlite:copy.db", "bob", OTHER);
    const before = contentOf(copyOf(home));
    const run = await copy(home, ["--dry-run", "--json"]);
    expect(run.code).toBe(9);
    expect(documentsOf(run)).toMatchObject([
      { type: "user", user_id: "bob", outcome: "conflict", error: { code: "KEY_EXISTS" } },
      { dry_run: true, copied: 1, kept: 1, conflicts: 1, verified: 0, to_total: 2, complete: true },
    ]);
    expect(contentOf(copyOf(home))).toEqual(before);
  });
});

describe("a key that the destination has already", () => {
  it("stays, is named, and is exit 9", async () => {
    const home = await homeOf();
    await saveIn(home, "sqlite:copy.db", "bob", OTHER);
    const run = await copy(home, ["--json"]);
    expect(run.code).toBe(9);
    expect(documentsOf(run)).toEqual([
      {
        type: "user",
        user_id: "bob",
        key: maskOf(KEY),
        key_hash: hashOf(KEY),
        outcome: "conflict",
        error: {
          code: "KEY_EXISTS",
          exit_code: 8,
          message: `user bob has another key in the destination (${maskOf(OTHER)}, from manual); it stays`,
          hint: "purge the unwanted one, and copy again",
          retryable: false,
        },
      },
      expect.objectContaining({
        copied: 2,
        conflicts: 1,
        verified: 2,
        complete: true,
        error: expect.objectContaining({ code: "SOME_FAILED", message: "1 of 3 rows failed" }),
      }),
    ]);
    const get = await inProcess(home, ["get", "-u", "bob", "--stored", "--reveal", "--store", "sqlite:copy.db"]);
    expect(get.stdout).toBe(`${OTHER}\n`);
  });

  it("is a warning on the screen", async () => {
    const home = await homeOf();
    await saveIn(home, "sqlite:copy.db", "bob", OTHER);
    const run = await copy(home);
    expect(run.stdout).toMatch(/^3 rows in \d+s: 2 copied, 1 in conflict\n2 rows verified: present and readable\n$/);
    expect(run.stderr).toContain(
      `warning: user bob has another key in the destination (${maskOf(OTHER)}, from manual); it stays\n`,
    );
    expect(run.stderr).toContain("error: 1 of 3 rows failed\nhint: see the lines above\n");
  });
});

describe("a row that holds no readable key", () => {
  it("is copied, and is named by the proof", async () => {
    const home = await homeOf();
    change(home.database, "UPDATE api_keys SET key_encrypted = 'nonsense' WHERE user_id = 'bob'");
    const run = await copy(home);
    expect(run.code).toBe(9);
    expect(run.stdout).toMatch(/3 copied\n2 rows verified: present and readable, 1 is not\n$/);
    expect(run.stderr).toContain("warning: what is stored for user bob is not a key\n");
    expect(rowsOf(copyOf(home), ROWS)).toEqual(rowsOf(home.database, ROWS));
  });
});

describe("master keys", () => {
  const another = { env: { KEYCTL_MASTER_KEYS: newJwk().k } };

  it("that do not open the source end it before a destination is made", async () => {
    const home = await homeOf();
    const run = await copy(home, ["--json"], another);
    expect([run.code, errorOf(run)?.code]).toEqual([4, "MASTER_KEY_WRONG"]);
    expect(existsSync(copyOf(home))).toBe(false);
  });

  it("that do not open the destination end it before anything is written", async () => {
    const home = await homeOf();
    const save = ["save", "-u", "zoë", "--stdin", "--store", "sqlite:copy.db", "--create"];
    await inProcess(home, save, { ...another, input: KEY });
    const before = contentOf(copyOf(home));
    const run = await copy(home);
    expect(run.code).toBe(4);
    expect(run.stderr).toContain("error: the destination is sealed with other master keys; nothing was copied\n");
    expect(contentOf(copyOf(home))).toEqual(before);
  });
});

describe("the store that is copied from", () => {
  it.each([[[]], [["--json"]], [["--dry-run"]]])("must be there: %j", async (flags) => {
    const home = emptyHome();
    const before = treeOf(home.folder);
    const run = await copy(home, flags);
    expect(run.code).toBe(3);
    expect(run.stderr).toContain(`error: there is no store at sqlite:${home.database} (default)\n`);
    expect(treeOf(home.folder)).toEqual(before);
  });

  it("must hold a key", async () => {
    const home = await homeOf(["alice"]);
    await inProcess(home, ["purge", "-u", "alice", "--yes"]);
    const run = await copy(home, ["--json"]);
    expect([run.code, errorOf(run)?.code]).toEqual([3, "EMPTY_SELECTION"]);
    expect(existsSync(copyOf(home))).toBe(false);
  });

  it("is not its own destination, by whatever name", async () => {
    const home = await homeOf();
    symlinkSync(home.database, join(home.work, "link.db"));
    linkSync(home.database, join(home.work, "hard.db"));
    for (const to of ["../data/keyctl/keyctl.db", "link.db", "hard.db", home.database]) {
      const run = await inProcess(home, ["copy", "--to", `sqlite:${to}`, "--json"]);
      expect([run.code, errorOf(run)?.code]).toEqual([2, "USAGE"]);
      expect(errorOf(run)?.message).toBe("--to is the store to copy from");
    }
    const env = { KEYCTL_STORE: "mongodb://A.example,b.example:27017/keys" };
    const run = await inProcess(home, ["copy", "--to", "mongodb://b.example,a.example/keys?w=1", "--json"], { env });
    expect(errorOf(run)?.message).toBe("--to is the store to copy from");
  });
});

describe("the destination", () => {
  it("is taken from KEYCTL_COPY_TO, or from the file that KEYCTL_COPY_TO_FILE names", async () => {
    const home = await homeOf();
    writeFileSync(join(home.work, "place"), "sqlite:two.db\n");
    for (const [env, file] of [
      [{ KEYCTL_COPY_TO: "sqlite:one.db" }, "one.db"],
      [{ KEYCTL_COPY_TO_FILE: "place" }, "two.db"],
    ] as const) {
      const run = await inProcess(home, ["copy", "--create", "--json"], { env });
      expect(documentsOf(run)).toMatchObject([{ to: `sqlite:${join(home.work, file)}`, verified: 3 }]);
    }
  });

  it.each<
    readonly [title: string, env: Readonly<Record<string, string>>, to: readonly string[], exit: number, code: string]
  >([
    ["not named", {}, [], 2, "USAGE"],
    ["of no known kind", {}, ["--to", "copy.db"], 2, "USAGE"],
    ["of no known kind, from the environment", { KEYCTL_COPY_TO: "copy.db" }, [], 4, "CONFIG_INVALID"],
    ["without a database", {}, ["--to", "mongodb://db.example"], 2, "USAGE"],
    ["empty", { KEYCTL_COPY_TO: "" }, [], 4, "CONFIG_EMPTY"],
    ["named twice", { KEYCTL_COPY_TO: "sqlite:one.db" }, ["--to", "sqlite:two.db"], 4, "CONFIG_CONFLICT"],
    [
      "named in both variables",
      { KEYCTL_COPY_TO: "sqlite:one.db", KEYCTL_COPY_TO_FILE: "two" },
      [],
      4,
      "CONFIG_CONFLICT",
    ],
    ["with a password in argv", {}, ["--to", "mongodb://me:secret@db/keys"], 2, "SECRET_IN_ARGV"],
  ])("%s is an error", async (_title, env, to, exit, code) => {
    const home = await homeOf();
    const before = treeOf(home.folder);
    const run = await inProcess(home, ["copy", ...to, "--json"], { env });
    expect([run.code, errorOf(run)?.code]).toEqual([exit, code]);
    expect(treeOf(home.folder)).toEqual(before);
  });

  it("that fails in the middle ends it with its code, and the next run goes on", async () => {
    const home = await homeOf(Array.from({ length: 1_200 }, (_, index) => `user-${index}`));
    let inserts = 0;
    const around = (ports: Ports): Ports => ({
      ...ports,
      store: {
        ...ports.store,
        insertMany: (records, signal) => {
          inserts += 1;
          if (inserts === 3) throw new KeyctlError("STORE_UNAVAILABLE", "the disk is full");
          return ports.store.insertMany(records, signal);
        },
      },
    });
    const run = await copy(home, [], { around });
    expect(run.code).toBe(7);
    expect(run.stdout).toMatch(/^1,000 rows in \d+s: 1,000 copied\n$/);
    expect(run.stderr).toContain("note: copied keys stay in the destination; run it again to continue\n");
    expect(run.stderr).toContain("error: the disk is full\n");
    expect(documentsOf(await copy(home, ["--json"]))).toMatchObject([{ copied: 200, kept: 1_000, verified: 1_200 }]);
  });
});
