import { managementKeyRefused } from "../core/model/management-key.ts";
import type { ManagementKey } from "../core/model/management-key.ts";
import type {
  CreateResult,
  Credits,
  FindResult,
  KeyRequest,
  Organization,
  RateLimited,
  DeleteResult,
  UpstreamKeys,
} from "../core/ports/openrouter.ts";
import { answerOf } from "./http/answer.ts";
import { sendWithRetries, pause, unknownReasonOf, unknown } from "./http/send-with-retries.ts";
import type { RequestOutcome, HttpContext } from "./http/send-with-retries.ts";
import { listing, workspacePages } from "./list-keys.ts";
import { createdKey, creditsOf, describedKey, isDeletion, organizationOf } from "./replies.ts";
import { throwIfCancelled } from "../core/async/deadline.ts";
import type { Deadline } from "../core/async/deadline.ts";
import { MAX_PAGE_BYTES, MAX_REPLY_BYTES } from "./http/exchange.ts";

/** The management API, with this key. */
export function managementApi(managementKey: ManagementKey, context: HttpContext): UpstreamKeys {
  const token = managementKey.reveal();
  const get = (path: string, deadline: Deadline, maxBytes = MAX_REPLY_BYTES) =>
    sendWithRetries({ kind: "read", method: "GET", path, token, body: undefined, maxBytes }, deadline, context);
  const find = async (hash: string, deadline: Deadline) => finding(hash, orRefused(await get(pathOf(hash), deadline)));

  async function make(change: Change, hash: string, deadline: Deadline): Promise<DeleteResult> {
    const { method, body } = change;
    const request = { kind: "change", method, path: pathOf(hash), token, body, maxBytes: MAX_REPLY_BYTES } as const;
    const ending = orRefused(await sendWithRetries(request, deadline, context));
    if (change.isDone(answerOf(ending))) return { status: "done" };
    if (isMissing(ending)) return { status: "gone" };
    const now = ending.kind === "failure" && ending.wantsReading ? await find(hash, deadline) : undefined;
    if (now?.status === "gone") return now;
    return now?.status === "found" && change.isSeen(now) ? { status: "done" } : unknown(ending);
  }

  return {
    find,
    async create(wanted, budget) {
      const request = {
        kind: "creation",
        method: "POST",
        path: "/keys",
        token,
        body: bodyOf(wanted),
        maxBytes: MAX_REPLY_BYTES,
      } as const;
      return creation(await sendWithRetries(request, budget, context), wanted);
    },
    disable: (hash, budget) => make(DISABLE, hash, budget),
    remove: (hash, budget) => make(REMOVE, hash, budget),
    list: (scope, budget) =>
      listing(scope, async (path, forPage) => orRefused(await get(path, forPage, MAX_PAGE_BYTES)), budget),
    workspaces: (budget) =>
      // A management key that may not list workspaces (403) may still do everything else.
      workspacePages(
        async (path, forPage) => orUnauthorized(await get(path, forPage, MAX_PAGE_BYTES)),
        () => budget,
      ),
    async organization(budget): Promise<Organization> {
      const ending = await get("/key", budget);
      const organization = organizationOf(answerOf(ending));
      return organization === undefined ? unknown(ending) : { status: "known", ...organization };
    },
    async credits(budget): Promise<Credits> {
      const ending = await get("/credits", budget);
      if (isRefusal(ending)) return { status: "unavailable" };
      const credits = creditsOf(answerOf(ending));
      return credits === undefined ? unknown(ending) : { status: "known", ...credits };
    },
    async pause({ retryAfterMs, detail }: RateLimited, attempt, budget) {
      const goesOn = await pause({ attempt, detail, isRateLimited: true }, retryAfterMs, budget, context);
      throwIfCancelled(budget);
      return goesOn;
    },
  };
}

interface Change {
  readonly method: "PATCH" | "DELETE";
  readonly body: unknown;
  /** From the reply. */
  readonly isDone: (json: unknown) => boolean;
  /** From the present state, when the reply was lost. */
  readonly isSeen: (found: Extract<FindResult, { status: "found" }>) => boolean;
}

const DISABLE: Change = {
  method: "PATCH",
  body: { disabled: true },
  isDone: (json) => describedKey(json)?.disabled === true,
  isSeen: ({ key }) => key.disabled,
};
const REMOVE: Change = { method: "DELETE", body: undefined, isDone: isDeletion, isSeen: () => false };

function pathOf(hash: string): string {
  return `/keys/${encodeURIComponent(hash)}`;
}

function bodyOf({ name, limit, limitReset, expiresAt, workspace }: KeyRequest): Readonly<Record<string, unknown>> {
  return {
    name,
    limit,
    limit_reset: limitReset,
    ...(expiresAt === null ? {} : { expires_at: toTheSecond(expiresAt) }),
    ...(workspace === null ? {} : { workspace_id: workspace }),
  };
}

/** `YYYY-MM-DDTHH:MM:SSZ` */
function toTheSecond(time: string): string {
  return `${new Date(time).toISOString().slice(0, -".000Z".length)}Z`;
}

function creation(ending: RequestOutcome, wanted: KeyRequest): CreateResult {
  if (ending.kind === "reply") {
    const created = ending.httpStatus === 201 ? createdKey(ending.json, wanted) : undefined;
    return created === undefined
      ? { status: "ambiguous", detail: unknown(ending).detail, remedy: unknown(ending).remedy }
      : { status: "created", ...created };
  }
  const { decision, httpStatus, detail, remedy } = ending;
  if (decision === "ambiguous") return { status: "ambiguous", detail, remedy };
  if (decision === "anew") return { status: "rate-limited", retryAfterMs: ending.retryAfterMs ?? 0, detail, remedy };
  if (decision === "refused" && httpStatus !== null) return { status: "refused", httpStatus, detail };
  return { status: "never-sent", reason: unknownReasonOf(ending), detail, remedy };
}

function finding(hash: string, ending: RequestOutcome): FindResult {
  if (isMissing(ending)) return { status: "gone" };
  const key = describedKey(answerOf(ending));
  return key?.hash === hash ? { status: "found", key } : unknown(ending);
}

/** A 404 in OpenRouter's own error shape; a gateway's 404 does not count. */
function isMissing(ending: RequestOutcome): boolean {
  return ending.kind === "failure" && ending.event === "refused" && ending.httpStatus === 404 && ending.isOwnError;
}

function isRefusal(ending: RequestOutcome): boolean {
  const { httpStatus } = ending;
  return ending.kind === "failure" && ending.event === "refused" && (httpStatus === 401 || httpStatus === 403);
}

/** Throws MANAGEMENT_KEY_REFUSED. */
function orRefused(ending: RequestOutcome): RequestOutcome {
  if (ending.kind === "reply" || !isRefusal(ending)) return ending;
  throw managementKeyRefused(ending.detail);
}

/** As `orRefused`, but a known management key without the right to do this is not a failure. */
function orUnauthorized(ending: RequestOutcome): RequestOutcome {
  return ending.httpStatus === 401 ? orRefused(ending) : ending;
}
