import { assert, pre, property, string } from "fast-check";
import { readFileSync } from "node:fs";
import { parseAst } from "vitest/node";
import { describe, expect, it } from "vitest";
import { STORE_VERBS } from "../../src/cli/program.ts";
import { printableJson } from "../../src/core/text/printable.ts";
import { userFlag } from "../../src/core/text/shell-quote.ts";
import { CALLS } from "../../src/library/calls.ts";
import { IN_A_TERMINAL, programText, VERBS_WITH_METHODS } from "../../src/library/program-text.ts";
import { sourceFiles } from "../support/programs/source-imports.ts";

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** The texts of a file, with a sample in place of each expression. */
function textsIn(path: string): readonly string[] {
  const source = readFileSync(path, "utf8");
  const texts: string[] = [];
  const visit = (node: Node) => {
    if (node.type === "ImportDeclaration" || node.type === "ExportNamedDeclaration") {
      if (node["source"] != null) return;
    }
    if (node.type === "Literal" && typeof node["value"] === "string") texts.push(node["value"]);
    if (node.type === "TemplateLiteral") texts.push(filled(node, source));
    for (const value of Object.values(node)) {
      for (const child of Array.isArray(value) ? value : [value]) {
        if (typeof child === "object" && child !== null && "type" in child) visit(child as Node);
      }
    }
  };
  visit(parseAst(source, { lang: "ts" }) as unknown as Node);
  return texts;
}

function filled(template: Node, source: string): string {
  const expressions = template["expressions"] as readonly Node[];
  return (template["quasis"] as readonly { readonly value: { readonly cooked: string } }[])
    .map(({ value }, index) => {
      const expression = expressions[index];
      if (expression === undefined) return value.cooked;
      return value.cooked + sampleFor(source.slice(expression.start, expression.end), value.cooked);
    })
    .join("");
}

function sampleFor(expression: string, before: string): string {
  if (before.endsWith("keyctl ")) return "renew";
  if (/keyctl [a-z]+$/.test(before)) return " --user alice";
  if (/keyctl [a-z]+ $/.test(before) || expression.startsWith("userFlag(")) return "--user alice";
  if (/^(flag|blocks \?|user === undefined \?)/.test(expression)) return "";
  return "x1";
}

/** What a call of a library can return comes from these; `doctor` is the tool's alone. */
const TEXTS = sourceFiles()
  .filter(({ path }) => /^src\/(core|stores|openrouter|config|encryption|sources|files|compose)/.test(path))
  .filter(({ path }) => !path.startsWith("src/core/doctor/"))
  .flatMap(({ path }) => textsIn(path));
/** Words for other programs, for options that only the tool has, and parts of commands. */
const NOT_OURS =
  /^(--no-warnings|--eval|--|--to( and .*)?|--store <uri> names .*|git rm --cached .*| ?--user[ =]\S+| --block|--stdin|(?:reconcile|purge) --user .*)$/;
const COMMAND = new RegExp(
  String.raw`(?<!in a terminal: )(?<![\w-])keyctl (?:${VERBS_WITH_METHODS.join("|")})(?![\w-])`,
);

