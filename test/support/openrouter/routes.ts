export const ROUTES = [
  "GET /key",
  "GET /keys",
  "POST /keys",
  "GET /keys/{hash}",
  "PATCH /keys/{hash}",
  "DELETE /keys/{hash}",
  "GET /workspaces",
  "GET /credits",
  "GET /activity",
  "GET /guardrails/assignments/keys",
  "POST /guardrails/{id}/assignments/keys",
  "POST /guardrails/{id}/assignments/keys/remove",
  "GET /byok",
  "PATCH /byok/{id}",
  "POST /chat/completions",
] as const;
export type Route = (typeof ROUTES)[number];

/** A parsed request. */
export interface Call {
  readonly route: Route;
  /** What takes the place of `{hash}` or `{id}` in the route; empty without one. */
  readonly id: string;
  readonly query: URLSearchParams;
  /** The Authorization header, and the bearer token in it. */
  readonly authorization: string | undefined;
  readonly token: string | undefined;
  /** The parsed body; undefined without one, or if it is not JSON. */
  readonly body: unknown;
}

export interface Reply {
  readonly status: number;
  /** Undefined: no body. */
  readonly json: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The chunks of a stream, which is sent in the place of `json`. */
  readonly events?: readonly unknown[];
}

export type Answers<Some extends Route> = Readonly<Record<Some, (call: Call) => Reply>>;

const PATTERNS = ROUTES.map((route) => ({ route, pattern: new RegExp(`^${route.replace(/\{\w+\}/, "([^/]+)")}$`) }));

export function routeOf(method: string, pathname: string): Pick<Call, "id"> & { readonly route: Route | undefined } {
  for (const { route, pattern } of PATTERNS) {
    const match = pattern.exec(`${method} ${pathname}`);
    if (match !== null) return { route, id: decodeURIComponent(match[1] ?? "") };
  }
  return { route: undefined, id: "" };
}

/** One page of a list that has an offset and a limit. */
export function pageOf<Item>(
  all: readonly Item[],
  query: URLSearchParams,
  { pageSize, ignoresOffset }: { readonly pageSize: number; readonly ignoresOffset: boolean },
): readonly Item[] {
  const offset = ignoresOffset ? 0 : Number(query.get("offset") ?? 0);
  const limit = Math.min(100, pageSize, Number(query.get("limit") ?? 50));
  return all.slice(offset, offset + limit);
}
