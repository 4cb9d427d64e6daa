import type { Remedy } from "../../core/model/unknown-reason.ts";
import { LONGEST_MS } from "../../core/text/duration.ts";
import { counted } from "../../core/text/format.ts";

/** What an answer says besides its status, and what to do about it. Time alone changes none of these answers soon. */
export interface AnswerReport {
  /** Completes `answered 403`. */
  readonly addition: string;
  readonly remedy: Remedy | undefined;
}

export interface AnswerFacts {
  readonly httpStatus: number;
  readonly contentType: string;
  /** The body is an error of the API. */
  readonly isFromTheApi: boolean;
  readonly retryAfterMs: number | undefined;
}

const SOMETHING_BETWEEN: Remedy = {
  hint: "a login page, a firewall or a proxy of this network may answer in its place: open https://openrouter.ai in a browser here; check KEYCTL_OPENROUTER_URL and HTTPS_PROXY",
  isRequired: false,
};

export const ANOTHER_PROGRAM: Remedy = {
  hint: "check KEYCTL_OPENROUTER_URL: another program than OpenRouter may answer there",
  isRequired: false,
};

/** By the status of an error of the API. */
const OF_THE_API: ReadonlyMap<number, Remedy> = new Map([
  [402, { hint: "add credits at https://openrouter.ai/settings/credits", isRequired: false }],
  [403, { hint: "https://openrouter.ai/settings   shows what this account and its keys may do", isRequired: false }],
]);

/** A wait that a person would rather end and come back from. */
const LONG_WAIT_MS = 60_000;

export function reportOf({ httpStatus, contentType, isFromTheApi, retryAfterMs = 0 }: AnswerFacts): AnswerReport {
  if (retryAfterMs >= LONG_WAIT_MS) {
    const wait = inWords(retryAfterMs);
    const hint = retryAfterMs > LONGEST_MS ? "run it again tomorrow" : `run it again in ${wait}`;
    return { addition: `, and asks to wait ${wait}`, remedy: { hint, isRequired: false } };
  }
  if (isFromTheApi) return { addition: "", remedy: OF_THE_API.get(httpStatus) };
  if (httpStatus >= 500 || httpStatus === 408 || httpStatus === 429) return { addition: "", remedy: undefined };
  if (/html/i.test(contentType)) return { addition: " with a web page", remedy: SOMETHING_BETWEEN };
  return { addition: "", remedy: ANOTHER_PROGRAM };
}

/** For an answer that was not read: a redirect, or a body that is no answer of the API. */
export function remedyOfUnread(httpStatus: number): Remedy {
  return httpStatus >= 300 && httpStatus < 400 ? SOMETHING_BETWEEN : ANOTHER_PROGRAM;
}

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
] as const;

/** Rounded up in its largest unit, so that a repetition comes late rather than early. */
function inWords(milliseconds: number): string {
  if (milliseconds > LONGEST_MS) return "a very long time";
  const [unit, size] = UNITS.find(([, length]) => milliseconds >= length) ?? UNITS[2];
  return counted(Math.ceil(milliseconds / size), unit);
}
