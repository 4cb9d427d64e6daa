import { randomInt } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { execa } from "execa";
import { expect } from "vitest";
import { emptyHome } from "../home/home.ts";
import type { Home } from "../home/home.ts";
import { madeKeys, sqliteStage, stored } from "../openrouter/made-keys.ts";
import type { Stage } from "../openrouter/made-keys.ts";
import { mockOpenRouter } from "../openrouter/of-test.ts";
import { BIN, keyctl, onlyIn } from "../programs/keyctl.ts";
import { environmentFor } from "../recording/keyctl.ts";
import { change } from "../sqlite/database-file.ts";

const READER = fileURLToPath(new URL("key-reader.mjs", import.meta.url));
const LIBRARY = pathToFileURL(join(import.meta.dirname, "../../../dist/library/index.js")).href;
const CENT = 0.01;

/** Many users with a limited key each. Whoever uses a key spends a cent of it. */
export interface Fleet extends Stage {
  readonly users: readonly string[];
  /** The first key of each user. */
  readonly first: ReadonlyMap<string, string>;
  /** For each key, what OpenRouter said was left of its limit when it was asked, in cents. */
  readonly readings: ReadonlyMap<string, ReadonlySet<number>>;
  /** Runs the tool as a process of its own; it must succeed. */
  readonly run: (args: readonly string[]) => Promise<void>;
  /** Starts the tool, and kills it about when this many requests have arrived. True if it was killed before its end. */
  readonly killed: (args: readonly string[], atRequest: number) => Promise<boolean>;
}

export async function fleet(size: number, limit: number): Promise<Fleet> {
  const home = emptyHome();
  const readings = new Map<string, Set<number>>();
  let onRequest: (() => void) | undefined;
  const openRouter = await mockOpenRouter({
    onRequest({ route, path, credential }) {
      onRequest?.();
      if (route === "GET /key") openRouter.spend(credential, CENT);
      if (route !== "GET /keys/{hash}") return;
      const hash = path.slice("/keys/".length);
      const key = openRouter.keys.get(hash);
      if (key === undefined || key.limit === null) return;
      const left = cents(key.limit - key.usage.within(key.limitReset, openRouter.clock.now()));
      readings.set(hash, (readings.get(hash) ?? new Set()).add(left));
    },
  });
  const stage = sqliteStage(home, openRouter);
  const env = environmentFor(openRouter);
  const run = async (args: readonly string[]) => {
    const { code, stderr } = await keyctl(home, args, { env });
    expect([args, code, code === 0 ? "" : stderr]).toEqual([args, 0, ""]);
  };
  const users = Array.from({ length: size }, (_, index) => `user-${index}`);
  writeFileSync(join(home.work, "users"), users.join("\n"));
  const terms = ["--limit", String(limit), "--limit-reset", "monthly"];
  await run(["provision", "--users-file", "users", "--max-keys", String(size), ...terms, "-q"]);
  const { rows } = await stored(stage);
  return {
    ...stage,
    users,
    first: new Map(rows.map(({ user, hash }) => [user, hash])),
    readings,
    run,
    async killed(args, atRequest) {
      const child = execa(process.execPath, [BIN, ...args], onlyIn(home, { env }));
      let requests = 0;
      onRequest = () => {
        requests += 1;
        // A little later, it is between two accesses to its store.
        if (requests === atRequest) setTimeout(() => child.kill("SIGKILL"), randomInt(20));
      };
      const { signal, exitCode, stderr } = await child;
      onRequest = undefined;
      if (signal === undefined && exitCode !== 0) throw new Error(`it ended with ${exitCode}: ${String(stderr)}`);
      return signal === "SIGKILL";
    },
  };
}

export function cents(usd: number): number {
  return Math.round(usd * 100);
}

/** Makes all keys an hour older, so that those of a rotation are younger. */
export function ageKeys({ home }: Pick<Fleet, "home">): void {
  change(home.database, "UPDATE api_keys SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '-1 hour')");
}

/** What the program that uses the keys has seen. */
interface Use {
  readonly calls: number;
  readonly reads: number;
  readonly refusals: readonly string[];
  /** The users whose key was refused, read once more, and refused again. */
  readonly refusedTwice: readonly string[];
}

/** Starts a program that uses the stored keys of all users, and reads a key again after this time. */
export function startReader(
  home: Home,
  { openRouter, users }: Pick<Fleet, "openRouter" | "users">,
  readAgainMs: number,
): { readonly stop: () => Promise<Use> } {
  const env = {
    ...environmentFor(openRouter),
    KEYCTL_LIBRARY: LIBRARY,
    USERS: users.join(","),
    READ_AGAIN_MS: String(readAgainMs),
  };
  const { input: _input, ...options } = onlyIn(home, { env, stdin: "pipe" });
  const child = execa(process.execPath, ["--disable-warning=ExperimentalWarning", READER], options);
  return {
    async stop() {
      child.stdin?.end();
      const { exitCode, stdout, stderr } = await child;
      if (exitCode !== 0) throw new Error(`the reader ended with ${exitCode}: ${String(stderr)}`);
      return JSON.parse(String(stdout).trimEnd().split("\n").at(-1) ?? "") as Use;
    },
  };
}

/** The users who have not exactly one key that works, which is the one in the database. */
export async function usersWithoutOneKey(of: Fleet): Promise<readonly string[]> {
  const alive = madeKeys(of.openRouter);
  const { rows } = await stored(of);
  const current = new Map(rows.map(({ user, hash }) => [user, hash]));
  const strangers = alive.filter((hash) => !new Set(current.values()).has(hash));
  return [
    ...of.users.filter((user) => !alive.includes(current.get(user) ?? "")),
    ...strangers.map((hash) => `nobody has ${hash}`),
  ];
}
