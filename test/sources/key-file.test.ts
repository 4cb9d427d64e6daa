import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import type { SourceReading } from "../../src/core/ports/stores-and-sources.ts";
import { keyFile, readingOf } from "../../src/sources/key-file.ts";
import {
  utf16be,
  utf16beWithBom,
  utf16le,
  utf16leWithBom,
  utf32beWithBom,
  utf32leWithBom,
  utf8,
  utf8WithBom,
} from "../support/fixtures/encodings.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { asOrdinaryUser } from "../support/home/ordinary-user.ts";

const USER = "68e228e87f803a11a4e23045";
const KEY = "sk-or-v1-0000000000000000000000000000000000000000000000000000000000b465";
const OTHER = "sk-or-v1-1111111111111111111111111111111111111111111111111111111191aa";
const TOO_BIG = "it is larger than 4 KiB";
const NOT_TEXT = "it is not valid UTF-8 or UTF-16 text";
const IN_QUOTES = "holds a key in quotes";
const NOT_A_KEY = "holds something other than one valid key";

type Outcome = { found: string } | { malformed: string } | { unreadable: string } | "absent";

const found = (tail: string): Outcome => ({ found: tail });
const malformed = (detail: string): Outcome => ({ malformed: detail });
const unreadable = (reason: string): Outcome => ({ unreadable: reason });

function outcomeOf(reading: SourceReading): Outcome {
  if (reading.status === "found") return found(reading.key.tail);
  if (reading.status === "malformed") return malformed(reading.detail);
  return reading.status === "unreadable" ? unreadable(reading.reason) : "absent";
}

/** None of these is a management key. */
const nobodys = () => false;

/** The key between blanks, to this many bytes. */
const paddedTo = (bytes: number): Buffer => utf8(KEY.padEnd(bytes, " "));

