import { randomUUID } from "node:crypto";
import type { Accounts } from "./accounts.ts";
import type { KeyRecords } from "./keys.ts";
import { pageOf } from "./routes.ts";
import type { Answers, Call, Reply } from "./routes.ts";
import { error, fieldsOf, hashesIn, ok, zodError } from "./shapes.ts";

/** A provider's own key that keys of a workspace may use: "bring your own key". */
export interface MockCredential {
  readonly id: string;
  readonly provider: string;
  readonly workspace: string;
  readonly createdAt: string;
  /** The hashes of the keys that may use it; null: every key may. Hashes of deleted keys stay. */
  allowedKeys: readonly string[] | null;
}

export interface CredentialSeed {
  readonly provider?: string;
  readonly workspace?: string;
  readonly allowedKeys?: readonly string[] | null;
}

interface CredentialOptions {
  readonly now: () => number;
  readonly accounts: Accounts;
  readonly records: KeyRecords;
  readonly pages: { readonly pageSize: number; readonly ignoresOffset: boolean };
}

const MAX_ALLOWED_KEYS = 100;

/** The provider credentials and which keys may use them. */
export function credentialRecords({ now, accounts, records, pages }: CredentialOptions) {
  const credentials = new Map<string, MockCredential>();

  function add({ provider = "openai", workspace, allowedKeys = null }: CredentialSeed = {}): MockCredential {
    const credential = {
      id: randomUUID(),
      provider,
      workspace: workspace ?? accounts.account.defaultWorkspace,
      createdAt: new Date(now()).toISOString(),
      allowedKeys,
    };
    credentials.set(credential.id, credential);
    return credential;
  }

  function list({ token, query }: Call): Reply {
    const workspace = query.get("workspace_id") ?? accounts.accountOf(token)?.defaultWorkspace;
    const own = [...credentials.values()].filter(
      (credential) => credential.workspace === workspace && accounts.owns(token, credential.workspace),
    );
    return ok({ data: pageOf(own.map(described), query, pages), total_count: own.length });
  }

  function change({ id, token, body }: Call): Reply {
    const credential = credentials.get(id);
    if (credential === undefined || !accounts.owns(token, credential.workspace)) {
      return error(404, "Resource not found");
    }
    const { allowed_api_key_hashes: wanted } = fieldsOf(body);
    if (wanted === undefined) return ok({ data: described(credential) });
    const hashes = wanted === null ? null : hashesIn(wanted);
    if (hashes === undefined || (hashes?.length ?? 0) > MAX_ALLOWED_KEYS) {
      return zodError([{ path: "allowed_api_key_hashes", problem: "Invalid input: expected array of 1 to 100" }]);
    }
    if (hashes?.some((hash) => records.ownBy(token, hash) === undefined) === true) {
      return error(400, "One or more API keys were not found");
    }
    credential.allowedKeys = hashes === null ? null : [...new Set(hashes)];
    return ok({ data: described(credential) });
  }

  const routes: Answers<"GET /byok" | "PATCH /byok/{id}"> = { "GET /byok": list, "PATCH /byok/{id}": change };
  return { routes, credentials, add };
}

function described({ id, provider, workspace, createdAt, allowedKeys }: MockCredential) {
  return {
    id,
    provider,
    workspace_id: workspace,
    label: "sk-...AbCd",
    name: null,
    disabled: false,
    is_fallback: false,
    sort_order: 0,
    allowed_models: null,
    allowed_user_ids: null,
    allowed_api_key_hashes: allowedKeys,
    created_at: createdAt,
  };
}
