// node test/support/upgrading/pack-build.mjs <commit> <name>: stores the library of that commit as <name>.mjs.gz, next
// to this file. It is one file without dependencies: the unchanged program, small enough for the repository.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const [commit, name] = process.argv.slice(2);
const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("../../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "keyctl-pack-"));
try {
  const archive = execFileSync("git", ["archive", commit, "src", "package.json"], { cwd: root, maxBuffer: 1e8 });
  execFileSync("tar", ["-x", "-C", folder], { input: archive });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const { outputFiles } = await build({
    entryPoints: [join(folder, "src", "index.ts")],
    absWorkingDir: folder,
    bundle: true,
    minify: true,
    platform: "node",
    target: "node20.19",
    format: "esm",
    legalComments: "none",
    external: ["mongodb", "undici"],
    write: false,
  });
  writeFileSync(join(here, `${name}.mjs.gz`), gzipSync(outputFiles[0].contents, { level: 9 }));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
