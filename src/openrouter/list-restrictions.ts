import type { AllowListPage, AssignmentPage, Unknown } from "../core/ports/openrouter.ts";
import type { Deadline } from "../core/async/deadline.ts";
import { answerOf } from "./http/answer.ts";
import { unknown } from "./http/send-with-retries.ts";
import type { ReadPage } from "./list-keys.ts";
import { isHidden } from "./refusals.ts";
import { allowListsIn, assignmentsIn } from "./replies.ts";

interface Listing<Entry> {
  /** With a query. */
  readonly path: string;
  readonly entriesIn: (json: unknown) => readonly Entry[] | undefined;
  readonly idOf: (entry: Entry) => string;
}

interface Pages {
  readonly readPage: ReadPage;
  /** For each page. */
  readonly budget: () => Deadline;
}

type Page<Entry> =
  | { readonly status: "listed"; readonly entries: readonly Entry[] }
  | { readonly status: "hidden" }
  | Unknown;

/** For each list: 100,000 keys with a guardrail are half of it. */
const MAX_PAGES = 2_000;
/** Consecutive full pages without a new entry: the server ignores our offset. */
const MAX_STALE_PAGES = 5;

export async function* assignmentPages(pages: Pages): AsyncGenerator<AssignmentPage> {
  const listing = {
    path: "/guardrails/assignments/keys?limit=100",
    entriesIn: assignmentsIn,
    idOf: ({ keyHash, guardrail }: { keyHash: string; guardrail: string }) => `${keyHash} ${guardrail}`,
  };
  for await (const page of linkedPages(listing, pages)) {
    yield page.status === "listed" ? { status: "listed", assignments: page.entries } : page;
  }
}

/** One workspace after the other, each credential once: the default workspace may be named twice. */
export async function* allowListPages(
  workspaces: readonly (string | null)[],
  pages: Pages,
): AsyncGenerator<AllowListPage> {
  const seen = new Set<string>();
  for (const workspace of workspaces) {
    const where = workspace === null ? "" : `&workspace_id=${encodeURIComponent(workspace)}`;
    const listing = {
      // A credential may name 100 keys.
      path: `/byok?limit=50${where}`,
      entriesIn: allowListsIn,
      idOf: ({ credential }: { credential: string }) => credential,
    };
    for await (const page of linkedPages(listing, pages)) {
      if (page.status !== "listed") {
        yield page;
        return;
      }
      const lists = page.entries.filter(({ credential }) => !seen.has(credential) && seen.add(credential));
      if (lists.length > 0) yield { status: "listed", lists };
    }
  }
}

/**
 * Every entry of a list once. Each page begins with the last entry of the page before it. Without a known entry, entries were
 * removed meanwhile, and the page may begin after one that was never listed: the reading goes back until it meets a known one.
 * The last page has no new entry and is not full; entries that were added meanwhile have moved known ones to it.
 */
async function* linkedPages<Entry>(
  { path, entriesIn, idOf }: Listing<Entry>,
  { readPage, budget }: Pages,
): AsyncGenerator<Page<Entry>> {
  const known = new Set<string>();
  let offset = 0;
  let pageLength = 1;
  let fullLength = 2;
  for (let requests = 0, stale = 0; requests < MAX_PAGES && stale < MAX_STALE_PAGES; requests += 1) {
    const ending = await readPage(`${path}&offset=${offset}`, budget());
    const entries = entriesIn(answerOf(ending));
    if (entries === undefined) {
      yield isHidden(ending) ? { status: "hidden" } : unknown(ending);
      return;
    }
    const isLinked = offset === 0 || pageLength === 1 || entries.some((entry) => known.has(idOf(entry)));
    if (!isLinked) {
      offset = Math.max(0, offset - pageLength);
      continue;
    }
    const fresh = entries.filter((entry) => !known.has(idOf(entry)) && known.add(idOf(entry)));
    if (fresh.length > 0) yield { status: "listed", entries: fresh };
    pageLength = entries.length;
    if (fresh.length === 0 && pageLength < fullLength) return;
    fullLength = Math.max(fullLength, pageLength);
    stale = fresh.length === 0 ? stale + 1 : 0;
    offset += Math.max(1, pageLength - 1);
  }
  yield ENDLESS;
}

const ENDLESS: Unknown = {
  status: "unknown",
  reason: "provider_error",
  httpStatus: 200,
  attempts: 1,
  detail: "sends a list that does not end",
  remedy: undefined,
};
