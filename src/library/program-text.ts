import { parseDuration } from "../core/text/duration.ts";
import { printableJson } from "../core/text/printable.ts";

/**
 * Texts for a program. Messages and hints are written with the tool's commands, which a program cannot type: each command
 * becomes the call that does the same, and each flag the option. A command that no method does is one for a terminal.
 */

/** A word as a shell reads it: quoted, with escapes, or plain. */
const WORD = String.raw`(?:\$'(?:[^'\\]|\\.)*'|(?:'[^']*'|\\')+|<[\w-]+>|sqlite:<path>|[^\s'"$;)<]+)`;
const FLAG = String.raw`--[a-z][a-z-]*`;
const COMMAND = String.raw`(?<![\w-])keyctl (?<verb>[a-z]+)(?![\w-])(?<flags>(?: ${FLAG}(?:=${WORD}| (?!--)${WORD})?)*)(?: < \S+)?`;
const FLAGS_ALONE = String.raw`(?<![\w-])(?<alone>${FLAG}(?: (?:\d\S*|<\w+>|sqlite:<path>|manual))?(?: ${FLAG}(?: \d\S*)?)*)`;
/** Words that are true of a command and not of a call. */
const WORDS: Readonly<Record<string, string>> = {
  "run the same command again": "make the same call again",
  "the same command": "the same call",
  "run it again": "call it again",
  "   prints a bare key": "   returns the bare key",
  "   shows it as key_hash": "   has it as keyHash",
  "   shows it": "   returns it",
  "   shows what is there": "   returns what is there",
  "   asks for the key and hides it": "   stores a key",
};
const SPOKEN = new RegExp(`${COMMAND}|${FLAGS_ALONE}|(?:${Object.keys(WORDS).join("|")})(?![\\w-])`, "g");
const ONE_FLAG = new RegExp(`(?<name>${FLAG})(?:(?:=| (?!--))(?<value>${WORD}))?`, "g");

type Flags = ReadonlyMap<string, string | undefined>;
/** The entry of an options object for a flag: the option's name alone if no value is known. */
type Entry = (value: string | undefined) => string;

interface Method {
  readonly name: string;
  /** The arguments before the options. */
  readonly takes: readonly string[];
  readonly options: Readonly<Record<string, Entry>>;
}

const of =
  (entry: string): Entry =>
  () =>
    entry;
const option =
  (name: string, read: (value: string) => string = printableJson): Entry =>
  (value) =>
    value === undefined || isPlaceholder(value) ? name : `${name}: ${read(value)}`;
const duration = (name: string): Entry =>
  option(name, (value) => String(value === "0" ? 0 : (parseDuration(value) ?? null)));
const amount = (name: string): Entry =>
  option(name, (value) => (/^\d/.test(value) ? value : value === "none" ? "null" : JSON.stringify(value)));

const TIMEOUT = { "--timeout": duration("timeoutMs") };
const REVOKE = { "--revoke": of('revoke: "ours"'), "--revoke-foreign": of('revoke: "foreign too"') };
const DISABLED = { "--include-disabled": of("includeDisabled: true") };
const TERMS = { "--limit": amount("limit"), "--expires-in": duration("expiresInMs") };

/** For each verb, what does the same: the first method that has all flags of the command. */
const VERBS: Readonly<Record<string, readonly Method[]>> = {
  get: [
    { name: "syncAndGetKey", takes: ["user"], options: TIMEOUT },
    { name: "getStoredKey", takes: ["user"], options: { ...TIMEOUT, "--stored": of("") } },
    { name: "getUserApiKey", takes: ["user"], options: { "--reveal": of("") } },
  ],
  sync: [{ name: "syncAndGetKey", takes: ["user"], options: TIMEOUT }],
  explain: [{ name: "explain", takes: ["user"], options: TIMEOUT }],
  save: [
    {
      name: "save",
      takes: ["user", "key"],
      options: { ...TIMEOUT, "--replace": of('replace: "any"'), "--revoke": of("revoke: true") },
    },
  ],
  provision: [{ name: "autoProvisionKey", takes: ["user"], options: TIMEOUT }],
  validate: [
    { name: "validateKeyWithApi", takes: ["key"], options: { "--stdin": of(""), ...TIMEOUT } },
    { name: "validate", takes: ["user"], options: TIMEOUT },
  ],
  purge: [{ name: "purge", takes: ["user"], options: { ...TIMEOUT, ...REVOKE, "--block": of("block: true") } }],
  unblock: [{ name: "unblock", takes: ["user"], options: TIMEOUT }],
  renew: [{ name: "renew", takes: ["user"], options: { ...TIMEOUT, ...DISABLED } }],
  rotate: [
    {
      name: "rotate",
      takes: ["user"],
      options: {
        ...TIMEOUT,
        ...DISABLED,
        ...TERMS,
        "--grace": duration("graceMs"),
        "--include-foreign": of('foreign: "keep"'),
        "--revoke-foreign": of('foreign: "revoke"'),
      },
    },
    { name: "finishDue", takes: [], options: { "--finish": of(""), ...TIMEOUT } },
  ],
  leaked: [{ name: "leaked", takes: ["key"], options: { "--stdin": of(""), ...TIMEOUT } }],
  list: [
    { name: "rows", takes: ["{}", "--hash"], options: { "--hash": of("") } },
    { name: "rows", takes: [], options: { "--json": of("") } },
  ],
  reconcile: [
    {
      name: "reconcile",
      takes: [],
      options: {
        ...TIMEOUT,
        "--user": option("userId"),
        "--fix": of("fixes: true"),
        "--adopt-account": of("adoptAccount: true"),
        "--include-kept": of("includeKept: true"),
      },
    },
  ],
  rekey: [
    {
      name: "rekey",
      takes: [],
      options: {
        ...TIMEOUT,
        "--keep-key": of('kind: "keep-key"'),
        "--init": of('kind: "init"'),
        "--retire": (kid) => `kind: "retire", ${option("kid")(kid)}`,
      },
    },
  ],
};

