import { randomUUID } from "node:crypto";
import type { MockKey } from "./keys.ts";
import type { Reply } from "./routes.ts";

const RESETS: ReadonlySet<unknown> = new Set(["daily", "weekly", "monthly", null, undefined]);
const UTC_WITH_SECONDS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z$/;

export function error(status: number, message: string): Reply {
  return { status, json: { error: { code: status, message } } };
}

export function ok(json: unknown): Reply {
  return { status: 200, json };
}

/** The answer to a request that is rejected before the code of its route runs. */
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

export const CREATOR = "user_2mockServerOfOpenRouterMock";

export function creationIssues(wanted: Fields, workspaces: ReadonlySet<string>): readonly Issue[] {
  const { name, expires_at, workspace_id } = wanted;
  return issuesOf([
    ["name", typeof name === "string" && name !== "", "Invalid input: expected string"],
    ...termRules(wanted),
    ["expires_at", isMoment(expires_at), "Invalid ISO datetime"],
    ["workspace_id", workspace_id === undefined || workspaces.has(textOrNull(workspace_id) ?? ""), "Invalid workspace"],
  ]);
}

export function changeIssues(wanted: Fields): readonly Issue[] {
  return issuesOf(termRules(wanted));
}

type Rule = readonly [path: string, holds: boolean, problem: string];

/** What a creation and a change have in common. */
function termRules({ limit, limit_reset, include_byok_in_limit }: Fields): readonly Rule[] {
  return [
    ["limit", limit === undefined || limit === null || (typeof limit === "number" && limit >= 0), "Invalid number"],
    ["limit_reset", RESETS.has(limit_reset), "Invalid option"],
    ["include_byok_in_limit", ["boolean", "undefined"].includes(typeof include_byok_in_limit), "Invalid boolean"],
  ];
}

function issuesOf(rules: readonly Rule[]): readonly Issue[] {
  return rules.filter(([, holds]) => !holds).map(([path, , problem]) => ({ path, problem }));
}

function isMoment(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === "string" && UTC_WITH_SECONDS.test(value));
}

export function workspaceOf(id: string, name: string) {
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

/** GET /key: the budgets of a key, including its own limit, and the budget with the least money left. */
export function budgetsOf({ budget, limit, spent }: Pick<MockKey, "budget" | "limit"> & { readonly spent: number }) {
  const all = [
    ...(budget === null ? [] : [budgetOf(budget.scope, budget.limit, budget.spent)]),
    ...(limit === null ? [] : [budgetOf("key_limit", limit, spent)]),
  ];
  const [effective = null] = all.toSorted((one, other) => one.remaining_usd - other.remaining_usd);
  return { budgets: all, effective_budget: effective };
}

function budgetOf(scope: string, limit: number, spent: number) {
  return {
    scope,
    limit_usd: limit,
    spend_usd: spent,
    remaining_usd: limit - spent,
    reset_interval: null,
    resets_at: null,
    guardrail_id: null,
    budget_id: null,
  };
}

type Fields = Readonly<Record<string, unknown>>;

export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

/** Undefined for anything but a list of at least one hash. */
export function hashesIn(value: unknown): readonly string[] | undefined {
  const isList = Array.isArray(value) && value.length > 0;
  return isList && value.every((hash) => typeof hash === "string" && hash !== "") ? value : undefined;
}

export function numberOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

export function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
