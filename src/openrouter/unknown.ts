import type { Unknown, UnknownReason } from "../core/upstream.ts";
import type { Ending } from "./attempts.ts";
import type { Event } from "./retry.ts";

const REASONS: Readonly<Record<Event, UnknownReason>> = {
  "not-connected": "unreachable",
  "not-trusted": "unreachable",
  "proxy-refused": "unreachable",
  "answer-lost": "unreachable",
  "server-failed": "provider_error",
  "rate-limited": "rate_limited",
  "rate-limited-by-edge": "rate_limited",
  refused: "provider_error",
  unusable: "provider_error",
};

/** What is told of a request that ended without an answer that decides. */
export function unknown(ending: Ending): Unknown {
  const { httpStatus, attempts } = ending;
  if (ending.kind === "reply") {
    const detail = `answered ${httpStatus} with something else than its API describes`;
    return { status: "unknown", reason: "provider_error", httpStatus, attempts, detail, remedy: undefined };
  }
  const { detail, remedy } = ending;
  return { status: "unknown", reason: reasonOf(ending), httpStatus, attempts, detail, remedy };
}

export function reasonOf({ timedOut, event }: { readonly timedOut: boolean; readonly event: Event }): UnknownReason {
  return timedOut ? "timed_out" : REASONS[event];
}
