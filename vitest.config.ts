import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/faults/**", "test/shipped/**"],
    globalSetup: [
      "test/support/programs/build.ts",
      "test/support/mongodb/setup.ts",
      "test/support/openrouter/setup.ts",
    ],
    testTimeout: 30_000,
    // Most of the time goes to servers and processes that the tests wait for.
    maxWorkers: 4,
    // No file changes a module, and none relies on a fresh one: loading them anew for each costs a third of the time.
    isolate: false,
  },
});
