import { onTestFinished } from "vitest";
import { openRouterServer } from "./server.ts";
import type { OpenRouterServer, MockOptions } from "./server.ts";

/** A mock server of OpenRouter for the length of the test that calls this. */
export async function mockOpenRouter(options?: MockOptions): Promise<OpenRouterServer> {
  const server = await openRouterServer(options);
  onTestFinished(server.close);
  return server;
}
