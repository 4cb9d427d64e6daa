import { describe, expect, it } from "vitest";
import { hashOf, keyEnding } from "../../support/fixtures/keys.ts";
import { emptyHome } from "../../support/home/home.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";

const KEY = keyEnding("0001");
const OTHER = keyEnding("0002");
const UNUSUAL = "sk-or-v1-abcdef0123456789";

const importOf = (text: string, args: readonly string[] = []) =>
  inProcess(emptyHome(), ["import", "--csv", "-", ...args], { input: text });

describe("what import says about a line", () => {
  it("warns of each line that gives a user the key of another user, with the line and the user", async () => {
    const text = `user,key\nalice,${KEY}\nbob,${KEY}\nalice,${KEY}\ncid,${OTHER}\ndan,${KEY}\n`;
    for (const more of [[], ["--dry-run"]]) {
      const { code, stdout } = await importOf(text, ["--json", ...more]);
      const documents = documentsOf({ stdout });
      const codes = documents.map(({ warnings }) => (warnings as { code: string }[]).map((warning) => warning.code));
      expect([code, codes]).toEqual([0, [[], ["KEY_SHARED"], [], [], ["KEY_SHARED"], ["KEY_SHARED"]]]);
      expect(JSON.stringify(documents[1])).toContain(`keyctl list --hash ${hashOf(KEY)}`);
    }
    const { stderr } = await importOf(text);
    expect(stderr).toContain(
      "warning: 2 lines give a user the key of another user: give each user a key of their own: line 3 (user bob), line 6 (user dan)\n",
    );
  });

  it("names ten lines of a warning, and counts the others", async () => {
    const lines = Array.from({ length: 13 }, (_, at) => `user-${at},${UNUSUAL}${at}\n`);
    const { stderr } = await importOf(`user,key\n${lines.join("")}`);
    expect(stderr).toMatch(
      /^warning: 13 keys do not look like .*: line 2 \(user user-0\), .* \(user user-9\) and 3 more; --json lists them all$/m,
    );
  });

  it("refuses the last line of a file that may be cut off: without a line end, and with an unusual key", async () => {
    const cut = `user,key\nalice,${KEY}\nbob,${KEY.slice(0, 40)}`;
    const { code, stderr } = await importOf(cut);
    expect(code).toBe(9);
    expect(stderr).toContain(
      "warning: line 3: the line has no line end, and its key is not whole or unusual: the file may be cut off\n",
    );
    expect((await importOf(`${cut}\n`)).code).toBe(0);
    expect((await importOf(`user,key\nalice,${KEY}`)).code).toBe(0);
  });

  it.each([
    [`user,key\nalice,nothing\n`, "warning: line 2 (user alice): this is not a valid OpenRouter key"],
    [`user,key\n alice,${KEY}\n`, "warning: line 2: the user id ' alice' begins or ends with a blank"],
    [`user,key\nalice\n`, "warning: line 2: the line has 1 field, and the header 2"],
    [
      `user,key\nalice;${KEY}\n`,
      "is not separated as the header is: the fields are separated by ';': a comma is wanted",
    ],
    [`user,key\nalice, "${KEY}"\n`, "warning: line 2: the line has a blank between a comma and a quote"],
    [`user;key;source\nalice;${KEY};\n`, "error: the fields are separated by ';': a comma is wanted"],
    [`user\tkey\n`, "error: the fields are separated by tabs: a comma is wanted"],
    [`name,value\n`, "error: the first line names no column user and no column key; it names name, value"],
    [`user,key\nalice,${KEY}\nalice,${OTHER}\n`, "keyctl save --user <id> --replace   replaces a key that is there"],
  ])("%j: %s", async (text, message) => {
    const { stderr } = await importOf(text);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain(KEY.slice(0, 40));
  });

  it("gives a bad source a hint that names no flag: import has none for it", async () => {
    const { stdout } = await importOf(`user,key,source\nalice,${KEY},not a source\n`, ["--json"]);
    const [{ error } = {}] = documentsOf({ stdout });
    expect(error).toMatchObject({ hint: "write a source such as old-system, or none: the origin is then import" });
  });
});
