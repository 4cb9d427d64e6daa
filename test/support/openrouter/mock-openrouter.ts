// The modules that mock-openrouter.mjs needs, as one entry point.
export { openRouterServer } from "./server.ts";
export { FAULT_NAMES, isFault } from "./faults.ts";
