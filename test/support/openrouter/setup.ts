import type { TestProject } from "vitest/node";
import { openRouterServer } from "./server.ts";

declare module "vitest" {
  interface ProvidedContext {
    readonly openRouterUrl: string;
  }
}

/** Starts one mock server for all tests that start none of their own, so that no test reaches the real OpenRouter. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await openRouterServer();
  project.provide("openRouterUrl", server.url);
  return () => server.close();
}
