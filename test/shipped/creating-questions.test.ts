import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { storedUsers } from "../support/sqlite/database.ts";
import { ENTER, onTerminal } from "../support/programs/pseudo-terminal.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";

const LIMIT = { KEYCTL_PROVISION_LIMIT: "5", KEYCTL_PROVISION_LIMIT_RESET: "monthly" };

describe.each([["sync", "--provision"], ["provision"]])("%s of many users on a terminal", (...verb) => {
  it.each([
    ["y", 0, 12],
    ["n", 2, 0],
  ])("asks before it creates keys; %s", async (answer, exit, keys) => {
    const { home, server } = await stage();
    writeFileSync(join(home.work, "users.txt"), Array.from({ length: 12 }, (_, index) => `u${index}\n`).join(""));
    const { code, screen } = await onTerminal(
      home,
      [...verb, "--users-file", "users.txt"],
      [{ to: "This creates 12 keys at OpenRouter, each up to $5 monthly. Go on?", type: answer + ENTER }],
      { ...environmentFor(server), ...LIMIT },
    );
    expect([code, server.keys.size, (await storedUsers(home)).length]).toEqual([exit, keys, keys]);
    if (exit === 2) expect(screen).toContain("nothing was changed");
  });
});
