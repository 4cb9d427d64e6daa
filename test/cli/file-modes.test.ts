import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { keyctlAfter } from "../support/memory/drop-capabilities.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { AS_ANOTHER_USER, MAY_BE_ANOTHER_USER, MAY_MOUNT, readOnlyMount } from "../support/programs/read-only-mount.ts";

const OPEN = "can be read by other users of this machine (mode 0644)";
const ADVICE = "only its owner, or the options of its mount, can change that";
const NOT_OURS = `${OPEN}; ${ADVICE}\n`;

/** Master keys and key.txt that others can read. */
async function homeWithOpenFiles(): Promise<Home> {
  const home = emptyHome();
  await keyctl(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
  writeFileSync(join(home.work, "key.txt"), OTHER);
  for (const file of [home.masterKeys, join(home.work, "key.txt")]) chmodSync(file, 0o644);
  return home;
}

const warningsIn = (stderr: string) =>
  stderr.split(/(?<=\n)/).filter((line) => line.startsWith("warning: ") && line.includes(" can be read by "));

/** Where the modes cannot be changed. */
const PLACES: readonly (readonly [string, boolean, (home: Home) => string])[] = [
  ["on a read-only mount", MAY_MOUNT, ({ folder }) => readOnlyMount(folder)],
  ["of another owner", MAY_BE_ANOTHER_USER, () => AS_ANOTHER_USER],
];

describe.skipIf(process.platform === "win32")("a file of keys that others can read", () => {
  it("is warned of once a run with the command that helps, also with -q", async () => {
    const home = await homeWithOpenFiles();
    for (const quiet of [[], ["-q"]]) {
      const rekey = await keyctl(home, ["rekey", ...quiet]);
      expect(warningsIn(rekey.stderr)).toEqual([`warning: ${home.masterKeys} ${OPEN}; chmod 600 it\n`]);
    }
  });

  describe.each(PLACES)("%s", (_, isPossible, lineFor) => {
    it.runIf(isPossible)(
      "is warned of once a run, without advice that cannot be followed, and not with -q",
      async () => {
        const home = await homeWithOpenFiles();
        execFileSync("chmod", ["-R", "a+rX", home.folder]);
        const run = (...args: string[]) => keyctlAfter(lineFor(home), home, args);
        const sync = await run("sync", "--user", "alice");
        expect(warningsIn(sync.stderr)).toEqual([
          `warning: ${home.masterKeys} ${NOT_OURS}`,
          `warning: key.txt ${NOT_OURS}`,
        ]);
        const sealed = await run("get", "--user", "alice", "--stored", "--reveal");
        expect(warningsIn(sealed.stderr)).toEqual([`warning: ${home.masterKeys} ${NOT_OURS}`]);
        for (const args of [["sync"], ["get", "--stored", "--reveal"]]) {
          expect(warningsIn((await run(...args, "--user", "alice", "-q")).stderr)).toEqual([]);
        }
        const { stdout } = await run("sync", "--user", "alice", "--json", "-q");
        expect(JSON.parse(stdout)).toMatchObject({
          warnings: expect.arrayContaining([
            expect.objectContaining({ code: "KEY_FILE_MODE", fixable: false }),
          ]) as unknown,
        });
        const doctor = await run("doctor", "--json");
        const { checks } = JSON.parse(doctor.stdout) as { checks: { id: string; hint: string | null }[] };
        const hints = checks.filter(({ id }) => ["key_file", "master_keys"].includes(id)).map(({ hint }) => hint);
        expect(hints).toEqual([ADVICE, ADVICE]);
      },
    );
  });
});
