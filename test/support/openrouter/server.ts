import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { sha256 } from "./accounts.ts";
import type { MockAccount } from "./accounts.ts";
import type { RefusalName } from "./chat-refusals.ts";
import { CONTROL_PREFIX, controlled } from "./control.ts";
import type { CredentialSeed, MockCredential } from "./credentials.ts";
import { send, spoiled } from "./faults.ts";
import type { Fault, Rule } from "./faults.ts";
import type { MockKey, Seed } from "./keys.ts";
import { routeOf } from "./routes.ts";
import type { Call, Reply, Route } from "./routes.ts";
import { mockClock, SETTINGS } from "./settings.ts";
import type { MockClock, Settings } from "./settings.ts";
import { error } from "./shapes.ts";
import { openRouterState, randomKey } from "./state.ts";
import type { StateOptions } from "./state.ts";

export interface MockOptions extends Partial<Omit<StateOptions, "settings">>, Partial<Settings> {
  /** Default: a free port. */
  readonly port?: number;
  /** The certificate and key in PEM. With them, the server uses https. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Called when a request was recorded, before its answer is sent. */
  readonly onRequest?: (request: RecordedRequest) => void;
  /** The delay of each answer, in milliseconds. */
  readonly latencyMs?: number;
}

/** The record of a request, without its key and body. */
interface RecordedRequest {
  readonly route: Route | undefined;
  readonly method: string;
  /** The path with its query, after the path of the base URL. */
  readonly path: string;
  /**
   * The status of the right answer; 0 if the request was not executed. A fault may have sent another status, or none.
   */
  readonly status: number;
  /** The credential: `management`, `management of another account`, `none`, or the SHA-256 of the key. */
  readonly credential: string;
}

/** A mock server of OpenRouter on loopback: real HTTP, state, and scripted faults. */
export interface OpenRouterServer {
  /** The base URL. */
  readonly url: string;
  readonly managementKey: string;
  readonly defaultWorkspace: string;
  /** All requests, in the order of arrival. */
  readonly requests: readonly RecordedRequest[];
  /** The number of requests of this route, or of all routes. */
  readonly count: (route?: Route) => number;
  /** The keys by hash. A test may change them. */
  readonly keys: ReadonlyMap<string, MockKey>;
  /** Adds an existing key. */
  readonly addKey: (text: string, seed?: Seed) => MockKey;
  readonly removeKey: (hash: string) => boolean;
  /** Spends this much in USD with a key. Returns false if the key is missing, refused, or has nothing left. */
  readonly spend: (hash: string, usd: number, isByok?: boolean) => boolean;
  /** The keys with a guardrail: the guardrails' ids by the keys' hashes. */
  readonly guardrails: () => ReadonlyMap<string, string>;
  /** Adds a guardrail, by default to the first account. Returns its id. */
  readonly addGuardrail: (owner?: MockAccount) => string;
  /** Gives a key this guardrail, instead of the one that it has. */
  readonly assignGuardrail: (guardrail: string, hash: string) => void;
  /** The provider credentials by id. A test may change their allow-lists. */
  readonly credentials: ReadonlyMap<string, MockCredential>;
  /** Adds a provider credential, by default to the first account's default workspace. */
  readonly addCredential: (seed?: CredentialSeed) => MockCredential;
  /** The time of the server, which limits, expiries and delays go by. */
  readonly clock: MockClock;
  /** Refuses the next model calls in this way, whatever their keys. */
  readonly refuseNext: (refusal: RefusalName, times?: number) => void;
  /** Changes how the server behaves from now on. */
  readonly configure: (changes: Partial<Settings>) => void;
  /** Adds a workspace, by default to the first account. Returns its id. */
  readonly addWorkspace: (name: string, owner?: MockAccount) => string;
  /** Adds another account with its own management key and default workspace. */
  readonly addAccount: (organization?: string | null) => MockAccount;
  /** Adds a management key to the first account. */
  readonly addManagementKey: () => string;
  /** Sets the rule for faults from now on. */
  readonly behave: (rule: Rule) => void;
  /** Stops the server and closes every connection. */
  readonly close: () => Promise<void>;
}

const MOCK_MANAGEMENT_KEY = "sk-or-v1-mock-management-key";

const PREFIX = "/api/v1";
const MAX_BODY_BYTES = 64 * 1024;

