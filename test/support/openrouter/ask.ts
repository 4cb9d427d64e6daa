import type { OpenRouterServer } from "./server.ts";

/** Sends one request to the mock server, without keyctl. */
export async function ask(
  server: Pick<OpenRouterServer, "url">,
  method: string,
  path: string,
  token: string | null,
  body?: unknown,
) {
  const response = await fetch(server.url + path, {
    method,
    headers: token === null ? {} : { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, json: (await response.json()) as Readonly<Record<string, any>> };
}
