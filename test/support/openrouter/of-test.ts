import { onTestFinished } from "vitest";
import { openRouterServer } from "./server.ts";
import type { OpenRouterServer, MockOptions } from "./server.ts";

/** Starts a mock server of OpenRouter that stops when the calling test ends. */
export async function mockOpenRouter(options?: MockOptions): Promise<OpenRouterServer> {
  const server = await openRouterServer(options);
  onTestFinished(server.close);
  return server;
}