const CONTENTS: readonly (readonly [name: string, bytes: Buffer, outcome: Outcome])[] = [
  ["UTF-8", utf8(KEY), found("b465")],
  ["UTF-8 with a line end", utf8(`${KEY}\n`), found("b465")],
  ["UTF-8 with a BOM", utf8WithBom(`${KEY}\n`), found("b465")],
  ["UTF-8 with two BOMs", utf8WithBom(`\uFEFF${KEY}`), found("b465")],
  ["UTF-8 with a BOM at its end", utf8(`${KEY}\uFEFF`), found("b465")],
  ["UTF-16LE with a BOM", utf16leWithBom(KEY), found("b465")],
  ["UTF-16BE with a BOM", utf16beWithBom(`${KEY}\r\n`), found("b465")],
  ["what PowerShell's echo writes", utf16leWithBom("sk-or-v1-test-key\r\n"), found("-key")],
  ["UTF-16LE without a BOM", utf16le(KEY), malformed("is UTF-16 text without a byte order mark")],
  ["UTF-16BE without a BOM", utf16be(KEY), malformed("is UTF-16 text without a byte order mark")],
  ["UTF-16LE cut in the middle of a unit", utf16leWithBom(KEY).subarray(0, -1), unreadable(NOT_TEXT)],
  ["UTF-16LE with half a surrogate pair", utf16leWithBom(`${KEY}\uD800`), unreadable(NOT_TEXT)],
  ["UTF-16LE with two keys", utf16leWithBom(`${KEY}\r\n${OTHER}\r\n`), malformed("holds two lines")],
  ["UTF-32LE with a BOM", utf32leWithBom(KEY), malformed("holds a NUL byte")],
  ["UTF-32BE with a BOM", utf32beWithBom(KEY), unreadable(NOT_TEXT)],
  ["Latin-1", Buffer.from(`é${KEY}`, "latin1"), unreadable(NOT_TEXT)],
  ["UTF-8 cut in the middle of a character", utf8(`${KEY}€`).subarray(0, -1), unreadable(NOT_TEXT)],
  ["overlong UTF-8", Buffer.concat([Buffer.from([0xc0, 0x8a]), utf8(KEY)]), unreadable(NOT_TEXT)],
  ["a BOM of UTF-16 before UTF-8", Buffer.concat([Buffer.from([0xff, 0xfe]), utf8(`${KEY} `)]), malformed(NOT_A_KEY)],

  ["CRLF", utf8(`${KEY}\r\n`), found("b465")],
  ["CR alone", utf8(`${KEY}\r`), found("b465")],
  ["blanks around it", utf8(`  \t${KEY} \t \n\n`), found("b465")],
  ["empty lines before it", utf8(`\n\r\n\n${KEY}`), found("b465")],
  ["vertical tab and form feed around it", utf8(`\v${KEY}\f`), found("b465")],
  ["no-break spaces around it", utf8(`\u00A0${KEY}\u202F`), found("b465")],
  ["a next-line character after it", utf8(`${KEY}\u0085`), found("b465")],
  ["Unicode spaces around it", utf8(`\u1680\u2003${KEY}\u205F\u3000`), found("b465")],
  ["Unicode line and paragraph ends after it", utf8(`${KEY}\u2028\u2029`), found("b465")],
  ["zero-width characters around it", utf8(`\u200B\u200C${KEY}\u200D\u2060`), found("b465")],
  ["direction marks around it, as word processors paste them", utf8(`\u200E${KEY}\u200F`), found("b465")],
  ["a zero-width space inside it", utf8(KEY.replace("v1", "v\u200B1")), malformed(NOT_A_KEY)],
  ["a no-break space inside it", utf8(KEY.replace("v1", "v1\u00A0")), malformed(NOT_A_KEY)],
  ["a blank inside it", utf8(KEY.replace("v1-", "v1- ")), malformed(NOT_A_KEY)],
  ["a line end inside it", utf8(`${KEY.slice(0, 40)}\n${KEY.slice(40)}`), malformed("holds two lines")],
  ["NUL inside it", utf8(KEY.replace("v1", "v\x001")), malformed("holds a NUL byte")],
  ["NUL before it", utf8(`\0${KEY}`), malformed("holds a NUL byte")],
  ["NUL after it", utf8(`${KEY}\0`), malformed("holds a NUL byte")],
  ["a soft hyphen inside it", utf8(KEY.replace("or", "o\u00ADr")), malformed(NOT_A_KEY)],
  ["typographic dashes in it", utf8(KEY.replaceAll("-", "\u2013")), malformed(NOT_A_KEY)],
  ["full-width letters in it", utf8(KEY.replace("sk", "\uFF53\uFF4B")), malformed(NOT_A_KEY)],
  ["a Cyrillic letter in it", utf8(KEY.replace("o", "\u043E")), malformed(NOT_A_KEY)],

  ["two keys", utf8(`${KEY}\n${OTHER}\n`), malformed("holds two lines")],
  ["two keys in one line", utf8(`${KEY} ${OTHER}`), malformed(NOT_A_KEY)],
  ["two keys between CRs", utf8(`${KEY}\r${OTHER}\r`), malformed("holds two lines")],
  ["the same key twice", utf8(`${KEY}\n${KEY}\n`), malformed("holds two lines")],
  ["three lines", utf8(`${KEY}\n\n${OTHER}\n${KEY}`), malformed("holds 3 lines")],
  ["a comment above the key", utf8(`# production\n${KEY}\n`), malformed("holds two lines")],
  ["a comment behind the key", utf8(`${KEY} # production`), malformed(NOT_A_KEY)],
  ["single quotes", utf8(`'${KEY}'`), malformed(IN_QUOTES)],
  ["double quotes", utf8(`"${KEY}"\n`), malformed(IN_QUOTES)],
  ["typographic quotes", utf8(`\u201C${KEY}\u201D`), malformed(IN_QUOTES)],
  ["back quotes", utf8(`\`${KEY}\``), malformed(IN_QUOTES)],
  [
    "export X=",
    utf8(`export OPENROUTER_API_KEY=${KEY}\n`),
    malformed("holds a shell command instead of the key alone"),
  ],
  ["X=", utf8(`OPENROUTER_API_KEY=${KEY}\n`), malformed("holds NAME=… instead of the key alone")],
  [
    "$env:X =",
    utf16leWithBom(`$env:OPENROUTER_API_KEY = "${KEY}"\r\n`),
    malformed("holds a shell command instead of the key alone"),
  ],
  ["JSON", utf8(JSON.stringify({ key: KEY })), malformed(NOT_A_KEY)],
  ["JSON over three lines", utf8(JSON.stringify({ key: KEY }, null, 2)), malformed("holds 3 lines")],
  ["YAML", utf8(`key: ${KEY}\n`), malformed("holds NAME=… instead of the key alone")],
  ["a Bearer header", utf8(`Authorization: Bearer ${KEY}`), malformed("holds `Bearer` before the key")],
  ["a trailing full stop", utf8(`${KEY}.`), malformed(NOT_A_KEY)],

  ["nothing", utf8(""), malformed("is empty")],
  ["blanks only", utf8(" \t\r\n \n"), malformed("is empty")],
  ["a UTF-8 BOM only", utf8WithBom(""), malformed("is empty")],
  ["a UTF-16 BOM only", utf16leWithBom(""), malformed("is empty")],
  ["half a UTF-8 BOM", Buffer.from([0xef, 0xbb]), unreadable(NOT_TEXT)],
  ["zero-width characters only", utf8("\u200B\u2060\n"), malformed("is empty")],
  ["one NUL", utf8("\0"), malformed("holds a NUL byte")],
  ["4096 bytes", paddedTo(4096), found("b465")],
  ["4097 bytes", paddedTo(4097), unreadable(TOO_BIG)],
  ["4096 bytes without a key", utf8("x".repeat(4096)), malformed(NOT_A_KEY)],
  ["4096 line ends", utf8("\n".repeat(4096)), malformed("is empty")],
  ["4096 bytes of UTF-16", utf16leWithBom(KEY.padEnd(2047, " ")), found("b465")],
  ["10 MB", Buffer.alloc(10_000_000, `${KEY}\n`), unreadable(TOO_BIG)],
  ["10 MB of NULs", Buffer.alloc(10_000_000), unreadable(TOO_BIG)],
  ["a PNG's first bytes", Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"), unreadable(NOT_TEXT)],
  ["a program's first bytes", Buffer.from("7f454c4602010100000000000000", "hex"), malformed("holds a NUL byte")],
  ["every byte there is", Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), unreadable(NOT_TEXT)],
  ["ANSI colours around it", utf8(`\u001b[32m${KEY}\u001b[0m\n`), malformed(NOT_A_KEY)],
  ["a bracketed paste around it", utf8(`\u001b[200~${KEY}\u001b[201~`), malformed(NOT_A_KEY)],
  ["a terminal title before it", utf8(`\u001b]0;x\u0007${KEY}`), malformed(NOT_A_KEY)],
  ["bidi overrides inside it", utf8(KEY.replace("or", "\u202Eor\u202C")), malformed(NOT_A_KEY)],

  [
    "the prefix of another provider",
    utf8("sk-ant-api03-0123456789abcdef"),
    malformed("holds a key of another provider"),
  ],
  [
    "the prefix of another version",
    utf8(KEY.replace("v1", "v2")),
    malformed("holds a key in upper case or of another version"),
  ],
  [
    "the prefix in capitals",
    utf8(KEY.replace("sk-or-v1", "SK-OR-V1")),
    malformed("holds a key in upper case or of another version"),
  ],
  ["capitals behind the prefix", utf8("sk-or-v1-ABCDEFGH_-09"), found("_-09")],
  ["the prefix alone", utf8("sk-or-v1-"), malformed(NOT_A_KEY)],
  ["7 characters behind the prefix: too short", utf8(`sk-or-v1-${"a".repeat(7)}`), malformed(NOT_A_KEY)],
  ["8 characters behind the prefix", utf8(`sk-or-v1-${"a".repeat(8)}`), found("aaaa")],
  ["209 characters in all", utf8(`sk-or-v1-${"a".repeat(200)}`), found("aaaa")],
  ["210 characters in all: too long", utf8(`sk-or-v1-${"a".repeat(201)}`), malformed(NOT_A_KEY)],
  ["a mask", utf8("***************b465\n"), malformed("holds the mask of a key")],
  ["a placeholder", utf8("sk-or-v1-..."), malformed(NOT_A_KEY)],
  ["an address", utf8(`https://openrouter.ai/keys?key=${KEY}`), malformed(NOT_A_KEY)],
  ["an HTTP header smuggled in", utf8(`${KEY}\r\nX-Evil: 1`), malformed("holds two lines")],
];

