import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KEY } from "../../support/fixtures/keys.ts";
import { emptyHome } from "../../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../../support/programs/in-process.ts";
import { storedUsers } from "../../support/sqlite/database.ts";

const FIRST = "looks like CSV: its first line holds the names of columns";
const ONE = "looks like CSV: its first line holds the name of a column";
const BESIDE = "looks like CSV: a line of it holds a key beside something else";
const OBJECT = "looks like JSON: a line of it begins an object or a list";
const IMPORT_CSV = "keyctl import --csv u.txt ";
const IMPORT_JSON = "keyctl import --jsonl u.txt ";

const OTHERS = [
  ["CSV with a header", `user,key\nalice,${KEY}\n`, FIRST, IMPORT_CSV, BESIDE],
  ["CSV with more columns", `id,email,key\n1,a@b,${KEY}\n`, FIRST, IMPORT_CSV, BESIDE],
  ["CSV with quotes", `"User","Key"\n"alice","${KEY}"\n`, FIRST, IMPORT_CSV, BESIDE],
  ["CSV without a header", `alice,${KEY}\nbob,${KEY}\n`, BESIDE, IMPORT_CSV, BESIDE],
  ["CSV with masks", "alice,***************b465\n", BESIDE, "cut -d, -f1 u.txt ", BESIDE],
  ["keys behind semicolons", `alice;${KEY}\n`, BESIDE, "tr ';' , < u.txt | keyctl import --csv - ", BESIDE],
  ["keys behind tabs", `alice\t${KEY}\n`, BESIDE, "tr '\\t' , < u.txt | keyctl import --csv - ", BESIDE],
  ["an export of a database", "id,user_id,email\n1,alice,a@b\n", FIRST, "cut -d, -f2 u.txt | tail -n +2 ", FIRST],
  ["columns with quotes", '"id","email"\n"alice","a@b"\n', FIRST, "one user id per line, without quotes", FIRST],
  ["columns of customers", "customer_id,email\n1,a@b\n", FIRST, "a users file has one user id per line", FIRST],
  ["columns of people", "name,email\nalice,a@b\n", FIRST, "a users file has one user id per line", FIRST],
  ["names of two words", "id,created at\nalice,now\n", FIRST, "cut -d, -f1 u.txt | tail -n +2 ", FIRST],
  ["columns between bars", "id|name\nalice|Alice\n", FIRST, "cut -d'|' -f1 u.txt | tail -n +2 ", FIRST],
  ["one column with its name", "user_id\nalice\n", ONE, "tail -n +2 u.txt ", ONE],
  ["CSV without keys", "plan,user_id\nfree,alice\n", FIRST, "cut -d, -f2 u.txt | tail -n +2 ", FIRST],
  ["CSV with semicolons", "user_id;plan\nalice;free\n", FIRST, "cut -d';' -f1 u.txt | tail -n +2 ", FIRST],
  ["a table with tabs", "user\tplan\nalice\tfree\n", FIRST, "cut -f1 u.txt | tail -n +2 ", FIRST],
  ["JSONL", `{"user":"alice","key":"${KEY}"}\n`, OBJECT, IMPORT_JSON, OBJECT],
  ["JSONL of rows", '{"id":1,"user_id":"alice"}\n', OBJECT, "jq -r .user_id u.txt ", OBJECT],
  ["a JSON list of objects", '[{"id":"alice"}]\n', OBJECT, "jq -r '.[].id' u.txt ", OBJECT],
  ["an object with a list", '{"users":["alice"]}\n', OBJECT, "a users file has one user id per line", OBJECT],
  ["JSONL without keys", '\n\n{"type":"user","user_id":"alice"}\n', OBJECT, "jq -r .user_id u.txt ", OBJECT],
  ["a JSON list", '["alice","bob"]\n', OBJECT, "jq -r '.[]' u.txt ", OBJECT],
  ["printed JSON", '[\n  "alice"\n]\n', OBJECT, "jq -r '.[]' u.txt ", OBJECT],
] as const;

describe("a users file in another form", () => {
  it.each(OTHERS)("is named, with what takes it, before anything is done: %s", async (_, content, because, hint) => {
    const home = emptyHome();
    writeFileSync(join(home.work, "u.txt"), content);
    const run = await inProcess(home, ["sync", "--users-file", "u.txt", "--json"], {
      env: { OPENROUTER_API_KEY: KEY },
    });
    expect(run.code).toBe(2);
    expect(documentsOf(run)).toHaveLength(1);
    expect(errorOf(run)).toMatchObject({ code: "USAGE", hint: expect.stringContaining(hint) });
    expect([because, BESIDE, FIRST, ONE].map((text) => `the users file u.txt ${text}`)).toContain(
      errorOf(run)?.message,
    );
    expect(run.stdout + run.stderr).not.toContain("b465");
    expect(existsSync(home.database)).toBe(false);
  });

  it.each(OTHERS)("is named on a pipe, too, and no user is stored: %s", async (_, content) => {
    const home = emptyHome();
    const args = ["sync", "--users-file", "-", "--json"];
    const run = await inProcess(home, args, { input: content, env: { OPENROUTER_API_KEY: KEY } });
    expect(run.code).toBe(2);
    expect(errorOf(run)?.message).toContain("standard input looks like ");
    expect(run.stdout + run.stderr).not.toContain("b465");
    expect(await storedUsers(home)).toEqual([]);
  });

  it.each([
    ["ids with commas", "Doe, John\nDoe, User\n"],
    ["ids with braces", "{3F2504E0-4F89-11D3}\n[admin]\n"],
    ["a heading of one word", "user\nalice\n"],
    ["a key in its name's place only", "key,ring\n"],
  ])("is not seen in %s", async (_, content) => {
    const home = emptyHome();
    const args = ["sync", "--users-file", "-", "--json"];
    const run = await inProcess(home, args, { input: content, env: { OPENROUTER_API_KEY: KEY } });
    expect(run.code).toBe(0);
  });
});

it.each([
  ["a key", KEY],
  ["a key in capitals", KEY.toUpperCase()],
  ["a shortened key", "sk-or-v1-0e6...1c96"],
  ["a mask", "***************b465"],
])("%s in a users file is no user id, and only its own line fails", async (_, text) => {
  const home = emptyHome();
  const args = ["sync", "--users-file", "-", "--json"];
  const run = await inProcess(home, args, { input: `alice\n${text}\n`, env: { OPENROUTER_API_KEY: KEY } });
  expect(run.code).toBe(9);
  expect(documentsOf(run)[1]).toMatchObject({ type: "user", error: { code: "BAD_USER_ID" } });
  expect((run.stdout + run.stderr).toLowerCase()).not.toContain(text.toLowerCase().slice(0, -4).replaceAll("*", "?"));
  expect(await storedUsers(home)).toEqual(["alice"]);
});
