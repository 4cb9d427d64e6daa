import { createHash, randomBytes, randomUUID } from "node:crypto";

/** What OpenRouter keeps of a key: never its text. Money is in USD, times are RFC 3339. */
export interface StandInKey {
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
  /** In milliseconds since 1970: until then a new key is refused, as somewhere it is not known yet. */
  acceptedFrom: number;
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
}

export interface StateOptions {
  readonly managementKey: string;
  readonly now: () => number;
  readonly pageSize: number;
  /** Every page of keys is the first. */
  readonly ignoresOffset: boolean;
  /** For how long a key that was just made is refused, in milliseconds. */
  readonly newKeysRefusedMs: number;
  /** The text of each key that is made. */
  readonly newKey: () => string;
  /** The id of a key; another than SHA-256 for an OpenRouter that is not as documented. */
  readonly hashOf: (key: string) => string;
}

/** A request as the state sees it. */
export interface Call {
  readonly route: Route;
  /** Of `/keys/{hash}`. */
  readonly hash: string;
  readonly query: URLSearchParams;
  readonly token: string | undefined;
  /** Parsed; undefined for none, and for what is no JSON. */
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

const RESETS: ReadonlySet<unknown> = new Set(["daily", "weekly", "monthly", null, undefined]);
const UTC_WITH_SECONDS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z$/;

export function randomKey(): string {
  return `sk-or-v1-${randomBytes(32).toString("hex")}`;
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The documented parts of OpenRouter that are about keys: what it keeps, and what it answers. */
export function openRouterState(options: StateOptions) {
  const { managementKey, now, pageSize, newKeysRefusedMs, newKey, hashOf } = options;
  const keys = new Map<string, StandInKey>();
  const workspaces = new Map<string, string>();
  const managementHash = sha256(managementKey);
  const defaultWorkspace = addWorkspace("Default Workspace");

  function addWorkspace(name: string): string {
    const id = randomUUID();
    workspaces.set(id, name);
    return id;
  }

  function addKey(text: string, seed: Seed = {}): StandInKey {
    const key: StandInKey = {
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
      acceptedFrom: 0,
    };
    keys.set(key.hash, key);
    return key;
  }

  const isExpired = ({ expiresAt }: StandInKey) => expiresAt !== null && Date.parse(expiresAt) <= now();
  const isAccepted = (key: StandInKey) => !key.disabled && !isExpired(key) && key.acceptedFrom <= now();

  function describe(key: StandInKey) {
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
    };
  }

  /** GET /key: of the key that asks. */
  function ownKey(call: Call): Reply {
    if (call.token === undefined) return error(401, "Missing Authentication header");
    if (sha256(call.token) === managementHash) return { status: 200, json: { data: currentKey(undefined) } };
    const key = keys.get(hashOf(call.token));
    if (key === undefined || !isAccepted(key)) return error(401, "User not found.");
    return { status: 200, json: { data: currentKey(key) } };
  }

  function currentKey(key: StandInKey | undefined) {
    const isManagementKey = key === undefined;
    const { label, limit, limit_remaining, limit_reset, usage, usage_daily, usage_weekly, usage_monthly, expires_at } =
      describe(key ?? asManagementKey);
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
      organization_id: null,
      workspace_id: key?.workspace ?? null,
      allowed_data_regions: ["global"],
      free_model_daily_requests: { limit: 50, remaining: 50, used: 0 },
      rate_limit: { interval: "10s", note: "This field is deprecated and safe to ignore.", requests: -1 },
    };
  }
  const asManagementKey: StandInKey = {
    hash: managementHash,
    label: "sk-or-mgmt...",
    name: "management",
    disabled: false,
    limit: null,
    limitReset: null,
    usage: 0,
    createdAt: new Date(0).toISOString(),
    expiresAt: null,
    workspace: defaultWorkspace,
    acceptedFrom: 0,
  };

  /** Undefined for one that may manage keys. */
  function refusal(token: string | undefined): Reply | undefined {
    if (token === undefined) return error(401, "Missing Authentication header");
    if (sha256(token) === managementHash) return undefined;
    return keys.has(hashOf(token)) ? error(403, ONLY_MANAGEMENT) : error(401, "User not found.");
  }

  function create({ body }: Call): Reply {
    const wanted = fieldsOf(body);
    const issues = creationIssues(wanted, workspaces);
    if (issues.length > 0) return zodError(issues);
    const text = newKey();
    const key = addKey(text, {
      name: String(wanted["name"]),
      limit: numberOrNull(wanted["limit"]),
      limitReset: textOrNull(wanted["limit_reset"]),
      expiresAt: textOrNull(wanted["expires_at"]),
      workspace: textOrNull(wanted["workspace_id"]) ?? defaultWorkspace,
    });
    key.acceptedFrom = now() + newKeysRefusedMs;
    return { status: 201, json: { data: describe(key), key: text } };
  }

