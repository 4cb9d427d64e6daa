import type { AttachResult, UpstreamKeys } from "../core/ports/openrouter.ts";
import type { Deadline } from "../core/async/deadline.ts";
import { answerOf } from "./http/answer.ts";
import { unknown } from "./http/send-with-retries.ts";
import type { RequestOutcome } from "./http/send-with-retries.ts";
import type { ReadPage } from "./list-keys.ts";
import { allowListPages, assignmentPages } from "./list-restrictions.ts";
import { isMissing, orUnauthorized } from "./refusals.ts";
import { allowListIn, isCount } from "./replies.ts";

interface Requests {
  readonly readPage: ReadPage;
  readonly send: (change: RestrictionChange, deadline: Deadline) => Promise<RequestOutcome>;
}

interface RestrictionChange {
  readonly method: "POST" | "PATCH";
  readonly path: string;
  readonly body: unknown;
}

type Restrictions = Pick<
  UpstreamKeys,
  "guardrailAssignments" | "assignGuardrail" | "unassignGuardrail" | "allowLists" | "setAllowedKeys"
>;

/** 400: a hash is no live key, or an id has another form. */
const REFUSED: ReadonlySet<number | null> = new Set([400, 403, 409, 413, 422]);

/** The guardrails of keys, and the provider credentials that only some keys may use. */
export function restrictionsApi({ readPage, send }: Requests): Restrictions {
  const attach = async (change: RestrictionChange, isDone: (json: unknown) => boolean, deadline: Deadline) =>
    attached(orUnauthorized(await send(change, deadline)), isDone);
  return {
    guardrailAssignments: (budget) => assignmentPages({ readPage, budget }),
    allowLists: (workspaces, budget) => allowListPages(workspaces, { readPage, budget }),
    assignGuardrail: (guardrail, hash, deadline) =>
      attach(
        { method: "POST", path: assignmentsOf(guardrail), body: { key_hashes: [hash] } },
        (json) => isCount(json, "assigned_count"),
        deadline,
      ),
    unassignGuardrail: (guardrail, hash, deadline) =>
      attach(
        { method: "POST", path: `${assignmentsOf(guardrail)}/remove`, body: { key_hashes: [hash] } },
        (json) => isCount(json, "unassigned_count"),
        deadline,
      ),
    setAllowedKeys: (credential, hashes, deadline) =>
      attach(
        {
          method: "PATCH",
          path: `/byok/${encodeURIComponent(credential)}`,
          body: { allowed_api_key_hashes: hashes },
        },
        (json) => areSame(allowListIn(json)?.keys ?? [], hashes),
        deadline,
      ),
  };
}

function assignmentsOf(guardrail: string): string {
  return `/guardrails/${encodeURIComponent(guardrail)}/assignments/keys`;
}

function attached(ending: RequestOutcome, isDone: (json: unknown) => boolean): AttachResult {
  if (isDone(answerOf(ending))) return { status: "done" };
  if (isMissing(ending)) return { status: "gone" };
  const { httpStatus } = ending;
  if (ending.kind === "failure" && ending.event === "refused" && httpStatus !== null && REFUSED.has(httpStatus)) {
    return { status: "refused", httpStatus, detail: ending.detail };
  }
  return unknown(ending);
}

/** In any order. */
function areSame(some: readonly string[], others: readonly string[]): boolean {
  const wanted = new Set(others);
  return wanted.size === new Set(some).size && some.every((hash) => wanted.has(hash));
}
