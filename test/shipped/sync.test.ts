import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { jwkSet, newJwk } from "../support/fixtures/jwk.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";

const USER = "68e228e87f803a11a4e23045";
const KEY = "sk-or-v1-0000000000000000000000000000000000000000000000000000000000b465";
const OTHER = "sk-or-v1-1111111111111111111111111111111111111111111111111111111191aa";

function golden(name: string): string {
  return readFileSync(new URL(`../golden/${name}.log`, import.meta.url), "utf8");
}

function syncs(emptyStore: () => Home): void {
  it("finds the key in key.txt and saves it", async () => {
    const home = emptyStore();
    home.writeKeyFile(`${KEY}\n`);
    const run = await keyctl(home, ["sync", "--user", USER]);
    expect(run.log).toBe(golden("sync-from-file"));
    expect(run.stdout).toBe("***************b465 (source: key.txt)\n");
    expect(run.code).toBe(0);
  });

  it("finds the key in the environment and saves it", async () => {
    const home = emptyStore();
    const run = await keyctl(home, ["sync", "--user", USER], { env: { OPENROUTER_API_KEY: KEY } });
    expect(run.log).toBe(golden("sync-from-environment"));
    expect(run.code).toBe(0);
  });

  it("finds the key in the database", async () => {
    const home = emptyStore();
    await keyctl(home, ["sync", "--user", USER], { env: { OPENROUTER_API_KEY: KEY } });
    const run = await keyctl(home, ["sync", "--user", USER]);
    expect(run.log).toBe(golden("sync-from-database"));
    expect(run.code).toBe(0);
  });

  it("keeps the database key when key.txt holds another", async () => {
    const home = emptyStore();
    await keyctl(home, ["sync", "--user", USER], { env: { OPENROUTER_API_KEY: KEY } });
    home.writeKeyFile(OTHER);
    const run = await keyctl(home, ["sync", "--user", USER]);
    expect(run.log).toBe(golden("sync-database-over-file"));
    expect(run.code).toBe(0);
  });

  it("makes a key when there is none", async () => {
    const home = emptyStore();
    const server = await mockOpenRouter({ newKey: () => `sk-or-v1-${"2".repeat(60)}a123` });
    const env = { OPENROUTER_PROVISIONING_KEY: server.managementKey, KEYCTL_OPENROUTER_URL: server.url };
    const run = await keyctl(home, ["sync", "--user", USER], { env });
    expect(run.log).toBe(golden("sync-auto-provision"));
    expect(run.stdout).toBe("***************a123 (source: auto-provisioned)\n");
    expect(run.stderr).toContain("warning: the new key has no spending limit\n");
    expect(run.code).toBe(0);
    const again = await keyctl(home, ["sync", "--user", USER], { env });
    expect([again.stdout, server.count("POST /keys")]).toEqual(["***************a123 (source: database)\n", 1]);
  });

  it("buys no key for a key.txt that holds none, and says what to do", async () => {
    const home = emptyStore();
    home.writeKeyFile(`"${KEY}"`);
    const server = await mockOpenRouter();
    const env = { OPENROUTER_PROVISIONING_KEY: server.managementKey, KEYCTL_OPENROUTER_URL: server.url };
    const run = await keyctl(home, ["sync", "--user", USER], { env });
    expect(run.log).toBe(golden("sync-broken-file"));
    expect(run.stderr).toContain("warning: key.txt holds a key in quotes\n");
    expect(run.stderr).toContain(
      `error: no key for user ${USER}: key.txt is there and holds no valid key\nhint: correct or remove ${join(home.work, "key.txt")}; ` +
        `keyctl provision --user ${USER}   creates a key anyway\n`,
    );
    expect([run.code, run.stdout, server.count()]).toEqual([3, "", 0]);
  });

  it("says that there is no key, and what to do", async () => {
    const home = emptyStore();
    const run = await keyctl(home, ["sync", "--user", USER]);
    expect(run.log).toBe(golden("sync-no-key"));
    expect(run.stderr).toContain(`error: no key for user ${USER}\nhint: keyctl save --user ${USER}\n`);
    expect(run.code).toBe(3);
  });
}

describe("keyctl sync", () => syncs(emptyHome));

describeWithMongodb("keyctl sync, over MongoDB", () => {
  syncs(() => {
    const home = emptyHome();
    const shared = {
      KEYCTL_STORE: databaseOfTest().uri,
      KEYCTL_CREATE_STORE: "1",
      KEYCTL_MASTER_KEYS: jwkSet(newJwk()),
    };
    return { ...home, environment: { ...home.environment, ...shared } };
  });
});
