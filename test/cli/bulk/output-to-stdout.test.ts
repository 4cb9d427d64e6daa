import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { KEY } from "../../support/fixtures/keys.ts";
import { emptyHome } from "../../support/home/home.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";

it.each([
  ["sync", ["sync", "--user", "alice"], ""],
  ["import", ["import", "--csv", "-"], `user,key\nalice,${KEY}\n`],
])("--output - writes the documents of %s to standard output, and no file", async (_, words, input) => {
  const home = emptyHome();
  const env = { OPENROUTER_API_KEY: KEY };
  const run = await inProcess(home, [...words, "--output", "-"], { input, env });
  expect(run.code).toBe(0);
  expect(documentsOf(run)).toEqual([
    expect.objectContaining({ type: "user", user_id: "alice" }),
    expect.objectContaining({ type: "summary", complete: true }),
  ]);
  expect(existsSync(join(home.work, "-"))).toBe(false);
});

it("--output - is for many users, as a file is, and a failure is in the summary", async () => {
  const run = await inProcess(emptyHome(), ["get", "--user", "alice", "--output=-"]);
  expect(run.code).toBe(9);
  expect(documentsOf(run).map(({ type }) => type)).toEqual(["user", "summary"]);
});

it("points to the file where the lines of the failures are", async () => {
  const home = emptyHome();
  const args = ["get", "--stored", "--user", "alice", "--user", "bob"];
  expect((await inProcess(home, args)).stderr).toContain("hint: see the lines above");
  expect((await inProcess(home, [...args, "--output", "o.jsonl"])).stderr).toContain("hint: see o.jsonl");
});
