import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { stage, withCalls } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";
import { change } from "../support/sqlite/database-file.ts";

const REASON = "quarterly; HR-4711";

const onCommand: InProcessOptions["onCommand"] = async () => ({ kind: "ended", exitCode: 0 });

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

  it("of import is in the history of each user, which is written once for a batch", async () => {
    const all = await stage();
    const batches: number[] = [];
    const around = withCalls((store) => ({
      addEvents(events, ...rest) {
        batches.push(events.length);
        return store.addEvents(events, ...rest);
      },
    }));
    await all.given("save --user alice --stdin", { input: KEY });
    const lines = ["user,key", `alice,${OTHER}`, ...Array.from({ length: 300 }, (_, n) => `user-${n},${KEY}`)];
    const args = ["import", "--csv", "-", "--json", "--reason", REASON];
    const done = await all.run(args, { input: lines.join("\n"), around });
    expect([done.code, batches]).toEqual([9, [300]]);
    expect((await storyOf(all)).map(({ event }) => event)).toEqual(["saved"]);
    expect(await storyOf(all, "user-299")).toMatchObject([
      { event: "imported", key: maskOf(KEY), generation: null, reason: REASON, actor: { command: "import" } },
    ]);
    await all.given([...args, "--dry-run"], { input: `user,key\nbob,${KEY}` });
    expect(await storyOf(all, "bob")).toEqual([]);
  });

  it("of leaked is in the history of a key that is replaced, and of one that is only disabled, once", async () => {
    const all = await stage();
    await all.given("provision --user alice");
    const [hash = ""] = all.server.keys.keys();
    all.server.addKey(KEY);
    await all.given("save --user bob --stdin", { input: KEY });
    for (const words of [
      ["--hash", hash],
      ["--hash", hashOf(KEY)],
      ["--hash", hashOf(KEY)],
    ]) {
      await all.given(["leaked", ...words, "--reason", REASON]);
    }
    expect(await storyOf(all)).toMatchObject([
      { event: "revoked", generation: 1, reason: REASON, actor: { command: "leaked" } },
      { event: "rotated", generation: 2, reason: REASON, actor: { command: "leaked" } },
      { event: "created", generation: 1, reason: null, actor: { command: "provision" } },
    ]);
    expect(await storyOf(all, "bob")).toMatchObject([
      { event: "revoked", key_hash: hashOf(KEY), reason: REASON, actor: { command: "leaked" } },
      { event: "saved" },
    ]);
  });

  it("of exec is that of the key that it saves, and of one that it renews", async () => {
    const all = await stage();
    const { home, run } = all;
    writeFileSync(`${home.work}/keys.txt`, KEY, { mode: 0o600 });
    const exec = ["exec", "--user", "alice", "--key-file", "keys.txt", "--reason", REASON];
    expect((await run([...exec, "--", "app"], { onCommand })).code).toBe(0);
    change(home.database, "UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'");
    expect((await run([...exec, "--renew", "--", "app"], { onCommand })).code).toBe(0);
    expect((await run([...exec, "--", "app"], { onCommand })).code).toBe(0);
    expect(await storyOf(all)).toMatchObject([
      { event: "renewed", generation: 1, reason: REASON, actor: { command: "exec" } },
      { event: "saved", reason: REASON, actor: { command: "exec" } },
    ]);
  });

  it.each([
    ["renew --user alice", 1],
    ["renew --all --max-keys 5", 2],
  ])("of %s is in the history of each key", async (words, dead) => {
    const all = await stage();
    await all.given("sync --user alice --user bob --provision");
    for (const hash of [...all.server.keys.keys()].slice(0, dead)) all.server.removeKey(hash);
    change(all.home.database, "UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'");
    await all.given([...words.split(" "), "--reason", REASON]);
    for (const user of ["alice", "bob"].slice(0, dead)) {
      expect(await storyOf(all, user)).toMatchObject([
        { event: "revoked", generation: 1, reason: REASON, actor: { command: "renew" } },
        { event: "renewed", generation: 2, reason: REASON, actor: { command: "renew" } },
        { event: "created", generation: 1, reason: null },
      ]);
    }
    expect((await storyOf(all, "bob")).length).toBe(dead === 2 ? 3 : 1);
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
