import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KEY } from "../support/fixtures/keys.ts";
import { emptyHome } from "../support/home/home.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";

const GET = ["get", "--user", "alice", "--stored", "--reveal", "--json"];

/** A home with a key that is sealed with master-keys.json, and another master key in a file. */
async function stage() {
  const home = emptyHome();
  await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
  const file = join(home.work, "master");
  writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600 });
  return { home, file };
}

describe("master keys that are wrong, where another place is set up too", () => {
  it("names the places that are not looked at", async () => {
    const { home, file } = await stage();
    const env = { KEYCTL_MASTER_KEYS: randomBytes(32).toString("base64url"), KEYCTL_MASTER_KEYS_FILE: file };
    const both = await inProcess(home, GET, { env });
    expect(errorOf(both)).toMatchObject({ code: "MASTER_KEY_WRONG", exit_code: 4 });
    expect(errorOf(both)?.hint).toContain(
      `\n      KEYCTL_MASTER_KEYS is used; KEYCTL_MASTER_KEYS_FILE and ${home.masterKeys} are also set and not looked at\n`,
    );
    expect(both.stdout + both.stderr).not.toContain(env.KEYCTL_MASTER_KEYS);
    const one = await inProcess(home, GET, { env: { KEYCTL_MASTER_KEYS_FILE: file } });
    expect(errorOf(one)?.hint).toContain(`\n      ${file} is used; ${home.masterKeys} is also set and not looked at\n`);
    const doctor = await inProcess(home, ["doctor", "--json"], { env });
    expect(doctor.stdout).toContain(`KEYCTL_MASTER_KEYS_FILE and ${home.masterKeys} are also set and not looked at`);
  });

  it("names them too where the first holds no master key at all", async () => {
    const { home } = await stage();
    const run = await inProcess(home, GET, { env: { KEYCTL_MASTER_KEYS: "hunter2" } });
    expect(errorOf(run)).toMatchObject({ code: "CONFIG_INVALID" });
    expect(errorOf(run)?.hint).toContain(
      `KEYCTL_MASTER_KEYS is used; ${home.masterKeys} is also set and not looked at`,
    );
  });

  it("names no other place where there is none", async () => {
    const { home, file } = await stage();
    writeFileSync(home.masterKeys, randomBytes(32).toString("base64url"));
    for (const env of [{}, { KEYCTL_MASTER_KEYS_FILE: home.masterKeys }]) {
      const run = await inProcess(home, GET, { env });
      expect(errorOf(run)).toMatchObject({ code: "MASTER_KEY_WRONG" });
      expect(errorOf(run)?.hint).not.toContain("also set");
    }
    expect(file).not.toBe(home.masterKeys);
  });
});