describe("the content of key.txt", () => {
  it.each(CONTENTS)("%s", async (_name, bytes, outcome) => {
    const home = emptyHome();
    home.writeKeyFile(bytes);
    const started = performance.now();
    const { reading, warnings } = await keyFile({ path: join(home.work, "key.txt"), named: false }, nobodys).read();
    const answeredAfterMs = performance.now() - started;
    expect(outcomeOf(reading)).toEqual(outcome);
    expect(warnings).toEqual([]);
    expect(answeredAfterMs).toBeLessThan(1000);
  });

  it("is a corpus of at least 60 files with names of their own", () => {
    expect(new Set(CONTENTS.map(([name]) => name)).size).toBe(CONTENTS.length);
    expect(CONTENTS.length).toBeGreaterThanOrEqual(60);
  });

  it("is never repeated in what is said about it", () => {
    for (const [, bytes] of CONTENTS) {
      const reading = readingOf(bytes, nobodys);
      expect(JSON.stringify(reading)).not.toContain("sk-or-v1");
    }
  });
});

type Made = (home: Home, path: string) => void | Promise<void>;
type Warned = readonly string[];

const KINDS: readonly (readonly [name: string, make: Made, outcome: Outcome, warned: Warned])[] = [
  ["no file", () => {}, "absent", []],
  ["no folder", (home) => rmSync(home.work, { recursive: true }), "absent", []],
  ["a directory", (_, path) => mkdirSync(path), unreadable("it is a directory"), []],
  ["a FIFO that nobody writes to", makeFifo, unreadable("it is not a regular file"), []],
  ["a socket", makeSocket, unreadable("it is not a regular file"), []],
  ["a device", linkTo("/dev/null"), unreadable("it is not a regular file"), []],
  ["an endless device", linkTo("/dev/zero"), unreadable("it is not a regular file"), []],
  ["a symbolic link to a key", linkToKey, found("b465"), []],
  ["a symbolic link to a directory", linkTo("."), unreadable("it is a directory"), []],
  ["a symbolic link to a FIFO", linkToFifo, unreadable("it is not a regular file"), []],
  ["a dangling link", linkTo("nothing"), unreadable("it is a symbolic link to nothing"), []],
  ["a link to itself", linkTo("key.txt"), unreadable("it is a loop of symbolic links"), []],
  ["a loop of two links", linkLoop, unreadable("it is a loop of symbolic links"), []],
  ["a file that its reader may not read", withMode(0o000), unreadable("permission denied"), []],
  ["a file that nobody else may read", withMode(0o600), found("b465"), []],
  ["a file that its group may read", withMode(0o640), found("b465"), ["0640"]],
  ["a file that everybody may read", withMode(0o604), found("b465"), ["0604"]],
  ["a read-only file of its owner", withMode(0o400), found("b465"), []],
  ["a link to a file that everybody may read", linkToOpenKey, found("b465"), ["0644"]],
];

