import { defineConfig } from "vitest/config";

/** Campaigns of minutes, run by `npm run test:faults`; one at a time, because each uses the whole machine. */
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
