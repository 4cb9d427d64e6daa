import { readFileSync, renameSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { withDatabase } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { inProcess } from "../support/programs/in-process.ts";
import { hashOf, KEY, keyEnding, OTHER, USER } from "../support/fixtures/keys.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const plain = { NO_COLOR: "1" };

const FOUND_INVALID = "warning: 1 key was found invalid before: keyctl list --verdict invalid   names it\n";

function golden(name: string): string {
  return readFileSync(new URL(`../golden/${name}.log`, import.meta.url), "utf8");
}

interface Row {
  readonly user: string;
  readonly key: string;
  readonly origin: string;
  readonly ageMs: number;
  readonly check?: { readonly verdict: "valid" | "invalid"; readonly ageMs: number };
}

const ROWS: readonly Row[] = [
  { user: USER, key: KEY, origin: "key.txt", ageMs: 47 * DAY, check: { verdict: "valid", ageMs: 2 * HOUR } },
  {
    user: "alice@example.com",
    key: keyEnding("77e0"),
    origin: "manual",
    ageMs: 11 * DAY,
    check: { verdict: "invalid", ageMs: 2 * HOUR },
  },
  { user: "bob", key: keyEnding("0c4d"), origin: "environment", ageMs: 201 * DAY },
  { user: "very-long-user-id-from-a-sign-up-form@example.com", key: OTHER, origin: "key.txt", ageMs: 80 * DAY },
];

async function homeWith(rows: readonly Row[]): Promise<Home> {
  const home = emptyHome();
  for (const { user, key, origin } of rows) {
    await inProcess(home, ["save", `--user=${user}`, "--stdin", "--source", origin], { input: key });
  }
  await withDatabase(home, (database) => {
    const change = database.prepare("UPDATE api_keys SET created_at = ?, last_check = ? WHERE user_id = ?");
    for (const { user, ageMs, check } of rows) {
      const lastCheck = check && { at: ago(check.ageMs), verdict: check.verdict, reason: null };
      change.run(ago(ageMs), lastCheck === undefined ? null : JSON.stringify(lastCheck), user);
    }
  });
  return home;
}

/** A minute more than that, so that the test's own time does not round it down. */
function ago(milliseconds: number): string {
  return new Date(Date.now() - milliseconds - 60_000).toISOString();
}

/** Times on a pipe, as one word. */
function timeless(text: string): string {
  return text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME");
}

describe("list", () => {
  it("is a table on a terminal of 80 columns", async () => {
    const home = await homeWith(ROWS);
    const run = await inProcess(home, ["list"], { columns: 80, env: plain });
    expect(run.stdout).toBe(`\
USER                             KEY                  ORIGIN       AGE   CHECKED
68e228e87f803a11a4e23045         ***************b465  key.txt      47d   ✓ 2h
alice@example.com                ***************77e0  manual       11d   ✗ 2h
bob                              ***************0c4d  environment  201d  never
very-long-user-id-from-a-sign-…  ***************91aa  key.txt      80d   never
`);
    expect(run.stderr).toBe(`4 keys in sqlite:${home.database} (default)\n${FOUND_INVALID}`);
  });

  it("gives the room of a terminal of 60 columns to the keys", async () => {
    const run = await inProcess(await homeWith(ROWS), ["list"], { columns: 60, env: plain });
    expect(run.stdout).toBe(`\
USER         KEY                  ORIGIN       AGE   CHECKED
68e228e87f…  ***************b465  key.txt      47d   ✓ 2h
alice@exam…  ***************77e0  manual       11d   ✗ 2h
bob          ***************0c4d  environment  201d  never
very-long-…  ***************91aa  key.txt      80d   never
`);
  });

  it("shows when keys expire and what they may spend, where that is known and there is room", async () => {
    const home = await homeWith(ROWS);
    await withDatabase(home, (database) => {
      const check = { at: ago(2 * HOUR), verdict: "valid", reason: null, limit: 2.5, expires_at: ago(-10 * DAY) };
      const change = database.prepare("UPDATE api_keys SET last_check = ? WHERE user_id = ?");
      change.run(JSON.stringify(check), USER);
      change.run(JSON.stringify({ ...check, limit: null, expires_at: null }), "bob");
    });
    const wide = await inProcess(home, ["list"], { columns: 80, env: plain });
    expect(wide.stdout).toBe(`\
USER             KEY                  ORIGIN       AGE   CHECKED  EXPIRES  LIMIT
68e228e87f803a…  ***************b465  key.txt      47d   ✓ 2h     9d       $2.50
alice@example.…  ***************77e0  manual       11d   ✗ 2h     -        -
bob              ***************0c4d  environment  201d  ✓ 2h     never    none
very-long-user…  ***************91aa  key.txt      80d   never    -        -
`);
    const narrow = await inProcess(home, ["list"], { columns: 70, env: plain });
    expect(narrow.stdout).toMatch(/^USER +KEY +ORIGIN +AGE +CHECKED\n/);
  });

  it("is tab-separated, untruncated and without a title off a terminal", async () => {
    const run = await inProcess(await homeWith(ROWS), ["list"]);
    expect(timeless(run.stdout)).toBe(
      [
        `${USER}\t***************b465\tkey.txt\tTIME\tvalid TIME\t-\t-\n`,
        "alice@example.com\t***************77e0\tmanual\tTIME\tinvalid TIME\t-\t-\n",
        "bob\t***************0c4d\tenvironment\tTIME\tnever\t-\t-\n",
        "very-long-user-id-from-a-sign-up-form@example.com\t***************91aa\tkey.txt\tTIME\tnever\t-\t-\n",
      ].join(""),
    );
  });

  it("aligns wide characters, and escapes those that hide, reorder or colour", async () => {
    const users = ["a\u200bb", "c\u202ed", "한국", "名前テスト", "é́", "🦊"];
    const rows = users.map((user) => ({ user, key: KEY, origin: "manual", ageMs: DAY }));
    const run = await inProcess(await homeWith(rows), ["list"], { columns: 80, env: plain });
    expect(run.stdout).toBe(`\
USER        KEY                  ORIGIN  AGE  CHECKED
a\\u200bb    ***************b465  manual  1d   never
c\\u202ed    ***************b465  manual  1d   never
é́           ***************b465  manual  1d   never
名前テスト  ***************b465  manual  1d   never
한국        ***************b465  manual  1d   never
🦊          ***************b465  manual  1d   never
`);
  });

  it("says where no store exists yet, and how to make one", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["list"], { columns: 80, env: plain });
    expect(run.stdout).toBe("");
    expect(run.stderr).toBe(`no store exists yet at sqlite:${home.database} (default)\nhint: keyctl sync --help\n`);
  });

  it("names the variable that the store came from", async () => {
    const home = await homeWith(ROWS.slice(0, 1));
    const store = `sqlite:${home.database}`;
    const run = await inProcess(home, ["list"], { env: { KEYCTL_STORE: store } });
    expect(run.stderr).toBe(`1 key in ${store} (from KEYCTL_STORE)\n`);
  });

  it("counts the keys that are stored in plain text", async () => {
    const home = await homeWith(ROWS);
    await withDatabase(home, (database) =>
      database.prepare("UPDATE api_keys SET key_encrypted = ? WHERE user_id = 'bob'").run(OTHER),
    );
    const run = await inProcess(home, ["list"]);
    expect(run.stderr).toBe(
      `4 keys in sqlite:${home.database} (default)\n${FOUND_INVALID}hint: 1 key is stored in plain text; keyctl rekey encrypts it\n`,
    );
  });

  it("goes on behind a row that holds no key, and names its user in the hint", async () => {
    const home = await homeWith(ROWS);
    await withDatabase(home, (database) =>
      database.exec("UPDATE api_keys SET key_encrypted = 'nonsense' WHERE user_id = 'bob'"),
    );
    const run = await inProcess(home, ["list"]);
    expect(run.code).toBe(9);
    expect(run.stdout.split("\n")).toHaveLength(5);
    expect(timeless(run.stdout)).toContain("bob\tunreadable\tenvironment\tTIME\tnever\t-\t-\n");
    const json = await inProcess(home, ["list", "--json"]);
    expect(json.stdout).toContain('"hint":"keyctl save --user bob --replace"');
  });

  it.each([
    [["--source", "manual"], "alice@example.com"],
    [["--verdict", "valid"], USER],
    [["--verdict", "invalid"], "alice@example.com"],
    [["--verdict", "never", "--source", "environment"], "bob"],
    [["--hash", hashOf(OTHER)], "very-long-user-id-from-a-sign-up-form@example.com"],
    [["--hash", hashOf(OTHER).toUpperCase()], "very-long-user-id-from-a-sign-up-form@example.com"],
  ])("%j shows only those", async (flags, user) => {
    const home = await homeWith(ROWS);
    const run = await inProcess(home, ["list", ...flags]);
    expect(run.stdout.split("\n").map((line) => line.split("\t")[0])).toEqual([user, ""]);
    expect((await inProcess(home, ["list", "--count", ...flags])).stdout).toBe("1\n");
    expect((await inProcess(home, ["list", "--count", "--json", ...flags])).stdout).toBe('{"count":1,"error":null}\n');
  });

  it("shows the terms of a key that was made, and finds those that end soon or have ended", async () => {
    const home = await homeWith(ROWS);
    await withDatabase(home, (database) => {
      const make = database.prepare(
        `UPDATE api_keys SET generation = 1, "limit" = 2.5, limit_reset = 'monthly', expires_at = ? WHERE user_id = ?`,
      );
      make.run(ago(-10 * DAY), USER);
      make.run(ago(DAY), "bob");
      make.run(ago(-20 * DAY), "alice@example.com");
    });
    const usersWithin = async (duration: string) =>
      (await inProcess(home, ["list", "--expires-within", duration])).stdout
        .split("\n")
        .map((line) => line.split("\t")[0]);
    expect(await usersWithin("1h")).toEqual(["bob", ""]);
    expect(await usersWithin("14d")).toEqual([USER, "bob", ""]);
    expect(await usersWithin("90d")).toEqual([USER, "alice@example.com", "bob", ""]);
    const json = await inProcess(home, ["list", "--expires-within", "14d", "--json"]);
    expect(json.stdout).toContain(
      '"limit":2.5,"limit_now":2.5,"limit_restore_at":null,"limit_reset":"monthly","expires_at":"20',
    );
    const shown = await inProcess(home, ["list"]);
    expect(timeless(shown.stdout)).toContain("TIME\tvalid TIME\tTIME\t$2.50\n");
    expect(timeless(shown.stdout)).toContain("TIME\tnever\tTIME\t$2.50\n");
    expect(shown.stderr).toContain("warning: 1 key has expired: keyctl validate --all   asks OpenRouter\n");
    const all = await inProcess(home, ["list", "--json", "--source", "key.txt", "--verdict", "never"]);
    expect(all.stdout).toContain(
      '"limit":null,"limit_now":null,"limit_restore_at":null,"limit_reset":null,"expires_at":null',
    );
  });

  it("lets a row that is longer than the first ones run to the end of its line", async () => {
    const home = await homeWith(ROWS.slice(0, 1));
    const users = Array.from({ length: 520 }, (_, index) => `user-${String(index).padStart(4, "0")}`);
    await inProcess(home, ["sync", "--users-file", "-"], { input: users.join("\n"), env: { OPENROUTER_API_KEY: KEY } });
    const run = await inProcess(home, ["list"], { columns: 80, env: plain });
    const lines = run.stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(522);
    expect(new Set(lines.map((line) => line.indexOf("***"))).size).toBe(2);
    expect(lines.filter((line) => line.includes("…"))).toEqual([]);
  });
});

