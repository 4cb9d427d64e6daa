import type { ApiKey } from "../model/api-key.ts";
import type { ErrorDetails } from "../model/errors.ts";
import type { Timestamp } from "../model/key-record.ts";
import type { ManagementKey } from "../model/management-key.ts";
import type { UnknownReason, Remedy } from "../model/unknown-reason.ts";
import type { Deadline } from "../async/deadline.ts";

/**
 * OpenRouter, as the rules see it. Results report failures of the network and the provider. The methods reject only with
 * MANAGEMENT_KEY_REFUSED, for a bug, or with the reason of the budget's signal once the caller stops waiting. A used-up budget,
 * or a signal with a TimeoutError, is `unknown` with `timed_out`. Requests are resent as the retry table allows, within the
 * budget; every wait is announced.
 */
export interface OpenRouter {
  /** Asks with the key itself whether it is accepted now. A 401 is returned at once: asking again is the caller's rule. */
  checkKey(key: ApiKey | ManagementKey, deadline: Deadline): Promise<KeyCheck>;
  /** The time by OpenRouter's clock, in milliseconds since 1970; undefined before it has answered, and where its answers do not say it. */
  serverTime(): number | undefined;
  /** Whether OpenRouter answers at all; uses no key. Sent once. */
  reach(deadline: Deadline): Promise<Reach>;
  /** The operations of this management key. */
  withManagementKey(managementKey: ManagementKey): UpstreamKeys;
  /** Cancels requests in flight and closes all connections. */
  close(): Promise<void>;
}

/** OpenRouter, loaded on first use. */
export interface OpenRouterOnUse {
  /** Rejects with CONFIG_INVALID for an address or a proxy that cannot be used. */
  open(): Promise<OpenRouter>;
  /** How many requests were sent so far. */
  sent(): number;
  /** Reports every wait from now on, until the returned function is called. */
  onPause(listener: (pause: RetryPause) => void): () => void;
  close(): Promise<void>;
}

/** The keys that exist upstream. */
export interface UpstreamKeys {
  /**
   * One operation: sent at most once, so that it creates at most one key. Rejects only for a bug. Nothing cuts it short once it
   * is sent: the budget only decides whether an attempt may begin. A refused management key is a result too (`refused`, 401
   * or 403), because the caller must record a decision first.
   */
  create(request: KeyRequest, deadline: Deadline): Promise<CreateResult>;
  find(hash: string, deadline: Deadline): Promise<FindResult>;
  /** The reversible first step of a removal. */
  disable(hash: string, deadline: Deadline): Promise<DeleteResult>;
  remove(hash: string, deadline: Deadline): Promise<DeleteResult>;
  /** Sets the limit outright, in USD; what the key has spent stays. */
  setLimit(hash: string, limit: number, deadline: Deadline): Promise<DeleteResult>;
  /**
   * Which keys have a guardrail of their own; a key has at most one. Each assignment comes once, in the server's order. Ends
   * after the first page that is not `listed`: the pages before it are not a complete list. `budget` is called for each page.
   */
  guardrailAssignments(budget: () => Deadline): AsyncIterable<AssignmentPage>;
  /** Replaces the key's guardrail, if it has one. `done` says that OpenRouter took the request: read back what is attached. */
  assignGuardrail(guardrail: string, hash: string, deadline: Deadline): Promise<AttachResult>;
  /** Also `done` if the key did not have this guardrail. */
  unassignGuardrail(guardrail: string, hash: string, deadline: Deadline): Promise<AttachResult>;
  /**
   * Which keys may use each provider credential of these workspaces (null: the default one). Each credential comes once. Ends
   * after the first page that is not `listed`, as `guardrailAssignments`. `budget` is called for each page.
   */
  allowLists(workspaces: readonly (string | null)[], budget: () => Deadline): AsyncIterable<AllowListPage>;
  /**
   * Replaces the whole allow-list of a provider credential: an edit since it was read is lost, so read it back. `refused` if
   * one of the keys no longer exists.
   * @param hashes at least one: OpenRouter has no empty list
   */
  setAllowedKeys(credential: string, hashes: readonly string[], deadline: Deadline): Promise<AttachResult>;
  /**
   * All keys, disabled ones included, each hash once; within a workspace, new keys come first. Ends after the first page that is
   * `unknown`: the pages before it are not a complete list. `budget` is called for each page.
   */
  list(scope: Scope, budget: () => Deadline): AsyncIterable<ListedPage>;
  /** The workspaces of the management key's account, each once. Ends after the first page that is `unknown`. */
  workspaces(deadline: Deadline): AsyncIterable<WorkspacePage>;
  /** The organisation that the management key belongs to. */
  organization(deadline: Deadline): Promise<Organization>;
  credits(deadline: Deadline): Promise<Credits>;
  /** What was spent with this key on the last completed days by UTC; today is not among them. */
  activity(hash: string, deadline: Deadline): Promise<Activity>;
  /**
   * Waits before the operation that follows refused operation number `attempt` (from 1). Returns false, at once if that is
   * clear, when the wait exceeds the budget.
   */
  pause(refusal: RateLimited, attempt: number, deadline: Deadline): Promise<boolean>;
}

