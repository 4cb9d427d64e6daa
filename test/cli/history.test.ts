import { describe, expect, it } from "vitest";
import type { HistoryEvent } from "../../src/core/model/history-event.ts";
import { eventOf, withEvents } from "../support/fixtures/history-events.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";

const DAY = 86_400_000;

async function homeWith(...events: readonly HistoryEvent[]): Promise<Home> {
  const home = emptyHome();
  await inProcess(home, ["sync", "--user", "zoe"], { env: { OPENROUTER_API_KEY: KEY } });
  await withEvents(home, events);
  return home;
}

function ofBob(ageMs: number): HistoryEvent {
  const actor = {
    osUser: "runner",
    host: "vm-1",
    ci: "GitHub Actions, acme/shop, job deploy, run 42",
    command: "purge",
  };
  const reason = "left the company; the ticket is HR-4711, and his manager was told on the phone";
  return eventOf({
    userId: "bob",
    event: "blocked",
    keyHash: null,
    keyTail: null,
    generation: null,
    actor,
    reason,
    ageMs,
  });
}

const story = () =>
  homeWith(
    eventOf({ userId: "alice", ageMs: 1000, reason: "quarterly" }),
    ofBob(2 * DAY),
    eventOf({
      userId: "alice",
      ageMs: 3 * DAY,
      event: "created",
      generation: 1,
      keyHash: hashOf(OTHER),
      keyTail: "91aa",
    }),
  );

/** What is listed of alice and bob: the event and its user. */
function listedIn(run: { readonly stdout: string }): readonly string[] {
  return documentsOf(run)
    .filter(({ user_id: user }) => user !== "zoe")
    .map(({ event, user_id: user }) => `${String(event)} ${String(user)}`);
}

