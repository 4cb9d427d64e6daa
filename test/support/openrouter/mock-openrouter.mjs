// `npm run mock-openrouter`: a mock server of OpenRouter on loopback, so that every command can be tried offline.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const OPTIONS = {
  port: { type: "string", default: "8377" },
  "new-keys-refused": { type: "string", default: "0" },
  "gone-keys-accepted": { type: "string", default: "0" },
  latency: { type: "string", default: "0" },
  fault: { type: "string", multiple: true, default: [] },
  help: { type: "boolean", short: "h", default: false },
};
const HELP_COMMAND = "npm run mock-openrouter -- --help";

const { openRouterServer, isFault, FAULT_NAMES, isRefusal, REFUSAL_NAMES, ROUTES, CONTROLS, CONTROL_PREFIX } =
  await typescript("mock-openrouter.ts");
const values = options();
if (values.help) console.log(help());
else await serve();

/** Names in lines of a page's width. */
function columnsOf(names) {
  const columns = 76;
  const lines = names.reduce(
    (all, name) => {
      const line = `${all.at(-1) ?? ""} ${name}`;
      return line.length > columns ? [...all, `  ${name}`] : [...all.slice(0, -1), line];
    },
    [" "],
  );
  return lines.join("\n");
}

function help() {
  return `Usage: npm run mock-openrouter -- [options]

A mock server of OpenRouter on this machine. It creates, lists, changes and deletes
keys like OpenRouter, knows guardrails and the allow-lists of provider credentials,
answers model calls with the same five words, and forgets everything when it ends
(Ctrl-C). Nothing is paid.

Options:
  --port <n>                    the port on 127.0.0.1 (default 8377; 0: a free one)
  --latency <duration>          delay each answer, such as 50ms or 2s
  --new-keys-refused <duration> refuse each new key for this time
  --gone-keys-accepted <duration>
                                accept each disabled or deleted key for this time
  --fault "<route> <n> <fault>" spoil request n of a route, or every one (all);
                                may be repeated: --fault "POST /keys 1 reset-after"
  -h, --help                    print this help

Routes:
${ROUTES.map((route) => `  ${route}`).join("\n")}

Faults:
${columnsOf([...FAULT_NAMES, "<status>"])}

Refusals of model calls, which are faults of POST /chat/completions:
${columnsOf(REFUSAL_NAMES)}

Controls, for what happens at OpenRouter without keyctl:
  curl --data '<JSON>' http://127.0.0.1:8377${CONTROL_PREFIX}<control>
${Object.entries(CONTROLS)
  .map(([name, { example }]) => `  ${name.padEnd(10)} ${example}`)
  .join("\n")}`;
}

async function serve() {
  const faults = values.fault.map(faultOf);
  const server = await openRouterServer({
    port: port(values.port),
    newKeysRefusedMs: milliseconds("--new-keys-refused"),
    goneKeysAcceptedMs: milliseconds("--gone-keys-accepted"),
    latencyMs: milliseconds("--latency"),
    onRequest: ({ method, path, status, credential }) =>
      console.error(`${method} ${path} -> ${status || "no effect"} (${credential.slice(0, 10)})`),
  }).catch((error) => fail(listenError(error), 1));
  server.behave(({ route, number }) => faults.find((fault) => fault.hits(route, number))?.fault ?? "pass");
  console.log(`# A mock server of OpenRouter, which forgets everything when it ends. In another terminal:
export KEYCTL_OPENROUTER_URL=${server.url}
export OPENROUTER_PROVISIONING_KEY=${server.managementKey}`);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void server.close());
}

function options() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    // Node's message is one sentence and a long explanation.
    return fail(`${error.message.split(/\.(?: |$)/)[0]}; see ${HELP_COMMAND}`);
  }
}

function listenError({ code, message }) {
  const next = "choose another: npm run mock-openrouter -- --port 0";
  if (code === "EADDRINUSE") return `port ${values.port} is in use; ${next}`;
  if (code === "EACCES") return `port ${values.port} needs more rights; ${next}`;
  return message;
}

/** Bundles TypeScript, because Node 20 cannot run it. */
async function typescript(name) {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-mock-"));
  try {
    const outfile = join(folder, "mock-openrouter.mjs");
    const entryPoints = [join(import.meta.dirname, name)];
    await build({ entryPoints, outfile, bundle: true, platform: "node", format: "esm", target: "node20" });
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function port(text) {
  const isPort = /^\d{1,5}$/.test(text) && Number(text) < 65_536;
  return isPort ? Number(text) : fail(`invalid value '${text}' for --port: a number from 0 to 65535`);
}

function milliseconds(option) {
  const text = values[option.slice(2)];
  const [, count, unit = "ms"] =
    /^(\d+)(ms|s)?$/.exec(text) ?? fail(`invalid value '${text}' for ${option}: a duration such as 500ms or 5s`);
  return Number(count) * (unit === "s" ? 1000 : 1);
}

function faultOf(text) {
  const [, route, which, name] =
    /^([A-Z]+ \/\S+) (\d+|all) (\S+)$/.exec(text) ?? fail(`invalid value '${text}' for --fault; see ${HELP_COMMAND}`);
  if (!ROUTES.includes(route)) fail(`unknown route '${route}'; see ${HELP_COMMAND}`);
  const mayRefuse = route === "POST /chat/completions" && isRefusal(name);
  if (!isFault(name) && !mayRefuse && !/^\d{3}$/.test(name)) fail(`unknown fault '${name}'; see ${HELP_COMMAND}`);
  return {
    fault: isFault(name) ? name : mayRefuse ? { refusal: name } : { status: Number(name) },
    hits: (asked, number) => asked === route && (which === "all" || Number(which) === number),
  };
}

function fail(problem, exitCode = 2) {
  console.error(`error: ${problem}`);
  process.exit(exitCode);
}