/** The state could not be determined. Never a refusal. */
export interface Unknown {
  readonly status: "unknown";
  readonly reason: UnknownReason;
  /** The status of the last answer; null without one. */
  readonly httpStatus: number | null;
  /** How many attempts were made. */
  readonly attempts: number;
  /** Completes a sentence that begins with `OpenRouter`, such as `answered 503`; holds no key and no id, and may be printed. */
  readonly detail: string;
  readonly remedy: Remedy | undefined;
}

/** The details of a final error: the remedy, or without one, that the request may be repeated. */
export function withRemedy(remedy: Remedy | undefined, otherHint: string): Pick<ErrorDetails, "hint" | "retryable"> {
  return { hint: remedy?.hint ?? otherHint, retryable: remedy?.isRequired !== true };
}

export type KeyCheck = AcceptedKey | { readonly status: "refused"; readonly detail: string } | Unknown;

/** Money is in USD. Undefined: the answer did not say. Null: none. */
export interface AcceptedKey {
  readonly status: "accepted";
  readonly limit: number | null | undefined;
  readonly limitRemaining: number | null | undefined;
  readonly limitReset: string | null;
  /** A text that is no RFC 3339 time where it cannot be read. */
  readonly expiresAt: string | null | undefined;
  /** The scope of the budget that is used up; null where none is. */
  readonly blockedBy: string | null | undefined;
  readonly isManagementKey: boolean;
}

export type Reach =
  | {
      readonly status: "reached";
      readonly elapsedMs: number;
      /** By the server's clock, to the second; undefined if the server did not say. */
      readonly serverTime: Date | undefined;
    }
  | Unknown;

type LimitReset = "daily" | "weekly" | "monthly";

/** A key to be created. */
export interface KeyRequest {
  readonly name: string;
  readonly limit: number | null;
  readonly limitReset: LimitReset | null;
  /** To the second, as OpenRouter requires and keeps it. */
  readonly expiresAt: Timestamp | null;
  /** Whether what the user's own provider keys spend counts; null: as OpenRouter does by default. */
  readonly includeByokInLimit: boolean | null;
  /** Null: the default workspace. */
  readonly workspace: string | null;
}

/** A key as OpenRouter describes it; never with its text. Undefined: the answer did not say. Null: none. */
export interface UpstreamKey {
  /** OpenRouter's id of the key: expected to be its SHA-256, but used in paths unchanged. */
  readonly hash: string;
  /** As given at creation or changed since; must be escaped for display. */
  readonly name: string;
  readonly disabled: boolean;
  readonly limit: number | null | undefined;
  readonly limitRemaining: number | null | undefined;
  readonly limitReset: string | null;
  /** Whether what the user's own provider keys spend counts. */
  readonly includeByokInLimit: boolean | undefined;
  /** Of today, by UTC. */
  readonly usageToday: number | undefined;
  readonly createdAt: Timestamp | null;
  /** A text that is no RFC 3339 time where it cannot be read. */
  readonly expiresAt: string | null | undefined;
  /** Null: not since OpenRouter counts. */
  readonly lastUsedAt: Timestamp | null | undefined;
  readonly workspace: string | null;
}

