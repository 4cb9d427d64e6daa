import { copyFileSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
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
};

/** A file of the dist/ that is there. */
const EARLIER = Buffer.from("of an earlier build");

/** A checkout with these sources. */
function checkout(sources: Readonly<Record<string, string>>): string {
  const { work } = emptyHome();
  for (const name of ["build.mjs", "package.json", "tsconfig.json", "tsconfig.build.json"]) {
    copyFileSync(join(ROOT, name), join(work, name));
  }
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

describe("the build", () => {
  it("names each file of the tool by its place in src/, and takes the place of the dist/ that is there", async () => {
    const folder = checkout(SMALL);
    write(folder, { "dist/tool/load.cjs": EARLIER, "dist/tool/cache-v20.0.0-x64/main": "" });
    expect(await build(folder)).toEqual({ code: 0, stderr: "" });
    expect(Object.keys(built(folder)).toSorted()).toEqual([
      "library/index.js",
      "tool/cli-a-b.cjs",
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
});
