import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { Script } from "node:vm";

/**
 * Loads the tool's own files with V8's code cache, if the build made one for this very Node: compiling what has not
 * changed since costs a third of Node's start. Without a cache, or with one that V8 refuses, they are simply compiled.
 */
const folder = import.meta.dirname;
const caches = `${folder}/cache-${process.version}-${process.arch}`;
const loaded = new Map<string, { readonly script: Script; readonly exports: object }>();

/** The exports of `<name>.cjs` in this folder, a function of CommonJS's five names in pure ASCII. What it requires by `./` is loaded in the same way. */
export function load(name: string): object {
  const known = loaded.get(name);
  if (known !== undefined) return known.exports;
  const filename = `${folder}/${name}.cjs`;
  const cachedData = readCache(name);
  const script = new Script(readFileSync(filename, "latin1"), {
    filename,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  const module = { exports: {} };
  const requireHere = (id: string): unknown =>
    id.startsWith("./")
      ? load(id.slice("./".length, -".cjs".length))
      : (process.getBuiltinModule(id) ?? notCarried(id));
  script.runInThisContext()(module.exports, requireHere, module, filename, folder);
  loaded.set(name, { script, exports: module.exports });
  return module.exports;
}

/** What a bundled package would use if it were installed. */
function notCarried(id: string): never {
  throw Object.assign(new Error(`${id} is not a part of keyctl`), { code: "MODULE_NOT_FOUND" });
}

/** For the build: keeps what was compiled so far, functions that have run included. */
export function writeCaches(): void {
  mkdirSync(caches, { recursive: true });
  for (const [name, { script }] of loaded) writeFileSync(`${caches}/${name}`, script.createCachedData());
}

function readCache(name: string): Buffer | undefined {
  try {
    return readFileSync(`${caches}/${name}`);
  } catch {
    return undefined;
  }
}
