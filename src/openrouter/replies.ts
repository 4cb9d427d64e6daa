import { ApiKey } from "../core/model/api-key.ts";
import { KEY_LIKE, withoutKeys } from "../core/model/redact-keys.ts";
import { rfc3339In, UNKNOWN_EXPIRY } from "../core/model/expiry.ts";
import type { Timestamp } from "../core/model/key-record.ts";
import type { AcceptedKey, ActiveDay, AllowList, GuardrailAssignment } from "../core/ports/openrouter.ts";
import type { KeyRequest, UpstreamKey } from "../core/ports/openrouter.ts";
import { printable } from "../core/text/printable.ts";

/*
 * The required content of OpenRouter's replies. Unknown fields are ignored; a field that is missing or of another type
 * is "not said", unless the reply is useless without it. Undefined: this is not such a reply.
 */

type Fields = Readonly<Record<string, unknown>>;

/** Used in paths unchanged. */
const HASH = /^[A-Za-z0-9_-]{1,128}$/;
const ID = /^[A-Za-z0-9_-]{1,128}$/;
const WORD = /^[a-z_]{1,20}$/;
const SCOPE = /^[a-z_]{1,40}$/;
/** A day, also where midnight is written after it. */
const DAY = /^(\d{4}-\d{2}-\d{2})(?:[T ][0:.]*Z?)?$/;

/** Fields of GET /key. An answer without any of them does not describe a key. */
const OF_A_KEY: readonly string[] = [
  "label",
  "limit",
  "limit_remaining",
  "limit_reset",
  "usage",
  "expires_at",
  "is_free_tier",
  "is_management_key",
  "is_provisioning_key",
];

/** GET /key. A key that the reply calls disabled is not accepted, whatever the status is. */
export function acceptedKey(json: unknown): AcceptedKey | undefined {
  const data = askingKey(json);
  if (data === undefined || data["disabled"] === true) return undefined;
  return {
    status: "accepted",
    limit: money(data["limit"]),
    limitRemaining: money(data["limit_remaining"]),
    limitReset: word(data["limit_reset"]),
    expiresAt: expiry(data["expires_at"]),
    blockedBy: usedUpBudget(data["effective_budget"]),
    isManagementKey: data["is_management_key"] === true || data["is_provisioning_key"] === true,
  };
}

/** GET /key, with a management key: its organisation, null for none. */
export function organizationOf(json: unknown): { readonly organization: string | null } | undefined {
  const data = askingKey(json);
  return data === undefined ? undefined : { organization: identifier(data["organization_id"]) };
}

/** GET /keys/{hash}, PATCH /keys/{hash} */
export function describedKey(json: unknown): UpstreamKey | undefined {
  return upstreamKey(dataOf(json));
}

/** GET /keys. One unreadable entry makes the page unreadable: a skipped key would look as if it did not exist. */
export function listedKeys(json: unknown): readonly UpstreamKey[] | undefined {
  return everyOf(json, upstreamKey);
}

/** GET /workspaces: their ids */
export function workspaceIds(json: unknown): readonly string[] | undefined {
  return everyOf(json, (entry) => identifier(fieldsOf(entry)?.["id"]) ?? undefined);
}

/**
 * POST /keys. Only the key's text cannot be asked for again, so a reply with the text is a good one. Any other missing
 * field is as requested.
 */
export function createdKey(json: unknown, request: KeyRequest): { key: ApiKey; upstream: UpstreamKey } | undefined {
  const text = fieldsOf(json)?.["key"];
  const key = typeof text === "string" ? ApiKey.parse(text) : undefined;
  if (key === undefined) return undefined;
  const { includeByokInLimit, ...terms } = request;
  const asked = { hash: key.hash, name: terms.name, disabled: false, limit: terms.limit };
  const upstream = upstreamKey({ ...asked, include_byok_in_limit: includeByokInLimit, ...dataOf(json) });
  if (upstream === undefined) {
    const flags = { includeByokInLimit: includeByokInLimit ?? undefined };
    return { key, upstream: { ...AS_REQUESTED, hash: key.hash, ...terms, ...flags } };
  }
  return { key, upstream: { ...upstream, workspace: upstream.workspace ?? terms.workspace } };
}

