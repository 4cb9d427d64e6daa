import type { Ports } from "../../../src/compose.ts";
import type { Entry, Recorded } from "../../../src/core/ports/journal.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { openDatabase } from "../../../src/stores/sqlite/database.ts";
import { sqliteStore } from "../../../src/stores/sqlite/store.ts";
import { withDatabase } from "../sqlite/database.ts";
import { emptyHome } from "./home.ts";
import type { Home } from "./home.ts";
import { inProcess } from "../programs/in-process.ts";
import type { InProcessOptions } from "../programs/in-process.ts";
import type { Run } from "../programs/keyctl.ts";
import { mockOpenRouter } from "../openrouter/of-test.ts";
import type { OpenRouterServer, MockOptions } from "../openrouter/server.ts";
import type { Route } from "../openrouter/routes.ts";

/** A home, a mock server, and the tool with a management key for that server. */
export interface Stage {
  readonly home: Home;
  readonly server: OpenRouterServer;
  /** The variables with which the tool uses that mock server and its management key. */
  readonly env: Readonly<Record<string, string>>;
  readonly run: (args: string | readonly string[], options?: InProcessOptions) => Promise<Run>;
  /** Like `run`, for a command that must succeed. */
  readonly given: Stage["run"];
}

export async function stage(options?: MockOptions, home = emptyHome()): Promise<Stage> {
  const server = await mockOpenRouter(options);
  const env = {
    KEYCTL_OPENROUTER_URL: server.url,
    OPENROUTER_PROVISIONING_KEY: server.managementKey,
    XDG_STATE_HOME: `${home.folder}/state`,
  };
  const run: Stage["run"] = (args, more = {}) =>
    inProcess(home, typeof args === "string" ? args.split(" ") : args, { ...more, env: { ...env, ...more.env } });
  return {
    home,
    server,
    env,
    run,
    async given(args, more) {
      const done = await run(args, more);
      if (done.code !== 0) throw new Error(`what was given did not work: ${done.stderr}`);
      return done;
    },
  };
}

/** Opens the port of a home's store while `work` runs. */
export async function withStore<Result>(
  home: Home,
  work: (store: Ports["store"], signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const signal = AbortSignal.timeout(10_000);
  const opened = await openDatabase(home.database, true, signal);
  if (opened === undefined) throw new Error("there is no database");
  const store = sqliteStore(opened);
  try {
    return await work(store, signal);
  } finally {
    await store.close();
  }
}

/** Inserts an entry into the journal as if another process had done so `ageMs` milliseconds ago. */
export async function note(home: Home, user: string, entry: Entry, ageMs = 0): Promise<void> {
  const at = new Date(Date.now() - ageMs).toISOString();
  // The same entry with its user.
  const recorded = { ...entry, userId: parseUserId(user), at } as Recorded;
  await withStore(home, (store, signal) => store.insertEntry(recorded, signal));
}

/**
 * The journal of a user in short form, such as `op:1`, `out:1 saved`, `rev:1 purged, revoke`; without `gone` entries.
 */
export async function journalOf(home: Home, user = "alice"): Promise<readonly string[]> {
  const entries = await withStore(home, (store, signal) => store.entries(parseUserId(user), signal));
  return entries
    .filter(({ kind }) => kind !== "gone")
    .map(inShort)
    .toSorted();
}

function inShort(entry: Entry): string {
  const { kind, n } = entry;
  if (kind === "out") return `out:${n} ${entry.outcome}`;
  if (kind === "rev") return `rev:${n} ${entry.reason}${entry.revoke ? ", revoke" : ""}`;
  return `${kind}:${n}`;
}

export function deploymentOf(home: Home): Promise<string> {
  return withStore(home, (store, signal) => store.deployment(signal));
}

/** The whole content of a database as text: equal texts mean that it is unchanged. */
export function everythingIn(home: Home): Promise<string> {
  return withDatabase(home, (database) =>
    JSON.stringify(
      ["api_keys", "api_key_journal", "api_key_meta"].map((table) => database.prepare(`SELECT * FROM ${table}`).all()),
    ),
  );
}

/** An operation of another process. */
export function operation(n: number, nonce = "00112233aabbccdd"): Extract<Entry, { kind: "op" }> {
  const terms = { label: null, limit: null, limitReset: null, expiresAt: null, workspace: null };
  return { kind: "op", n, nonce, ...terms, deliberate: false };
}

/** Replaces some calls of the store. */
export function withCalls(change: (store: Ports["store"]) => Partial<Ports["store"]>): (ports: Ports) => Ports {
  return (ports) => ({ ...ports, store: { ...ports.store, ...change(ports.store) } });
}

/** Ends each pause at once; the first one when `during` is done. */
export function withoutPauses(during: () => Promise<unknown> = async () => {}): (ports: Ports) => Ports {
  let first: Promise<unknown> | undefined;
  return (ports) => ({
    ...ports,
    async pause() {
      await (first ??= during());
    },
  });
}

/** The number of requests that change something, by route. */
export function changesAt(server: OpenRouterServer): Readonly<Partial<Record<Route, number>>> {
  const counts: Partial<Record<Route, number>> = {};
  for (const { route, method } of server.requests) {
    if (route !== undefined && method !== "GET") counts[route] = (counts[route] ?? 0) + 1;
  }
  return counts;
}
