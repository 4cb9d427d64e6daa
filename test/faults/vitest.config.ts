import { defineConfig } from "vitest/config";

/**
 * Campaigns that take minutes, for `npm run test:faults`. They run one at a time, because each uses the whole machine.
 */
export default defineConfig({
  test: {
    include: ["test/faults/**/*.test.ts"],
    globalSetup: [
      "test/support/programs/build.ts",
      "test/support/mongodb/setup.ts",
      "test/support/openrouter/setup.ts",
    ],
    testTimeout: 600_000,
    fileParallelism: false,
  },
});
