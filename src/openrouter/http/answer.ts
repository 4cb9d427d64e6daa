import type { RequestOutcome } from "./send-with-retries.ts";

/**
 * The JSON of OpenRouter's own 200, the only status that answers a question or confirms a change; undefined for everything
 * else. A proxy that rewrites answers marks them with 203.
 */
export function answerOf(ending: RequestOutcome): unknown {
  return ending.kind === "reply" && ending.httpStatus === 200 ? ending.json : undefined;
}
