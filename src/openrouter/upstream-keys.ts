import type { ManagementKey } from "../core/model/management-key.ts";
import type {
  Activity,
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
import type { Request, RequestOutcome, HttpContext } from "./http/send-with-retries.ts";
import { listing, workspacePages } from "./list-keys.ts";
import type { ReadPage } from "./list-keys.ts";
import { isHidden, isMissing, isRefusal, orRefused, orUnauthorized } from "./refusals.ts";
import { activityIn, createdKey, creditsOf, describedKey, isDeletion, organizationOf } from "./replies.ts";
import { restrictionsApi } from "./restrictions.ts";
import { throwIfCancelled } from "../core/async/deadline.ts";
import type { Deadline } from "../core/async/deadline.ts";
import { MAX_PAGE_BYTES, MAX_REPLY_BYTES } from "./http/exchange.ts";

/** The management API, with this key. */
export function managementApi(managementKey: ManagementKey, context: HttpContext): UpstreamKeys {
  const token = managementKey.reveal();
  const get = (path: string, deadline: Deadline, maxBytes = MAX_REPLY_BYTES) =>
    sendWithRetries({ kind: "read", method: "GET", path, token, body: undefined, maxBytes }, deadline, context);
  const find = async (hash: string, deadline: Deadline) => finding(hash, orRefused(await get(pathOf(hash), deadline)));
  const send = (request: ChangeRequest, deadline: Deadline) =>
    sendWithRetries({ ...request, kind: "change", token, maxBytes: MAX_REPLY_BYTES }, deadline, context);
  // A management key that may not list workspaces or restrictions (403) may still do everything else.
  const readPage: ReadPage = async (path, deadline) => orUnauthorized(await get(path, deadline, MAX_PAGE_BYTES));

  async function make(change: Change, hash: string, deadline: Deadline): Promise<DeleteResult> {
    const { method, body } = change;
    const ending = orRefused(await send({ method, path: pathOf(hash), body }, deadline));
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
    setLimit: (hash, limit, budget) => make(limitedTo(limit), hash, budget),
    ...restrictionsApi({ readPage, send }),
    list: (scope, budget) =>
      listing(scope, async (path, forPage) => orRefused(await get(path, forPage, MAX_PAGE_BYTES)), budget),
    workspaces: (budget) => workspacePages(readPage, () => budget),
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
    activity: async (hash, budget) => activityOf(await readPage(activityPathOf(hash), budget)),
    async pause({ retryAfterMs, detail }: RateLimited, attempt, budget) {
      const goesOn = await pause({ attempt, detail, isRateLimited: true }, retryAfterMs, budget, context);
      throwIfCancelled(budget);
      return goesOn;
    },
  };
}

type ChangeRequest = Pick<Request, "method" | "path" | "body">;

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

function limitedTo(limit: number): Change {
  return {
    method: "PATCH",
    body: { limit },
    isDone: (json) => describedKey(json)?.limit === limit,
    isSeen: ({ key }) => key.limit === limit,
  };
}

function pathOf(hash: string): string {
  return `/keys/${encodeURIComponent(hash)}`;
}

function activityPathOf(hash: string): string {
  return `/activity?api_key_hash=${encodeURIComponent(hash)}`;
}

function bodyOf(wanted: KeyRequest): Readonly<Record<string, unknown>> {
  const { name, limit, limitReset, expiresAt, includeByokInLimit, workspace } = wanted;
  return {
    name,
    limit,
    limit_reset: limitReset,
    ...(expiresAt === null ? {} : { expires_at: toTheSecond(expiresAt) }),
    ...(includeByokInLimit === null ? {} : { include_byok_in_limit: includeByokInLimit }),
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

function activityOf(ending: RequestOutcome): Activity {
  if (isHidden(ending)) return { status: "hidden" };
  const rows = activityIn(answerOf(ending));
  if (rows === undefined) return unknown(ending);
  const days = new Map<string, number>();
  for (const { date, usage } of rows) days.set(date, (days.get(date) ?? 0) + usage);
  const sorted = [...days].toSorted(([one], [other]) => one.localeCompare(other));
  return { status: "known", days: sorted.map(([date, usage]) => ({ date, usage })) };
}
