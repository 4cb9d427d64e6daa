"use strict";

// Preloaded by the benchmark: writes the peak resident memory of the process, in MiB, to the file in PEAK_MEMORY_FILE.
const { writeFileSync } = require("node:fs");

process.on("exit", () => {
  writeFileSync(process.env.PEAK_MEMORY_FILE, String(process.resourceUsage().maxRSS / 1024));
});
