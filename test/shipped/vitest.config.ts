import { defineConfig } from "vitest/config";

/** What depends on how the code is bundled, packed or started, run by `npm run test:shipped` on every supported Node. */
export default defineConfig({
  test: {
    include: ["test/shipped/**/*.test.ts"],
    globalSetup: [
      "test/support/programs/shipped-setup.ts",
      "test/support/mongodb/setup.ts",
      "test/support/openrouter/setup.ts",
    ],
    testTimeout: 60_000,
    maxWorkers: 2,
  },
});
