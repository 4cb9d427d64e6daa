// Builds dist/ from src/: the tool as small CommonJS files (an ESM start costs a fifth of Node's own), the library as ESM, and its types.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Commands whose start is to be fast: between them they use what most runs use. */
const WARM_UP = [
  ["--help"],
  ["sync", "--user", "a"],
  ["get", "--user", "a", "--stored"],
  ["get", "--user", "a", "--reveal"],
  ["list", "--json"],
  ["explain", "--user", "a"],
  ["doctor"],
  ["purge", "--user", "a", "--yes"],
  ["save", "--user", "a", "--from-file", "key.txt"],
  ["sync", "--users-file", "key.txt"],
  // Nobody listens there; what connects is compiled all the same.
  ["get", "--user", "a", "--stored", "--timeout", "50ms", "--store", "mongodb://127.0.0.1:9/keys"],
];

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");

/** commander needs child_process only for subcommands that are programs of their own; we have none. */
const spawnOnUse = {
  name: "spawn-on-use",
  setup(build) {
    build.onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      importer.includes("commander") ? { path: "child_process", namespace: "spawn-on-use" } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: "spawn-on-use" }, () => ({
      contents: `exports.spawn = (...words) => require("node:child_process").spawn(...words);`,
    }));
  },
};

/** The driver brings a copy of the WHATWG URL that costs as much as the rest of it; Node has that built in. */
const builtInUrl = {
  name: "built-in-url",
  setup(build) {
    build.onResolve({ filter: /^whatwg-url$/ }, () => ({ path: "whatwg-url", namespace: "built-in-url" }));
    build.onLoad({ filter: /.*/, namespace: "built-in-url" }, () => ({
      contents: "exports.URL = globalThis.URL; exports.URLSearchParams = globalThis.URLSearchParams;",
    }));
  },
};

/**
 * Of undici only what we use: all of it takes three times as long to load, and would put itself in the place of the fetch
 * of a program that uses the library.
 */
const UNDICI_PARTS = {
  Agent: "dispatcher/agent",
  Pool: "dispatcher/pool",
  ProxyAgent: "dispatcher/proxy-agent",
  buildConnector: "core/connect",
};
/** What undici's own index puts on every dispatcher, of which `ProxyAgent` uses this one. */
const DISPATCHER_METHODS = { connect: "api/api-connect" };
const partsOfUndici = {
  name: "parts-of-undici",
  setup(build) {
    build.onResolve({ filter: /^undici$/ }, () => ({ path: "undici", namespace: "parts-of-undici" }));
    build.onLoad({ filter: /.*/, namespace: "parts-of-undici" }, () => ({
      contents: [
        ...Object.entries(UNDICI_PARTS).map(([name, file]) => `exports.${name} = require("undici/lib/${file}.js");`),
        `const { prototype } = require("undici/lib/dispatcher/dispatcher.js");`,
        ...Object.entries(DISPATCHER_METHODS).map(
          ([name, file]) => `prototype.${name} = require("undici/lib/${file}.js");`,
        ),
      ].join("\n"),
      resolveDir: root,
    }));
  },
};

/** What the driver uses where it is installed; we do not carry it. */
const NOT_CARRIED = [
  "@aws-sdk/credential-providers",
  "@mongodb-js/zstd",
  "gcp-metadata",
  "kerberos",
  "mongodb-client-encryption",
  "snappy",
  "socks",
];