describe("get", () => {
  it("is a card, with the way to the bare key", async () => {
    const home = await homeWith(ROWS);
    const run = await inProcess(home, ["get", "--user", USER], { columns: 80, env: plain });
    expect(run.stdout).toBe(`\
User        ${USER}
Key         ***************b465
Source      database (saved from key.txt, ${ago(47 * DAY).slice(0, 10)})
Limit       unknown
Expires     unknown
Last check: valid, 2 h ago
Hash        ${hashOf(KEY)}
`);
    expect(run.stderr).toBe(`hint: keyctl get --user ${USER} --reveal   prints the bare key\n`);
  });

  it("says that it has just saved the key", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    const run = await inProcess(home, ["get", "--user", USER]);
    expect(run.stdout).toContain(
      "\nSource      key.txt (now in the database)\nLimit       unknown\nExpires     unknown\nLast check: never\n",
    );
    expect(run.stderr).toContain("[KeyManager] ✅ Saved key to database (source: key.txt): ***************b465\n");
  });

  it("--reveal prints the bare key and nothing else", async () => {
    const home = await homeWith(ROWS);
    const run = await inProcess(home, ["get", "--user", USER, "--reveal"], { columns: 80 });
    expect(run).toMatchObject({ code: 0, stdout: `${KEY}\n`, stderr: "" });
  });

  it("--reveal prints nothing at all when there is no key", async () => {
    const run = await inProcess(emptyHome(), ["get", "--user", USER, "--reveal"]);
    expect(run).toMatchObject({ code: 3, stdout: "" });
  });

  it("--reveal of many wants JSON, so that each key names its user", async () => {
    const home = await homeWith(ROWS);
    const run = await inProcess(home, ["get", "--all", "--reveal"]);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    const json = await inProcess(home, ["get", "--all", "--reveal", "--json"]);
    expect(json.stdout).toContain(`"user_id":"bob","key":"${keyEnding("0c4d")}","revealed":true`);
  });

  it("--stored leaves key.txt alone, and makes no store", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    expect((await inProcess(home, ["get", "--user", USER, "--stored"])).code).toBe(3);
    expect((await inProcess(home, ["list"])).stderr).toContain("no store exists yet");
  });
});

