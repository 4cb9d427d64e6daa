import type { ApiKey } from "../model/api-key.ts";
import type { ErrorDetails } from "../model/errors.ts";
import type { Timestamp } from "../model/key-record.ts";
import type { ManagementKey } from "../model/management-key.ts";
import type { UnknownReason, Remedy } from "../model/unknown-reason.ts";
import type { Deadline } from "../async/deadline.ts";

/**
 * OpenRouter, as the rules see it. What the network and the provider do is in the results: the methods reject only with
 * MANAGEMENT_KEY_REFUSED, for a bug, or, once the caller stops waiting, with the reason of the budget's signal. A budget that is over, or whose signal says TimeoutError, is an `unknown`, `timed_out`.
 * Calls are sent again as OpenRouter's table of retries allows, within the budget; every wait is announced.
 */
export interface OpenRouter {
  /** Asks with the key itself whether it is accepted now. A 401 is believed at once: asking again is the caller's rule. */
  checkKey(key: ApiKey | ManagementKey, deadline: Deadline): Promise<KeyCheck>;
  /** The time by OpenRouter's clock, in milliseconds since 1970; undefined before it has answered, and where its answers do not say it. */
  serverTime(): number | undefined;
  /** Whether OpenRouter answers at all; uses no key. Sent once. */
  reach(deadline: Deadline): Promise<Reach>;
  /** What can be done with this management key. */
  withManagementKey(managementKey: ManagementKey): UpstreamKeys;
  /** Gives up what is in flight and lets go of all connections. */
  close(): Promise<void>;
}

/** OpenRouter, of which nothing is loaded until it is asked for. */
export interface OpenRouterOnUse {
  /** Rejects with CONFIG_INVALID for an address, or for a proxy, that cannot be used. */
  open(): Promise<OpenRouter>;
  /** How many requests were sent so far. */
  sent(): number;
  /** Tells of every wait from now on, until what is returned is called. */
  onPause(listener: (pause: RetryPause) => void): () => void;
  close(): Promise<void>;
}

/** The keys that exist upstream. */
export interface UpstreamKeys {
  /**
   * One operation: sent at most once, so that at most one key comes of it. Rejects for a bug only, and nothing cuts it
   * short once it is sent: the budget only says whether an attempt may begin. Throws nothing for a management key that is refused
   * either (`refused`, 401 or 403), since the caller has a decision to write down first.
   */
  create(request: KeyRequest, deadline: Deadline): Promise<CreateResult>;
  find(hash: string, deadline: Deadline): Promise<FindResult>;
  /** The reversible first step of a removal. */
  disable(hash: string, deadline: Deadline): Promise<DeleteResult>;
  remove(hash: string, deadline: Deadline): Promise<DeleteResult>;
  /**
   * Disabled keys too, each hash once; new ones come first within a workspace. Ends after the first page that is `unknown`: what came
   * before it is no inventory. `budget` is asked for each page.
   */
  list(scope: Scope, budget: () => Deadline): AsyncIterable<ListedPage>;
  /** The workspaces of the management key's account, each once. Ends after the first page that is `unknown`. */
  workspaces(deadline: Deadline): AsyncIterable<WorkspacePage>;
  /** The organisation that the management key belongs to. */
  organization(deadline: Deadline): Promise<Organization>;
  credits(deadline: Deadline): Promise<Credits>;
  /**
   * Waits before operation number `attempt` (from 1), which was refused so, is followed by another.
   * False, at once where it is clear, when the budget does not hold the wait.
   */
  pause(refusal: RateLimited, attempt: number, deadline: Deadline): Promise<boolean>;
}

/** Nobody could find out. Never to be mistaken for a refusal. */
export interface Unknown {
  readonly status: "unknown";
  readonly reason: UnknownReason;
  /** Of the last answer; null when there was none. */
  readonly httpStatus: number | null;
  /** How often it was asked. */
  readonly attempts: number;
  /** Completes a sentence that begins with `OpenRouter`, such as `answered 503`; holds no key and no id, and may be printed. */
  readonly detail: string;
  readonly remedy: Remedy | undefined;
}

/** The details of an error that ends what was asked: the remedy, and where there is none, that it can be asked again. */
export function withRemedy(remedy: Remedy | undefined, otherHint: string): Pick<ErrorDetails, "hint" | "retryable"> {
  return { hint: remedy?.hint ?? otherHint, retryable: remedy?.isRequired !== true };
}

export type KeyCheck = AcceptedKey | { readonly status: "refused"; readonly detail: string } | Unknown;

/** Money is in USD. Undefined is what the answer did not say, null is "none". */
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
      /** By its own clock, to the second; undefined when it did not say. */
      readonly serverTime: Date | undefined;
    }
  | Unknown;

type LimitReset = "daily" | "weekly" | "monthly";

/** A key that is to be made. */
export interface KeyRequest {
  readonly name: string;
  readonly limit: number | null;
  readonly limitReset: LimitReset | null;
  /** To the second: OpenRouter takes no less, and keeps no more. */
  readonly expiresAt: Timestamp | null;
  /** Null: the default workspace. */
  readonly workspace: string | null;
}

/** A key as OpenRouter describes it; never with its text. Undefined is what the answer did not say, null is "none". */
export interface UpstreamKey {
  /** OpenRouter's own id for it: expected to be the SHA-256 of the key, but used in paths as it is. */
  readonly hash: string;
  /** As it was given, or changed since by anybody; to be escaped where it is shown. */
  readonly name: string;
  readonly disabled: boolean;
  readonly limit: number | null | undefined;
  readonly limitRemaining: number | null | undefined;
  readonly limitReset: string | null;
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
  /** Definitely not made. */
  | { readonly status: "refused"; readonly httpStatus: number; readonly detail: string }
  | RateLimited
  /** Definitely not made: no byte of it was sent. */
  | {
      readonly status: "never-sent";
      readonly reason: UnknownReason;
      readonly detail: string;
      readonly remedy: Remedy | undefined;
    }
  /** A live, paid-for key may have come of it, or may still. Never to be sent again: look for its name. */
  | { readonly status: "ambiguous"; readonly detail: string };

/** Definitely not made, and welcome as a new operation after `pause`. */
export interface RateLimited {
  readonly status: "rate-limited";
  readonly retryAfterMs: number;
  readonly detail: string;
}

export type FindResult =
  | { readonly status: "found"; readonly key: UpstreamKey }
  /** Deleted, or never of the management key's account. */
  | { readonly status: "gone" }
  | Unknown;

export type DeleteResult = { readonly status: "done" } | { readonly status: "gone" } | Unknown;

export type Scope =
  | { readonly kind: "everywhere" }
  /** Null: the default one. */
  | { readonly kind: "workspace"; readonly workspace: string | null };

export type ListedPage = { readonly status: "listed"; readonly keys: readonly UpstreamKey[] } | Unknown;

export type WorkspacePage = { readonly status: "listed"; readonly workspaces: readonly string[] } | Unknown;

/** Null: it belongs to none, or OpenRouter does not say. */
export type Organization = { readonly status: "known"; readonly organization: string | null } | Unknown;

export type Credits =
  | { readonly status: "known"; readonly total: number; readonly used: number }
  /** This key may not see the balance; that says nothing else about it. */
  | { readonly status: "unavailable" }
  | Unknown;

/** Announced before it begins. */
export interface RetryPause {
  readonly waitMs: number;
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  /** What happened, as in `Unknown`. */
  readonly detail: string;
  /** We were asked to slow down. */
  readonly isRateLimited: boolean;
}
