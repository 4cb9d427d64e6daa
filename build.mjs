// Builds dist/ from src/: the tool as small CommonJS files (an ESM start costs a fifth of Node's own), the library as
// ESM, and its types.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundledPackages, softwareBillOfMaterials, thirdPartyNotices } from "./build/bundled-packages.mjs";
import { manualPage } from "./build/manual.mjs";

const root = dirname(fileURLToPath(import.meta.url));
const src = join(root, "src");
const dist = join(root, "dist");

/** commander needs child_process only for subcommands that are separate programs; keyctl has none. */
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

/**
 * Modules of Node that are loaded when one of these functions is called, not when it is imported: node:crypto costs a
 * sixth of Node's own start. The generated code is ESM, so that a name that is missing here fails the build.
 */
const ON_USE = { "node:crypto": ["createCipheriv", "createDecipheriv", "hash", "randomBytes", "randomFillSync"] };
const loadedByCalls = {
  name: "loaded-by-calls",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, importer }) =>
      path in ON_USE && importer.startsWith(src) ? { path, namespace: "loaded-by-calls" } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: "loaded-by-calls" }, ({ path }) => ({
      contents: ON_USE[path]
        .map((name) => `export const ${name} = (...words) => require("${path}").${name}(...words);`)
        .join("\n"),
    }));
  },
};

/** The driver's copy of the WHATWG URL costs as much as the rest of the driver; Node has URL built in. */
const builtInUrl = {
  name: "built-in-url",
  setup(build) {
    build.onResolve({ filter: /^whatwg-url$/ }, () => ({ path: "whatwg-url", namespace: "built-in-url" }));
    build.onLoad({ filter: /.*/, namespace: "built-in-url" }, () => ({
      contents: "exports.URL = globalThis.URL; exports.URLSearchParams = globalThis.URLSearchParams;",
    }));
  },
};

/** The used parts of undici: the whole package takes three times as long to load. */
const UNDICI_PARTS = {
  Agent: "dispatcher/agent",
  Pool: "dispatcher/pool",
  ProxyAgent: "dispatcher/proxy-agent",
  buildConnector: "core/connect",
};
/** The one method that `ProxyAgent` uses of those that undici's own index adds to every dispatcher. */
const DISPATCHER_METHODS = { connect: "api/api-connect" };
const LOAD_UNDICI_PARTS = [
  ...Object.entries(UNDICI_PARTS).map(([name, file]) => `exports.${name} = require("undici/lib/${file}.js");`),
  `const { prototype } = require("undici/lib/dispatcher/dispatcher.js");`,
  ...Object.entries(DISPATCHER_METHODS).map(([name, file]) => `prototype.${name} = require("undici/lib/${file}.js");`),
].join("\n");

const partsOfUndici = {
  name: "parts-of-undici",
  setup(build) {
    build.onResolve({ filter: /^undici$/ }, () => ({ path: "undici", namespace: "parts-of-undici" }));
    build.onLoad({ filter: /.*/, namespace: "parts-of-undici" }, () => ({
      contents: LOAD_UNDICI_PARTS,
      resolveDir: root,
    }));
  },
};

/**
 * The undici that a user of the library has installed: its parts, or the whole package if another version keeps them
 * elsewhere. The whole package installs itself as the dispatcher of Node's own fetch if there is none yet: so Node's
 * dispatcher is loaded first, and the program's fetch stays unchanged.
 */
const installedUndici = {
  name: "installed-undici",
  setup(build) {
    build.onResolve({ filter: /^undici(?:\/|$)/ }, ({ path, pluginData }) =>
      pluginData === "installed" ? { path, external: true } : { path, namespace: "installed-undici" },
    );
    build.onLoad({ filter: /.*/, namespace: "installed-undici" }, () => ({
      contents: `try {
        ${LOAD_UNDICI_PARTS}
      } catch {
        void globalThis.Response;
        module.exports = require("undici");
      }`,
      resolveDir: root,
      pluginData: "installed",
    }));
  },
};

/** Packages that the driver uses if they are installed; keyctl does not bundle them. */
const NOT_CARRIED = [
  "@aws-sdk/credential-providers",
  "@mongodb-js/zstd",
  "gcp-metadata",
  "kerberos",
  "mongodb-client-encryption",
  "snappy",
  "socks",
];

/** The tool contains only the version from its package.json. */
const onlyVersion = {
  name: "only-version",
  setup(build) {
    build.onLoad({ filter: /package\.json$/ }, ({ path }) => {
      if (path !== join(root, "package.json")) return undefined;
      const { version } = JSON.parse(readFileSync(path, "utf8"));
      return { contents: JSON.stringify({ version }), loader: "json" };
    });
  },
};

const esbuild = await import("esbuild").catch(() => undefined);
if (!existsSync(src)) refuse("there is no src/ here");
else if (esbuild === undefined) refuse("esbuild is not installed");
else await buildAnew();

/** Keeps the existing dist/. That is enough for an installation; a build fails, because nothing was built. */
function refuse(reason) {
  const isBuilt = existsSync(join(dist, "tool", "main.cjs"));
  console.error(`keyctl: ${reason}, so nothing is built; dist/ is ${isBuilt ? "as it was" : "missing"}`);
  const isInstalling = process.env.npm_lifecycle_event === "prepare";
  process.exitCode = isInstalling && isBuilt ? 0 : 1;
}

