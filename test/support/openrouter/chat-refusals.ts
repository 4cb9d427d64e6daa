import type { Settings } from "./settings.ts";
import type { Reply } from "./routes.ts";

/** Where an error says its type: OpenRouter's routes put it into different places. */
export type ErrorTypePlace = Settings["errorTypeIn"];

interface Refusal {
  readonly status: number;
  /** The code in the body; default: the status. */
  readonly code?: number | string;
  readonly message?: string;
  readonly type?: string;
  /** More fields of `error.metadata`, of `error` and of the body. */
  readonly metadata?: Fields;
  readonly error?: Fields;
  readonly body?: Fields;
  readonly headers?: Readonly<Record<string, string>>;
  /** `empty`: no body. `stream`: the error comes inside an answer that has begun with status 200. */
  readonly form?: "empty" | "stream";
}

type Fields = Readonly<Record<string, unknown>>;

const NOT_FOUND = "User not found.";
const RAW = '{"error":{"message":"Incorrect API key provided","type":"invalid_request_error"}}';
const PROVIDER_ERROR = "Provider returned error";

/** Every refusal of a model call. */
export const REFUSALS = {
  "dead-key": { status: 401, message: NOT_FOUND, type: "authentication" },
  "dead-key-code-text": { status: 401, code: "401", message: NOT_FOUND, type: "authentication" },
  "empty-401": { status: 401, form: "empty" },
  "new-401": { status: 401, message: "This key is not allowed from this network" },
  "no-header": { status: 401, message: "Missing Authentication header" },
  "no-cookie": { status: 401, message: "No cookie auth credentials found" },
  "provider-key": { status: 401, message: PROVIDER_ERROR, metadata: { provider_name: "OpenAI", raw: RAW } },
  "provider-name": { status: 401, message: PROVIDER_ERROR, metadata: { provider_name: "OpenAI" } },
  "provider-raw": { status: 401, message: PROVIDER_ERROR, metadata: { raw: RAW } },
  "provider-code": { status: 401, message: PROVIDER_ERROR, error: { provider_code: "invalid_api_key" } },
  "provider-code-in-metadata": {
    status: 401,
    message: PROVIDER_ERROR,
    metadata: { provider_code: "invalid_api_key" },
  },
  "provider-code-on-top": { status: 401, message: PROVIDER_ERROR, body: { provider_code: "invalid_api_key" } },
  balance: { status: 402, message: "Insufficient credits. Add more at the credits page", type: "payment_required" },
  "key-limit": { status: 403, message: "Key limit exceeded (total limit)", type: "permission_denied" },
  "workspace-budget": {
    status: 403,
    message: "Workspace monthly budget of $500.00 exceeded. Contact your org admin.",
    type: "permission_denied",
  },
  "rate-limit": { status: 429, message: "Rate limit exceeded", headers: { "retry-after": "1" } },
  "server-error": { status: 500, message: "Internal Server Error", type: "server_error" },
  "provider-down": { status: 502, message: PROVIDER_ERROR, metadata: { provider_name: "OpenAI", raw: "" } },
  "no-provider": { status: 503, message: "No allowed providers are available for the selected model." },
  overloaded: { status: 529, message: "Provider overloaded" },
  "stream-dead-key": { status: 401, message: NOT_FOUND, type: "authentication", form: "stream" },
  "stream-provider-down": { status: 502, code: "server_error", message: "Provider disconnected", form: "stream" },
} as const satisfies Readonly<Record<string, Refusal>>;

export type RefusalName = keyof typeof REFUSALS;

export const REFUSAL_NAMES: readonly string[] = Object.keys(REFUSALS);

export function isRefusal(name: string): name is RefusalName {
  return Object.hasOwn(REFUSALS, name);
}

/** The answer of this refusal before the first byte of a model's; undefined if it comes inside an answer. */
export function refusalReply(name: RefusalName, place: ErrorTypePlace): Reply | undefined {
  const refusal: Refusal = REFUSALS[name];
  const { status, headers = {}, form } = refusal;
  if (form === "stream") return undefined;
  if (form === "empty") return { status, json: undefined, headers };
  return { status, json: bodyOf(refusal, place), headers };
}

/** The `error` of this refusal inside an answer. */
export function errorInside(name: RefusalName, place: ErrorTypePlace): unknown {
  return bodyOf(REFUSALS[name], place).error;
}

function bodyOf({ status, code = status, message = "", type, ...more }: Refusal, place: ErrorTypePlace) {
  const typed = (where: ErrorTypePlace) => (type === undefined || where !== place ? {} : { error_type: type });
  const metadata = { ...more.metadata, ...typed("metadata") };
  return {
    error: {
      code,
      message,
      ...more.error,
      ...typed("error"),
      ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    },
    ...more.body,
    ...typed("body"),
  };
}
