import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { openJwe } from "../../../src/encryption/jwe.ts";
import { parseMasterKeys } from "../../../src/encryption/jwk-set.ts";
import { filesBelow } from "../fixtures/leak-canaries.ts";
import { emptyHome } from "../home/home.ts";
import type { Home } from "../home/home.ts";
import { keyctl } from "../programs/keyctl.ts";
import { rowsOf } from "../sqlite/database-file.ts";

const WATCHED = fileURLToPath(new URL("watched-keyctl.mjs", import.meta.url));
const KEY = `sk-or-v1-${"0a1b2c3d".repeat(7)}0a1bb465`;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
const AT_ONCE = 2;
/** The key that replaces the first one in `save --replace`. */
export const REPLACEMENT = `sk-or-v1-${"91aa".repeat(16)}`;

export type Signal = keyof typeof EXIT_CODES;

/** A command, and the state of its home before it starts. */
export interface Scene {
  readonly args: readonly string[];
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly setUp?: (home: Home) => Promise<void> | void;
}

export const withKeyFile = (home: Home) => home.writeKeyFile(KEY);
export const withUsers = (home: Home) => {
  withKeyFile(home);
  writeFileSync(join(home.work, "users"), "alice\nbob\ncarol\n");
};
/** The database holds the keys of alice and bob. */
export const withRows = async (home: Home) => {
  rows ??= await rowsOfTheTool();
  for (const [path, bytes] of Object.entries(rows)) {
    mkdirSync(join(home.folder, dirname(path)), { recursive: true });
    writeFileSync(join(home.folder, path), bytes, { mode: 0o600 });
  }
};

let rows: Awaited<ReturnType<typeof rowsOfTheTool>> | undefined;

async function rowsOfTheTool() {
  const home = emptyHome();
  const { code } = await keyctl(home, ["sync", "-u", "alice", "-u", "bob"], { env: { OPENROUTER_API_KEY: KEY } });
  expect(code).toBe(0);
  return filesBelow(home.folder);
}

/**
 * Runs the command once to learn its port calls, then once for each signal before and after each of them.
 * Returns the problems and the number of runs.
 */
export async function interruptEverywhere(scene: Scene, signals: readonly Signal[]) {
  const calls = callsOf(await run(scene, undefined, "SIGINT"));
  const points = calls.flatMap((name, index) =>
    ["before", "after"].flatMap((moment) => signals.map((signal) => ({ name, number: index + 1, moment, signal }))),
  );
  const problems: string[] = [];
  const queue = points.values();
  const work = async () => {
    for (const { name, number, moment, signal } of queue) {
      const result = await run(scene, `${number} ${moment}`, signal);
      const reached = callsOf(result).includes(`${name} <- ${moment}`);
      const faults = [...(reached ? [] : ["was not reached"]), ...faultsOf(result, signal)];
      problems.push(...faults.map((fault) => `${signal} ${moment} call ${number}, ${name}: ${fault}`));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { calls, problems, runs: points.length };
}

type Result = Awaited<ReturnType<typeof run>>;

async function run({ args, input = "", env, setUp }: Scene, at: string | undefined, signal: Signal) {
  const home = emptyHome();
  await setUp?.(home);
  const calls = join(home.folder, "calls");
  const watch = { WATCH_CALLS: calls, WATCH_SIGNAL: signal, ...(at === undefined ? {} : { WATCH_AT: at }) };
  const ended = await keyctl(home, args, { input, env: { ...env, ...watch } }, WATCHED);
  return { ...ended, home, calls, args };
}

function callsOf({ calls }: Result): readonly string[] {
  return existsSync(calls) ? readFileSync(calls, "utf8").trimEnd().split("\n") : [];
}

function faultsOf({ code, stdout, stderr, home, args }: Result, signal: Signal): readonly string[] {
  const expected = EXIT_CODES[signal];
  const interruptions = args.includes("--json") ? interruptionsIn(stdout) : [expected];
  return [
    ...(code === expected ? [] : [`exit code ${code}; ${stderr}`]),
    ...(/\n\s+at /.test(stderr) ? [`a stack: ${stderr}`] : []),
    ...(stderr.includes(`error: interrupted by ${signal}\n`) ? [] : [`no word of it: ${stderr}`]),
    ...(interruptions.length === 1 && interruptions[0] === expected ? [] : [`documents: ${stdout}`]),
    ...(args.includes("--reveal") && stdout !== "" ? ["a key was printed"] : []),
    ...brokenRowsOf(home),
  ];
}

/** The exit codes of the documents with INTERRUPTED. Every line must be a document. */
function interruptionsIn(stdout: string): readonly number[] {
  const documents = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Document);
  return documents.flatMap(({ error }) => (error?.code === "INTERRUPTED" ? [error.exit_code] : []));
}

interface Document {
  readonly error: { readonly code: string; readonly exit_code: number } | null;
}

/** Problems of the database: each row must be complete or absent. */
function brokenRowsOf({ database, masterKeys }: Home): readonly string[] {
  if (!existsSync(database)) return [];
  const [check] = rowsOf(database, "PRAGMA integrity_check");
  const stored = rowsOf(database, "SELECT user_id, key_encrypted FROM api_keys");
  const keys = existsSync(masterKeys) ? parseMasterKeys(readFileSync(masterKeys, "utf8")) : [];
  const byId = new Map(keys.map((key) => [key.kid, key]));
  const broken = stored.filter(({ user_id, key_encrypted }) => {
    const opened = openJwe(String(key_encrypted), byId, { sub: String(user_id), prv: "openrouter" });
    return opened.status !== "open" || ![KEY, REPLACEMENT].includes(opened.text);
  });
  const damage = check?.["integrity_check"] === "ok" ? [] : [`integrity_check: ${JSON.stringify(check)}`];
  return [...damage, ...broken.map(({ user_id }) => `the row of ${String(user_id)} does not open`)];
}