/** GET /guardrails/assignments/keys. One unreadable entry makes the page unreadable: a skipped one would look unrestricted. */
export function assignmentsIn(json: unknown): readonly GuardrailAssignment[] | undefined {
  return everyOf(json, (entry) => {
    const { key_hash: keyHash, guardrail_id: id } = fieldsOf(entry) ?? {};
    const guardrail = identifier(id);
    return isHash(keyHash) && guardrail !== null ? { keyHash, guardrail } : undefined;
  });
}

/** POST /guardrails/{id}/assignments/keys and …/remove */
export function isCount(json: unknown, name: "assigned_count" | "unassigned_count"): boolean {
  return Number.isInteger(successOf(json)?.[name]);
}

/** GET /byok. One unreadable entry makes the page unreadable, as for assignments. */
export function allowListsIn(json: unknown): readonly AllowList[] | undefined {
  return everyOf(json, allowList);
}

/** PATCH /byok/{id} */
export function allowListIn(json: unknown): AllowList | undefined {
  return allowList(dataOf(json));
}

/** DELETE /keys/{hash} */
export function isDeletion(json: unknown): boolean {
  return successOf(json)?.["deleted"] === true;
}

/** GET /credits */
export function creditsOf(json: unknown): { total: number; used: number } | undefined {
  const data = dataOf(json);
  const total = money(data?.["total_credits"]);
  const used = money(data?.["total_usage"]);
  return typeof total === "number" && typeof used === "number" ? { total, used } : undefined;
}

/** GET /activity: a row for each day, model and endpoint. One unreadable row makes the answer unreadable. */
export function activityIn(json: unknown): readonly ActiveDay[] | undefined {
  return everyOf(json, (entry) => {
    const { date, usage: spent } = fieldsOf(entry) ?? {};
    const [usage, day] = [money(spent), typeof date === "string" ? DAY.exec(date)?.[1] : undefined];
    return day !== undefined && typeof usage === "number" ? { date: day, usage } : undefined;
  });
}

/**
 * The message of an error, safe to show; empty without a message. Undefined for anything but an error of the API.
 * Two shapes are known: `{error: {code, message}}`, and `{success: false, error: {name: "ZodError", message: "[…]"}}`.
 */
export function errorMessage(json: unknown, token: string | null): string | undefined {
  const error = fieldsOf(fieldsOf(json)?.["error"]);
  if (error === undefined || typeof error["message"] !== "string") return undefined;
  const message = error["name"] === "ZodError" ? issues(error["message"]) : error["message"];
  return serverMessage(message, token);
}

/** The status that an error of the API repeats, in `{error: {code, message}}`. */
export function errorCode(json: unknown): number | undefined {
  const error = fieldsOf(fieldsOf(json)?.["error"]);
  const { code, message } = error ?? {};
  return typeof code === "number" && typeof message === "string" ? code : undefined;
}

const AS_REQUESTED = {
  disabled: false,
  limitRemaining: undefined,
  usageToday: undefined,
  createdAt: null,
  lastUsedAt: undefined,
} as const satisfies Partial<UpstreamKey>;

function upstreamKey(entry: unknown): UpstreamKey | undefined {
  const fields = fieldsOf(entry);
  if (fields === undefined) return undefined;
  const { hash, name, disabled } = fields;
  if (!isHash(hash)) return undefined;
  if (typeof name !== "string" || typeof disabled !== "boolean") return undefined;
  return {
    hash,
    name,
    disabled,
    limit: money(fields["limit"]),
    limitRemaining: money(fields["limit_remaining"]),
    limitReset: word(fields["limit_reset"]),
    includeByokInLimit: flag(fields["include_byok_in_limit"]),
    usageToday: money(fields["usage_daily"]) ?? undefined,
    createdAt: rfc3339In(fields["created_at"]),
    expiresAt: expiry(fields["expires_at"]),
    lastUsedAt: timeOrNone(fields["last_used_at"]),
    workspace: identifier(fields["workspace_id"]),
  };
}

