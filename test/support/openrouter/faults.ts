import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import type { Reply, Route } from "./routes.ts";
import type { RefusalName } from "./chat-refusals.ts";
import { error, zodError } from "./shapes.ts";

/** A fault of one request. By default the request is executed and only its answer is damaged. */
export type Fault =
  | keyof typeof FAULTS
  | StatusFault
  /** A refusal of a model call, as OpenRouter words it. */
  | { readonly refusal: RefusalName }
  | { readonly delayMs: number }
  | { readonly deletesAfterMs: number };

/** An answer that replaces the right one. The request is executed only if `obeyed`. */
interface StatusFault {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: an API error with this status. */
  readonly body?: "zod" | "html" | "none";
  /** Default: OpenRouter's message for this status. */
  readonly message?: string;
  readonly obeyed?: boolean;
}

/** When, and how often, the request changes the state. */
export type Obedience = "first" | "never" | "twice" | "late";

/** `number` counts the requests of a route from 1, since the rule was set. */
export type Rule = (request: {
  readonly route: Route;
  readonly path: string;
  readonly number: number;
}) => Fault | "pass";

/** The first request of the route gets the first fault, and so on. Later requests pass. */
export function on(route: Route, ...faults: readonly (Fault | "pass")[]): Rule {
  return (request) => (request.route === route ? (faults[request.number - 1] ?? "pass") : "pass");
}

/** Every request of the route gets this fault. */
export function always(route: Route, fault: Fault): Rule {
  return (request) => (request.route === route ? fault : "pass");
}

type Spoil = (response: ServerResponse, reply: Reply) => void;

const HTML = "<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1>";
const BOMB_BYTES = 64 * 1024 * 1024;
const LATE_MS = 400;

const FAULTS = {
  /** The connection is reset, and the request is not executed. */
  "reset-before": ["never", reset],
  /** The request is executed, then the connection is reset. */
  "reset-after": ["first", reset],
  /** The connection is reset, and the request is executed a little later. */
  "late-apply": ["late", reset],
  /** The request is executed twice, and the first answer is lost. */
  twice: ["twice", send],
  /** No answer, and the connection stays open. The request is not executed. */
  hang: ["never", () => undefined],
  /** No answer, and the connection stays open. The request is executed. */
  "hang-after": ["first", () => undefined],
  /** Half of the body, then the connection is reset. */
  "cut-body": ["first", cutBody],
  /** Half of the body, then the connection ends normally. No header announced the length of the body. */
  "short-body": [
    "first",
    (response, { status, json }) => {
      response.writeHead(status, { ...JSON_TYPE, connection: "close" });
      response.end(half(json));
    },
  ],
  /** Half of the body, then nothing more; the connection stays open. */
  "stalled-body": [
    "first",
    (response, { status, json }) => {
      response.writeHead(status, JSON_TYPE);
      response.write(half(json));
    },
  ],
  /** One byte every 100 ms. */
  "slow-body": ["first", slowBody],
  /** A body that does not end. */
  "endless-body": ["first", endlessBody],
  /** A content-length header that announces too long a body. */
  "announced-too-long": [
    "first",
    (response, { status }) => {
      response.writeHead(status, { ...JSON_TYPE, "content-length": String(BOMB_BYTES) });
      response.write("{");
    },
  ],
  /** An error that contains the credential of the request. */
  echo: [
    "never",
    (response) => send(response, error(400, `No: ${response.req.headers.authorization ?? ""} of user_2abcDEF`)),
  ],
  html: ["first", (response) => plain(response, 200, "text/html; charset=utf-8", HTML)],
  /** The right body with a wrong content type. */
  "wrong-content-type": [
    "first",
    (response, { status, json }) => plain(response, status, "text/plain", JSON.stringify(json)),
  ],
  "no-content-type": [
    "first",
    (response, { status, json }) => {
      response.writeHead(status);
      response.end(JSON.stringify(json));
    },
  ],
  "not-json": ["first", (response, { status }) => plain(response, status, "application/json", "{nothing")],
  /** JSON of another API. */
  "other-shape": ["first", (response, { status }) => plain(response, status, "application/json", '{"ok":true}')],
  /** A gateway in front of OpenRouter without this route. */
  "no-route": ["never", (response) => send(response, { status: 404, json: NO_ROUTE })],
  /** The same, in a shape close to OpenRouter's. */
  "no-route-error": ["never", (response) => send(response, { status: 404, json: { error: NO_ROUTE } })],
  /** The answer claims that the key was deleted, but it was not. */
  "not-deleted": ["never", (response) => send(response, DELETED)],
  "zod-error": ["never", (response) => send(response, zodError([{ path: "name", problem: "Invalid input" }]))],
  redirect: [
    "never",
    (response) => {
      response.writeHead(307, { location: "/elsewhere" });
      response.end();
    },
  ],
  "gzip-bomb": [
    "first",
    (response, { status }) => {
      response.writeHead(status, { ...JSON_TYPE, "content-encoding": "gzip" });
      response.end(gzipBomb());
    },
  ],
} as const satisfies Readonly<Record<string, readonly [Obedience, Spoil]>>;

