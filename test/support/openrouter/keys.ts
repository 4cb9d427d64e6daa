import { budgetsOf, CREATOR } from "./shapes.ts";
import type { Accounts, MockAccount } from "./accounts.ts";
import { sha256 } from "./accounts.ts";
import { Meter, usageFields } from "./meter.ts";
import type { Settings } from "./settings.ts";

/** The record of a key at OpenRouter, without its text. Money is in USD, times are RFC 3339. */
export interface MockKey {
  readonly hash: string;
  readonly label: string;
  readonly workspace: string;
  createdAt: string;
  expiresAt: string | null;
  name: string;
  disabled: boolean;
  limit: number | null;
  limitReset: string | null;
  /** Whether `byokUsage` counts towards the limit. */
  includeByokInLimit: boolean;
  readonly usage: Meter;
  /** What the user's own provider keys spent. */
  readonly byokUsage: Meter;
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
  readonly includeByokInLimit?: boolean;
  readonly usage?: number;
  readonly expiresAt?: string | null;
  readonly createdAt?: string;
  readonly workspace?: string;
  readonly lastUsedAt?: string | null;
  readonly budget?: MockBudget | null;
}

export interface KeyRecordOptions {
  readonly now: () => number;
  readonly settings: () => Settings;
  readonly accounts: Accounts;
  /** The id of a key. Anything but SHA-256 imitates an OpenRouter that differs from its documentation. */
  readonly hashOf: (key: string) => string;
  /** Called for each key that is deleted. */
  readonly onRemoved: (hash: string) => void;
}

export type KeyRecords = ReturnType<typeof keyRecords>;

/** The keys of all accounts, and whether they are accepted. */
export function keyRecords({ now, settings, accounts, hashOf, onRemoved }: KeyRecordOptions) {
  const keys = new Map<string, MockKey>();
  /** Disabled and deleted keys that are still accepted; `until` is in milliseconds since 1970. */
  const lingering = new Map<string, { readonly key: MockKey; readonly until: number }>();
  const isExpired = ({ expiresAt }: MockKey) => expiresAt !== null && Date.parse(expiresAt) <= now();
  const isAccepted = (key: MockKey) => !key.disabled && !isExpired(key) && key.acceptedFrom <= now();

  function add(text: string, seed: Seed = {}): MockKey {
    const key: MockKey = {
      hash: hashOf(text),
      label: `${text.slice(0, 12)}...${text.slice(-3)}`,
      name: seed.name ?? "made by hand",
      disabled: seed.disabled ?? false,
      limit: seed.limit ?? null,
      limitReset: seed.limitReset ?? null,
      includeByokInLimit: seed.includeByokInLimit ?? false,
      usage: new Meter(seed.usage ?? 0, now()),
      byokUsage: new Meter(0, now()),
      createdAt: seed.createdAt ?? new Date(now()).toISOString(),
      expiresAt: seed.expiresAt ?? null,
      workspace: seed.workspace ?? accounts.account.defaultWorkspace,
      lastUsedAt: seed.lastUsedAt ?? null,
      budget: seed.budget ?? null,
      acceptedFrom: 0,
    };
    keys.set(key.hash, key);
    return key;
  }

  function linger(key: MockKey): void {
    const { goneKeysAcceptedMs } = settings();
    if (goneKeysAcceptedMs > 0 && isAccepted(key)) {
      lingering.set(key.hash, { key, until: now() + goneKeysAcceptedMs });
    }
  }

  function remove(hash: string): boolean {
    const key = keys.get(hash);
    if (key !== undefined) linger(key);
    onRemoved(hash);
    return keys.delete(hash);
  }

  function disable(key: MockKey): void {
    linger(key);
    key.disabled = true;
  }

  /** The key with this hash, if it is accepted now. */
  function accepted(hash: string): MockKey | undefined {
    const late = lingering.get(hash);
    if (late !== undefined && now() < late.until) return late.key;
    const key = keys.get(hash);
    return key !== undefined && isAccepted(key) ? key : undefined;
  }

  /** Spends this much in USD. Returns false if the key is missing, refused, or has nothing left. */
  function spend(hash: string, usd: number, isByok = false): boolean {
    const key = accepted(hash);
    const left = key === undefined ? 0 : remaining(key, now());
    if (key === undefined || (left !== null && left <= 0)) return false;
    (isByok ? key.byokUsage : key.usage).spend(usd, now());
    key.lastUsedAt = new Date(now()).toISOString();
    return true;
  }

  /** A key of another account counts as missing. */
  function ownBy(token: string | undefined, hash: string): MockKey | undefined {
    const key = keys.get(hash);
    return key !== undefined && accounts.owns(token, key.workspace) ? key : undefined;
  }

  return {
    keys,
    add,
    remove,
    disable,
    spend,
    ownBy,
    hashOf,
    /** What is left of the limit until its next reset, in USD; null without a limit. */
    leftOf: (key: MockKey) => remaining(key, now()),
    isKnown: (text: string) => keys.has(hashOf(text)),
    acceptedOf: (text: string) => accepted(hashOf(text)),
  };
}