describe("history", () => {
  it.each([
    [
      ["--user", "alice"],
      ["rotated alice", "created alice"],
    ],
    [
      ["--since", "400d"],
      ["rotated alice", "blocked bob", "created alice"],
    ],
    [
      ["--since", "50h"],
      ["rotated alice", "blocked bob"],
    ],
    [["--hash", hashOf(OTHER)], ["created alice"]],
    [["--hash", hashOf(OTHER).toUpperCase()], ["created alice"]],
    [["--user", "alice", "--since", "1d"], ["rotated alice"]],
    [["--user", "bob", "--hash", hashOf(OTHER)], []],
    [["--user", "alice", "--limit", "1"], ["rotated alice"]],
  ])("of %j is newest first", async (flags, expected) => {
    const run = await inProcess(await story(), ["history", ...flags, "--json"]);
    expect([run.code, run.stderr]).toEqual([0, ""]);
    expect(listedIn(run)).toEqual(expected);
  });

  it("is one document a line, with every field", async () => {
    const run = await inProcess(await story(), ["history", "--user", "alice", "--limit", "1", "--json"]);
    expect(documentsOf(run)).toEqual([
      {
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        user_id: "alice",
        event: "rotated",
        key_hash: hashOf(KEY),
        key: maskOf(KEY),
        generation: 2,
        actor: { os_user: "ann", host: "ops1", ci: null, command: "rotate" },
        reason: "quarterly",
      },
    ]);
    const bob = await inProcess(await story(), ["history", "--user", "bob", "--json"]);
    expect(documentsOf(bob)).toMatchObject([
      { key_hash: null, key: null, generation: null, actor: { ci: "GitHub Actions, acme/shop, job deploy, run 42" } },
    ]);
  });

  it("off a terminal has exact times and whole texts, with tabs between", async () => {
    const run = await inProcess(await story(), ["history", "--user", "bob"]);
    expect(run.stdout).toMatch(
      /^\d{4}-.*Z\tblocked\tbob\t-\tGitHub Actions, acme\/shop, job deploy, run 42 \(purge\)\tleft the company; .* on the phone\n$/,
    );
    expect(run.stderr).toMatch(/^1 event in sqlite:.*\n$/);
  });

  it.each([80, 60])("is a table on a terminal of %i columns", async (columns) => {
    const home = await story();
    const run = await inProcess(home, ["history", "--since", "400d"], { columns, env: { NO_COLOR: "1" } });
    const lines = run.stdout.trimEnd().split("\n");
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
    const title = lines[0] ?? "";
    expect(title.split(/\s+/)).toEqual(["WHEN", "EVENT", "USER", ...(columns === 80 ? ["KEY"] : []), "BY", "REASON"]);
    // A reason goes on below its beginning, and below no other column.
    const begins = lines.findIndex((line) => line.includes("left the"));
    const next = lines[begins + 1] ?? "";
    expect(next.slice(0, title.indexOf("REASON")).trim()).toBe("");
    expect(next.slice(title.indexOf("REASON"))).toMatch(/^\S/);
    expect(lines.join("").replaceAll(/\s+/g, "")).toContain("HR-4711,andhismanagerwastoldonthephone");
  });

  it.each([
    [["--user", "eve"], "no event of user eve in "],
    [["--user", "eve", "--since", "7d"], "no event of user eve in the last 7 days in "],
    [["--hash", "0".repeat(64)], `no event about the key with the hash ${"0".repeat(64)} in `],
  ])("of nothing says so and is no error: %j", async (flags, sentence) => {
    const run = await inProcess(await story(), ["history", ...flags]);
    expect([run.code, run.stdout, run.stderr.startsWith(sentence)]).toEqual([0, "", true]);
    const json = await inProcess(await story(), ["history", ...flags, "--json"]);
    expect([json.code, json.stdout, json.stderr]).toEqual([0, "", ""]);
  });

  it("says that there are older events than --limit shows", async () => {
    const home = await story();
    const said = async (limit: string) =>
      (await inProcess(home, ["history", "--user", "alice", "--limit", limit])).stderr;
    expect(await said("1")).toMatch(/^1 event in .*; there are older ones\n$/);
    expect(await said("2")).toMatch(/^2 events in .*\)\n$/);
  });

  it("without a user, a time or a hash says what to give", async () => {
    const run = await inProcess(await story(), ["history", "--json"]);
    expect(errorOf(run)).toMatchObject({ code: "USAGE", hint: "keyctl history --since 7d" });
  });

  it("without a store says that there is none, and makes none", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["history", "--since", "7d"]);
    expect([run.code, run.stderr.startsWith("no store exists yet at ")]).toEqual([0, true]);
    expect((await inProcess(home, ["list"])).stderr).toContain("no store exists yet");
  });

  it("escapes hostile ids, reasons and names, and shows no key that another program put there", async () => {
    const actor = { osUser: "\u001B[2Jroot", host: "\u202Ehost", ci: null, command: KEY };
    const evil = eventOf({ userId: "al\u202Eice", reason: `\u001B]0;x\u0007${KEY}`, keyTail: KEY, actor });
    const home = await homeWith(evil);
    for (const flags of [[], ["--json"]]) {
      const env = { NO_COLOR: "1" };
      const run = await inProcess(home, ["history", "--user", "al\u202Eice", ...flags], { columns: 300, env });
      expect(run.code).toBe(0);
      // oxlint-disable-next-line no-control-regex -- that is what must not be there
      expect(run.stdout + run.stderr).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u202E]/);
      expect(run.stdout + run.stderr).not.toContain(KEY);
    }
  });

  it("ends quietly for a reader that closes the pipe", async () => {
    const events = Array.from({ length: 300 }, (_, index) => eventOf({ userId: "alice", ageMs: index * 1000 }));
    const home = await homeWith(...events);
    let writes = 0;
    const onStdout = () => {
      writes += 1;
      if (writes > 1) throw Object.assign(new Error("write EPIPE"), { code: "EPIPE" });
    };
    for (const flags of [[], ["--json"]]) {
      writes = 0;
      const run = await inProcess(home, ["history", "--user", "alice", ...flags], { onStdout });
      expect([run.code, run.stderr, run.stdout.trimEnd().split("\n").length]).toEqual([0, "", 50]);
    }
  });
});