/** Owned by the user that reads it: root reads as nobody here. */
function withMode(mode: number): Made {
  return (_, path) => {
    writeFileSync(path, KEY);
    chmodSync(path, mode);
  };
}

function linkTo(target: string): Made {
  return (_, path) => symlinkSync(target, path);
}

function linkToKey({ work }: Home, path: string): void {
  writeFileSync(join(work, "real.txt"), KEY, { mode: 0o600 });
  symlinkSync("real.txt", path);
}

function linkToOpenKey({ work }: Home, path: string): void {
  writeFileSync(join(work, "real.txt"), KEY);
  chmodSync(join(work, "real.txt"), 0o644);
  symlinkSync("real.txt", path);
}

function linkToFifo(home: Home, path: string): void {
  makeFifo(home, join(home.work, "fifo"));
  symlinkSync("fifo", path);
}

function linkLoop({ work }: Home, path: string): void {
  symlinkSync("other", path);
  symlinkSync("key.txt", join(work, "other"));
}

function makeFifo(_: Home, path: string): void {
  execFileSync("sh", ["-c", 'mkfifo "$1"', "sh", path]);
}

async function makeSocket(_: Home, path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
}

describe("what stands in the place of key.txt", () => {
  it.each(KINDS)("%s", async (_name, make, outcome, warned) => {
    const home = emptyHome();
    const path = join(home.work, "key.txt");
    await make(home, path);
    giveToOrdinaryUser(home);
    const answer = (await asOrdinaryUser(
      "sources/key-file.ts",
      `(async () => {
        const started = performance.now();
        const { reading, warnings } = await subject.keyFile({ path: ${JSON.stringify(path)}, named: false }, () => false).read();
        const { status, reason, key } = reading;
        return { status, reason, tail: key?.tail, warnings, answeredAfterMs: performance.now() - started };
      })()`,
    )) as { status: string; reason?: string; tail?: string; warnings: object[]; answeredAfterMs: number };
    const { status, reason, tail } = answer;
    expect(status === "absent" ? status : { [status]: tail ?? reason }).toEqual(outcome);
    expect(answer.warnings).toEqual(
      warned.map((mode) => ({
        code: "KEY_FILE_MODE",
        message: `key.txt can be read by other users of this machine (mode ${mode}); chmod 600 it`,
      })),
    );
    expect(answer.answeredAfterMs).toBeLessThan(1000);
  });

  it("warns when the file that a person named is not there", async () => {
    const home = emptyHome();
    const { reading, warnings } = await keyFile({ path: join(home.work, "named.txt"), named: true }, nobodys).read();
    expect(reading).toEqual({ status: "missing" });
    expect(warnings).toEqual([
      { code: "KEY_FILE_MISSING", message: "the file named in place of key.txt does not exist" },
    ]);
  });

  it.each([
    [
      "a file in the place of a folder",
      (work: string) => join(work, "file", "key.txt"),
      "a part of its path is not a directory",
    ],
    ["a name that is too long", (work: string) => join(work, "x".repeat(300)), "its name is too long"],
    ["a name that holds NUL", (work: string) => join(work, "a\0b"), "it cannot be read (ERR_INVALID_ARG_VALUE)"],
  ])("says why of %s", async (_name, pathIn, reason) => {
    const home = emptyHome();
    writeFileSync(join(home.work, "file"), "");
    const { reading } = await keyFile({ path: pathIn(home.work), named: true }, nobodys).read();
    expect(reading).toEqual({ status: "unreadable", reason });
  });
});

