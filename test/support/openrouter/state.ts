import { createHash, randomBytes, randomUUID } from "node:crypto";
import {
  budgetsOf,
  creationIssues,
  CREATOR,
  error,
  fieldsOf,
  numberOrNull,
  textOrNull,
  workspaceOf,
  zodError,
} from "./shapes.ts";

/** The record of a key at OpenRouter, without its text. Money is in USD, times are RFC 3339. */
export interface MockKey {
  readonly hash: string;
  readonly label: string;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly workspace: string;
  name: string;
  disabled: boolean;
  limit: number | null;
  limitReset: string | null;
  usage: number;
  /** Null: never used since OpenRouter records the use. */
  lastUsedAt: string | null;
  /** The budget with the least money left, if the key belongs to one. */
  budget: MockBudget | null;
  /** In milliseconds since 1970. Before that time, the new key is refused, because it has not reached all servers. */
  acceptedFrom: number;
}

/** A budget in USD. `spent` may exceed `limit`; the key may then spend nothing. */
interface MockBudget {
  readonly scope: "workspace_default_member" | "workspace_default_key" | "member" | "api_key" | "workspace";
  readonly limit: number;
  readonly spent: number;
}

export interface Seed {
  readonly name?: string;
  readonly disabled?: boolean;
  readonly limit?: number | null;
  readonly limitReset?: string | null;
  readonly usage?: number;
  readonly expiresAt?: string | null;
  readonly createdAt?: string;
  readonly workspace?: string;
  readonly lastUsedAt?: string | null;
  readonly budget?: MockBudget | null;
}

/** The owner of workspaces and their keys. An account sees no other account's keys. */
export interface MockAccount {
  readonly id: string;
  readonly managementKey: string;
  /** Null for a personal account. */
  readonly organization: string | null;
  readonly defaultWorkspace: string;
}

export interface StateOptions {
  readonly managementKey: string;
  /** The organization of the first account. */
  readonly organization: string | null;
  readonly now: () => number;
  readonly pageSize: number;
  /** Whether every page of keys is the first page. */
  readonly ignoresOffset: boolean;
  /** How long a new key is refused, in milliseconds. */
  readonly newKeysRefusedMs: number;
  /** How long a disabled or deleted key is still accepted, in milliseconds. */
  readonly goneKeysAcceptedMs: number;
  /** Returns the text of each new key. */
  readonly newKey: () => string;
  /** The id of a key. Anything but SHA-256 imitates an OpenRouter that differs from its documentation. */
  readonly hashOf: (key: string) => string;
}

/** A parsed request. */
export interface Call {
  readonly route: Route;
  /** The hash in `/keys/{hash}`. */
  readonly hash: string;
  readonly query: URLSearchParams;
  readonly token: string | undefined;
  /** The parsed body; undefined without one, or if it is not JSON. */
  readonly body: unknown;
}

export interface Reply {
  readonly status: number;
  readonly json: unknown;
}

export const ROUTES = [
  "GET /key",
  "GET /keys",
  "POST /keys",
  "GET /keys/{hash}",
  "PATCH /keys/{hash}",
  "DELETE /keys/{hash}",
  "GET /workspaces",
  "GET /credits",
] as const;
export type Route = (typeof ROUTES)[number];

