// Plays OpenRouter on loopback until it is stopped, so that every command can be tried offline:
//   npm run openrouter-stand-in [-- --port 8377] [--new-keys-refused 5s] [--latency 50ms] [--fault "POST /keys 1 reset-after"]…
// A fault names a route, which of its requests (or `all`), and what goes wrong: one of the names in faults.ts, or a status.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8377" },
    "new-keys-refused": { type: "string", default: "0" },
    latency: { type: "string", default: "0" },
    fault: { type: "string", multiple: true, default: [] },
  },
});
const { openRouterServer, isFault, FAULT_NAMES } = await typescript("stand-in.ts");
const server = await openRouterServer({
  port: Number(values.port),
  newKeysRefusedMs: milliseconds(values["new-keys-refused"]),
  latencyMs: milliseconds(values.latency),
  onRequest: ({ method, path, status, credential }) =>
    console.error(`${method} ${path} -> ${status || "not obeyed"} (${credential.slice(0, 10)})`),
});
const faults = values.fault.map(faultOf);
server.behave(({ route, number }) => faults.find((fault) => fault.hits(route, number))?.fault ?? "pass");

console.log(`# A stand-in for OpenRouter, which forgets everything when it ends. In another terminal:
export KEYCTL_OPENROUTER_URL=${server.url}
export OPENROUTER_PROVISIONING_KEY=${server.managementKey}`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void server.close());

/** Node 20 reads no TypeScript. */
async function typescript(name) {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-stand-in-"));
  try {
    const outfile = join(folder, "stand-in.mjs");
    const entryPoints = [join(import.meta.dirname, name)];
    await build({ entryPoints, outfile, bundle: true, platform: "node", format: "esm", target: "node20" });
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function milliseconds(text) {
  const [, count, unit = "ms"] = /^(\d+)(ms|s)?$/.exec(text) ?? fail(`${text} is no duration: 500ms, 5s`);
  return Number(count) * (unit === "s" ? 1000 : 1);
}

function faultOf(text) {
  const [, route, which, name] = /^([A-Z]+ \/\S+) (\d+|all) (\S+)$/.exec(text) ?? fail(`${text} is no fault`);
  if (!isFault(name) && !/^\d{3}$/.test(name)) fail(`${name} is none of ${FAULT_NAMES.join(", ")}, <status>`);
  return {
    fault: isFault(name) ? name : { status: Number(name) },
    hits: (asked, number) => asked === route && (which === "all" || Number(which) === number),
  };
}

function fail(problem) {
  console.error(problem);
  process.exit(2);
}
