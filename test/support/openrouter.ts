import { onTestFinished } from "vitest";
import type { Home } from "./home.ts";
import { openRouterServer } from "./openrouter-server.ts";
import type { OpenRouterServer, StandInOptions } from "./openrouter-server.ts";

/** A stand-in for OpenRouter for the length of the test that calls this. */
export async function standIn(options?: StandInOptions): Promise<OpenRouterServer> {
  const server = await openRouterServer(options);
  onTestFinished(server.close);
  return server;
}

/** A stand-in that every run in this home asks, with its management key. */
export async function withOpenRouter(home: Home, options?: StandInOptions): Promise<OpenRouterServer> {
  const server = await standIn(options);
  home.environment["KEYCTL_OPENROUTER_URL"] = server.url;
  home.environment["OPENROUTER_PROVISIONING_KEY"] = server.managementKey;
  return server;
}
