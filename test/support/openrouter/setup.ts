import type { TestProject } from "vitest/node";
import { openRouterServer } from "./server.ts";

declare module "vitest" {
  interface ProvidedContext {
    readonly openRouterUrl: string;
  }
}

/** One mock server for all tests that start none of their own: no test may reach the real OpenRouter. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await openRouterServer();
  project.provide("openRouterUrl", server.url);
  return () => server.close();
}
