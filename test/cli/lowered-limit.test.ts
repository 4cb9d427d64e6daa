import { expect, it } from "vitest";
import { documentsOf } from "../support/programs/in-process.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import { withDatabase } from "../support/sqlite/database.ts";

const RESTORE_AT = "2099-01-01T00:00:00.000Z";

/** Alice has a key whose limit of $10 is lowered until the reset. */
async function lowered() {
  const set = await stage();
  await set.given("provision --user alice --limit 3.2 --limit-reset monthly");
  await withDatabase(set.home, (database) =>
    database.prepare("UPDATE api_keys SET limit_due = ?").run(JSON.stringify({ limit: 10, at: RESTORE_AT })),
  );
  return set;
}

it.each(["list", "get --user alice", "get --user alice --validate", "validate --user alice", "validate --all"])(
  "%s has the full limit, and beside it the one until the reset",
  async (command) => {
    const { given } = await lowered();
    for (const checked of [false, true]) {
      if (checked) await given("validate --user alice");
      const [document] = documentsOf(await given(`${command} --json`));
      expect(document).toMatchObject({ limit: 10, limit_now: 3.2, limit_restore_at: RESTORE_AT });
    }
  },
);

it.each([
  ["list", /^alice .* \$10$/m],
  ["get --user alice", /^Limit {7}\$10, monthly$/m],
  ["validate --user alice", /^Limit {6}\$10, \$3.20 left, monthly$/m],
])("%s shows the full limit to people", async (command, line) => {
  const { given } = await lowered();
  expect((await given(command, { columns: 100, env: { NO_COLOR: "1" } })).stdout).toMatch(line);
});
