import { describe, expect, it } from "vitest";
import { CANARIES, canariesIn } from "../../support/fixtures/leak-canaries.ts";
import { keyEnding } from "../../support/fixtures/keys.ts";
import { allThatIsStored } from "../../support/fixtures/stored-rows.ts";
import { emptyHome } from "../../support/home/home.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";

const KEY = keyEnding("0001");
const SECRET = CANARIES.key;
const UNKNOWN_KIND = CANARIES["management key"].replace("sk-or-v1-", "mgmt.");
const env = { OPENROUTER_PROVISIONING_KEY: UNKNOWN_KIND };

/** What stands in the place of a user id by mistake. */
const MISTAKES = [
  ["a key", SECRET],
  ["a key that is wrapped over a line end", `${SECRET.slice(0, 40)}\n${SECRET.slice(40)}`],
  ["a key with a blank in it", `${SECRET.slice(0, 30)} ${SECRET.slice(30)}`],
  ["a key in upper case", SECRET.toUpperCase()],
  ["a key in the middle of a long text", `${"x".repeat(100)} ${SECRET} ${"y".repeat(100)}`],
  ["a long text that begins with half a key", `${SECRET.slice(20)}${"z".repeat(200)}`],
  ["a management key of a form of its own", UNKNOWN_KIND],
  ["such a management key that is wrapped", `${UNKNOWN_KIND.slice(0, 30)}\n${UNKNOWN_KIND.slice(30)}`],
] as const;

const quoted = (text: string) => `"${text}"`;

describe("a secret in the place of a user id", () => {
  it.each(MISTAKES)("is neither stored nor printed by import: %s", async (_, text) => {
    const home = emptyHome();
    for (const [args, input] of [
      [["--csv", "-", "--json"], `user,key\n${quoted(text)},${KEY}\nzoe,${KEY}\n`],
      [["--csv", "-"], `user,key\n${quoted(text)},${KEY}\n`],
      [["--jsonl", "-", "--json", "--dry-run"], JSON.stringify({ user: text, key: KEY })],
    ] as const) {
      const { code, stdout, stderr } = await inProcess(home, ["import", ...args], { input, env });
      expect([code, canariesIn({ stdout, stderr })]).toEqual([9, []]);
      if (args.some((word) => word === "--json")) {
        expect(documentsOf({ stdout })[0]).toMatchObject({ user_id: null, error: { code: "BAD_USER_ID" } });
      }
    }
    expect(canariesIn({ stored: await allThatIsStored(home) })).toEqual([]);
  });

  it.each(MISTAKES.filter(([, text]) => !text.includes("\n")))(
    "is neither stored nor printed by sync: %s",
    async (_, text) => {
      const home = emptyHome();
      home.writeKeyFile(KEY);
      const listed = await inProcess(home, ["sync", "--users-file", "-", "--json"], { input: `${text}\nbob\n`, env });
      expect([listed.code, canariesIn({ stdout: listed.stdout, stderr: listed.stderr })]).toEqual([9, []]);
      expect(documentsOf(listed)[0]).toMatchObject({ user_id: null, error: { code: "BAD_USER_ID" } });
      const one = await inProcess(home, ["sync", "--user", text, "--json"], { env });
      expect([one.code, canariesIn({ stdout: one.stdout, stderr: one.stderr })]).toEqual([2, []]);
      expect(canariesIn({ stored: await allThatIsStored(home) })).toEqual([]);
    },
  );

  it("is not printed where it is the name of a column or a field", async () => {
    const half = SECRET.slice(20, 50);
    const cases = [
      [["--csv", "-"], `user,key,${half},team\nalice,${KEY},a,b\n`],
      [["--csv", "-"], `user,${half}\n`],
      [["--csv", "-"], `user,${SECRET.toUpperCase()}\n`],
      [["--jsonl", "-"], JSON.stringify({ user: "alice", key: KEY, [SECRET.toUpperCase()]: 1, [half]: 2, team: 3 })],
    ] as const;
    const shown = [];
    for (const [args, input] of cases) {
      const { stdout, stderr } = await inProcess(emptyHome(), ["import", ...args], { input });
      expect(canariesIn({ stdout, stderr })).toEqual([]);
      shown.push(stderr.split("\n")[0]);
    }
    expect(shown).toEqual([
      "note: not imported: team, 1 more",
      "error: the first line names no column key; it names user, 1 more",
      "error: the first line holds a key, and not the names of columns",
      "note: not imported: team, 2 more",
    ]);
  });
});
