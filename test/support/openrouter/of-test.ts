import { onTestFinished } from "vitest";
import { openRouterServer } from "./server.ts";
import type { OpenRouterServer, StandInOptions } from "./server.ts";

/** A stand-in for OpenRouter for the length of the test that calls this. */
export async function standIn(options?: StandInOptions): Promise<OpenRouterServer> {
  const server = await openRouterServer(options);
  onTestFinished(server.close);
  return server;
}
