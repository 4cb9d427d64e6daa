import { isKeyctlError } from "../model/errors.ts";
import type { AccountBinding, Journal } from "../ports/journal.ts";
import type { FindResult, Unknown, UpstreamKey, UpstreamKeys } from "../ports/openrouter.ts";
import type { Timestamp } from "../model/key-record.ts";
import type { Deadline } from "../async/deadline.ts";

/** What the management key shows at OpenRouter, compared with what the store knows of its account. */
export type Sight =
  /** `unboundKey`: the key that proves it, if the store is not yet bound to an account. */
  | { readonly status: "ours"; readonly unboundKey: UpstreamKey | null }
  /** The store is bound to no account and has created no key: there is nothing to compare. */
  | { readonly status: "unbound" }
  | { readonly status: "other" }
  /** `detail` completes a sentence that begins with `OpenRouter`. */
  | { readonly status: "unknown"; readonly detail: string };

/** How many of the store's newest keys are looked for: a store may have a million, and old ones may be deleted. */
const SAMPLE_SIZE = 20;
/** Keys that are looked for at once, after the newest one alone, which is usually found. */
const AT_ONCE = 5;

/**
 * One proof is enough: the same organisation, a workspace that the store is bound to, or one of the newest keys that the
 * store created. Only an answer that shows another account is proof against it; without an answer, the account is unknown.
 * Changes nothing. Rejects with MANAGEMENT_KEY_REFUSED, with what the store rejects with, or with the signal's reason.
 */
export async function lookAtAccount(keys: UpstreamKeys, journal: Journal, deadline: Deadline): Promise<Sight> {
  const { signal } = deadline;
  const bound = await journal.account(signal);
  const compared = bound === undefined ? undefined : await compare(keys, bound, deadline);
  if (compared === "same") return { status: "ours", unboundKey: null };
  const outcomes = await journal.newestOutcomes(SAMPLE_SIZE, signal);
  if (bound === undefined && outcomes.length === 0) return { status: "unbound" };
  const times = new Map(outcomes.map(({ hash, upstreamHash, at }) => [upstreamHash ?? hash, at]));
  const shown = await oneOf([...times.keys()], keys, deadline);
  if (shown.status === "found") {
    return provenBy(times.get(shown.key.hash) ?? "", bound, bound === undefined ? shown.key : null);
  }
  if (compared === "another") return { status: "other" };
  const unanswered = compared ?? (shown.status === "unknown" ? shown : undefined);
  return unanswered === undefined ? { status: "other" } : { status: "unknown", detail: unanswered.detail };
}

/** What the listing of a key that this store saved at that time proves: the key may belong to the previous account. */
export function provenBy(at: Timestamp, bound: AccountBinding | undefined, unboundKey: UpstreamKey | null): Sight {
  const { adoptedAt = null } = bound ?? {};
  if (adoptedAt === null || at > adoptedAt) return { status: "ours", unboundKey };
  return { status: "unknown", detail: SHOWS_OLD_KEYS };
}

const SHOWS_OLD_KEYS = "shows it keys from before the database was bound to its account";

async function compare(
  keys: UpstreamKeys,
  { organization, workspaces }: AccountBinding,
  deadline: Deadline,
): Promise<"same" | "another" | Pick<Unknown, "detail">> {
  const ofKey = organization === null ? undefined : await keys.organization(deadline);
  if (ofKey?.status === "known" && ofKey.organization === organization) return "same";
  const isAnother = ofKey?.status === "known" && ofKey.organization !== null;
  const listed = workspaces.length === 0 ? UNSAID : await showsOneOf(workspaces, keys, deadline);
  return typeof listed === "string" || !isAnother ? listed : "another";
}

async function showsOneOf(workspaces: readonly string[], keys: UpstreamKeys, deadline: Deadline) {
  let listed = 0;
  for await (const page of keys.workspaces(deadline)) {
    if (page.status === "unknown") return page;
    if (page.workspaces.some((workspace) => workspaces.includes(workspace))) return "same";
    listed += page.workspaces.length;
  }
  // Every account has one.
  return listed === 0 ? UNSAID : "another";
}

const UNSAID = { detail: "does not say which account the management key belongs to" } as const;

/** The first of these keys that is found, the first failed answer, or the fact that all of them are missing. */
async function oneOf(hashes: readonly string[], keys: UpstreamKeys, deadline: Deadline): Promise<FindResult> {
  let end: FindResult = { status: "gone" };
  for (let start = 0; start < hashes.length; start += start === 0 ? 1 : AT_ONCE) {
    const group = hashes.slice(start, start === 0 ? 1 : start + AT_ONCE);
    const findings = await Promise.all(group.map((hash) => find(hash, keys, deadline)));
    const found = findings.find(({ status }) => status === "found");
    if (found !== undefined) return found;
    end = findings.find(({ status }) => status === "unknown") ?? end;
  }
  return end;
}

/** A management key that is not allowed to list keys (403) shows none. */
async function find(hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<FindResult> {
  try {
    return await keys.find(hash, deadline);
  } catch (thrown) {
    if (!isKeyctlError(thrown) || thrown.code !== "MANAGEMENT_KEY_REFUSED") throw thrown;
    return {
      status: "unknown",
      reason: "provider_error",
      httpStatus: 403,
      attempts: 1,
      detail: REFUSED,
      remedy: undefined,
    };
  }
}

const REFUSED = "does not let the management key look for keys";