export type CreateResult =
  | { readonly status: "created"; readonly key: ApiKey; readonly upstream: UpstreamKey }
  /** Definitely not created. */
  | { readonly status: "refused"; readonly httpStatus: number; readonly detail: string }
  | RateLimited
  /** Definitely not created: no byte of the request was sent. */
  | {
      readonly status: "never-sent";
      readonly reason: UnknownReason;
      readonly detail: string;
      readonly remedy: Remedy | undefined;
    }
  /** A live, paid key may exist, or may still be created. Must not be resent: search for its name. */
  | { readonly status: "ambiguous"; readonly detail: string; readonly remedy: Remedy | undefined };

/** Definitely not created; a new operation may follow after `pause`. */
export interface RateLimited {
  readonly status: "rate-limited";
  readonly retryAfterMs: number;
  readonly detail: string;
  readonly remedy: Remedy | undefined;
}

export type FindResult =
  | { readonly status: "found"; readonly key: UpstreamKey }
  /** Deleted, or never in the account of the management key. */
  | { readonly status: "gone" }
  | Unknown;

export type DeleteResult = { readonly status: "done" } | { readonly status: "gone" } | Unknown;

export type AssignmentPage =
  | { readonly status: "listed"; readonly assignments: readonly GuardrailAssignment[] }
  | Hidden
  | Unknown;

/** Two ids of OpenRouter, used in requests unchanged; must be escaped for display. */
export interface GuardrailAssignment {
  readonly keyHash: string;
  readonly guardrail: string;
}

export type AllowListPage = { readonly status: "listed"; readonly lists: readonly AllowList[] } | Hidden | Unknown;

/** Ids of OpenRouter, used in requests unchanged; must be escaped for display. */
export interface AllowList {
  readonly credential: string;
  /** The hashes of the keys that may use the credential; null: every key may. */
  readonly keys: readonly string[] | null;
}

/** The management key may not see this (403), or there is no such route (404): what is attached cannot be known. */
interface Hidden {
  readonly status: "hidden";
}

export type AttachResult =
  | { readonly status: "done" }
  /** There is no such guardrail, credential or key. */
  | { readonly status: "gone" }
  /** The request changed nothing; one before it whose answer was lost may have. `detail` as in `Unknown`. */
  | { readonly status: "refused"; readonly httpStatus: number; readonly detail: string }
  | Unknown;

export type Scope =
  | { readonly kind: "everywhere" }
  /** Null: the default workspace. */
  | { readonly kind: "workspace"; readonly workspace: string | null };

export type ListedPage = { readonly status: "listed"; readonly keys: readonly UpstreamKey[] } | Unknown;

export type WorkspacePage = { readonly status: "listed"; readonly workspaces: readonly string[] } | Unknown;

/** Null: no organisation, or OpenRouter does not say. */
export type Organization = { readonly status: "known"; readonly organization: string | null } | Unknown;

export type Credits =
  | { readonly status: "known"; readonly total: number; readonly used: number }
  /** This key is not allowed to see the balance; nothing else follows from that. */
  | { readonly status: "unavailable" }
  | Unknown;

/** Only days with requests, each once, the oldest first. */
export type Activity = { readonly status: "known"; readonly days: readonly ActiveDay[] } | Hidden | Unknown;

/** What a key spent on one day by UTC. */
export interface ActiveDay {
  /** `YYYY-MM-DD` */
  readonly date: string;
  /** In USD, of the account's credits. */
  readonly usage: number;
}

/** A wait, announced before it begins. */
export interface RetryPause {
  readonly waitMs: number;
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  /** What happened, as in `Unknown`. */
  readonly detail: string;
  /** OpenRouter asked to slow down. */
  readonly isRateLimited: boolean;
}
