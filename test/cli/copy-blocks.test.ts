import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { KeyManager } from "../../src/core/manager/manager.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { eventInShort, historyOf } from "../support/home/history.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { withCalls } from "../support/home/tool-with-openrouter.ts";
import { openManager } from "../support/memory/manager.ts";
import { documentsOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";

const NOTHING = { copied: 0, kept: 0, conflicts: 0, verified: 0, unverified: 0 };

/** The destination of the copies, as a home of its own. */
const copyOf = (home: Home): Home => ({ ...home, database: join(home.folder, "copy.db") });

async function change(home: Home, work: (manager: KeyManager) => Promise<unknown>): Promise<void> {
  const manager = await openManager(home, { KEYCTL_STORE: `sqlite:${home.database}`, KEYCTL_CREATE_STORE: "1" });
  await work(manager);
  await manager.close();
}

/** A store with a key of alice, and with bob blocked. */
async function source(): Promise<Home> {
  const home = emptyHome();
  await change(home, async (manager) => {
    await manager.save("alice", KEY);
    await manager.block("bob", { reason: "left the company" });
  });
  return home;
}

async function copy(home: Home, flags: readonly string[] = [], options: InProcessOptions = {}) {
  const run = await inProcess(home, ["copy", "--to", `sqlite:${copyOf(home).database}`, "--json", ...flags], options);
  const documents = documentsOf(run);
  return { run, summary: documents.at(-1), failures: documents.slice(0, -1) };
}

async function blockedIn(home: Home): Promise<readonly string[]> {
  const blocked: string[] = [];
  await change(home, async (manager) => {
    for await (const { userId, blocked: block } of manager.blockedUsers()) blocked.push(`${userId}: ${block.reason}`);
  });
  return blocked;
}

describe("the blocks in a copy", () => {
  it("stand in the destination, where no key is stored for their users", async () => {
    const home = await source();
    const { run, summary } = await copy(home, ["--create"]);
    expect([run.code, summary]).toMatchObject([
      0,
      { done: 1, copied: 1, blocked: { ...NOTHING, copied: 1, verified: 1 } },
    ]);
    expect(await blockedIn(copyOf(home))).toEqual(["bob: left the company"]);
    await change(copyOf(home), async (manager) => {
      expect((await manager.save("bob", OTHER)).error?.code).toBe("USER_BLOCKED");
    });
  });

  it("are copied once, and left alone by a dry run", async () => {
    const home = await source();
    await change(copyOf(home), (manager) => manager.save("carol", OTHER));
    expect((await copy(home, ["--dry-run"])).summary).toMatchObject({ blocked: { ...NOTHING, copied: 1 } });
    expect(await blockedIn(copyOf(home))).toEqual([]);
    await copy(home);
    const again = await copy(home);
    expect([again.run.code, again.summary]).toMatchObject([0, { blocked: { ...NOTHING, kept: 1, verified: 1 } }]);
    expect((await copy(home, ["--dry-run"])).summary).toMatchObject({ blocked: { ...NOTHING, kept: 1 } });
  });

  it("are all that a store without keys has to copy", async () => {
    const home = emptyHome();
    await change(home, (manager) => manager.block("bob"));
    const { run, summary } = await copy(home, ["--create"]);
    expect([run.code, summary]).toMatchObject([0, { total: 0, done: 0, blocked: { copied: 1, verified: 1 } }]);
    const again = await inProcess(home, ["copy", "--to", `sqlite:${copyOf(home).database}`]);
    expect(again.stdout).toContain("the block of 1 user: 1 there already; 1 is there\n");
  });

  it.each([[["--dry-run"]], [[]]])(
    "leave a key that is in the destination, and name its user: copy %s",
    async (flags) => {
      const home = await source();
      await change(copyOf(home), (manager) => manager.save("bob", OTHER));
      const { run, summary, failures } = await copy(home, flags);
      expect([run.code, summary]).toMatchObject([9, { conflicts: 0, blocked: { ...NOTHING, conflicts: 1 } }]);
      expect(failures).toMatchObject([
        {
          user_id: "bob",
          key: null,
          outcome: "block_conflict",
          error: {
            code: "USER_BLOCKED",
            message:
              "user bob is blocked in the source and has a key in the destination (***************91aa, from manual); it stays",
          },
        },
      ]);
      await change(copyOf(home), async (manager) => {
        expect((await manager.getStoredKey("bob")).key?.reveal()).toBe(OTHER);
      });
    },
  );

  it.each([[["--dry-run"]], [[]]])("of the destination let no key in: copy %s", async (flags) => {
    const home = await source();
    await change(copyOf(home), (manager) => manager.block("alice"));
    const { run, failures } = await copy(home, flags);
    expect(run.code).toBe(9);
    expect(failures).toMatchObject([
      {
        user_id: "alice",
        outcome: "conflict",
        error: {
          code: "USER_BLOCKED",
          message: expect.stringMatching(/^user alice is blocked in the destination since /),
        },
      },
    ]);
  });

  it("that were lifted in the destination before they were verified are unverified", async () => {
    const home = await source();
    let isLifted = false;
    const around = withCalls((store) => ({
      async *scanBlocked(newSignal) {
        if (isLifted) await change(copyOf(home), (manager) => manager.unblock("bob"));
        isLifted = true;
        yield* store.scanBlocked(newSignal);
      },
    }));
    const { run, summary } = await copy(home, ["--create"], { around });
    expect([run.code, summary]).toMatchObject([9, { blocked: { ...NOTHING, copied: 1, unverified: 1 } }]);
  });
});

async function told(home: Home): Promise<readonly string[]> {
  return (await historyOf(home)).map((event) => `${event.userId} ${eventInShort(event)}`);
}

describe("the history in a copy", () => {
  it("goes along, once, before what the copy itself did", async () => {
    const home = await source();
    await copy(home, ["--create"]);
    const expected = ["alice saved …b465", "bob blocked", "alice copied …b465", "bob copied"];
    expect(await told(copyOf(home))).toEqual(expected);
    await copy(home);
    expect(await told(copyOf(home))).toEqual(expected);
    expect(await told(home)).toEqual(expected.slice(0, 2));
    const [saved] = await historyOf(home);
    expect((await historyOf(copyOf(home)))[0]).toEqual(saved);
  });

  it("stays where it is in a dry run", async () => {
    const home = await source();
    await change(copyOf(home), (manager) => manager.save("carol", OTHER));
    await copy(home, ["--dry-run"]);
    expect(await told(copyOf(home))).toEqual(["carol saved …91aa"]);
  });

  it.each(["addEvents", "events"] as const)("that cannot be copied is a warning: %s fails", async (call) => {
    const home = await source();
    const away = new KeyctlError("STORE_UNAVAILABLE", "the history does not answer");
    const fails =
      call === "addEvents"
        ? () => Promise.reject(away)
        : () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(away) }) });
    const { run, summary } = await copy(home, ["--create"], { around: withCalls(() => ({ [call]: fails })) });
    expect([run.code, summary]).toMatchObject([0, { copied: 1, verified: 1, complete: true, error: null }]);
    expect(summary?.["warnings"]).toContainEqual({
      code: "HISTORY_NOT_WRITTEN",
      message: "the history was not copied completely: the history does not answer; copy again",
    });
  });
});