describe("sync", () => {
  it("ends with the mask and its source on stdout", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    const run = await inProcess(home, ["sync", "--user", USER], { columns: 80, env: plain });
    expect(run.stdout).toBe("***************b465 (source: key.txt)\n");
    expect(run.log).toBe(golden("sync-from-file"));
  });

  it("says how to use the key that lost", async () => {
    const home = await homeWith(ROWS);
    home.writeKeyFile(OTHER);
    const run = await inProcess(home, ["sync", "--user", USER], { columns: 80, env: plain });
    expect(run.stdout).toBe("***************b465 (source: database)\n");
    expect(run.stderr).toBe(
      `${golden("sync-database-over-file")}hint: ./key.txt holds another key, ending 91aa; to use it instead:\n` +
        `      keyctl save --user ${USER} --from-file key.txt --replace\n`,
    );
  });

  it.each([
    ["KEYCTL_KEY_FILE", { KEYCTL_KEY_FILE: "../o'key.txt" }, `'../o'\\''key.txt'`, `--from-file '../o'\\''key.txt'`],
    [
      "OPENROUTER_API_KEY_FILE",
      { OPENROUTER_API_KEY_FILE: "../o'key.txt" },
      `'../o'\\''key.txt'`,
      `--from-file '../o'\\''key.txt'`,
    ],
  ])("names the file that %s names", async (_, env, shown, flag) => {
    const home = await homeWith(ROWS);
    home.writeKeyFile(OTHER);
    renameSync(`${home.work}/key.txt`, `${home.folder}/o'key.txt`);
    const run = await inProcess(home, ["sync", "--user", "bob"], { env });
    expect(run.stderr).toContain(
      `hint: ${shown} holds another key, ending 91aa; to use it instead:\n      keyctl save --user bob ${flag} --replace\n`,
    );
  });

  it("names the variable that holds another key", async () => {
    const home = await homeWith(ROWS);
    const run = await inProcess(home, ["sync", "--user", "bob"], { env: { OPENROUTER_API_KEY: OTHER } });
    expect(run.stderr).toContain(
      "hint: OPENROUTER_API_KEY holds another key, ending 91aa; to use it instead:\n" +
        "      printenv OPENROUTER_API_KEY | keyctl save --user bob --stdin --replace\n",
    );
  });

  it("that finds nothing says so, and what to do", async () => {
    const run = await inProcess(emptyHome(), ["sync", "--user", "bob"], { columns: 80, env: plain });
    const log = golden("sync-no-key").replace("68e228e8", "bob");
    expect(run).toMatchObject({
      stdout: "",
      stderr: `${log}error: no key for user bob\nhint: keyctl save --user bob\n`,
    });
  });

  it("-q leaves only errors, and the reason for ignoring key.txt", async () => {
    const home = emptyHome();
    home.writeKeyFile("hello");
    const run = await inProcess(home, ["sync", "--user", "bob", "-q"]);
    expect(run.stderr).toBe(
      "warning: key.txt holds something other than one valid key\nerror: no key for user bob: " +
        "key.txt is there and holds no valid key\n",
    );
  });

  it("of many is a table and a summary, and errors may run over the line", async () => {
    const home = await homeWith(ROWS);
    const run = await inProcess(home, ["sync", "--users-file", "-"], {
      columns: 60,
      env: plain,
      input: `${USER}\n bob\nbob\ncarol\n`,
    });
    expect(run.stdout).toBe(`\
USER           KEY                  SOURCE
68e228e87f80…  ***************b465  database
 bob           -                    the user id ' bob' begins or ends with a blank
bob            ***************0c4d  database
carol          -                    no key for user carol
`);
    expect(run.stderr.replace(/in \d+s/, "in 0s")).toBe(`\
4 users in 0s: 2 from database, 2 failed
error: 2 of 4 users failed
hint: see the lines above
`);
  });
});

describe("colour", () => {
  it.each([
    ["a terminal", { columns: 80 }, true],
    ["a pipe", {}, false],
    ["a terminal with NO_COLOR", { columns: 80, env: { NO_COLOR: "1" } }, false],
    ["a terminal with TERM=dumb", { columns: 80, env: { TERM: "dumb" } }, false],
  ])("on %s", async (_, options, coloured) => {
    const home = await homeWith(ROWS);
    for (const args of [["list"], ["get", "--user", "bob"], ["sync", "--user", "nobody"]]) {
      const run = await inProcess(home, args, options);
      expect(`${run.stdout}${run.stderr}`.includes("\u001b[")).toBe(coloured);
      const without = await inProcess(home, [...args, "--no-color"], options);
      expect(`${without.stdout}${without.stderr}`).not.toContain("\u001b[");
    }
  });
});
