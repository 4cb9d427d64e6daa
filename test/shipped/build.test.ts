import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { filesBelow } from "../support/fixtures/leak-canaries.ts";
import { emptyHome } from "../support/home/home.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MAIN = `export const main = async (): Promise<object> => import("./cli/a-b.ts");\n`;
/** The sources of a very small tool and library. */
const SMALL = {
  "src/main.ts": MAIN,
  "src/cli/a-b.ts": "export const one = 1;\n",
  "src/index.ts": "export const two = 2;\n",
  "src/cli/terminal/hide-input.ts": "export const three = 3;\n",
  "src/cli/program.ts": `import { Command } from "commander";
    export const wholeProgram = async (version: string): Promise<Command> => new Command("keyctl").version(version);\n`,
  "src/cli/exit-codes.ts": `export const EXIT_CODE_MEANINGS = [["0", "done"]];\n`,
  "src/cli/variable-meanings.ts": `export const VARIABLES = [["HOME", "where people live"]];\n`,
};

/** A file of the dist/ that is there. */
const EARLIER = Buffer.from("of an earlier build");

/** A checkout with these sources. */
function checkout(sources: Readonly<Record<string, string>>): string {
  const { work } = emptyHome();
  for (const name of ["build.mjs", "package.json", "tsconfig.json", "tsconfig.build.json"]) {
    copyFileSync(join(ROOT, name), join(work, name));
  }
  cpSync(join(ROOT, "build"), join(work, "build"), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(work, "node_modules"));
  write(work, sources);
  return work;
}

function write(folder: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

async function build(folder: string, env: NodeJS.ProcessEnv = {}) {
  const { exitCode, stderr } = await execa(process.execPath, ["build.mjs"], { cwd: folder, env, reject: false });
  return { code: exitCode, stderr };
}

/** The files of dist/; nothing that a build leaves beside it. */
function built(folder: string) {
  expect(readdirSync(folder).filter((name) => name.startsWith(".dist"))).toEqual([]);
  return filesBelow(join(folder, "dist"));
}

/** A checkout with the sources that are there. */
function ownSources(): string {
  const folder = checkout({});
  for (const name of ["src", "bin"]) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  return folder;
}

/** The paths of files that are not the same in both. */
function differences(one: Readonly<Record<string, Buffer>>, other: Readonly<Record<string, Buffer>>) {
  const paths = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...paths].filter((path) => one[path] === undefined || other[path]?.equals(one[path]) !== true);
}

/** The packages that the bill of materials of this checkout lists. */
function listed(folder: string): readonly string[] {
  const text = readFileSync(join(folder, "dist", "sbom.cdx.json"), "utf8");
  return (JSON.parse(text) as { components: readonly { name: string }[] }).components.map(({ name }) => name);
}

