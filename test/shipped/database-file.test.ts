import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";

it("is whole by itself when the run is over: a backup of the one file has every key", async () => {
  const home = emptyHome();
  const users = Array.from({ length: 50 }, (_, index) => `user-${index}`).join("\n");
  const sync = await keyctl(home, ["sync", "--users-file", "-"], { input: users, env: { OPENROUTER_API_KEY: KEY } });
  expect(sync.code).toBe(0);
  const copy = await keyctl(home, ["copy", "--to", "sqlite:copy.db", "--create"]);
  expect(copy.code).toBe(0);
  for (const file of [home.database, join(home.work, "copy.db")]) {
    const backup = join(home.work, "backup.db");
    copyFileSync(file, backup);
    const count = await keyctl(home, ["list", "--count", "--store", `sqlite:${backup}`]);
    expect(count.stdout).toBe("50\n");
  }
});
