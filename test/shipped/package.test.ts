import { hash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { filesBelow } from "../support/fixtures/leak-canaries.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { compile, ownCopy, shipped } from "../support/programs/installed-library.ts";
import { BIN, keyctl, onlyIn } from "../support/programs/keyctl.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const KEY = `sk-or-v1-${"0".repeat(60)}b465`;
const USER = "68e228e87f803a11a4e23045";

/** What may be in the tarball. */
const SHIPPED = [
  /^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md|bin\/keyctl\.cjs)$/,
  /^docs\/[\w-]+\.md$/,
  /^docs\/examples\/[\w-]+\.ts$/,
  /^dist\/man\/keyctl\.1$/,
  /^dist\/(?:THIRD-PARTY-NOTICES\.md|sbom\.cdx\.json)$/,
  /^dist\/tool\/[a-z-]+\.cjs$/,
  /^dist\/library\/[a-z-]+(?:-[A-Z0-9]+)?\.js$/,
  /^dist\/types\/index\.d\.ts$/,
];

/** What comes with the driver and with the drop-in. */
const OF_MONGODB = [
  "mongodb",
  "@mongodb-js",
  "@types",
  "bson",
  "memory-pager",
  "mongodb-connection-string-url",
  "punycode",
  "sparse-bitfield",
  "tr46",
  "webidl-conversions",
  "whatwg-url",
];
const OF_SQLITE = ["@photostructure", "node-addon-api", "node-gyp-build"];

interface Manifest {
  readonly man: readonly string[];
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: { readonly ".": { readonly types: string; readonly default: string } };
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

function manifest(): Manifest {
  const text = readFileSync(join(shipped().project, "node_modules", "keyctl", "package.json"), "utf8");
  return JSON.parse(text) as Manifest;
}

function digestsBelow(folder: string): Readonly<Record<string, string>> {
  const files = Object.entries(filesBelow(folder));
  return Object.fromEntries(files.map(([path, bytes]) => [path, hash("sha256", bytes)]));
}

/** Runs this copy of the package. */
function run(folder: string, home: Home, args: readonly string[]) {
  return keyctl(home, args, { env: { OPENROUTER_API_KEY: KEY } }, join(folder, "bin", "keyctl.cjs"));
}

describe("the tarball", () => {
  it("holds what runs, its types and its papers, and nothing else", () => {
    const { files } = shipped();
    expect(files.filter((path) => !SHIPPED.some((pattern) => pattern.test(path)))).toEqual([]);
    const unseen = SHIPPED.filter((pattern) => !files.some((path) => pattern.test(path)));
    expect(unseen).toEqual([]);
  });

  it("is what the tests run", () => {
    expect(BIN.startsWith(shipped().project)).toBe(true);
    expect(readFileSync(BIN, "utf8")).toBe(readFileSync(join(ROOT, "bin", "keyctl.cjs"), "utf8"));
  });

  it("names no folder of the machine that packed it", () => {
    const texts = filesBelow(join(shipped().project, "node_modules", "keyctl"));
    expect(Object.keys(texts).length).toBe(shipped().files.length);
    const naming = Object.entries(texts).filter(([, bytes]) => bytes.includes(ROOT));
    expect(naming.map(([path]) => path)).toEqual([]);
  });

  it("brings what the library uses, SQLite for a Node that has none, and what these bring themselves", () => {
    const packages = readdirSync(join(shipped().project, "node_modules")).filter((name) => !name.startsWith("."));
    const { dependencies, optionalDependencies } = manifest();
    expect([dependencies, optionalDependencies].map((all) => Object.keys(all))).toEqual([
      ["mongodb", "undici"],
      ["@photostructure/sqlite"],
    ]);
    expect(["keyctl", "undici", ...OF_MONGODB, ...OF_SQLITE]).toEqual(expect.arrayContaining(packages));
  });

  it("has a manifest whose every file is there, and whose scripts need nothing that is not", async () => {
    const { bin, man, exports, scripts } = manifest();
    const named = [...man, ...Object.values(bin), exports["."].types, exports["."].default];
    const { files } = shipped();
    expect(named.filter((path) => !files.includes(path.replace(/^\.\//, "")))).toEqual([]);
    // What npm runs by itself in a folder that somebody has unpacked.
    const folder = ownCopy(emptyHome());
    const { exitCode, stderr } = await execa("npm", ["run", "--silent", "prepare"], { cwd: folder, reject: false });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(Object.keys(scripts).filter((name) => /^(?:pre|post)?(?:install|pack|publish)/.test(name))).toEqual([]);
  });
});

describe("the package in an empty project", () => {
  it("is a command of npx, under both of its names", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    symlinkSync(join(shipped().project, "node_modules"), join(home.work, "node_modules"));
    const outcomes = [];
    for (const name of ["keyctl", "openrouter-keyctl"]) {
      const { exitCode, stdout } = await execa("npx", [name, "sync", "--user", USER], onlyIn(home, {}));
      outcomes.push([exitCode, stdout]);
    }
    expect(outcomes).toEqual([
      [0, "***************b465 (source: key.txt)\n"],
      [0, "***************b465 (source: database)\n"],
    ]);
  });

  it("compiles the programs of the README and of docs/", async () => {
    const pages = Object.entries(filesBelow(join(shipped().project, "node_modules", "keyctl")))
      .filter(([path]) => path.endsWith(".md"))
      .map(([, bytes]) => String(bytes));
    const programs = pages.flatMap((text) =>
      Array.from(text.matchAll(/^```ts\n(.*?)^```$/gms), ([, source = ""]) => source),
    );
    expect(programs).toHaveLength(5);
    const named = programs.map((source, index) => [`program-${index}.mts`, source] as const);
    expect(await compile(emptyHome(), Object.fromEntries(named))).toBe("");
  });

  it("runs what its files say, also when one has changed to another of the same length", async () => {
    const home = emptyHome();
    const folder = ownCopy(home);
    const said = async () => (await run(folder, home, [])).stderr.split("\n")[0];
    expect([await said(), await said()]).toEqual(["error: no command given", "error: no command given"]);
    const main = join(folder, "dist", "tool", "main.cjs");
    const text = readFileSync(main, "utf8");
    const changed = text.replace("no command given", "no command TAKEN");
    expect([changed.length, changed === text]).toEqual([text.length, false]);
    writeFileSync(main, changed);
    expect(await said()).toBe("error: no command TAKEN");
  });

  it("looks at no cache that stands beside its files, and makes none", async () => {
    const home = emptyHome();
    const folder = ownCopy(home);
    const tool = join(folder, "dist", "tool");
    const cache = join(tool, `cache-${process.version}-${process.arch}`);
    mkdirSync(cache);
    for (const name of readdirSync(tool)) writeFileSync(join(cache, name.replace(".cjs", "")), `no code: ${name}`);
    const before = digestsBelow(folder);
    const { code, stdout } = await run(folder, home, ["sync", "--user", USER]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "***************b465 (source: environment)\n" });
    expect(await run(folder, home, ["get", "--user", USER, "--stored", "--reveal"])).toMatchObject({
      stdout: `${KEY}\n`,
    });
    expect(digestsBelow(folder)).toEqual(before);
  });
});