/** Whoever runs the tests: the home, and what is in it, is then owned by the one who reads. */
function giveToOrdinaryUser(home: Home): void {
  if (process.getuid?.() === 0) execFileSync("chown", ["-R", "-h", "65534:65534", home.folder]);
}

describe("keyctl sync on a key.txt", () => {
  const noKey = [
    "[KeyManager] ⚠️ No API key found in database, file, or environment",
    "[KeyManager] 🔄 Attempting auto-provision...",
    "[KeyManager] ⚠️ OPENROUTER_PROVISIONING_KEY not set, cannot auto-provision",
    "[KeyManager] ❌ No API key available",
  ];

  it("reads what PowerShell's echo writes", async () => {
    const home = emptyHome();
    home.writeKeyFile(utf16leWithBom("sk-or-v1-test-key\r\n"));
    const run = await keyctl(home, ["sync", "--user", USER]);
    expect(run.log.split("\n").slice(1, 3)).toEqual([
      "[KeyManager] ✅ Loaded key from key.txt: ***************-key",
      "[KeyManager] ✅ Saved key to database (source: key.txt): ***************-key",
    ]);
    expect(run.code).toBe(0);
  });

  it.each<readonly [string, (home: Home) => unknown, string]>([
    ["two keys", (home) => home.writeKeyFile(`${KEY}\n${OTHER}\n`), "Invalid key format in key.txt"],
    ["a quoted key", (home) => home.writeKeyFile(`"${KEY}"`), "Invalid key format in key.txt"],
    [
      "an export line",
      (home) => home.writeKeyFile(`export OPENROUTER_API_KEY=${KEY}`),
      "Invalid key format in key.txt",
    ],
    ["nothing in it", (home) => home.writeKeyFile(""), "Invalid key format in key.txt"],
    ["10 MB", (home) => home.writeKeyFile(Buffer.alloc(10_000_000, KEY)), `Could not read key.txt: ${TOO_BIG}`],
    ["Latin-1", (home) => home.writeKeyFile(Buffer.from(`é${KEY}`, "latin1")), `Could not read key.txt: ${NOT_TEXT}`],
    ["a directory", (home) => mkdirSync(join(home.work, "key.txt")), "Could not read key.txt: it is a directory"],
    [
      "a FIFO",
      (home) => makeFifo(home, join(home.work, "key.txt")),
      "Could not read key.txt: it is not a regular file",
    ],
    [
      "a dangling link",
      (home) => symlinkSync("nothing", join(home.work, "key.txt")),
      "Could not read key.txt: it is a symbolic link to nothing",
    ],
  ])("goes on without a key after %s, and repeats nothing of it", async (_name, make, line) => {
    const home = emptyHome();
    await make(home);
    const run = await keyctl(home, ["sync", "--user", USER, "--json"]);
    expect(run.log.trimEnd().split("\n")).toEqual([
      "[KeyManager] ===== Syncing API key for user 68e228e8 =====",
      `[KeyManager] ⚠️ ${line}`,
      ...noKey,
    ]);
    expect(JSON.parse(run.stdout)).toMatchObject({ key: null, warnings: [{ code: "KEY_FILE_IGNORED" }] });
    expect(run.stdout + run.stderr).not.toMatch(/sk-or-v1|b465|91aa|export/);
    expect(run.code).toBe(3);
  });

  it("takes the key of the environment when key.txt holds none", async () => {
    const home = emptyHome();
    home.writeKeyFile(`\u201C${OTHER}\u201D`);
    const run = await keyctl(home, ["sync", "--user", USER], { env: { OPENROUTER_API_KEY: KEY } });
    expect(run.log.split("\n").slice(1, 3)).toEqual([
      "[KeyManager] ⚠️ Invalid key format in key.txt",
      "[KeyManager] ✅ Loaded key from OPENROUTER_API_KEY: ***************b465",
    ]);
    expect(run.code).toBe(0);
  });

  it("warns of a key.txt that the group can read, and uses it", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    chmodSync(join(home.work, "key.txt"), 0o640);
    const run = await keyctl(home, ["sync", "--user", USER]);
    expect(run.stderr).toContain(
      "warning: key.txt can be read by other users of this machine (mode 0640); chmod 600 it\n",
    );
    expect(run.code).toBe(0);
  });
});
