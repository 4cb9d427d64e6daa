import { withTimeLimit } from "../../async/deadline.ts";
import { raceSignal } from "../../async/race-signal.ts";

/**
 * Whether the outcome of a call to OpenRouter says that it refused the key. **Invariant:** only a 401 before the first byte
 * that is OpenRouter's own says so: not one of a provider behind it, not one of a request without a key, and nothing inside a
 * stream. It is a suspicion that a confirmation follows, never a verdict.
 */

/** How a call ended: with a value, or with what it has thrown. */
export type CallOutcome<Value = unknown> = { readonly value: Value } | { readonly thrown: unknown };

/** How long the body of a refusal is waited for, in milliseconds, and how much of it is read. */
const BODY_MS = 5_000;
const MAX_BODY_BYTES = 65_536;
const UNAUTHORIZED = 401;
/** The texts of OpenRouter for a request that carried no key. */
const WITHOUT_KEY = ["missing authentication header", "no cookie auth credentials found"];

/**
 * The default of `isRefusal`. Reads a Response through `clone()`, and of a thrown error its `status` and its body. What
 * cannot be read is no refusal.
 */
export async function isRefusedKey(outcome: CallOutcome): Promise<boolean> {
  try {
    return await isRefusal(outcome);
  } catch {
    return false;
  }
}

async function isRefusal(outcome: CallOutcome): Promise<boolean> {
  const answer = "value" in outcome ? outcome.value : outcome.thrown;
  if (isResponse(answer)) return isRefusalResponse(answer);
  if (!("thrown" in outcome)) return false;
  const error = fieldsOf(answer);
  if (Number(error["status"] ?? error["statusCode"]) !== UNAUTHORIZED) return false;
  const bodies = [error["error"], error["body"], error["data"], fieldsOf(error["response"])["data"]];
  const parsed = bodies.map((body) => (typeof body === "string" ? parsedOrText(body) : body));
  const isOfNobody = parsed.some(saysNothingOfKey) || saysNothingOfKey(textOf(error["message"]));
  return !isOfNobody;
}

/** Also a Response of another implementation of fetch. */
function isResponse(answer: unknown): answer is Response {
  const { status, clone, text } = fieldsOf(answer);
  return typeof status === "number" && typeof clone === "function" && typeof text === "function";
}

/** A body that cannot be read any more, or in time, or that is too long, may say anything: that is no refusal. */
async function isRefusalResponse(response: Response): Promise<boolean> {
  if (response.status !== UNAUTHORIZED || response.bodyUsed || isStream(response)) return false;
  const text = await withTimeLimit({ timeoutMs: BODY_MS }, (signal) => bodyOf(response.clone(), signal));
  return !saysNothingOfKey(parsedOrText(text));
}

/** Of a copy. What it did not take is not read for it any more, and fills no memory. */
async function bodyOf(copy: Response, signal: AbortSignal): Promise<string> {
  // Other implementations of fetch have streams of their own.
  if (typeof copy.body?.getReader !== "function") return raceSignal(copy.text(), signal);
  const reader = copy.body.getReader();
  const chunks: Uint8Array[] = [];
  let left = MAX_BODY_BYTES;
  try {
    for (;;) {
      const { done, value } = await raceSignal(reader.read(), signal);
      if (done) return Buffer.concat(chunks).toString();
      chunks.push(value);
      left -= value.length;
      if (left < 0) throw new RangeError("the body is longer than a refusal of OpenRouter");
    }
  } finally {
    // It waits for the end of the original, which is the caller's.
    void reader.cancel().catch(() => {});
  }
}

function isStream({ headers }: Response): boolean {
  return headers.get("content-type")?.toLowerCase().startsWith("text/event-stream") === true;
}

/** The body is a provider's, or that of a request without a key. An error may stand in `error` or for itself. */
function saysNothingOfKey(body: unknown): boolean {
  if (typeof body === "string") return isAboutMissingKey(body);
  const whole = fieldsOf(body);
  return [whole, fieldsOf(whole["error"])].some((part) => {
    const metadata = fieldsOf(part["metadata"]);
    const ofProvider = [metadata["provider_name"], metadata["raw"], part["provider_code"], metadata["provider_code"]];
    const isOfProvider = ofProvider.some((value) => value !== undefined && value !== null);
    return isOfProvider || isAboutMissingKey(textOf(part["message"])) || isAboutMissingKey(textOf(part["error"]));
  });
}

function isAboutMissingKey(text: string): boolean {
  const lower = text.toLowerCase();
  return WITHOUT_KEY.some((message) => lower.includes(message));
}

function parsedOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
