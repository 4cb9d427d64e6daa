import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { inject } from "vitest";
import type { Home } from "../home/home.ts";
import type { Shipped } from "./shipped-setup.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

export interface ProgramRun {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Installs the package into the project of this home: `import "keyctl"` finds the package from the tarball. `others` are
 * packages of the checkout.
 */
export function installLibrary({ work }: Home, others: readonly string[] = []): void {
  const modules = join(work, "node_modules");
  if (existsSync(join(modules, "keyctl"))) return;
  mkdirSync(join(modules, "@types"), { recursive: true });
  symlinkSync(join(shipped().project, "node_modules", "keyctl"), join(modules, "keyctl"));
  for (const name of ["@types/node", ...others]) symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
}

/** A copy of the installed package, in a project of its own. The test may change it. */
export function ownCopy({ work }: Home): string {
  const modules = join(work, "node_modules");
  mkdirSync(modules);
  const installed = join(shipped().project, "node_modules");
  for (const name of readdirSync(installed).filter((each) => each !== "keyctl" && !each.startsWith("."))) {
    symlinkSync(join(installed, name), join(modules, name));
  }
  cpSync(join(installed, "keyctl"), join(modules, "keyctl"), { recursive: true });
  return join(modules, "keyctl");
}

/** The package under test. Throws in a run that tests the checkout. */
export function shipped(): Shipped {
  const there = inject("shipped");
  if (there === undefined) throw new Error("what is shipped is tested by `npm run test:shipped`");
  return there;
}

/** Runs a user's program (`.mjs` or `.cjs`) with the library installed. The program must end by itself. */
export async function runProgram(
  home: Home,
  name: "program.mjs" | "program.cjs",
  source: string,
  environment: NodeJS.ProcessEnv = {},
): Promise<ProgramRun> {
  installLibrary(home);
  writeFileSync(join(home.work, name), source);
  // Node 22 warns that its SQLite is experimental. The library does not suppress that warning.
  const result = await execa(process.execPath, ["--disable-warning=ExperimentalWarning", name], {
    cwd: home.work,
    extendEnv: false,
    env: { ...home.environment, ...environment },
    reject: false,
    timeout: 20_000,
  });
  return { code: result.exitCode, stdout: result.stdout, stderr: result.stderr };
}

/** The options of a Node program. Every program is compiled as strictly as the compiler can. */
const AS_NODENEXT = "--module nodenext --types node";
const STRICTLY =
  "--noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --skipLibCheck false --target es2022";

/** The compiler's messages about these programs (name → source); empty without messages. */
export async function compile(
  home: Home,
  programs: Readonly<Record<string, string>>,
  options = AS_NODENEXT,
): Promise<string> {
  installLibrary(home);
  for (const [name, source] of Object.entries(programs)) writeFileSync(join(home.work, name), source);
  const compiler = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const words = `${STRICTLY} ${options}`.split(" ");
  const { stdout } = await execa(process.execPath, [compiler, ...words, ...Object.keys(programs)], {
    cwd: home.work,
    reject: false,
  });
  return stdout;
}
