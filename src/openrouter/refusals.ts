import { managementKeyRefused } from "../core/model/management-key.ts";
import type { RequestOutcome } from "./http/send-with-retries.ts";

/** A 404 in OpenRouter's own error shape; a gateway's 404 does not count. */
export function isMissing(ending: RequestOutcome): boolean {
  return isRefusedWith(404, ending) && ending.isOwnError;
}

/** The management key was refused, or may not do this. */
export function isRefusal(ending: RequestOutcome): boolean {
  return isRefusedWith(401, ending) || isRefusedWith(403, ending);
}

/** The management key may not see this, or OpenRouter has no such route. */
export function isHidden(ending: RequestOutcome): boolean {
  return isMissing(ending) || (isRefusedWith(403, ending) && ending.isOwnError);
}

/** Throws MANAGEMENT_KEY_REFUSED. */
export function orRefused(ending: RequestOutcome): RequestOutcome {
  if (ending.kind === "reply" || !isRefusal(ending)) return ending;
  throw managementKeyRefused(ending.detail);
}

/** As `orRefused`, but a known management key without the right to do this is not a failure. */
export function orUnauthorized(ending: RequestOutcome): RequestOutcome {
  return ending.httpStatus === 401 ? orRefused(ending) : ending;
}

function isRefusedWith(
  httpStatus: number,
  ending: RequestOutcome,
): ending is Extract<RequestOutcome, { kind: "failure" }> {
  return ending.kind === "failure" && ending.event === "refused" && ending.httpStatus === httpStatus;
}
