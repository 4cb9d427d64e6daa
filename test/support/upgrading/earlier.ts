import { existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { execa } from "execa";
import type { Home } from "../home/home.ts";

/**
 * Earlier builds of the library: the last build with each earlier schema of the embedded store. Each is the complete program of its time, and runs with today's driver and SQLite. `pack-build.mjs`
 * creates them.
 */
export const BUILDS = ["schema-1", "schema-2", "schema-3", "schema-4"] as const;
export type Build = (typeof BUILDS)[number];

const HERE = fileURLToPath(new URL(".", import.meta.url));
const MODULES = fileURLToPath(new URL("../../../node_modules", import.meta.url));

/**
 * Starts a program in this home. In its source, `keyctl` is that build and `said` iterates the lines of standard input.
 */
export function earlier(home: Home, build: Build, source: string, environment: NodeJS.ProcessEnv = {}) {
  const modules = join(home.work, "node_modules");
  if (!existsSync(modules)) symlinkSync(MODULES, modules);
  writeFileSync(join(home.work, `${build}.mjs`), gunzipSync(readFileSync(join(HERE, `${build}.mjs.gz`))));
  const program = `import * as keyctl from "./${build}.mjs";
    import { createInterface } from "node:readline";
    const said = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
    const tell = (value) => console.log(JSON.stringify(value));
    ${source}
    process.exit(0);`;
  writeFileSync(join(home.work, "earlier.mjs"), program);
  return execa(process.execPath, ["--disable-warning=ExperimentalWarning", "earlier.mjs"], {
    cwd: home.work,
    extendEnv: false,
    env: { ...home.environment, ...environment },
    reject: false,
    timeout: 30_000,
  });
}

/** The lines that such a program printed, parsed as JSON. The program must succeed. */
export async function told(running: ReturnType<typeof earlier>): Promise<readonly unknown[]> {
  const { exitCode, stdout, stderr } = await running;
  if (exitCode !== 0) throw new Error(`the earlier build ended with ${exitCode}: ${stderr}`);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);
}
