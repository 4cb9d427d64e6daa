import { parseDuration } from "../core/text/duration.ts";
import { printableJson } from "../core/text/printable.ts";

/**
 * Texts for a program. Messages and hints are written with the tool's commands, which a program cannot type: each command
 * becomes the call that does the same, and each flag the option. A command that no method does is one for a terminal.
 */

/** A word as a shell reads it: quoted, with escapes, or plain. */
const WORD = String.raw`(?:\$'(?:[^'\\]|\\.)*'|(?:'[^']*'|\\')+|<[\w-]+>|[^\s'"$;)<]+)`;
const FLAG = String.raw`--[a-z][a-z-]*`;
const COMMAND = String.raw`(?<![\w-])keyctl (?<verb>[a-z]+)(?![\w-])(?<flags>(?: ${FLAG}(?:=${WORD}| (?!--)${WORD})?)*)(?: < \S+)?`;
const FLAGS_ALONE = String.raw`(?<![\w-])(?<alone>${FLAG}(?: (?:\d\S*|<\w+>|sqlite:\S+|manual))?(?: ${FLAG}(?: \d\S*)?)*)`;
const SPOKEN = new RegExp(`${COMMAND}|${FLAGS_ALONE}`, "g");
const ONE_FLAG = new RegExp(`(?<name>${FLAG})(?:(?:=| (?!--))(?<value>${WORD}))?`, "g");

type Flags = ReadonlyMap<string, string | undefined>;
/** The entry of an options object for a flag; undefined for a value that is not understood. */
type Entry = (value: string) => string;

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
const duration =
  (name: string): Entry =>
  (value) =>
    `${name}: ${value === "0" ? 0 : (parseDuration(value) ?? null)}`;
const amount =
  (name: string): Entry =>
  (value) =>
    `${name}: ${/^\d/.test(value) ? value : value === "none" ? "null" : JSON.stringify(value)}`;

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
        "--user": (value) => `userId: ${printableJson(value)}`,
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
        "--retire": (kid) => `kind: "retire", kid: ${printableJson(kid)}`,
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
/** What a flag outside of a command is called for a program. */
const OPTIONS: Readonly<Record<string, Entry | string>> = {
  ...TIMEOUT,
  ...TERMS,
  ...DISABLED,
  "--grace": duration("graceMs"),
  "--revoke-foreign": of('foreign: "revoke"'),
  "--include-foreign": of('foreign: "keep"'),
  "--revoke": "revoke",
  "--timeout": "timeoutMs",
  "--store": "store",
  "--key-file": "keyFile",
  "--source": "source",
  "--limit": "limit",
  "--limit-reset": "limitReset",
  "--expires-in": "expiresInMs",
  "--workspace": "workspace",
  "--label": "label",
  "--create": "create",
  "--block": "block",
  "--max-keys": "maxKeys",
  "--concurrency": "concurrency",
  "--replace": "replace",
  "--reason": "reason",
};

/** The text with calls and options in place of commands and flags. */
export function programText(told: string): string {
  const text = told.replace("run the same command again", "make the same call again");
  if (!text.includes("keyctl ") && !text.includes("--")) return text;
  return text.replace(SPOKEN, (found: string, ...rest: unknown[]) => {
    const groups = rest.at(-1) as Readonly<Record<string, string | undefined>>;
    if (groups["alone"] !== undefined) return optionsOf(groups["alone"]);
    return callOf(found, groups["verb"] ?? "", flagsOf(groups["flags"] ?? ""));
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
  const entries = [...flags].map(([flag, value]) => method.options[flag]?.(value ?? "") ?? "");
  const options = entries.filter((entry) => entry !== "");
  const values = [...takes.map((one) => argumentOf(one, flags)), ...(options.length === 0 ? [] : [objectOf(options)])];
  if (name === "getUserApiKey") return `${name}(${values.join(", ")})`;
  const call = `${isElsewhere ? "destination" : "keys"}.${name}(${values.join(", ")})`;
  if (READ.has(name)) return `for await (const _ of ${call});`;
  return options.includes("fixes: true") ? `${call} with plan() and then fix() of its result` : call;
}

function argumentOf(name: string, flags: Flags): string {
  const value = flags.get(name === "user" ? "--user" : name);
  if (value !== undefined && !/^<.*>$/.test(value)) return printableJson(value);
  return name === "user" ? "userId" : name.replace(/^--/, "");
}

function objectOf(entries: readonly string[]): string {
  return `{ ${entries.join(", ")} }`;
}

function optionsOf(flags: string): string {
  const parts: string[] = [];
  for (const [flag, value] of flagsOf(flags)) {
    const known = OPTIONS[flag];
    if (known === undefined) return flags;
    if (typeof known === "function") parts.push(known(value ?? ""));
    else parts.push(value === undefined || /^<.*>$/.test(value) ? known : `${known}: ${JSON.stringify(value)}`);
  }
  return parts.join(", ");
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
