import { describe, expect, it } from "vitest";
import { filesBelow } from "../support/fixtures/leak-canaries.ts";
import { holdLock } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";

const ALICE = ["explain", "--user", "alice"];

async function homeWithRow(): Promise<Home> {
  const home = emptyHome();
  expect(await keyctl(home, ["save", "--user", "alice", "--stdin"], { input: KEY })).toMatchObject({ code: 0 });
  return home;
}

describe("explain", () => {
  it("has the steps of a database that another program holds, and its error", async () => {
    const home = await homeWithRow();
    home.writeKeyFile(OTHER);
    const release = holdLock(home.database);
    const run = await keyctl(home, [...ALICE, "--json", "--timeout", "200ms"]);
    release();
    expect(run.code).toBe(7);
    expect(documentsOf(run)[0]).toMatchObject({
      winner: null,
      steps: [
        { source: "database", state: "unavailable", key: null },
        { source: "key.txt", state: "ignored", key: maskOf(OTHER), key_hash: hashOf(OTHER) },
        { source: "environment", state: "absent" },
        { source: "auto-provisioned", state: "absent" },
      ],
      store: `sqlite:${home.database}`,
      error: { code: "STORE_UNAVAILABLE", exit_code: 7, retryable: true },
    });
  });

  it.each<readonly [string, (home: Home) => void | Promise<void>]>([
    ["nothing is there", () => {}],
    ["key.txt holds a key", (home) => home.writeKeyFile(KEY)],
  ])("makes no store and no master key where %s", async (_, given) => {
    const home = emptyHome();
    await given(home);
    const before = filesBelow(home.folder);
    await keyctl(home, ALICE);
    expect(filesBelow(home.folder)).toEqual(before);
  });

  it("leaves every byte as it was where there is a store", async () => {
    const home = await homeWithRow();
    home.writeKeyFile(OTHER);
    const before = filesBelow(home.folder);
    await keyctl(home, ALICE);
    await keyctl(home, ["explain", "--user", "bob"]);
    expect(filesBelow(home.folder)).toEqual(before);
  });
});
