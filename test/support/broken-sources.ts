import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Home } from "./home.ts";
import { KEY, OTHER } from "./keys.ts";

/** A source that is there, or that a person named, and that holds no key. */
export interface BrokenSource {
  readonly name: string;
  /** Puts it there, and gives the variables that lead to it. */
  readonly make: (home: Home) => Readonly<Record<string, string>>;
  /** Why no key is made. */
  readonly reason: string;
  /** How its warning begins, and the code. */
  readonly warning: readonly [code: string, message: string];
}

const FILE_REASON = "key.txt is there and holds no valid key";
const UNREADABLE_REASON = "key.txt is there and cannot be read";
const VARIABLE_REASON = "OPENROUTER_API_KEY is set and holds no valid key";
const NAMED_REASON = "OPENROUTER_API_KEY_FILE is set and holds no valid key";
const MISSING = "the file that was named in place of key.txt does not exist";

const here = (home: Home) => join(home.work, "key.txt");

const file = (name: string, content: string | Uint8Array, fault: string, reason = FILE_REASON): BrokenSource => ({
  name: `key.txt ${name}`,
  make(home) {
    home.writeKeyFile(content);
    return {};
  },
  reason,
  warning: ["KEY_FILE_IGNORED", `key.txt ${fault}`],
});

const place = (name: string, make: (path: string) => void, fault: string): BrokenSource => ({
  name: `key.txt ${name}`,
  make(home) {
    make(here(home));
    return {};
  },
  reason: UNREADABLE_REASON,
  warning: ["KEY_FILE_IGNORED", `key.txt could not be read: ${fault}`],
});

const variable = (name: string, value: string, fault: string): BrokenSource => ({
  name: `OPENROUTER_API_KEY ${name}`,
  make: () => ({ OPENROUTER_API_KEY: value }),
  reason: VARIABLE_REASON,
  warning: ["ENVIRONMENT_KEY_IGNORED", `OPENROUTER_API_KEY ${fault}`],
});

const namedFile = (name: string, make: (path: string) => void, fault: string): BrokenSource => ({
  name: `OPENROUTER_API_KEY_FILE that names ${name}`,
  make(home) {
    const path = join(home.folder, "secret");
    make(path);
    return { OPENROUTER_API_KEY_FILE: path };
  },
  reason: NAMED_REASON,
  warning: ["ENVIRONMENT_KEY_IGNORED", `OPENROUTER_API_KEY_FILE names a file that ${fault}`],
});

const reference = "holds a reference that nothing has replaced by a key";
const notAKey = "holds something else than one well-formed key";

/** One of each kind. */
export const BROKEN_SOURCES: readonly BrokenSource[] = [
  file("that is empty", "", "is empty"),
  file("that is blank", " \r\n\n", "is empty"),
  file("with a key in quotes", `"${KEY}"\n`, "holds a key in quotes"),
  file("with two lines", `${KEY}\n${OTHER}\n`, "holds two lines"),
  file("with an export line", `export OPENROUTER_API_KEY=${KEY}`, notAKey),
  file("that is too big", `${KEY}\n`.repeat(100), "could not be read: it is larger than 4 KiB", UNREADABLE_REASON),
  file("that is not text", Buffer.from([0xff, 0xfe, 0x00]), "could not be read: it is not valid", UNREADABLE_REASON),
  place("that is a folder", (path) => mkdirSync(path), "it is a directory"),
  place("that is a dangling link", (path) => symlinkSync("nothing", path), "it is a symbolic link to nothing"),
  place("that is a device", (path) => symlinkSync("/dev/null", path), "it is not a regular file"),
  {
    name: "KEYCTL_KEY_FILE that names nothing",
    make: ({ folder }) => ({ KEYCTL_KEY_FILE: join(folder, "nothing.txt") }),
    reason: MISSING,
    warning: ["KEY_FILE_MISSING", MISSING],
  },
  variable("in quotes", `'${KEY}'`, "holds a key in quotes"),
  variable("that GitHub did not expand", "${{ secrets.OPENROUTER_API_KEY }}", reference),
  variable("that a shell did not expand", "$OPENROUTER_API_KEY", reference),
  variable("that cmd did not expand", "%OPENROUTER_API_KEY%", reference),
  variable("that 1Password did not resolve", "op://vault/openrouter/credential", reference),
  variable("of another provider", `sk-proj-${"0a1b2c3d".repeat(6)}`, "holds a key of another provider"),
  variable("with a mask", "***************b465", "holds the mask of a key"),
  variable("that is blank", " ", "is empty"),
  variable("with a word", "changeme", notAKey),
  namedFile("nothing", () => {}, "does not exist"),
  namedFile("an empty file", (path) => writeFileSync(path, ""), "is empty"),
  namedFile("two keys", (path) => writeFileSync(path, `${KEY}\n${OTHER}`), "holds two lines"),
  namedFile("a folder", (path) => mkdirSync(path), "cannot be used: it is a directory"),
];