/** The verbs whose work a method does. */
export const VERBS_WITH_METHODS: readonly string[] = Object.keys(VERBS);
/** The verbs of the tool alone. */
export const IN_A_TERMINAL: ReadonlySet<string> = new Set([
  "doctor",
  "help",
  "copy",
  "import",
  "history",
  "exec",
  "completion",
]);
/** Methods that return an iterable: nothing happens before it is read. */
const READ = new Set(["rekey", "rows", "finishDue"]);
/** A flag outside of a command, whose option has another name or another value. */
const OPTIONS: Readonly<Record<string, Entry>> = {
  ...TIMEOUT,
  ...TERMS,
  ...DISABLED,
  "--grace": duration("graceMs"),
  "--revoke-foreign": of('foreign: "revoke"'),
  "--include-foreign": of('foreign: "keep"'),
};
/** Flags whose option has their name and their value. */
const SAME = new Set(
  "store key-file create source limit-reset workspace label block revoke replace max-keys concurrency reason".split(
    " ",
  ),
);

/** The text with calls and options in place of commands and flags. */
export function programText(told: string): string {
  return told.replace(SPOKEN, (found: string, ...rest: unknown[]) => {
    const groups = rest.at(-1) as Readonly<Record<string, string | undefined>>;
    if (groups["alone"] !== undefined) return optionsOf(groups["alone"]);
    return WORDS[found] ?? callOf(found, groups["verb"] ?? "", flagsOf(groups["flags"] ?? ""));
  });
}

function callOf(command: string, verb: string, given: Flags): string {
  const methods = VERBS[verb];
  if (methods === undefined) return IN_A_TERMINAL.has(verb) ? `in a terminal: ${command}` : command;
  const flags = new Map(given);
  const isElsewhere = flags.get("--store") === "<destination>" && flags.delete("--store");
  const method = methods.find(({ takes, options }) =>
    [...flags.keys()].every((flag) => flag in options || (flag === "--user" && takes.includes("user"))),
  );
  if (method === undefined) return `in a terminal: ${command}`;
  const { name, takes } = method;
  const entries = [...flags].map(([flag, value]) => method.options[flag]?.(value) ?? "");
  const options = entries.filter((entry) => entry !== "");
  const values = [...takes.map((one) => argumentOf(one, flags)), ...(options.length === 0 ? [] : [objectOf(options)])];
  if (name === "getUserApiKey") return `${name}(${values.join(", ")})`;
  const call = `${isElsewhere ? "destination" : "keys"}.${name}(${values.join(", ")})`;
  if (READ.has(name)) return `for await (const _ of ${call});`;
  return options.includes("fixes: true") ? `${call} with plan() and then fix() of its result` : call;
}

function argumentOf(name: string, flags: Flags): string {
  const value = flags.get(name === "user" ? "--user" : name);
  if (value !== undefined && !isPlaceholder(value)) return printableJson(value);
  return name === "user" ? "userId" : name.replace(/^--/, "");
}

function objectOf(entries: readonly string[]): string {
  return `{ ${entries.join(", ")} }`;
}

function optionsOf(flags: string): string {
  const parts: string[] = [];
  for (const [flag, value] of flagsOf(flags)) {
    const entry = OPTIONS[flag] ?? (SAME.has(flag.slice(2)) ? option(inCamelCase(flag.slice(2))) : undefined);
    if (entry === undefined) return flags;
    parts.push(entry(value));
  }
  return parts.join(", ");
}

function inCamelCase(name: string): string {
  return name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function isPlaceholder(value: string): boolean {
  return /^<.*>$/.test(value);
}

function flagsOf(text: string): Flags {
  return new Map(
    Array.from(text.matchAll(ONE_FLAG), ({ groups = {} }) => [groups["name"] ?? "", unquoted(groups["value"])]),
  );
}

/** The word that a shell would read: the reverse of `shellQuote`. */
function unquoted(word: string | undefined): string | undefined {
  if (word?.startsWith("$'") !== true)
    return word?.replaceAll(/'([^']*)'|\\'/g, (found, inner) => (found === "\\'" ? "'" : String(inner)));
  const bytes = word.slice(2, -1).replaceAll(/((?:\\[0-7]{3})+)/g, (octal) =>
    Buffer.from(
      octal
        .split("\\")
        .slice(1)
        .map((digits) => Number.parseInt(digits, 8)),
    ).toString(),
  );
  return bytes.replaceAll(/\\(['\\])/g, "$1");
}
