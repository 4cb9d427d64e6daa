import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { stage, withCalls } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";

const REASON = "quarterly; HR-4711";

async function storyOf({ given }: Stage, user = "alice"): Promise<readonly Record<string, unknown>[]> {
  return documentsOf(await given(["history", "--user", user, "--json"]));
}

describe("--reason", () => {
  it.each<[words: string, event: string, before: readonly string[]]>([
    ["sync --user alice", "created", []],
    ["provision --user alice", "created", []],
    ["provision --user alice --user bob --max-keys 2", "created", []],
    ["sync --user alice --user bob --provision", "created", []],
    ["save --user alice --stdin", "saved", []],
    ["save --user alice --stdin --replace", "replaced", ["sync --user alice"]],
    ["get --user alice --key-file keys.txt", "saved", []],
    ["get --user alice --user bob --key-file keys.txt", "saved", []],
    ["rotate --user alice", "rotated", ["sync --user alice"]],
    ["rotate --all --max-keys 5", "rotated", ["sync --user alice"]],
    ["purge --user alice --yes", "purged", ["sync --user alice"]],
    ["purge --user alice --user bob --yes", "purged", ["sync --user alice"]],
    ["purge --user alice --block --yes", "blocked", []],
    ["unblock --user alice", "unblocked", ["purge --user alice --block --yes"]],
    ["unblock --user alice --user bob", "unblocked", ["purge --user alice --block --yes"]],
  ])("of %s is in the history, with the command", async (words, event, before) => {
    const all = await stage();
    const { home, run, given } = all;
    writeFileSync(`${home.work}/keys.txt`, KEY, { mode: 0o600 });
    for (const command of before) await given(command);
    const done = await run([...words.split(" "), "--reason", REASON], { input: KEY });
    expect({ code: done.code, stderr: done.code === 0 ? "" : done.stderr }).toEqual({ code: 0, stderr: "" });
    const [newest] = await storyOf(all);
    expect(newest).toMatchObject({ event, reason: REASON, actor: { command: words.split(" ")[0] } });
  });

  it("of reconcile --fix is that of what it finishes", async () => {
    const all = await stage();
    await all.given("sync --user alice");
    await all.given("save --user alice --stdin --replace", { input: KEY });
    await all.given(["reconcile", "--include-kept", "--fix", "--reason", REASON]);
    expect((await storyOf(all))[0]).toMatchObject({
      event: "revoked",
      reason: REASON,
      actor: { command: "reconcile" },
    });
  });

  it("of a block is shown to whoever meets it", async () => {
    const { run, given } = await stage();
    await given(["purge", "--user", "alice", "--block", "--yes", "--reason", REASON]);
    expect((await run("sync --user alice")).stderr).toContain(`: ${REASON}\n`);
  });

  it("of a dry run is no change", async () => {
    const all = await stage();
    await all.given("sync --user alice");
    await all.given(["purge", "--user", "alice", "--dry-run", "--reason", REASON]);
    expect((await storyOf(all)).map(({ event }) => event)).toEqual(["created"]);
  });
});

describe("get --reveal", () => {
  it("of many is in the history of each, with the reason; of one it is not", async () => {
    const all = await stage();
    await all.given("sync --user alice --user bob --provision");
    await all.given("get --user alice --reveal");
    const revealed = await all.given(["get", "--all", "--reveal", "--json", "--reason", REASON]);
    expect(documentsOf(revealed).map((line) => line["revealed"])).toEqual([true, true, undefined]);
    for (const user of ["alice", "bob"]) {
      const events = await storyOf(all, user);
      expect(events.map(({ event }) => event)).toEqual(["revealed", "created"]);
      expect(events[0]).toMatchObject({ reason: REASON, actor: { command: "get" } });
    }
  });

  it("hands the keys out also when that cannot be recorded, and warns", async () => {
    const { given } = await stage();
    await given("sync --user alice --user bob --provision");
    const around = withCalls(() => ({
      addEvents: () => Promise.reject(new KeyctlError("STORE_UNAVAILABLE", "the disk is full")),
    }));
    const revealed = await given("get --all --reveal --json", { around });
    const documents = documentsOf(revealed);
    expect(documents.map((line) => line["revealed"])).toEqual([true, true, undefined]);
    expect(documents.at(-1)).toMatchObject({ warnings: [{ code: "HISTORY_NOT_WRITTEN" }], error: null });
  });
});