/** Builds next to dist/ first: a failure leaves the old dist/, and a running program never sees half a build. */
async function buildAnew() {
  const fresh = mkdtempSync(join(root, ".dist-"));
  try {
    const built = join(fresh, "new");
    const parts = await Promise.allSettled([
      buildTool(join(built, "tool")),
      buildLibrary(join(built, "library")),
      buildTypes(join(fresh, "types"), join(built, "types")),
      buildManual(fresh, join(built, "man")),
    ]);
    for (const { status, reason } of parts) if (status === "rejected") throw reason;
    const [{ value: toolMetafiles }, { value: libraryMetafile }] = parts;
    writePapers(built, [...toolMetafiles, libraryMetafile]);
    if (existsSync(dist)) renameSync(dist, join(fresh, "old"));
    renameSync(built, dist);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/**
 * Every `import()` in the sources becomes a separate file that is loaded on use: esbuild cannot split CommonJS, so this
 * function follows the imports itself. Both files contain code that they share; nothing may depend on its identity.
 */
async function buildTool(outdir) {
  /** The source of each file in dist/tool, by its name there. */
  const sources = new Map();
  const nameFor = (file, path) => {
    const name = file.startsWith(src) ? relative(src, file).replace(/\.ts$/, "").replaceAll(/[/\\]/g, "-") : path;
    const claimed = sources.get(name) ?? file;
    if (claimed !== file)
      throw new Error(
        `two files would be dist/tool/${name}.cjs: ${relative(root, claimed)} and ${relative(root, file)}`,
      );
    sources.set(name, file);
    return name;
  };
  const loadedOnUse = {
    name: "loaded-on-use",
    setup(build) {
      build.onResolve({ filter: /.*/ }, async ({ path, kind, resolveDir, pluginData }) => {
        if (kind !== "dynamic-import" || pluginData === "resolving" || isBuiltin(path)) return undefined;
        const { path: file, errors } = await build.resolve(path, { kind, resolveDir, pluginData: "resolving" });
        if (errors.length > 0) return { errors };
        return { path: `./${nameFor(file, path)}.cjs`, external: true };
      });
    },
  };
  nameFor(join(src, "main.ts"));
  // Loaded by bin/ before everything else.
  nameFor(join(src, "cli", "terminal", "hide-input.ts"));
  const built = new Set();
  const metafiles = [];
  for (;;) {
    const next = [...sources].filter(([name]) => !built.has(name));
    if (next.length === 0) return metafiles;
    for (const [name] of next) built.add(name);
    const { metafile } = await esbuild.build({
      entryPoints: next.map(([name, file]) => ({ in: file, out: name })),
      outdir,
      absWorkingDir: root,
      bundle: true,
      platform: "node",
      target: "node20.19",
      format: "cjs",
      outExtension: { ".js": ".cjs" },
      minify: true,
      legalComments: "none",
      define: { "import.meta.dirname": "__dirname" },
      logLevel: "warning",
      // import() as require(): the ESM loader alone costs two thirds of Node's start.
      supported: { "dynamic-import": false },
      plugins: [loadedOnUse, loadedByCalls, spawnOnUse, onlyVersion, builtInUrl, partsOfUndici],
      external: NOT_CARRIED,
      metafile: true,
    });
    metafiles.push(metafile);
  }
}

/** The library's packages stay its dependencies: its users choose and audit their versions. */
async function buildLibrary(outdir) {
  const { metafile } = await esbuild.build({
    entryPoints: [join(src, "index.ts")],
    outdir,
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    platform: "node",
    target: "node20.19",
    format: "esm",
    legalComments: "none",
    logLevel: "warning",
    plugins: [installedUndici],
    external: ["mongodb"],
    // For undici: `require` loads it after Node's own.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    metafile: true,
  });
  return metafile;
}

/** One declaration file with the exports of src/index.ts and the types that they use. */
async function buildTypes(work, outdir) {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const words = [tsc, "--project", "tsconfig.build.json", "--outDir", work];
  const [code] = await once(spawn(process.execPath, words, { cwd: root, stdio: "inherit" }), "close");
  if (code !== 0) throw new Error("the types were not built");
  const { rolledUp } = await import("./build/declarations.mjs");
  const text = rolledUp(join(work, "index.d.ts"));
  mkdirSync(outdir, { recursive: true });
  writeFileSync(join(outdir, "index.d.ts"), text);
}

/** The man page, from the program's own commands. */
async function buildManual(work, outdir) {
  const outfile = join(work, "program.mjs");
  await esbuild.build({
    stdin: {
      contents: `export { wholeProgram } from "./cli/program.ts";
        export { EXIT_CODE_MEANINGS as exitCodes } from "./cli/exit-codes.ts";
        export { VARIABLES as variables } from "./cli/variable-meanings.ts";`,
      resolveDir: src,
    },
    outfile,
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    logLevel: "warning",
  });
  const { wholeProgram, exitCodes, variables } = await import(pathToFileURL(outfile).href);
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const page = manualPage(await wholeProgram(version), { exitCodes, variables });
  mkdirSync(outdir, { recursive: true });
  writeFileSync(join(outdir, "keyctl.1"), page);
}

/** The notices and the list of the third-party packages in dist/. */
function writePapers(folder, metafiles) {
  const packages = bundledPackages(metafiles, root);
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const bill = softwareBillOfMaterials(packages, manifest);
  writeFileSync(join(folder, "THIRD-PARTY-NOTICES.md"), thirdPartyNotices(packages));
  writeFileSync(join(folder, "sbom.cdx.json"), `${JSON.stringify(bill, null, 2)}\n`);
}
