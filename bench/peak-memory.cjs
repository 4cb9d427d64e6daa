"use strict";

// Preloaded by the benchmark: leaves the peak resident memory of the process, in MiB, in the file that is named.
const { writeFileSync } = require("node:fs");

process.on("exit", () => {
  writeFileSync(process.env.PEAK_MEMORY_FILE, String(process.resourceUsage().maxRSS / 1024));
});
