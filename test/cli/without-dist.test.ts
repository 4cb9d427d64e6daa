import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";

it.each([
  ["an installation", [], () => "install keyctl again"],
  ["a clone", ["build.mjs"], (root: string) => `npm --prefix '${root}' ci`],
] as const)("says in one sentence that %s without dist/ is incomplete, and what to do", async (_, files, hint) => {
  const home = emptyHome();
  const root = join(home.folder, "keyctl");
  mkdirSync(join(root, "bin"), { recursive: true });
  copyFileSync(BIN, join(root, "bin", "keyctl.cjs"));
  for (const file of files) writeFileSync(join(root, file), "");
  for (const args of [["list"], ["--help"], ["sync", "--user", "alice", "--json"]]) {
    expect(await keyctl(home, args, {}, join(root, "bin", "keyctl.cjs"))).toMatchObject({
      code: 1,
      stdout: "",
      stderr: `error: this installation of keyctl is incomplete: '${root}' has no dist/\nhint: ${hint(root)}\n`,
    });
  }
});
