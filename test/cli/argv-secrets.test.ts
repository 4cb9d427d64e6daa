import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { refuseSecrets } from "../../src/cli/argv-secrets.ts";
import { isKeyctlError } from "../../src/core/model/errors.ts";
import type { KeyctlError } from "../../src/core/model/errors.ts";

const KEY = `sk-or-v1-${"0a1b2c3d".repeat(8)}`;

const keys = fc.stringMatching(/^sk-or-v1-[A-Za-z0-9_-]{8,200}$/);
const words = fc.stringMatching(/^[a-zA-Z0-9@.,=/_-]{0,30}$/).filter((word) => !/sk-or-v/.test(word));

describe("secrets on the command line", () => {
  it.each([
    [["save", "--user", "alice", KEY], "there is a key"],
    [["save", `--user=${KEY}`], "there is a key"],
    [["get", "-u", `${KEY}\n`], "there is a key"],
    [["--json", "--", KEY], "there is a key"],
    [[KEY.slice(0, 20)], "there is a key"],
    [["save", "-u", "alice", "***************b465"], "there is the mask of a key"],
    [["save", "--key=***************"], "there is the mask of a key"],
    [["list", "--store", "mongodb://user:secret@host/db"], "there is a URI with a password"],
    [["list", "--store=mongodb+srv://user:secret@host"], "there is a URI with a password"],
    [["list", "--store", "mongodb://user:p/ss@host"], "there is a URI with a password"],
    [["list", "--store", "mongodb://user:p@ss@host"], "there is a URI with a password"],
    [["list", "--store", "mongodb://:secret@host"], "there is a URI with a password"],
    [["list", "--store", "mongodb://user:se cret@host"], "there is a URI with a password"],
    [["list", "--store=mongodb:/user:secret@host"], "there is a URI with a password"],
    [["list", "--store=MONGODB:user:secret@host"], "there is a URI with a password"],
    [["list", "--store", "mongodb://me@corp:pw@h/db"], "there is a URI with a password"],
    [["list", "--store", "mongodb%3A%2F%2Fme%3Apw%40h%2Fdb"], "there is a URI with a password"],
    [["list", "--store", "mongodb%253A%252F%252Fme%253Apw%2540h%252Fdb"], "there is a URI with a password"],
    [["get", "--user", `sk-or-prov-${"0a1b".repeat(8)}`], "there is a key"],
    [["get", "--user", `sk-or-provisioning-${"0a1b".repeat(8)}`], "there is a key"],
    [["get", KEY.toUpperCase()], "there is a key"],
    [["get", "--user", KEY.replaceAll("-", "%2D")], "there is a key"],
    [["list", "--store", "mongodb://a/b?tlsCertificateKeyFilePassword=x"], "there is a URI with a password"],
    [
      ["list", "--store", "mongodb://a/b?x=y&authmechanismproperties=AWS_SESSION_TOKEN:x"],
      "there is a URI with a password",
    ],
  ])("refuses %j", (argv, what) => {
    const error = refusalOf(argv);
    expect(error?.code).toBe("SECRET_IN_ARGV");
    expect(error?.message).toBe(`${what} on the command line, where other users can read it`);
  });

  it.each([
    [[]],
    [["sync", "--user", "68e228e87f803a11a4e23045", "--json"]],
    [["sync", "--user", "alice@example.com"]],
    [["sync", "--user", "task-or-schedule"]],
    [["save", "--from-file", "./keys/sk-or.txt"]],
    [["list", "--store", "sqlite:/srv/a:b@c/keys.db"]],
    [["list", "--store", "mongodb://host:27017/db"]],
    [["list", "--store", "mongodb://user@host/db"]],
    [["list", "--store", "mongodb+srv://user@host/db?authSource=$external"]],
    [["list", "--store", "mongodb://user@a:1,b:2/db"]],
    [["list", "--hash", "a".repeat(64)]],
  ])("takes %j", (argv) => {
    expect(refusalOf(argv)).toBeUndefined();
  });

  it("refuses a key wherever it stands and repeats none of it", () => {
    fc.assert(
      fc.property(fc.array(words), words, keys, fc.array(words), (before, prefix, key, after) => {
        const error = refusalOf([...before, prefix + key, ...after]);
        expect(error?.code).toBe("SECRET_IN_ARGV");
        // What is left of the stack names files and functions, and such a word can be drawn.
        expect(error?.stack?.split("\n")[0]).toBe(`KeyctlError: ${error?.message}`);
        expect(`${error?.message} ${error?.hint}`).not.toContain(key);
      }),
    );
  });

  it("says of a key and of a password that it is in the history of the shell, and to replace it", () => {
    expect(refusalOf(["save", KEY])?.hint).toContain("in your shell's history now: replace it");
    const uri = refusalOf(["list", "--store", "mongodb://user:secret@host/db"]);
    expect(uri?.hint).toContain("in your shell's history now: change the password");
  });

  it("takes words that hold no secret", () => {
    fc.assert(fc.property(fc.array(words), (argv) => refusalOf(argv) === undefined));
  });
});

function refusalOf(argv: readonly string[]): KeyctlError | undefined {
  try {
    refuseSecrets(argv);
    return undefined;
  } catch (thrown) {
    if (isKeyctlError(thrown)) return thrown;
    throw thrown;
  }
}