const NO_ROUTE = { message: "no Route matched with those values" };
const DELETED = { status: 200, json: { deleted: true } };
const JSON_TYPE = { "content-type": "application/json; charset=utf-8" };

/** How a request with this fault is executed and answered. */
export function spoiled(fault: Exclude<Fault, { readonly refusal: RefusalName }>): {
  obedience: Obedience;
  lateMs: number;
  spoil: Spoil;
} {
  if (typeof fault === "string") return { obedience: FAULTS[fault][0], lateMs: LATE_MS, spoil: FAULTS[fault][1] };
  if ("delayMs" in fault) {
    return {
      obedience: "first",
      lateMs: 0,
      spoil: (response, reply) => void setTimeout(send, fault.delayMs, response, reply),
    };
  }
  if ("deletesAfterMs" in fault) {
    return { obedience: "late", lateMs: fault.deletesAfterMs, spoil: (response) => send(response, DELETED) };
  }
  return {
    obedience: fault.obeyed === true ? "first" : "never",
    lateMs: 0,
    spoil: (response) => answerWith(response, fault),
  };
}

export function isFault(name: string): name is keyof typeof FAULTS {
  return name in FAULTS;
}

export const FAULT_NAMES: readonly string[] = Object.keys(FAULTS);

export function send(response: ServerResponse, { status, json, events, ...reply }: Reply, headers = {}): void {
  if (response.destroyed) return;
  if (events !== undefined) return sendStream(response, events);
  const body = json === undefined ? "" : JSON.stringify(json);
  const length = { "content-length": String(Buffer.byteLength(body)) };
  response.writeHead(status, { ...(body === "" ? {} : JSON_TYPE), ...length, ...reply.headers, ...headers });
  response.end(body);
}

/** Server-sent events: a comment that keeps the connection alive, the chunks, and the end. */
function sendStream(response: ServerResponse, events: readonly unknown[]): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(": OPENROUTER PROCESSING\n\n");
  for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`);
  response.end("data: [DONE]\n\n");
}

function answerWith(response: ServerResponse, fault: StatusFault): void {
  const { status, headers = {}, body, message = MESSAGES.get(status) ?? `Error ${status}` } = fault;
  if (body === "html") {
    response.writeHead(status, { "content-type": "text/html", ...headers });
    response.end(HTML);
  } else if (body === "none") {
    response.writeHead(status, headers);
    response.end();
  } else if (body === "zod") {
    send(response, { ...zodError([{ path: "limit", problem: "Invalid number" }]), status }, headers);
  } else {
    send(response, error(status, message), headers);
  }
}

const MESSAGES: ReadonlyMap<number, string> = new Map([
  [400, "Invalid request parameters"],
  [401, "User not found."],
  [403, "Only management keys can perform this operation"],
  [404, "Resource not found"],
  [409, "Resource conflict. Please try again later."],
  [429, "Rate limit exceeded"],
  [500, "Internal Server Error"],
]);

function reset(response: ServerResponse): void {
  response.socket?.resetAndDestroy();
}

function half(json: unknown): string {
  const body = JSON.stringify(json);
  return body.slice(0, Math.ceil(body.length / 2));
}

function cutBody(response: ServerResponse, { status, json }: Reply): void {
  response.writeHead(status, { ...JSON_TYPE, "content-length": String(Buffer.byteLength(JSON.stringify(json))) });
  response.write(half(json), () => response.socket?.resetAndDestroy());
}

function slowBody(response: ServerResponse, { status, json }: Reply): void {
  response.writeHead(status, JSON_TYPE);
  const bytes = Array.from(JSON.stringify(json));
  const timer = setInterval(() => {
    const next = bytes.shift();
    if (next === undefined) response.end();
    if (next === undefined || response.destroyed) clearInterval(timer);
    else response.write(next);
  }, 100);
}

function endlessBody(response: ServerResponse, { status }: Reply): void {
  response.writeHead(status, JSON_TYPE);
  response.write('{"data":[');
  const more = Buffer.alloc(16 * 1024, " ");
  const pump = () => {
    while (!response.destroyed && response.write(more));
    if (!response.destroyed) response.once("drain", pump);
  };
  pump();
}

let packed: Buffer | undefined;

function gzipBomb(): Buffer {
  packed ??= gzipSync(Buffer.alloc(BOMB_BYTES, " "), { level: 1 });
  return packed;
}

function plain(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { "content-type": type });
  response.end(text);
}
