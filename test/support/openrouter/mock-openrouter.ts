// The modules that mock-openrouter.mjs needs, as one entry point.
export { CONTROL_PREFIX, CONTROLS } from "./control.ts";
export { isRefusal, REFUSAL_NAMES } from "./chat-refusals.ts";
export { ROUTES } from "./routes.ts";
export { openRouterServer } from "./server.ts";
export { FAULT_NAMES, isFault } from "./faults.ts";
