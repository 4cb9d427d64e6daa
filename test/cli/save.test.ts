import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { storedUsers, withDatabase } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { hashOf, KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";

async function homeWithAlice(): Promise<Home> {
  const home = emptyHome();
  await save(home, [], KEY);
  return home;
}

async function save(home: Home, flags: readonly string[], input: string | Uint8Array = KEY) {
  const run = await inProcess(home, ["save", "--user", "alice", "--stdin", "--json", ...flags], { input });
  return { run, document: documentsOf(run)[0] };
}

async function bareKey(home: Home): Promise<string> {
  return (await inProcess(home, ["get", "--user", "alice", "--stored", "--reveal"])).stdout.trimEnd();
}

describe("save", () => {
  it("stores the key as manual, and says so in one log line", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: `${KEY}\n` });
    expect(run).toMatchObject({ code: 0, stdout: "***************b465 (saved)\n" });
    expect(run.log).toBe("[KeyManager] ✅ Saved key to database (source: manual): ***************b465\n");
    expect(await bareKey(home)).toBe(KEY);
  });

  it("says what it replaced, and where that still works", async () => {
    const home = await homeWithAlice();
    const run = await inProcess(home, ["save", "--user", "alice", "--stdin", "--replace"], { input: OTHER });
    expect(run.stdout).toBe("***************91aa (replaced)\n");
    expect(run.stderr).toContain("note: the key it replaced (***************b465) still works at OpenRouter\n");
    expect(await bareKey(home)).toBe(OTHER);
  });

  it("documents what it replaced", async () => {
    const { document } = await save(await homeWithAlice(), ["--replace", "--source", "import"], OTHER);
    expect(document).toMatchObject({
      source: "import",
      origin: "import",
      changed: true,
      previous: { key: maskOf(KEY), key_hash: hashOf(KEY), origin: "manual", revocation: "kept" },
    });
  });

  it.each([[["--source", "import"]], [["--replace"]], [[]]])(
    "changes nothing when that key is there already, with %j",
    async (flags) => {
      const home = await homeWithAlice();
      const rows = () => withDatabase(home, (database) => database.prepare("SELECT * FROM api_keys").all());
      const before = await rows();
      const { run, document } = await save(home, flags);
      expect(run.code).toBe(0);
      expect(document).toMatchObject({ changed: false, origin: "manual", previous: null });
      expect(await rows()).toEqual(before);
      expect(run.log).toBe("");
    },
  );

  it("warns of a key that another user has, and of no other", async () => {
    const home = await homeWithAlice();
    const warningsOf = async (user: string, key: string) =>
      documentsOf(await inProcess(home, ["save", "--user", user, "--stdin", "--json"], { input: key }))[0]?.[
        "warnings"
      ];
    expect(await warningsOf("bob", KEY)).toEqual([
      {
        code: "KEY_SHARED",
        message: `1 other user has the same key: keyctl list --hash ${hashOf(KEY)}   names all of them`,
      },
    ]);
    expect(await warningsOf("bob", KEY)).toEqual([]);
    expect(await warningsOf("carol", OTHER)).toEqual([]);
  });

  it("leaves another key alone without --replace", async () => {
    const home = await homeWithAlice();
    const { run } = await save(home, [], OTHER);
    expect(errorOf(run)).toMatchObject({
      code: "KEY_EXISTS",
      message: "user alice already has another key (***************b465, from manual)",
      hint: "keyctl save --user alice --stdin --json --replace",
    });
    expect(await bareKey(home)).toBe(KEY);
  });

  it.each([
    ["two keys", `${KEY}\n${OTHER}\n`, "BAD_KEY_FORMAT"],
    ["nothing", "", "BAD_KEY_FORMAT"],
    ["a word", "hello", "BAD_KEY_FORMAT"],
    ["a key in quotes", `"${KEY}"`, "BAD_KEY_FORMAT"],
    ["a key without its end", "sk-or-v1-short", "BAD_KEY_FORMAT"],
    ["5 KiB", KEY.padEnd(5000), "BAD_KEY_FORMAT"],
    ["a mask", maskOf(KEY), "KEY_IS_MASKED"],
    ["a mask with a line end", `${maskOf(KEY)}\r\n`, "KEY_IS_MASKED"],
  ])("refuses %s with one log line, and makes no row", async (_, input, code) => {
    const home = emptyHome();
    const { run } = await save(home, [], input);
    expect(run.code).toBe(2);
    expect(errorOf(run)?.code).toBe(code);
    expect(run.log).toBe("[KeyManager] ❌ Invalid key format, not saving\n");
    expect(await storedUsers(home)).toEqual([]);
  });

  it.each([
    ["a mark and CRLF of PowerShell", Buffer.from(`\uFEFF${KEY}\r\n`, "utf16le")],
    ["blanks around it", ` \t${KEY} \n\n`],
  ])("takes a key with %s", async (_, input) => {
    const home = emptyHome();
    expect((await save(home, [], input)).run.code).toBe(0);
    expect(await bareKey(home)).toBe(KEY);
  });

  it("warns of a shape that OpenRouter does not make, and saves it", async () => {
    const { run, document } = await save(emptyHome(), [], "sk-or-v1-test-key");
    expect(run.code).toBe(0);
    expect(document?.["warnings"]).toMatchObject([{ code: "KEY_SHAPE" }]);
  });

  it.each([
    ["is missing", () => {}, "key.txt cannot be read: it does not exist"],
    [
      "is a directory",
      (home: Home) => mkdirSync(join(home.work, "key.txt")),
      "key.txt cannot be read: it is a directory",
    ],
    [
      "is too large",
      (home: Home) => writeFileSync(join(home.work, "key.txt"), KEY.padEnd(5000)),
      "key.txt cannot be read: it is larger than 4 KiB",
    ],
  ])("--from-file that %s is a usage error", async (_, given, message) => {
    const home = emptyHome();
    given(home);
    const run = await inProcess(home, ["save", "--user", "alice", "--from-file", "key.txt", "--json"]);
    expect(errorOf(run)).toMatchObject({ code: "USAGE", message });
  });

  it.each(["", "a b", "-x", "x".repeat(33), "über", "a/b"])("refuses the source '%s'", async (source) => {
    const { run } = await save(emptyHome(), [`--source=${source}`]);
    expect(run.code).toBe(2);
    expect(errorOf(run)?.code).toBe("USAGE");
  });

  it("leaves key.txt and the environment alone", async () => {
    const home = emptyHome();
    home.writeKeyFile("not a key");
    const run = await inProcess(home, ["save", "--user", "alice", "--stdin", "--json"], {
      input: KEY,
      env: { OPENROUTER_API_KEY: "not a key" },
    });
    expect(documentsOf(run)[0]).toMatchObject({ warnings: [], error: null });
  });
});