describe("the hints of the library", () => {
  it("name no command whose work a method does", () => {
    const commands = TEXTS.filter((text) => text.includes("keyctl "));
    expect(commands.length).toBeGreaterThan(80);
    expect(commands.map(programText).filter((text) => COMMAND.test(text))).toEqual([]);
  });

  it("send to a terminal only for what no method does", () => {
    const sent = TEXTS.map(programText).flatMap((text) => /in a terminal: keyctl .*/.exec(text) ?? []);
    const verbs = new Set(sent.map((text) => /keyctl ([a-z]+(?: --help)?)/.exec(text)?.[1]));
    expect([...verbs].map(String).toSorted()).toEqual(["copy", "doctor", "help", "save --help"]);
  });

  it("name no flag outside of a command for a terminal", () => {
    const flagged = TEXTS.filter((text) => / --?-[a-z]|^--[a-z]/.test(text) && !NOT_OURS.test(text)).map(programText);
    expect(flagged.filter((text) => /(?<![\w-])--[a-z]/.test(text.replace(/in a terminal: .*/, "")))).toEqual([]);
  });

  it("know every verb of the tool", () => {
    const known = [...VERBS_WITH_METHODS, ...IN_A_TERMINAL];
    expect(STORE_VERBS.filter((verb) => !known.includes(verb))).toEqual([]);
  });

  it("name methods that there are", () => {
    const called = TEXTS.flatMap((text) =>
      Array.from(programText(text).matchAll(/\b(?:keys|destination)\.(\w+)\(/g), ([, name = ""]) => name),
    );
    expect(called.length).toBeGreaterThan(50);
    expect(called.filter((name) => !Object.hasOwn(CALLS, name))).toEqual([]);
  });

  it("repeat the user id that the command names, whatever it is", () => {
    assert(
      property(string({ unit: "grapheme", minLength: 1 }), (user) => {
        pre(!/^<.*>$/.test(user) && !/\p{Cc}/u.test(user));
        expect(programText(`keyctl renew ${userFlag(user)} --timeout 2m   tries again`)).toBe(
          `keys.renew(${printableJson(user)}, { timeoutMs: 120000 })   tries again`,
        );
      }),
    );
  });

  it.each([
    [
      "keyctl save --user alice --replace   stores another key",
      'keys.save("alice", key, { replace: "any" })   stores another key',
    ],
    ["keyctl get --user <id> --reveal   prints a bare key", "getUserApiKey(userId)   returns the bare key"],
    ["keyctl get --user a --stored   shows it", 'keys.getStoredKey("a")   returns it'],
    ["keyctl get --user a --stored   shows what is there now", 'keys.getStoredKey("a")   returns what is there now'],
    ["keyctl save --user <id>   asks for the key and hides it", "keys.save(userId, key)   stores a key"],
    ["keyctl get --user '   shows it'   shows it", 'keys.syncAndGetKey("   shows it")   returns it'],
    ["run it again for those who are left", "call it again for those who are left"],
    ["run it by hand to see", "run it by hand to see"],
    ["--limit 10", "limit: 10"],
    ["--expires-in 90d", "expiresInMs: 7776000000"],
    ["check --limit, --limit-reset and --expires-in", "check limit, limitReset and expiresInMs"],
    ["with --store sqlite:<path>; nothing", 'with store: "sqlite:<path>"; nothing'],
    [
      "keyctl purge --user 'a b' --revoke-foreign --block   deletes",
      'keys.purge("a b", { revoke: "foreign too", block: true })   deletes',
    ],
    ["check the clocks: keyctl doctor", "check the clocks: in a terminal: keyctl doctor"],
    ["keyctl unblock --user a --store <destination>   and copy again", 'destination.unblock("a")   and copy again'],
    [
      "keyctl reconcile --user a --fix   removes it",
      'keys.reconcile({ userId: "a", fixes: true }) with plan() and then fix() of its result   removes it',
    ],
    ["keyctl rotate --user a --limit full   gives it all", 'keys.rotate("a", { limit: "full" })   gives it all'],
    ["then: keyctl rekey --keep-key", 'then: for await (const _ of keys.rekey({ kind: "keep-key" }));'],
    ["keyctl validate --stdin < key.txt   asks", "keys.validateKeyWithApi(key)   asks"],
    ["--grace 0 --revoke-foreign", 'graceMs: 0, foreign: "revoke"'],
    ["--source manual", 'source: "manual"'],
    ["try again, or give more time with --timeout", "try again, or give more time with timeoutMs"],
    ["run the same command again later", "make the same call again later"],
    ["keyctl created this key", "keyctl created this key"],
  ])("turn '%s' into '%s'", (text, told) => {
    expect(programText(text)).toBe(told);
  });
});
