import { expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";

it("the tool creates and revokes keys in the account of its database, and in no other", async () => {
  const home = emptyHome();
  const server = await mockOpenRouter({ organization: "org_1" });
  const other = server.addAccount("org_2");
  const run = (managementKey: string, ...args: readonly string[]) =>
    keyctl(home, [...args, "--json"], {
      env: { KEYCTL_OPENROUTER_URL: server.url, OPENROUTER_PROVISIONING_KEY: managementKey },
    });
  const ours = (...args: readonly string[]) => run(server.managementKey, ...args);
  expect((await ours("provision", "--user", "alice", "--user", "bob")).code).toBe(0);

  const refused = [];
  for (const command of ["sync --user carol", "purge --user alice --revoke --yes", "reconcile --fix"]) {
    const { code, stdout } = await run(other.managementKey, ...command.split(" "));
    refused.push([code, stdout.includes("MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT")]);
  }
  expect([refused, server.keys.size]).toEqual([
    [
      [4, true],
      [4, true],
      [4, true],
    ],
    2,
  ]);

  const purged = await ours("purge", "--user", "alice", "--user", "bob", "--revoke", "--yes");
  expect([purged.code, purged.stdout.match(/"revocation":"done"/g)?.length, server.keys.size]).toEqual([0, 2, 0]);
  const adopted = await run(other.managementKey, "reconcile", "--adopt-account");
  expect([adopted.code, adopted.stderr]).toEqual([
    0,
    "note: the database is bound to the account of this management key\n",
  ]);
  expect((await run(other.managementKey, "sync", "--user", "carol")).code).toBe(0);
  expect([...server.keys.values()]).toMatchObject([{ workspace: other.defaultWorkspace }]);
});
