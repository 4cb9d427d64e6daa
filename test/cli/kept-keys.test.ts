import { describe, expect, it } from "vitest";
import { hashOf, KEY, keyEnding, OTHER } from "../support/fixtures/keys.ts";
import { always } from "../support/openrouter/faults.ts";
import { storedUsers } from "../support/sqlite/database.ts";
import { deploymentOf, everythingIn, journalOf, note, operation, stage } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import type { Run } from "../support/programs/keyctl.ts";

const ALICE = "2bd806c97f0e";
const WIDE = { columns: 200, env: { NO_COLOR: "1" } };
const findingsOf = (run: Run) => documentsOf(run).filter(({ type }) => type === "finding");
const summaryOf = (run: Run) => documentsOf(run).at(-1);

/** Alice's first key was replaced and left alive, and so was bob's, by a purge. */
async function withKept(): Promise<Stage> {
  const all = await stage();
  await all.given("provision --user alice --limit 5");
  await all.given("save --user alice --stdin --replace", { input: KEY });
  await all.given("provision --user bob --limit none");
  await all.given("purge --user bob --yes");
  await all.given("provision --user carol --limit none");
  return all;
}

/** What else may be listed: keys of another database, of nobody, of no record, in no row, and an orphan. */
async function withOthers(): Promise<Stage> {
  const all = await withKept();
  const { home, server } = all;
  const mine = await deploymentOf(home);
  server.addKey(keyEnding("a1"), { name: `keyctl/00112233aabbccdd/${ALICE}/1-00112233aabbccdd` });
  server.addKey(keyEnding("a2"), { name: `keyctl/00112233aabbccdd/${ALICE}/2-00112233aabbccdd` });
  server.addKey(keyEnding("a3"), { name: "by hand" });
  server.addKey(keyEnding("a4"), { name: `keyctl/${mine}/${ALICE}/77-00112233aabbccdd` });
  await note(home, "alice", operation(2));
  await note(home, "alice", { kind: "out", n: 2, outcome: "abandoned" });
  server.addKey(keyEnding("a5"), { name: `keyctl/${mine}/${ALICE}/2-00112233aabbccdd` });
  return all;
}

describe("reconcile counts", () => {
  it("each listed key once: the numbers add up", async () => {
    const { server, run } = await withOthers();
    const seen = await run("reconcile");
    const [, listed, sum = ""] = /^(\d+) keys at OpenRouter: (.*?);/m.exec(seen.stderr) ?? [];
    expect(sum).toBe(
      "1 matched, 2 kept, 1 to remove, 2 of other databases, 1 without a row or a record, 1 not created by keyctl",
    );
    const numbers = (sum.match(/\d+/g) ?? []).map(Number);
    expect([Number(listed), numbers.reduce((total, count) => total + count)]).toEqual([8, server.keys.size]);
    const summary = summaryOf(await run("reconcile --json"));
    const { matched, kept, to_delete, undecided, other_deployment, unexplained, not_ours } = summary as never;
    expect(matched + kept + to_delete + undecided + other_deployment + unexplained + not_ours).toBe(8);
    expect(summary).toMatchObject({ listed: 8, kept: 2, to_fix: 1, reported: 1, noted: 2 });
  });

  it("keys of other databases and kept keys in one line each, which --verbose lists", async () => {
    const { run } = await withOthers();
    const short = await run("reconcile", WIDE);
    expect(short.stdout).toMatch(/^other deployment +- +2 keys +keyctl reconcile --verbose {3}lists them$/m);
    expect(short.stdout).toMatch(/^kept +- +2 keys +keyctl reconcile --verbose {3}lists them$/m);
    const long = await run("reconcile --verbose", WIDE);
    expect(long.stdout.match(/^other deployment /gm)).toHaveLength(2);
    expect(long.stdout).not.toContain("lists them");
    expect(long.stdout).toMatch(
      /^kept +alice +keyctl\/\S+ +(new|\d+ seconds? old), limit \$5, keyctl reconcile --user alice --include-kept --fix {3}deletes it$/m,
    );
    expect(long.stdout).toMatch(/^kept +bob .*, no limit, keyctl reconcile --user bob --include-kept --fix/m);
  });

  it("with --user only that user's keys", async () => {
    const { run } = await withOthers();
    expect((await run("reconcile --user bob")).stderr).toContain(
      "1 key at OpenRouter: 0 matched, 1 kept, 0 to remove; 0 warnings\n",
    );
    expect(summaryOf(await run("reconcile --user alice --json"))).toMatchObject({ listed: 3, kept: 1, not_ours: 0 });
    expect(summaryOf(await run("reconcile --user nobody --json"))).toMatchObject({ listed: 0, not_ours: 0 });
  });
});

