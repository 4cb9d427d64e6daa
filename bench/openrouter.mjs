// A mock server of OpenRouter with a given number of keys and a given latency. Prints its address and its management
// key, and ends when standard input ends.
// Usage: openrouter.mjs <bundled mock server> <keys> <latency in ms>
import { keyOf } from "./sealed-rows.mjs";

const [mockOpenRouter, count, latency] = process.argv.slice(2);
const { openRouterServer } = await import(mockOpenRouter);
const server = await openRouterServer({ latencyMs: Number(latency) });
for (let index = 0; index < Number(count); index += 1) server.addKey(keyOf(index), { limit: 5 });
console.log(`${server.url} ${server.managementKey}`);
process.stdin.resume().once("end", () => void server.close());