export function randomKey(): string {
  return `sk-or-v1-${randomBytes(32).toString("hex")}`;
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The documented behaviour of OpenRouter for keys: its state and its answers. */
export function openRouterState(options: StateOptions) {
  const { now, pageSize, newKeysRefusedMs, goneKeysAcceptedMs, newKey, hashOf } = options;
  const keys = new Map<string, MockKey>();
  const workspaces = new Map<string, Workspace>();
  /** The accounts by the hashes of their management keys. */
  const accounts = new Map<string, MockAccount>();
  /** Disabled and deleted keys that are still accepted; `until` is in milliseconds since 1970. */
  const lingering = new Map<string, { readonly key: MockKey; readonly until: number }>();
  const account = addAccount(options);
  const { defaultWorkspace } = account;

  function addAccount({
    managementKey,
    organization,
  }: Pick<MockAccount, "managementKey" | "organization">): MockAccount {
    const id = randomUUID();
    const added = { id, managementKey, organization, defaultWorkspace: addWorkspace("Default Workspace", id) };
    addManagementKey(managementKey, added);
    return added;
  }

  function addManagementKey(managementKey: string, owner: MockAccount): void {
    accounts.set(sha256(managementKey), owner);
  }

  function addWorkspace(name: string, owner: string): string {
    const id = randomUUID();
    workspaces.set(id, { name, owner });
    return id;
  }

  const accountOf = (token: string | undefined) => accounts.get(sha256(token ?? ""));
  const isOwn = ({ workspace }: Pick<MockKey, "workspace">, token: string | undefined) =>
    workspaces.get(workspace)?.owner === accountOf(token)?.id;
  /** A key of another account counts as missing. */
  const ownKeyOf = ({ hash, token }: Call) => {
    const key = keys.get(hash);
    return key !== undefined && isOwn(key, token) ? key : undefined;
  };
  const linger = (key: MockKey) => {
    if (goneKeysAcceptedMs > 0) lingering.set(key.hash, { key, until: now() + goneKeysAcceptedMs });
  };

  function addKey(text: string, seed: Seed = {}): MockKey {
    const key: MockKey = {
      hash: hashOf(text),
      label: `${text.slice(0, 12)}...${text.slice(-3)}`,
      name: seed.name ?? "made by hand",
      disabled: seed.disabled ?? false,
      limit: seed.limit ?? null,
      limitReset: seed.limitReset ?? null,
      usage: seed.usage ?? 0,
      createdAt: seed.createdAt ?? new Date(now()).toISOString(),
      expiresAt: seed.expiresAt ?? null,
      workspace: seed.workspace ?? defaultWorkspace,
      lastUsedAt: seed.lastUsedAt ?? null,
      budget: seed.budget ?? null,
      acceptedFrom: 0,
    };
    keys.set(key.hash, key);
    return key;
  }

  const isExpired = ({ expiresAt }: MockKey) => expiresAt !== null && Date.parse(expiresAt) <= now();
  const isAccepted = (key: MockKey) => !key.disabled && !isExpired(key) && key.acceptedFrom <= now();

  function describe(key: MockKey) {
    const { usage } = key;
    const usages = { usage, usage_daily: usage, usage_weekly: usage, usage_monthly: usage };
    return {
      hash: key.hash,
      name: key.name,
      label: key.label,
      disabled: key.disabled,
      limit: key.limit,
      limit_remaining: key.limit === null ? null : key.limit - usage,
      limit_reset: key.limitReset,
      include_byok_in_limit: false,
      ...usages,
      ...BYOK_USAGES,
      created_at: key.createdAt,
      updated_at: null,
      expires_at: key.expiresAt,
      creator_user_id: CREATOR,
      workspace_id: key.workspace,
      external_user: null,
      last_used_at: key.lastUsedAt,
    };
  }

  /** GET /key: the data of the requesting key. */
  function ownKey(call: Call): Reply {
    if (call.token === undefined) return error(401, "Missing Authentication header");
    const manager = accountOf(call.token);
    if (manager !== undefined) return { status: 200, json: { data: currentKey(asManagementKey(manager), true) } };
    const late = lingering.get(hashOf(call.token));
    if (late !== undefined && now() < late.until) return { status: 200, json: { data: currentKey(late.key) } };
    const key = keys.get(hashOf(call.token));
    if (key === undefined || !isAccepted(key)) return error(401, "User not found.");
    return { status: 200, json: { data: currentKey(key) } };
  }

  function currentKey(key: MockKey, isManagementKey = false) {
    const owner = [...accounts.values()].find(({ id }) => id === workspaces.get(key.workspace)?.owner);
    const { label, limit, limit_remaining, limit_reset, usage, usage_daily, usage_weekly, usage_monthly, expires_at } =
      describe(key);
    return {
      label,
      limit,
      limit_remaining,
      limit_reset,
      usage,
      usage_daily,
      usage_weekly,
      usage_monthly,
      expires_at,
      ...BYOK_USAGES,
      include_byok_in_limit: false,
      is_free_tier: false,
      is_management_key: isManagementKey,
      is_provisioning_key: isManagementKey,
      creator_user_id: CREATOR,
      organization_id: owner?.organization ?? null,
      workspace_id: isManagementKey ? null : key.workspace,
      allowed_data_regions: ["global"],
      ...budgetsOf(key),
      free_model_daily_requests: { limit: 50, remaining: 50, used: 0 },
      rate_limit: { interval: "10s", note: "This field is deprecated and safe to ignore.", requests: -1 },
    };
  }
  const asManagementKey = (manager: MockAccount): MockKey => ({
    hash: sha256(manager.managementKey),
    label: "sk-or-mgmt...",
    name: "management",
    disabled: false,
    limit: null,
    limitReset: null,
    usage: 0,
    createdAt: new Date(0).toISOString(),
    expiresAt: null,
    workspace: manager.defaultWorkspace,
    lastUsedAt: null,
    budget: null,
    acceptedFrom: 0,
  });

  /** The refusal of this credential; undefined for a management key. */
  function refusal(token: string | undefined): Reply | undefined {
    if (token === undefined) return error(401, "Missing Authentication header");
    if (accountOf(token) !== undefined) return undefined;
    return keys.has(hashOf(token)) ? error(403, ONLY_MANAGEMENT) : error(401, "User not found.");
  }

  function create({ body, token }: Call): Reply {
    const wanted = fieldsOf(body);
    const manager = accountOf(token) ?? account;
    const own = [...workspaces].flatMap(([id, { owner }]) => (owner === manager.id ? [id] : []));
    const issues = creationIssues(wanted, new Set(own));
    if (issues.length > 0) return zodError(issues);
    const text = newKey();
    const key = addKey(text, {
      name: String(wanted["name"]),
      limit: numberOrNull(wanted["limit"]),
      limitReset: textOrNull(wanted["limit_reset"]),
      expiresAt: textOrNull(wanted["expires_at"]),
      workspace: textOrNull(wanted["workspace_id"]) ?? manager.defaultWorkspace,
    });
    key.acceptedFrom = now() + newKeysRefusedMs;
    return { status: 201, json: { data: describe(key), key: text } };
  }

  function list({ query, token }: Call): Reply {
    const workspace = query.get("workspace_id") ?? accountOf(token)?.defaultWorkspace;
    const offset = options.ignoresOffset ? 0 : Number(query.get("offset") ?? 0);
    const withDisabled = query.get("include_disabled") === "true";
    const all = [...keys.values()].filter(
      (key) => key.workspace === workspace && isOwn(key, token) && (withDisabled || !key.disabled),
    );
    // Newest first; keys of the same time in reverse order of their creation.
    const sorted = all.toReversed().toSorted((one, other) => other.createdAt.localeCompare(one.createdAt));
    return { status: 200, json: { data: sorted.slice(offset, offset + pageSize).map(describe) } };
  }

  function change(call: Call): Reply {
    const key = ownKeyOf(call);
    if (key === undefined) return error(404, "Resource not found");
    const { name, disabled, limit, limit_reset } = fieldsOf(call.body);
    if (typeof name === "string") key.name = name;
    if (disabled === true && isAccepted(key)) linger(key);
    if (typeof disabled === "boolean") key.disabled = disabled;
    if (limit !== undefined) key.limit = numberOrNull(limit);
    if (limit_reset !== undefined) key.limitReset = textOrNull(limit_reset);
    return { status: 200, json: { data: describe(key) } };
  }

  function find(call: Call): Reply {
    const key = ownKeyOf(call);
    return key === undefined ? error(404, "Resource not found") : { status: 200, json: { data: describe(key) } };
  }

  function remove(call: Call): Reply {
    const key = ownKeyOf(call);
    if (key === undefined) return error(404, "Resource not found");
    removeKey(key.hash);
    return { status: 200, json: { deleted: true } };
  }

  function removeKey(hash: string): boolean {
    const key = keys.get(hash);
    if (key !== undefined && isAccepted(key)) linger(key);
    return keys.delete(hash);
  }

  function listWorkspaces({ query, token }: Call): Reply {
    const offset = Number(query.get("offset") ?? 0);
    const limit = Math.min(100, Number(query.get("limit") ?? 50));
    const own = [...workspaces].filter(([, { owner }]) => owner === accountOf(token)?.id);
    const all = own.map(([id, { name }]) => workspaceOf(id, name));
    return { status: 200, json: { data: all.slice(offset, offset + limit), total_count: all.length } };
  }

  const answers: Readonly<Record<Route, (call: Call) => Reply>> = {
    "GET /key": ownKey,
    "GET /keys": list,
    "POST /keys": create,
    "GET /keys/{hash}": find,
    "PATCH /keys/{hash}": change,
    "DELETE /keys/{hash}": remove,
    "GET /workspaces": listWorkspaces,
    "GET /credits": () => ({ status: 200, json: { data: { total_credits: 100, total_usage: 12.5 } } }),
  };

  return {
    keys,
    defaultWorkspace,
    addKey,
    removeKey,
    addAccount,
    addManagementKey: (managementKey: string) => addManagementKey(managementKey, account),
    addWorkspace: (name: string, owner = account) => addWorkspace(name, owner.id),
    /** The account of this management key. */
    accountOf,
    account,
    answer(call: Call): Reply {
      const refused = call.route === "GET /key" ? undefined : refusal(call.token);
      return refused ?? answers[call.route](call);
    },
  };
}

interface Workspace {
  readonly name: string;
  /** The id of the account that owns the workspace. */
  readonly owner: string;
}

const ONLY_MANAGEMENT = "Only management keys can perform this operation";
const BYOK_USAGES = { byok_usage: 0, byok_usage_daily: 0, byok_usage_weekly: 0, byok_usage_monthly: 0 };
