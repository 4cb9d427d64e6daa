import { randomBytes } from "node:crypto";
import { activityRoute } from "./activity.ts";
import { accountRecords } from "./accounts.ts";
import { chatRoutes } from "./chat.ts";
import { credentialRecords } from "./credentials.ts";
import { guardrailRecords } from "./guardrails.ts";
import { keyRoutes } from "./key-routes.ts";
import { keyRecords } from "./keys.ts";
import { pageOf } from "./routes.ts";
import type { Answers, Call, Reply, Route } from "./routes.ts";
import type { Settings } from "./settings.ts";
import { error, ok, workspaceOf } from "./shapes.ts";

export interface StateOptions {
  readonly managementKey: string;
  /** The organization of the first account. */
  readonly organization: string | null;
  readonly now: () => number;
  readonly pageSize: number;
  /** Whether every page of a list is the first page. */
  readonly ignoresOffset: boolean;
  /** Returns the text of each new key. */
  readonly newKey: () => string;
  /** The id of a key. Anything but SHA-256 imitates an OpenRouter that differs from its documentation. */
  readonly hashOf: (key: string) => string;
  readonly settings: Settings;
}

export function randomKey(): string {
  return `sk-or-v1-${randomBytes(32).toString("hex")}`;
}

/** The documented behaviour of OpenRouter for keys and what restricts them: its state and its answers. */
export function openRouterState(options: StateOptions) {
  const { now, pageSize, ignoresOffset, newKey, hashOf } = options;
  let current = options.settings;
  const settings = () => current;
  const pages = { pageSize, ignoresOffset };
  const accounts = accountRecords(options);
  const records = keyRecords({
    now,
    settings,
    accounts,
    hashOf,
    // The allow-lists of credentials keep the hash of a deleted key.
    onRemoved: (hash) => guardrails.assignments.delete(hash),
  });
  const guardrails = guardrailRecords({ now, accounts, records, pages });
  const credentials = credentialRecords({ now, accounts, records, pages });

  const chat = chatRoutes({ now, settings, accounts, records });

  /** The refusal of this credential; undefined for a management key. */
  function refusal(token: string | undefined): Reply | undefined {
    if (token === undefined) return error(401, "Missing Authentication header");
    if (accounts.accountOf(token) !== undefined) return undefined;
    return records.isKnown(token) ? error(403, ONLY_MANAGEMENT) : error(401, "User not found.");
  }

  function listWorkspaces({ query, token }: Call): Reply {
    const all = accounts.workspacesOf(accounts.accountOf(token)).map(({ id, name }) => workspaceOf(id, name));
    // This list has full pages, however short those of keys are.
    return ok({ data: pageOf(all, query, { pageSize: 100, ignoresOffset: false }), total_count: all.length });
  }

  const answers: Answers<Route> = {
    ...keyRoutes({ now, settings, accounts, records, pages, newKey }),
    ...guardrails.routes,
    ...credentials.routes,
    ...chat.routes,
    "GET /workspaces": listWorkspaces,
    "GET /activity": activityRoute({ now, records }),
    "GET /credits": () => ok({ data: { total_credits: 100, total_usage: 12.5 } }),
  };
  return {
    accounts,
    records,
    guardrails,
    credentials,
    chat,
    configure: (changes: Partial<Settings>) => {
      current = { ...current, ...changes };
    },
    answer(call: Call): Reply {
      const refused = NOT_MANAGED.has(call.route) ? undefined : refusal(call.token);
      return refused ?? answers[call.route](call);
    },
  };
}

/** The routes that check their credential themselves. */
const NOT_MANAGED: ReadonlySet<Route> = new Set(["GET /key", "POST /chat/completions"]);
const ONLY_MANAGEMENT = "Only management keys can perform this operation";