export async function openRouterServer(options: MockOptions = {}): Promise<OpenRouterServer> {
  const managementKey = options.managementKey ?? MOCK_MANAGEMENT_KEY;
  const clock = mockClock(options.now ?? Date.now);
  const state = openRouterState({
    managementKey,
    organization: options.organization ?? null,
    now: clock.now,
    pageSize: options.pageSize ?? 100,
    ignoresOffset: options.ignoresOffset ?? false,
    newKey: options.newKey ?? randomKey,
    hashOf: options.hashOf ?? sha256,
    settings: settingsOf(options),
  });
  const requests: RecordedRequest[] = [];
  let rule = WELL;
  let others = 0;
  let numbers = new Map<Route, number>();

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "" } = request;
    if (method === "POST" && url.startsWith(CONTROL_PREFIX)) {
      return send(response, controlled(url.slice(CONTROL_PREFIX.length), await bodyOf(request), state, clock));
    }
    const path = url.startsWith(`${PREFIX}/`) ? url.slice(PREFIX.length) : url;
    const { authorization } = request.headers;
    const call = { ...callOf(method, path), authorization, token: tokenOf(authorization), body: await bodyOf(request) };
    if (options.latencyMs !== undefined) await new Promise((resolve) => setTimeout(resolve, options.latencyMs));
    const { route } = call;
    response.setHeader("date", new Date(clock.now()).toUTCString());
    if (route === undefined) {
      record({ route, method, path, status: 404, credential: credentialOf(call.token) });
      return send(response, error(404, "Not Found"));
    }
    const number = (numbers.get(route) ?? 0) + 1;
    numbers.set(route, number);
    const fault = rule({ route, path, number });
    const { obedience, lateMs, spoil } = fault === "pass" || isRefused(fault) ? PASS : spoiled(fault);
    const parsed = { ...call, route };
    const reply = isRefused(fault) ? state.chat.refused(parsed, fault.refusal) : obeyed(obedience, parsed, lateMs);
    record({ route, method, path, status: reply.status, credential: credentialOf(call.token) });
    spoil(response, reply);
  }

  /**
   * Executes the request and returns the right answer. Status 0 without execution, or if the execution happens later.
   */
  function obeyed(obedience: ReturnType<typeof spoiled>["obedience"], call: Call, lateMs: number): Reply {
    if (obedience === "never") return { status: 0, json: null };
    if (obedience === "late") {
      setTimeout(() => state.answer(call), lateMs);
      return { status: 0, json: null };
    }
    if (obedience === "twice") state.answer(call);
    return state.answer(call);
  }

  function record(request: RecordedRequest): void {
    requests.push(request);
    options.onRequest?.(request);
  }

  function credentialOf(token: string | undefined): string {
    if (token === undefined) return "none";
    const account = state.accounts.accountOf(token);
    if (account === undefined) return sha256(token);
    return account === state.accounts.account ? "management" : "management of another account";
  }

  const listener: RequestListener = (request, response) => {
    response.on("error", () => undefined);
    serve(request, response).catch(() => response.destroy());
  };
  const server = options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener);
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  // The address has a port, because the server listens on TCP.
  const { port } = server.address() as AddressInfo;
  return {
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}${PREFIX}`,
    managementKey,
    defaultWorkspace: state.accounts.account.defaultWorkspace,
    requests,
    count: (route) => requests.filter((request) => route === undefined || request.route === route).length,
    keys: state.records.keys,
    addKey: state.records.add,
    removeKey: state.records.remove,
    spend: state.records.spend,
    guardrails: () => new Map(Array.from(state.guardrails.assignments, ([hash, { guardrail }]) => [hash, guardrail])),
    addGuardrail: state.guardrails.add,
    assignGuardrail: state.guardrails.assign,
    credentials: state.credentials.credentials,
    addCredential: state.credentials.add,
    clock,
    refuseNext: state.chat.refuseNext,
    configure: state.configure,
    addWorkspace: (name, owner = state.accounts.account) => state.accounts.addWorkspace(name, owner.id),
    addAccount: (organization = null) =>
      state.accounts.addAccount({ organization, managementKey: `sk-or-v1-management-key-of-another-${++others}` }),
    addManagementKey() {
      const another = `sk-or-v1-another-management-key-${++others}`;
      state.accounts.addManagementKey(another, state.accounts.account);
      return another;
    },
    behave(next) {
      rule = next;
      numbers = new Map();
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const WELL: Rule = () => "pass";
const PASS = { obedience: "first", lateMs: 0, spoil: send } as const;

function settingsOf(options: Partial<Settings>): Settings {
  const given = { ...SETTINGS, ...options };
  const { newKeysRefusedMs, goneKeysAcceptedMs, newKeyLimit, checksCountAsUse, chatUsd, errorTypeIn } = given;
  return { newKeysRefusedMs, goneKeysAcceptedMs, newKeyLimit, checksCountAsUse, chatUsd, errorTypeIn };
}

function callOf(method: string, path: string) {
  const { pathname, searchParams: query } = new URL(path, "http://mock.invalid");
  return { ...routeOf(method, pathname), query };
}

function isRefused(fault: Fault | "pass"): fault is Extract<Fault, { readonly refusal: RefusalName }> {
  return typeof fault === "object" && "refusal" in fault;
}

function tokenOf(authorization = ""): string | undefined {
  return /^Bearer (\S+)$/.exec(authorization)?.[1];
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error("the request is too big");
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    return undefined;
  }
}