/** What is left of the limit until its next reset, in USD; null without a limit. */
function remaining(key: MockKey, now: number): number | null {
  return key.limit === null ? null : key.limit - counted(key, now);
}

function counted({ usage, byokUsage, limitReset, includeByokInLimit }: MockKey, now: number): number {
  return usage.within(limitReset, now) + (includeByokInLimit ? byokUsage.within(limitReset, now) : 0);
}

/** The key object of the management API. */
export function describeKey(key: MockKey, now: number) {
  return {
    hash: key.hash,
    name: key.name,
    disabled: key.disabled,
    ...describeTerms(key, now),
    created_at: key.createdAt,
    updated_at: null,
    workspace_id: key.workspace,
    external_user: null,
    last_used_at: key.lastUsedAt,
  };
}

/** GET /key: how the key that asks is described. */
export function describeCurrentKey(key: MockKey, owner: MockAccount | undefined, now: number, isManagementKey = false) {
  return {
    ...describeTerms(key, now),
    is_free_tier: false,
    is_management_key: isManagementKey,
    is_provisioning_key: isManagementKey,
    organization_id: owner?.organization ?? null,
    workspace_id: isManagementKey ? null : key.workspace,
    allowed_data_regions: ["global"],
    ...budgetsOf({ budget: key.budget, limit: key.limit, spent: counted(key, now) }),
    free_model_daily_requests: { limit: 50, remaining: 50, used: 0 },
    rate_limit: { interval: "10s", note: "This field is deprecated and safe to ignore.", requests: -1 },
  };
}

/** What both descriptions of a key say. */
function describeTerms(key: MockKey, now: number) {
  return {
    label: key.label,
    limit: key.limit,
    limit_remaining: remaining(key, now),
    limit_reset: key.limitReset,
    include_byok_in_limit: key.includeByokInLimit,
    ...usageFields("usage", key.usage, now),
    ...usageFields("byok_usage", key.byokUsage, now),
    expires_at: key.expiresAt,
    creator_user_id: CREATOR,
  };
}

/** A management key spends nothing and is not in a list of keys. */
export function asKey({ managementKey, defaultWorkspace }: MockAccount, now: number): MockKey {
  return {
    hash: sha256(managementKey),
    label: "sk-or-mgmt...",
    name: "management",
    disabled: false,
    limit: null,
    limitReset: null,
    includeByokInLimit: false,
    usage: new Meter(0, now),
    byokUsage: new Meter(0, now),
    createdAt: new Date(0).toISOString(),
    expiresAt: null,
    workspace: defaultWorkspace,
    lastUsedAt: null,
    budget: null,
    acceptedFrom: 0,
  };
}
