import { expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import type { Home } from "../support/home/home.ts";
import { emptyHome } from "../support/home/home.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { madeKeys, mongoStage, stored } from "../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import { inProcess } from "../support/programs/in-process.ts";
import { witnessed } from "../support/recording/port-calls.ts";
import { earlier, told } from "../support/upgrading/earlier.ts";
import { withMasterKey } from "../support/upgrading/stores.ts";

/** The last build that knows nothing of rotations. On an embedded store it does not work beside this one: STORE_NEWER. */
const PREVIOUS = "schema-3";

/** Alice's key was rotated with a grace, by a process that died after it had changed the row and before the commit. */
async function interruptedRotation() {
  const database = databaseOfTest();
  const openRouter = await mockOpenRouter();
  const home = withMasterKey(emptyHome(), {
    KEYCTL_STORE: database.uri,
    KEYCTL_CREATE_STORE: "1",
    KEYCTL_ALLOW_NON_ATOMIC_STORE: "1",
    KEYCTL_OPENROUTER_URL: openRouter.url,
    OPENROUTER_PROVISIONING_KEY: openRouter.managementKey,
  });
  await done(home, ["provision", "--user", "alice"]);
  const [old = ""] = madeKeys(openRouter);
  await inProcess(home, ["rotate", "--user", "alice"], { around: dyingAfterTheRow });
  const [, created = ""] = madeKeys(openRouter);
  const stage = mongoStage(home, openRouter, database);
  expect((await stored(stage)).rows).toMatchObject([{ hash: created, generation: 2, settled: false }]);
  return { stage, home, openRouter, old, created };
}

function dyingAfterTheRow(ports: Ports): Ports {
  let isDead = false;
  return witnessed(ports, {
    begins({ name }) {
      if (isDead && name.startsWith("store.") && name !== "store.close") throw new Error("it has died");
    },
    ends({ name }) {
      if (name === "store.replace") isDead = true;
    },
  });
}

async function done(home: Home, args: readonly string[]): Promise<void> {
  const { code, stderr } = await inProcess(home, args);
  expect([args, code, code === 0 ? "" : stderr]).toEqual([args, 0, ""]);
}

function before(home: Home, work: string): Promise<readonly unknown[]> {
  return told(earlier(home, PREVIOUS, `const keys = await keyctl.KeyManager.open(); ${work} await keys.close();`));
}

const hashIn = `tell((await keys.getStoredKey("alice")).key.hash);`;
const fixing = `const found = await keys.reconcile({ fixes: true });
  for await (const _ of found.plan());
  for await (const { error } of found.fix()) if (error) throw error;`;

const keysOf = (openRouter: OpenRouterServer) => madeKeys(openRouter).toSorted();

describeWithMongodb("the previous build, after a rotation that died before its commit", { timeout: 180_000 }, () => {
  it("commits it by a reading, and the grace begins then", async () => {
    const { stage, home, openRouter, old, created } = await interruptedRotation();
    const since = Date.now();
    expect(await before(home, hashIn)).toEqual([created]);
    await done(home, ["rotate", "--finish"]);
    await done(home, ["reconcile", "--fix"]);
    const [grace] = (await stored(stage)).graces;
    expect(grace).toMatchObject({ n: 1, hash: old, endedAt: null });
    expect(Date.parse(grace?.retireAt ?? "")).toBeGreaterThanOrEqual(since + 600_000);
    expect(keysOf(openRouter)).toEqual([old, created].toSorted());
    await stage.passGraces();
    await done(home, ["rotate", "--finish"]);
    expect(keysOf(openRouter)).toEqual([created]);
  });

  it("settles it, and keeps the old key too long, never too short", async () => {
    const { stage, home, openRouter, old, created } = await interruptedRotation();
    expect(
      await before(
        home,
        `${fixing} ${fixing.replace("const found", "const again").replaceAll("found.", "again.")} ${hashIn}`,
      ),
    ).toEqual([created]);
    expect((await stored(stage)).rows).toMatchObject([{ hash: created, settled: true }]);
    await stage.passGraces();
    await done(home, ["rotate", "--finish"]);
    await done(home, ["reconcile", "--fix"]);
    expect(keysOf(openRouter)).toEqual([old, created].toSorted());
    await done(home, ["purge", "--user", "alice", "--revoke", "--yes"]);
    expect(keysOf(openRouter)).toEqual([]);
  });
});

describeWithMongodb("the previous build, within the grace of a rotation", { timeout: 180_000 }, () => {
  it("reads the new key, and its repairs leave the old one alone", async () => {
    const { home, openRouter, old, created } = await interruptedRotation();
    await done(home, ["reconcile", "--fix"]);
    expect(await before(home, `${hashIn} ${fixing}`)).toEqual([created]);
    expect(keysOf(openRouter)).toEqual([old, created].toSorted());
  });
});
