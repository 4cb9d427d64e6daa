import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";

const utf16 = (text: string) => Buffer.from(text, "utf16le");

const FAULTS: readonly (readonly [text: string | Buffer, fault: string])[] = [
  [`"${KEY}"`, "holds a key in quotes"],
  [`OPENROUTER_API_KEY=${KEY}`, "holds NAME=… instead of the key alone"],
  [`export OPENROUTER_API_KEY=${KEY}`, "holds a shell command instead of the key alone"],
  [`Bearer ${KEY}`, "holds `Bearer` before the key"],
  [utf16(KEY), "is UTF-16 text without a byte order mark"],
  [`${KEY}\0`, "holds a NUL byte"],
  ["", "is empty"],
  [`${KEY}\n${OTHER}\n`, "holds two lines"],
  ["sk-ant-api03-0a1b2c3d4e5f", "holds a key of another provider"],
  [`sk-or-prov-${"0a1b".repeat(8)}`, "holds another kind of OpenRouter key"],
  [Buffer.from([0x73, 0xc3, 0x28]), "is not valid UTF-8 or UTF-16 text"],
  [" ".repeat(5000), "is longer than 4 KiB"],
];

describe("a text that is no key", () => {
  it.each(FAULTS)("is said by save, with the file that was given: %j", async (text, fault) => {
    const home = emptyHome();
    writeFileSync(join(home.work, "mine.txt"), text);
    const file = errorOf(await inProcess(home, ["save", "--user", "alice", "--from-file", "mine.txt", "--json"]));
    if (fault === "is longer than 4 KiB") return expect(file?.message).toContain("mine.txt");
    expect(file).toMatchObject({
      code: "BAD_KEY_FORMAT",
      message: `mine.txt: this is not a valid OpenRouter key: it ${fault}`,
    });
    const input = errorOf(await inProcess(home, ["save", "--user", "alice", "--stdin", "--json"], { input: text }));
    if (text === "") return expect(input?.message).toBe("nothing came on standard input, and a key is awaited there");
    expect(input?.message).toBe(`standard input: this is not a valid OpenRouter key: it ${fault}`);
  });

  it.each(FAULTS.filter(([, fault]) => !/valid UTF|longer/.test(fault)))(
    "is in the warnings of sync, by the name of its file: %j",
    async (text, fault) => {
      const home = emptyHome();
      const path = join(home.work, "mine.txt");
      writeFileSync(path, text, { mode: 0o600 });
      const run = await inProcess(home, ["sync", "--user", "alice", "--key-file", path, "--json"]);
      expect(documentsOf(run)[0]?.["warnings"]).toEqual([{ code: "KEY_FILE_IGNORED", message: `${path} ${fault}` }]);
      expect(errorOf(run)?.message).toBe(`no key for user alice: ${path} is there and holds no valid key`);
      expect(run.log).not.toContain(path);
    },
  );

  it("is named by save without repeating it", async () => {
    const home = emptyHome();
    for (const [text] of FAULTS) {
      const run = await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: text });
      expect(run.stdout + run.stderr).not.toMatch(/0a1b2c3d|b465|91aa/);
    }
  });
});