  function list({ query }: Call): Reply {
    const workspace = query.get("workspace_id") ?? defaultWorkspace;
    const offset = options.ignoresOffset ? 0 : Number(query.get("offset") ?? 0);
    const withDisabled = query.get("include_disabled") === "true";
    const all = [...keys.values()].filter((key) => key.workspace === workspace && (withDisabled || !key.disabled));
    // New ones first: by their time, and of one moment the last that came.
    const sorted = all.toReversed().toSorted((one, other) => other.createdAt.localeCompare(one.createdAt));
    return { status: 200, json: { data: sorted.slice(offset, offset + pageSize).map(describe) } };
  }

  function change({ hash, body }: Call): Reply {
    const key = keys.get(hash);
    if (key === undefined) return error(404, "Resource not found");
    const { name, disabled, limit, limit_reset } = fieldsOf(body);
    if (typeof name === "string") key.name = name;
    if (typeof disabled === "boolean") key.disabled = disabled;
    if (limit !== undefined) key.limit = numberOrNull(limit);
    if (limit_reset !== undefined) key.limitReset = textOrNull(limit_reset);
    return { status: 200, json: { data: describe(key) } };
  }

  function find({ hash }: Call): Reply {
    const key = keys.get(hash);
    return key === undefined ? error(404, "Resource not found") : { status: 200, json: { data: describe(key) } };
  }

  const remove = ({ hash }: Call): Reply =>
    keys.delete(hash) ? { status: 200, json: { deleted: true } } : error(404, "Resource not found");

  function listWorkspaces({ query }: Call): Reply {
    const offset = Number(query.get("offset") ?? 0);
    const limit = Math.min(100, Number(query.get("limit") ?? 50));
    const all = Array.from(workspaces, ([id, name]) => workspaceOf(id, name));
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
    addWorkspace,
    isManagementKey: (token: string) => sha256(token) === managementHash,
    answer(call: Call): Reply {
      const refused = call.route === "GET /key" ? undefined : refusal(call.token);
      return refused ?? answers[call.route](call);
    },
  };
}

export function error(status: number, message: string): Reply {
  return { status, json: { error: { code: status, message } } };
}

/** As routes answer whose own code never saw the request. */
export function zodError(issues: readonly Issue[]): Reply {
  const message = JSON.stringify(
    issues.map(({ path, problem }) => ({ code: "custom", path: [path], message: problem })),
  );
  return { status: 400, json: { success: false, error: { name: "ZodError", message } } };
}

export interface Issue {
  readonly path: string;
  readonly problem: string;
}

const ONLY_MANAGEMENT = "Only management keys can perform this operation";
const CREATOR = "user_2standinStandInStandInStand";
const BYOK_USAGES = { byok_usage: 0, byok_usage_daily: 0, byok_usage_weekly: 0, byok_usage_monthly: 0 };

function creationIssues(wanted: Fields, workspaces: ReadonlyMap<string, string>): readonly Issue[] {
  const { name, limit, limit_reset, expires_at, workspace_id } = wanted;
  const rules: readonly (readonly [path: string, holds: boolean, problem: string])[] = [
    ["name", typeof name === "string" && name !== "", "Invalid input: expected string"],
    ["limit", limit === undefined || limit === null || (typeof limit === "number" && limit >= 0), "Invalid number"],
    ["limit_reset", RESETS.has(limit_reset), "Invalid option"],
    ["expires_at", isMoment(expires_at), "Invalid ISO datetime"],
    ["workspace_id", workspace_id === undefined || workspaces.has(textOrNull(workspace_id) ?? ""), "Invalid workspace"],
  ];
  return rules.filter(([, holds]) => !holds).map(([path, , problem]) => ({ path, problem }));
}

function isMoment(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === "string" && UTC_WITH_SECONDS.test(value));
}

function workspaceOf(id: string, name: string) {
  return {
    id,
    name,
    slug: name.toLowerCase().replaceAll(" ", "-"),
    description: null,
    created_at: "2025-08-24T10:30:00Z",
    updated_at: null,
    created_by: CREATOR,
    default_guardrail_id: randomUUID(),
    default_image_model: null,
    default_provider_sort: null,
    default_text_model: null,
    include_byok_in_budgets: false,
    io_logging_api_key_ids: null,
    io_logging_sampling_rate: 1,
    is_data_discount_logging_enabled: true,
    is_observability_broadcast_enabled: false,
    is_observability_io_logging_enabled: false,
  };
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function numberOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
