import type { TestProject } from "vitest/node";
import { openRouterServer } from "./server.ts";

declare module "vitest" {
  interface ProvidedContext {
    readonly openRouterUrl: string;
  }
}

/** One stand-in for all tests that say nothing else: none of them may ever reach the real one. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await openRouterServer();
  project.provide("openRouterUrl", server.url);
  return () => server.close();
}