describe("the build", () => {
  it("names each file of the tool by its place in src/, and takes the place of the dist/ that is there", async () => {
    const folder = checkout(SMALL);
    write(folder, { "dist/tool/load.cjs": EARLIER, "dist/tool/cache-v20.0.0-x64/main": "" });
    expect(await build(folder)).toEqual({ code: 0, stderr: "" });
    expect(Object.keys(built(folder)).toSorted()).toEqual([
      "THIRD-PARTY-NOTICES.md",
      "library/index.js",
      "man/keyctl.1",
      "sbom.cdx.json",
      "tool/cli-a-b.cjs",
      "tool/cli-terminal-hide-input.cjs",
      "tool/main.cjs",
      "types/index.d.ts",
    ]);
  });

  it.each([
    [
      "two files would have one name",
      {
        "src/main.ts": `${MAIN}export const other = async (): Promise<object> => import("./cli-a/b.ts");\n`,
        "src/cli-a/b.ts": "export const three = 3;\n",
      },
      "two files would be dist/tool/cli-a-b.cjs: src/cli/a-b.ts and src/cli-a/b.ts",
    ],
    ["a file is not there", { "src/main.ts": MAIN.replace("a-b", "c") }, 'Could not resolve "./cli/c.ts"'],
    ["a type is wrong", { "src/index.ts": "export const two: string = 2;\n" }, "the types were not built"],
  ])("fails and leaves the dist/ that is there when %s", async (_, sources, problem) => {
    const folder = checkout({ ...SMALL, ...sources });
    write(folder, { "dist/tool/main.cjs": EARLIER });
    const { code, stderr } = await build(folder);
    expect(code).toBe(1);
    expect(stderr).toContain(problem);
    expect(built(folder)).toEqual({ "tool/main.cjs": EARLIER });
  });

  it.each([
    ["src/", "src", "there is no src/ here"],
    ["esbuild", "node_modules", "esbuild is not installed"],
  ])(
    "refuses without %s, and changes nothing; who only installs goes on with the dist/ that is there",
    async (_, name, reason) => {
      const folder = checkout(SMALL);
      rmSync(join(folder, name), { recursive: true });
      const missing = `keyctl: ${reason}, so nothing is built; dist/ is missing`;
      expect(await build(folder)).toEqual({ code: 1, stderr: missing });
      expect(await build(folder, { npm_lifecycle_event: "prepare" })).toEqual({ code: 1, stderr: missing });
      write(folder, { "dist/tool/main.cjs": EARLIER });
      const before = readdirSync(folder);
      const asItWas = `keyctl: ${reason}, so nothing is built; dist/ is as it was`;
      expect(await build(folder)).toEqual({ code: 1, stderr: asItWas });
      expect(await build(folder, { npm_lifecycle_event: "prepare" })).toEqual({ code: 0, stderr: asItWas });
      expect([readdirSync(folder), built(folder)]).toEqual([before, { "tool/main.cjs": EARLIER }]);
    },
  );

  it("is the same, byte for byte, when it is made again, and in another folder", async () => {
    const [here, there] = [ownSources(), ownSources()];
    for (const folder of [here, there]) expect(await build(folder)).toEqual({ code: 0, stderr: "" });
    expect(Object.keys(built(here)).length).toBeGreaterThan(80);
    expect(differences(built(here), built(there))).toEqual([]);
    expect(await build(here)).toEqual({ code: 0, stderr: "" });
    expect(differences(built(here), built(there))).toEqual([]);
  });

  it("lists each package of which code is in dist/, those that a package brings as well, and no other", async () => {
    const folder = checkout({
      ...SMALL,
      "src/cli/a-b.ts": `import { Chalk } from "chalk";\nexport const one = new Chalk();\n`,
      "src/main.ts": `${MAIN}export const width = async (): Promise<object> => import("string-width");\n`,
    });
    expect(await build(folder)).toEqual({ code: 0, stderr: "" });
    expect(listed(folder)).toEqual(["ansi-regex", "chalk", "get-east-asian-width", "string-width", "strip-ansi"]);
  });

  it("lists nothing that the library leaves to its dependencies", async () => {
    const folder = checkout({
      ...SMALL,
      "src/index.ts": `import { BSON } from "mongodb";\nimport { Agent } from "undici";\nexport const two = [BSON, Agent].length;\n`,
    });
    expect(await build(folder)).toEqual({ code: 0, stderr: "" });
    expect(listed(folder)).toEqual([]);
  });

  it("shows in its types what the entry exports and what that is made of, under names that do not clash", async () => {
    const folder = checkout({
      ...SMALL,
      "src/index.ts": [
        `import { Box as Container } from "./box.ts";`,
        "/** Of a caller. */",
        "export type Box = Container;",
        `export { make } from "./box.ts";`,
      ].join("\n"),
      "src/box.ts": [
        `import type { Size } from "./size.ts";`,
        "export class Box {",
        "  readonly size: Size;",
        "  /** @internal */",
        "  constructor(size: Size, _secret: Hidden) { this.size = size; }",
        "}",
        "interface Hidden { readonly inside: true }",
        "export interface Unused { readonly size: Size }",
        "/** Makes one. */",
        "export function make(Size: Size) { return new Box(Size, { inside: true }); }",
      ].join("\n"),
      "src/size.ts": "/** In metres. */\nexport type Size = number;\n",
    });
    expect(await build(folder)).toEqual({ code: 0, stderr: "" });
    expect(built(folder)["types/index.d.ts"]?.toString()).toBe(
      [
        "/** Of a caller. */",
        "export type Box = Container;",
        "declare class Container {",
        "    readonly size: Size;",
        "}",
        "/** In metres. */",
        "type Size = number;",
        "/** Makes one. */",
        "export declare function make(Size: Size): Container;",
        "export {};",
        "",
      ].join("\n"),
    );
  });

  it.each([
    ["two types would have one name", "./a.ts", "two declarations would be called Size"],
    ["a type comes from a package", "chalk", "needs chalk"],
  ])("fails when %s", async (_, from, problem) => {
    const folder = checkout({
      ...SMALL,
      "src/index.ts": `export type { A } from "./b.ts";\n`,
      "src/b.ts": `import type { ${from === "chalk" ? "ChalkInstance as B" : "B"} } from "${from}";\ninterface Size { b: B }\nexport type A = Size;\n`,
      "src/a.ts": "interface Size { a: 1 }\nexport type B = Size;\n",
    });
    const { code, stderr } = await build(folder);
    expect(code).toBe(1);
    expect(stderr).toContain(problem);
  });
});
