import { hash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { filesBelow } from "../support/fixtures/leak-canaries.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { compile, shipped } from "../support/programs/installed-library.ts";
import { BIN, keyctl, onlyIn } from "../support/programs/keyctl.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const KEY = `sk-or-v1-${"0".repeat(60)}b465`;
const USER = "68e228e87f803a11a4e23045";

/** What may be in the tarball. */
const SHIPPED = [
  /^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md|build\.mjs|bin\/keyctl\.cjs)$/,
  /^docs\/[\w-]+\.md$/,
  /^dist\/tool\/[a-z-]+\.cjs$/,
  /^dist\/library\/[a-z-]+(?:-[A-Z0-9]+)?\.js$/,
  /^dist\/types\/(?:[a-z-]+\/)*[a-z-]+\.d\.ts$/,
];

/** The installed package, in a project of its own that may be changed. */
function ownCopy({ work }: Home): string {
  const modules = join(work, "node_modules");
  mkdirSync(modules);
  const installed = join(shipped().project, "node_modules");
  for (const name of readdirSync(installed).filter((each) => each.startsWith("@"))) {
    symlinkSync(join(installed, name), join(modules, name));
  }
  cpSync(join(installed, "keyctl"), join(modules, "keyctl"), { recursive: true });
  return join(modules, "keyctl");
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

  it("brings no other package but SQLite for a Node that has none", () => {
    const packages = readdirSync(join(shipped().project, "node_modules")).filter((name) => !name.startsWith("."));
    // The last two are what its drop-in names as its own.
    expect(["keyctl", "@photostructure", "node-addon-api", "node-gyp-build"]).toEqual(expect.arrayContaining(packages));
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
    expect(programs).toHaveLength(2);
    const named = programs.map((source, index) => [`program-${index}.mts`, source] as const);
    expect(await compile(emptyHome(), Object.fromEntries(named))).toBe("");
  });

  it("runs what its files say, also when one has changed to another of the same length", async () => {
    const home = emptyHome();
    const folder = ownCopy(home);
    const said = async () => (await run(folder, home, [])).stderr.split("\n")[0];
    expect([await said(), await said()]).toEqual(["error: no command is given", "error: no command is given"]);
    const main = join(folder, "dist", "tool", "main.cjs");
    const text = readFileSync(main, "utf8");
    const changed = text.replace("no command is given", "no command is TAKEN");
    expect([changed.length, changed === text]).toEqual([text.length, false]);
    writeFileSync(main, changed);
    expect(await said()).toBe("error: no command is TAKEN");
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
