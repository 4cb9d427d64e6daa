import { randomUUID } from "node:crypto";
import type { Accounts } from "./accounts.ts";
import { errorInside, refusalReply } from "./chat-refusals.ts";
import type { RefusalName } from "./chat-refusals.ts";
import type { KeyRecords, MockKey } from "./keys.ts";
import type { Answers, Call, Reply } from "./routes.ts";
import type { Settings } from "./settings.ts";
import { fieldsOf, ok, textOrNull, zodError } from "./shapes.ts";

interface ChatOptions {
  readonly now: () => number;
  readonly settings: () => Settings;
  readonly accounts: Accounts;
  readonly records: KeyRecords;
}

const WORDS = ["Hello", " from", " a", " mock", " server."];

/**
 * Model calls, which are answered with the same five words and cost `chatUsd`. **Order:** as at OpenRouter, the key and
 * its limits are checked before the first byte; what goes wrong later comes inside an answer with status 200.
 */
export function chatRoutes({ now, settings, accounts, records }: ChatOptions) {
  /** What the next calls get, whatever their keys. */
  const planned: RefusalName[] = [];

  /** The refusal of a call with this credential; undefined if a model may answer it. */
  function refusalOf({ token, authorization }: Call): RefusalName | undefined {
    if (authorization === undefined) return "no-header";
    if (token === undefined) return "no-cookie";
    // A management key is refused like a key that is unknown, deleted, disabled or expired.
    const key = accounts.accountOf(token) === undefined ? records.acceptedOf(token) : undefined;
    if (key === undefined) return "dead-key";
    if (isSpent(key)) return "workspace-budget";
    const left = records.leftOf(key);
    return left !== null && left <= 0 ? "key-limit" : undefined;
  }

  function complete(call: Call): Reply {
    return completeWith(call, planned.shift());
  }

  function completeWith(call: Call, wanted: RefusalName | undefined): Reply {
    const place = settings().errorTypeIn;
    const refusal = wanted ?? refusalOf(call);
    const refused = refusal === undefined ? undefined : refusalReply(refusal, place);
    if (refused !== undefined) return refused;
    const { messages, model, stream } = fieldsOf(call.body);
    if (!Array.isArray(messages)) return zodError([{ path: "messages", problem: "Invalid input: expected array" }]);
    records.spend(records.hashOf(call.token ?? ""), settings().chatUsd);
    const answer: Answer = {
      id: `gen-${Math.floor(now() / 1000)}-${randomUUID().slice(0, 8)}`,
      created: Math.floor(now() / 1000),
      model: textOrNull(model) ?? "mock/model",
      usage: {
        prompt_tokens: 7,
        completion_tokens: WORDS.length,
        total_tokens: 7 + WORDS.length,
        cost: settings().chatUsd,
      },
      error: refusal === undefined ? undefined : errorInside(refusal, place),
    };
    return stream === true ? { ...ok(whole(answer)), events: streamed(answer) } : ok(whole(answer));
  }

  const routes: Answers<"POST /chat/completions"> = { "POST /chat/completions": complete };
  return {
    routes,
    /** This answer to a call, in place of the right one. */
    refused: (call: Call, refusal: RefusalName) => completeWith(call, refusal),
    /** The next calls get this refusal. */
    refuseNext: (refusal: RefusalName, times = 1) => void planned.push(...Array<RefusalName>(times).fill(refusal)),
  };
}

interface Answer {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly usage: object;
  /** What went wrong after the beginning; undefined if nothing did. */
  readonly error: unknown;
}

function isSpent({ budget }: MockKey): boolean {
  return budget !== null && budget.spent >= budget.limit;
}

function whole({ error, usage, ...answer }: Answer) {
  const failed = error !== undefined;
  const message = { role: "assistant", content: failed ? WORDS[0] : WORDS.join(""), refusal: null };
  const choice = { index: 0, message, finish_reason: failed ? "error" : "stop", native_finish_reason: "stop" };
  return {
    ...answer,
    object: "chat.completion",
    provider: "Mock",
    choices: [failed ? { ...choice, error } : choice],
    usage,
    ...(failed ? { error } : {}),
  };
}

/** The chunks of a stream. A failed one ends after its first word. */
function streamed({ error, usage, ...answer }: Answer): readonly unknown[] {
  const chunk = (content: string, finish_reason: string | null, more: object = {}) => ({
    ...answer,
    object: "chat.completion.chunk",
    provider: "Mock",
    choices: [{ index: 0, delta: { role: "assistant", content }, finish_reason }],
    ...more,
  });
  if (error !== undefined) return [chunk(WORDS[0] ?? "", null), chunk("", "error", { error })];
  return [...WORDS.map((word) => chunk(word, null)), chunk("", "stop", { usage })];
}
