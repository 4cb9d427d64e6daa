// What openrouter-stand-in.mjs needs, as one file.
export { openRouterServer } from "./openrouter-server.ts";
export { FAULT_NAMES, isFault } from "./openrouter-faults.ts";
