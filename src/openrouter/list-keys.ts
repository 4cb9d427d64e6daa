import type { ListedPage, Scope, Unknown, UpstreamKey, WorkspacePage } from "../core/ports/openrouter.ts";
import { answerOf } from "./http/answer.ts";
import type { RequestOutcome } from "./http/send-with-retries.ts";
import { listedKeys, workspaceIds } from "./replies.ts";
import type { Deadline } from "../core/async/deadline.ts";
import { unknown } from "./http/send-with-retries.ts";

/** Reads one page with the management key. */
export type ReadPage = (path: string, deadline: Deadline) => Promise<RequestOutcome>;

interface Pages {
  readonly readPage: ReadPage;
  /** For each page. */
  readonly budget: () => Deadline;
}

/** Consecutive pages without a new key: the server ignores our offset, and the list would never end. */
const MAX_STALE_PAGES = 3;

/**
 * All keys of a scope, each hash once, disabled keys included. OpenRouter lists one workspace at a time, without a total:
 * the first empty page is the last. Keys that are created meanwhile move others to a later page, where they appear again;
 * keys that are deleted meanwhile make a pass skip others.
 */
export async function* listing(scope: Scope, readPage: ReadPage, budget: () => Deadline): AsyncGenerator<ListedPage> {
  const pages = { readPage, budget };
  const seen = new Set<string>();
  if (scope.kind === "workspace") {
    yield* keysIn(scope.workspace, seen, pages);
    return;
  }
  const workspaces = await everyWorkspace(readPage, budget);
  if ("status" in workspaces) {
    yield workspaces;
    return;
  }
  for (const workspace of workspaces) {
    for await (const page of keysIn(workspace, seen, pages)) {
      yield page;
      if (page.status === "unknown") return;
    }
  }
  // The list of workspaces is expected to hold the default one; with that one alone, this is one request.
  yield* keysIn(null, seen, pages, true);
}

async function everyWorkspace(readPage: ReadPage, budget: () => Deadline): Promise<readonly string[] | Unknown> {
  const all: string[] = [];
  for await (const page of workspacePages(readPage, budget)) {
    if (page.status === "unknown") return page;
    all.push(...page.workspaces);
  }
  return all;
}

/** All workspaces, each once. A page with nothing new is the last. */
export async function* workspacePages(readPage: ReadPage, budget: () => Deadline): AsyncGenerator<WorkspacePage> {
  const seen = new Set<string>();
  for (let offset = 0; ;) {
    const ending = await readPage(`/workspaces?limit=100&offset=${offset}`, budget());
    const ids = workspaceIds(answerOf(ending));
    if (ids === undefined) {
      yield unknown(ending);
      return;
    }
    const fresh = ids.filter((id) => !seen.has(id) && seen.add(id));
    if (fresh.length === 0) return;
    yield { status: "listed", workspaces: fresh };
    offset += ids.length;
  }
}

async function* keysIn(
  workspace: string | null,
  seen: Set<string>,
  { readPage, budget }: Pages,
  stopsAtKnown = false,
): AsyncGenerator<ListedPage> {
  const where = workspace === null ? "" : `&workspace_id=${encodeURIComponent(workspace)}`;
  for (let offset = 0, stale = 0; stale < MAX_STALE_PAGES;) {
    const ending = await readPage(`/keys?include_disabled=true&offset=${offset}${where}`, budget());
    const keys = listedKeys(answerOf(ending));
    if (keys === undefined) {
      yield unknown(ending);
      return;
    }
    const fresh = unseen(keys, seen);
    if (fresh.length > 0) yield { status: "listed", keys: fresh };
    if (keys.length === 0 || (stopsAtKnown && fresh.length === 0)) return;
    stale = fresh.length === 0 ? stale + 1 : 0;
    offset += keys.length;
  }
  yield {
    status: "unknown",
    reason: "provider_error",
    httpStatus: 200,
    attempts: 1,
    detail: "lists the same keys again and again",
    remedy: undefined,
  };
}

function unseen(keys: readonly UpstreamKey[], seen: Set<string>): readonly UpstreamKey[] {
  return keys.filter(({ hash }) => !seen.has(hash) && seen.add(hash));
}
