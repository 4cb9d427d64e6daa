import { chmodSync, chownSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { KEY } from "../../support/fixtures/keys.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";

async function homeWithKey(): Promise<Home> {
  const home = emptyHome();
  await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
  return home;
}

const isRoot = process.getuid?.() === 0;

/** Who else can change the database, what is said of that, and what mends it. */
const EXPOSURES: readonly (readonly [string, (home: Home) => void, message: RegExp, hint: (home: Home) => string])[] = [
  [
    "that all may write",
    ({ database }) => chmodSync(database, 0o666),
    /the database file \S+ can be written by other users of this machine \(mode 0666\)/,
    ({ database }) => `chmod go-w ${database}`,
  ],
  [
    "that its group may write",
    ({ database }) => chmodSync(database, 0o660),
    /the database file \S+ can be written by its group \(mode 0660\)/,
    ({ database }) => `chmod go-w ${database}`,
  ],
  [
    "in a folder that all may write",
    ({ database }) => chmodSync(dirname(database), 0o777),
    /the folder of the database, \S+, can be written by other users of this machine \(mode 0777\)/,
    ({ database }) => `chmod go-w ${dirname(database)}`,
  ],
  [
    "in a folder as /tmp",
    ({ database }) => chmodSync(dirname(database), 0o1777),
    /the folder of the database, \S+, can be written by other users of this machine \(mode 1777\)/,
    () => "move the database to a folder of your own",
  ],
];

describe.skipIf(process.platform === "win32")("a database", () => {
  it.each(EXPOSURES)("%s is warned of once a run, and named by doctor", async (_, expose, message, hint) => {
    const home = await homeWithKey();
    expose(home);
    for (const args of [
      ["get", "--user", "alice", "--stored"],
      ["get", "--all", "--stored"],
      ["sync", "--user", "alice"],
      ["list"],
      ["rekey", "--keep-key"],
    ]) {
      const people = await inProcess(home, args);
      expect([people.code, people.stderr.split("warning: the ").length]).toEqual([0, 2]);
      expect(people.stderr).toMatch(message);
      expect(people.stderr).toContain(`; ${hint(home)}\n`);
      const json = await inProcess(home, [...args, "--json"]);
      if (args[0] === "list") continue;
      expect(documentsOf(json).at(-1)?.["warnings"]).toEqual([
        { code: "STORE_EXPOSED", message: expect.stringMatching(message) },
      ]);
    }
    const doctor = await inProcess(home, ["doctor", "--json"]);
    expect(doctor.stderr).not.toContain("warning:");
    expect(documentsOf(doctor)[0]?.["checks"]).toContainEqual({
      id: "server",
      status: "attention",
      message: expect.stringMatching(message),
      hint: hint(home),
    });
  });

  it.runIf(isRoot)("of another user is warned of, and named by doctor", async () => {
    const home = await homeWithKey();
    chownSync(home.database, 12_345, 12_345);
    const run = await inProcess(home, ["get", "--user", "alice", "--stored"]);
    expect(run.stderr).toContain(`warning: the database file ${home.database} belongs to another user (uid 12345); `);
    chownSync(home.database, 0, 0);
    chownSync(dirname(home.database), 12_345, 12_345);
    const doctor = await inProcess(home, ["doctor"]);
    expect(doctor.stdout).toContain(
      `the folder of the database, ${dirname(home.database)}, belongs to another user (uid 12345)\trun keyctl as that user, or: sudo chown "$(id -u)" ${dirname(home.database)}\n`,
    );
  });

  it("that nobody else can change is no worry, wherever it is", async () => {
    const home = await homeWithKey();
    mkdirSync(join(home.work, "private"), { mode: 0o755 });
    const store = ["--store", `sqlite:${join(home.work, "private", "keys.db")}`];
    const saved = await inProcess(home, ["save", "--user", "bob", "--stdin", "--json", "--create", ...store], {
      input: KEY,
    });
    expect(documentsOf(saved)[0]?.["warnings"]).toEqual([]);
    expect((await inProcess(home, ["get", "--user", "alice", "--stored"])).stderr).not.toContain("warning");
  });

  it("that a copy goes to is looked at as well", async () => {
    const home = await homeWithKey();
    const to = join(home.work, "copy.db");
    await inProcess(home, ["copy", "--to", `sqlite:${to}`, "--create"]);
    chmodSync(to, 0o666);
    const run = await inProcess(home, ["copy", "--to", `sqlite:${to}`, "--json"]);
    expect(documentsOf(run)[0]?.["warnings"]).toMatchObject([{ code: "STORE_EXPOSED" }]);
  });
});
