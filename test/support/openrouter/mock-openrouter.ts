// What mock-openrouter.mjs needs, as one file.
export { openRouterServer } from "./server.ts";
export { FAULT_NAMES, isFault } from "./faults.ts";
