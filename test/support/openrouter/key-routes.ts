import type { Accounts } from "./accounts.ts";
import { asKey, describeCurrentKey, describeKey } from "./keys.ts";
import type { KeyRecords } from "./keys.ts";
import { pageOf } from "./routes.ts";
import type { Answers, Call, Reply } from "./routes.ts";
import type { Settings } from "./settings.ts";
import { changeIssues, creationIssues, error, fieldsOf, numberOrNull, ok, textOrNull, zodError } from "./shapes.ts";

interface KeyRouteOptions {
  readonly now: () => number;
  readonly settings: () => Settings;
  readonly accounts: Accounts;
  readonly records: KeyRecords;
  readonly pages: { readonly pageSize: number; readonly ignoresOffset: boolean };
  /** Returns the text of each new key. */
  readonly newKey: () => string;
}

type KeyRoute =
  | "GET /key"
  | "GET /keys"
  | "POST /keys"
  | "GET /keys/{hash}"
  | "PATCH /keys/{hash}"
  | "DELETE /keys/{hash}";

export function keyRoutes({ now, settings, accounts, records, pages, newKey }: KeyRouteOptions): Answers<KeyRoute> {
  function current({ token }: Call): Reply {
    if (token === undefined) return error(401, "Missing Authentication header");
    const manager = accounts.accountOf(token);
    if (manager !== undefined) {
      return ok({ data: describeCurrentKey(asKey(manager, now()), manager, now(), true) });
    }
    const key = records.acceptedOf(token);
    if (key === undefined) return error(401, "User not found.");
    if (settings().checksCountAsUse) key.lastUsedAt = new Date(now()).toISOString();
    return ok({ data: describeCurrentKey(key, accounts.ownerOf(key.workspace), now()) });
  }

  function create({ body, token }: Call): Reply {
    const wanted = fieldsOf(body);
    const manager = accounts.accountOf(token) ?? accounts.account;
    const own = accounts.workspacesOf(manager).map(({ id }) => id);
    const issues = creationIssues(wanted, new Set(own));
    if (issues.length > 0) return zodError(issues);
    const { newKeyLimit, newKeysRefusedMs } = settings();
    const text = newKey();
    const key = records.add(text, {
      name: String(wanted["name"]),
      limit: newKeyLimit === "as asked" ? numberOrNull(wanted["limit"]) : newKeyLimit,
      limitReset: textOrNull(wanted["limit_reset"]),
      includeByokInLimit: wanted["include_byok_in_limit"] === true,
      expiresAt: textOrNull(wanted["expires_at"]),
      workspace: textOrNull(wanted["workspace_id"]) ?? manager.defaultWorkspace,
    });
    key.acceptedFrom = now() + newKeysRefusedMs;
    return { status: 201, json: { data: describeKey(key, now()), key: text } };
  }

  function list({ query, token }: Call): Reply {
    const workspace = query.get("workspace_id") ?? accounts.accountOf(token)?.defaultWorkspace;
    const withDisabled = query.get("include_disabled") === "true";
    const all = [...records.keys.values()].filter(
      (key) => key.workspace === workspace && accounts.owns(token, key.workspace) && (withDisabled || !key.disabled),
    );
    // Newest first; keys of the same time in reverse order of their creation.
    const sorted = all.toReversed().toSorted((one, other) => other.createdAt.localeCompare(one.createdAt));
    // This route has no limit of its own.
    const offset = new URLSearchParams({ limit: "100", offset: query.get("offset") ?? "0" });
    return ok({ data: pageOf(sorted, offset, pages).map((key) => describeKey(key, now())) });
  }

  function change({ body, token, id }: Call): Reply {
    const key = records.ownBy(token, id);
    if (key === undefined) return error(404, "Resource not found");
    const issues = changeIssues(fieldsOf(body));
    if (issues.length > 0) return zodError(issues);
    const { name, disabled, limit, limit_reset, include_byok_in_limit } = fieldsOf(body);
    if (typeof name === "string") key.name = name;
    if (disabled === true) records.disable(key);
    if (disabled === false) key.disabled = false;
    if (limit !== undefined) key.limit = numberOrNull(limit);
    if (limit_reset !== undefined) key.limitReset = textOrNull(limit_reset);
    if (typeof include_byok_in_limit === "boolean") key.includeByokInLimit = include_byok_in_limit;
    return ok({ data: describeKey(key, now()) });
  }

  function find({ token, id }: Call): Reply {
    const key = records.ownBy(token, id);
    return key === undefined ? error(404, "Resource not found") : ok({ data: describeKey(key, now()) });
  }

  function remove({ token, id }: Call): Reply {
    const key = records.ownBy(token, id);
    if (key === undefined) return error(404, "Resource not found");
    records.remove(key.hash);
    return ok({ deleted: true });
  }

  return {
    "GET /key": current,
    "GET /keys": list,
    "POST /keys": create,
    "GET /keys/{hash}": find,
    "PATCH /keys/{hash}": change,
    "DELETE /keys/{hash}": remove,
  };
}