const esbuild = await import("esbuild").catch(() => undefined);
if (esbuild === undefined) {
  if (!existsSync(join(dist, "tool", "main.cjs"))) {
    console.error("keyctl: dist/ is missing and esbuild is not installed; run `npm ci` without --omit=dev once");
    process.exitCode = 1;
  } else {
    console.error("keyctl: esbuild is not installed; using the dist/ that is there");
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  await buildTool();
  warmUp();
  await buildLibrary();
  buildTypes();
}

/**
 * Every `import()` in the sources starts a file of its own, loaded on use: esbuild cannot split CommonJS, so this
 * follows the imports itself. Code that two files share is in both; nothing may depend on its identity.
 */
async function buildTool() {
  const common = {
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    target: "node20.19",
    format: "cjs",
    outExtension: { ".js": ".cjs" },
    outdir: join(dist, "tool"),
    minify: true,
    legalComments: "none",
    define: { "import.meta.dirname": "__dirname" },
    logLevel: "warning",
  };
  await esbuild.build({ ...common, entryPoints: [join(root, "src", "load.ts")] });
  const entries = new Map([[join(root, "src", "main.ts"), "main"]]);
  const built = new Set();
  const loadedOnUse = {
    name: "loaded-on-use",
    setup(build) {
      build.onResolve({ filter: /.*/ }, async ({ path, kind, resolveDir, pluginData }) => {
        if (kind !== "dynamic-import" || pluginData === "resolving" || isBuiltin(path)) return undefined;
        const { path: file, errors } = await build.resolve(path, { kind, resolveDir, pluginData: "resolving" });
        if (errors.length > 0) return { errors };
        const name = file.startsWith(join(root, "src"))
          ? basename(file, ".ts")
          : path.replaceAll(/[^a-z]+/g, "-").replace(/^-/, "");
        entries.set(file, name);
        return { path: `./${name}.cjs`, external: true };
      });
    },
  };
  for (;;) {
    const next = [...entries].filter(([file]) => !built.has(file));
    if (next.length === 0) return;
    for (const [file] of next) built.add(file);
    await esbuild.build({
      ...common,
      entryPoints: next.map(([file, name]) => ({ in: file, out: name })),
      // As src/load.ts runs them: wrapped here, because wrapping at each start fills the young heap.
      banner: { js: "(function (exports, require, module, __filename, __dirname) {" },
      footer: { js: "})" },
      // import() as require(): the ESM loader alone costs two thirds of Node's start.
      supported: { "dynamic-import": false },
      plugins: [loadedOnUse, spawnOnUse, builtInUrl, partsOfUndici],
      external: NOT_CARRIED,
    });
  }
}

/** Runs the tool in an empty home, and keeps what V8 compiled: see src/load.ts. */
function warmUp() {
  const home = mkdtempSync(join(tmpdir(), "keyctl-build-"));
  const script = `
    const { load, writeCaches } = require(${JSON.stringify(join(dist, "tool", "load.cjs"))});
    const { main } = load("main");
    (async () => {
      for (const words of ${JSON.stringify(WARM_UP)}) {
        process.argv.splice(2, process.argv.length, ...words);
        await main();
      }
      writeCaches();
    })();`;
  try {
    writeFileSync(join(home, "warm-up.cjs"), script);
    writeFileSync(join(home, "key.txt"), "sk-or-v1-build-warm-up");
    const env = {
      PATH: process.env.PATH,
      HOME: home,
      KEYCTL_STORE: `sqlite:${join(home, "warm-up.db")}`,
      // Nobody listens there: a build asks OpenRouter nothing.
      KEYCTL_OPENROUTER_URL: "http://127.0.0.1:9/api/v1",
    };
    execFileSync(process.execPath, [join(home, "warm-up.cjs")], { cwd: home, env, stdio: "ignore" });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

async function buildLibrary() {
  await esbuild.build({
    entryPoints: [join(root, "src", "index.ts")],
    outdir: join(dist, "library"),
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    platform: "node",
    target: "node20.19",
    format: "esm",
    legalComments: "none",
    logLevel: "warning",
    plugins: [builtInUrl, partsOfUndici],
    external: NOT_CARRIED,
    // The driver is CommonJS and asks for Node's modules by require().
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
}

function buildTypes() {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const options = [
    "--declaration",
    "--emitDeclarationOnly",
    "--noEmit",
    "false",
    "--rootDir",
    "src",
    "--outDir",
    "dist/types",
  ];
  execFileSync(process.execPath, [tsc, "--project", "tsconfig.build.json", ...options], {
    cwd: root,
    stdio: "inherit",
  });
}