/** Null is no restriction; a list that is missing or cannot be read is not null. */
function allowList(entry: unknown): AllowList | undefined {
  const { id, allowed_api_key_hashes: keys } = fieldsOf(entry) ?? {};
  const credential = identifier(id);
  if (credential === null) return undefined;
  if (keys === null) return { credential, keys };
  return Array.isArray(keys) && keys.every(isHash) ? { credential, keys } : undefined;
}

/** Zod writes its issues as JSON into the message. */
function issues(message: string): string {
  try {
    const parsed: unknown = JSON.parse(message);
    const all = Array.isArray(parsed) ? parsed.map(fieldsOf) : [];
    return all.map((issue) => `${pathOf(issue?.["path"])}${textOf(issue?.["message"])}`).join("; ");
  } catch {
    return message;
  }
}

function pathOf(path: unknown): string {
  const names = Array.isArray(path) ? path.filter((name) => typeof name === "string" || typeof name === "number") : [];
  return names.length === 0 ? "" : `${names.join(".")}: `;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function everyOf<Item>(json: unknown, read: (entry: unknown) => Item | undefined): readonly Item[] | undefined {
  const data = successOf(json)?.["data"];
  if (!Array.isArray(data)) return undefined;
  const items = data.map(read).filter((item) => item !== undefined);
  return items.length === data.length ? items : undefined;
}

function askingKey(json: unknown): Fields | undefined {
  const data = dataOf(json);
  return OF_A_KEY.some((name) => Object.hasOwn(data ?? {}, name)) ? data : undefined;
}

function dataOf(json: unknown): Fields | undefined {
  return fieldsOf(successOf(json)?.["data"]);
}

/** Data beside an error does not count. */
function successOf(json: unknown): Fields | undefined {
  const fields = fieldsOf(json);
  return (fields?.["error"] ?? null) === null ? fields : undefined;
}

function fieldsOf(value: unknown): Fields | undefined {
  // Any object except an array has fields by name.
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/** In USD. JSON allows numbers that overflow to infinity. */
function money(value: unknown): number | null | undefined {
  if (value === null) return null;
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** A hash is shown and stored, because it is not secret, and is used in a path. */
function isHash(value: unknown): value is string {
  return typeof value === "string" && HASH.test(value) && !KEY_LIKE.test(value);
}

function word(value: unknown): string | null {
  return typeof value === "string" && WORD.test(value) ? value : null;
}

function flag(value: unknown): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

/** An id that looks like a key is none: ids are stored and shown. */
function identifier(value: unknown): string | null {
  return typeof value === "string" && ID.test(value) && !KEY_LIKE.test(value) ? value : null;
}

/** Null for never; an end that cannot be read is not never. */
function expiry(value: unknown): string | null | undefined {
  return value === null || value === undefined ? value : (rfc3339In(value) ?? UNKNOWN_EXPIRY);
}

function timeOrNone(value: unknown): Timestamp | null | undefined {
  return value === null ? null : (rfc3339In(value) ?? undefined);
}

/** The scope of the budget that blocks the key: null where none does, undefined where that is not said. */
function usedUpBudget(value: unknown): string | null | undefined {
  if (value === null) return null;
  const { scope, remaining_usd: remaining } = fieldsOf(value) ?? {};
  if (typeof remaining !== "number" || !Number.isFinite(remaining)) return undefined;
  if (remaining > 0) return null;
  return typeof scope === "string" && SCOPE.test(scope) ? scope : "unknown";
}

const LONGEST = 200;

/** Ids of users, organisations, workspaces and keys, and tokens of any kind: no word is that long, and no id is much shorter. */
const ID_LIKE = /\b(?:user|org|usr|req|gen)_[A-Za-z0-9]+|[A-Za-z0-9_~+/=-]{20,}/g;

/**
 * A server's own words, safe for a terminal and a log: on one line, without characters that move a cursor, hide or reorder
 * text, and without keys and ids, above all the one that was sent.
 */
export function serverMessage(text: string, token: string | null): string {
  const withoutToken = token === null ? text : text.replaceAll(token, "…");
  const clean = withoutKeys(withoutToken).replace(ID_LIKE, "…").replaceAll(/\s+/g, " ").trim();
  const short = clean.length > LONGEST ? `${clean.slice(0, LONGEST)}…` : clean;
  return printable(short);
}