describe("reconcile --include-kept", () => {
  it("names the keys that were kept, and removes nothing without --fix", async () => {
    const { home, server, run } = await withKept();
    const before = await everythingIn(home);
    const seen = await run("reconcile --include-kept --json");
    expect(findingsOf(seen)).toMatchObject([
      { class: "kept", user_id: "alice", action: "delete", done: false, limit: 5 },
      { class: "kept", user_id: "bob", action: "delete", done: false, limit: null },
    ]);
    expect(findingsOf(seen)[0]?.["created_at"]).toMatch(/Z$/);
    expect([seen.code, summaryOf(seen)]).toMatchObject([10, { kept: 0, to_fix: 2 }]);
    expect([await everythingIn(home), server.keys.size]).toEqual([before, 3]);
    expect((await run("reconcile --include-kept")).stderr).toContain("hint: keyctl reconcile --include-kept --fix\n");
  });

  it("with --fix marks them for deletion first, then removes them", async () => {
    const { home, server, run } = await withKept();
    const done = await run("reconcile --include-kept --fix --json");
    expect([done.code, server.keys.size, await storedUsers(home)]).toEqual([0, 1, ["alice", "carol"]]);
    expect(findingsOf(done).map((finding) => [finding["class"], finding["done"]])).toEqual([
      ["kept", true],
      ["kept", true],
    ]);
    expect(await journalOf(home)).toContain("del:1");
    expect(await journalOf(home, "bob")).toContain("del:1");
    expect(await journalOf(home, "carol")).not.toContain("del:1");
  });

  it("of one user leaves the others", async () => {
    const { server, given } = await withKept();
    await given("reconcile --include-kept --fix --user bob");
    expect(server.keys.size).toBe(2);
  });

  it("that was interrupted is finished by any reconcile --fix", async () => {
    const { home, server, run, given } = await withKept();
    server.behave(always("DELETE /keys/{hash}", { status: 400 }));
    const stopped = await run("reconcile --include-kept --fix --json --user alice");
    expect(findingsOf(stopped)).toMatchObject([{ class: "kept", done: false, error: { code: "REVOKE_PENDING" } }]);
    expect(await journalOf(home)).toContain("del:1");
    server.behave(() => "pass");
    await given("reconcile --fix");
    expect(server.keys.size).toBe(2);
  });

  it("leaves a key that somebody has saved again", async () => {
    const { home, server, run, given } = await stage();
    await given("provision --user alice --limit 5");
    const key = (await given("get --user alice --reveal")).stdout.trim();
    await given("save --user alice --stdin --replace", { input: OTHER });
    await given("save --user bob --stdin", { input: key });
    const before = await journalOf(home);
    const done = await run("reconcile --include-kept --fix --json");
    expect([findingsOf(done), server.keys.has(hashOf(key)), await journalOf(home)]).toEqual([[], true, before]);
    expect(summaryOf(done)).toMatchObject({ kept: 1, to_fix: 0 });
  });

  it("counts towards the limits of --fix", async () => {
    const { server, run, given } = await stage();
    const users = Array.from({ length: 11 }, (_, index) => `user${index}`).join("\n");
    await given("provision --users-file - --max-keys 11", { input: users });
    await given("purge --users-file - --yes", { input: users });
    const refused = await run("reconcile --include-kept --fix");
    expect([refused.code, server.keys.size]).toEqual([2, 11]);
    expect(refused.stderr).toContain("hint: keyctl reconcile --include-kept --fix --confirm 11\n");
    await given("reconcile --include-kept --fix --confirm 11");
    expect(server.keys.size).toBe(0);
  });
});
