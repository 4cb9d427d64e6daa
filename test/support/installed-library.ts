import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { Home } from "./home.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface ProgramRun {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Puts the package where `npm install` of a folder puts it: `import "keyctl"` then goes through its exports. */
function installLibrary({ work }: Home): void {
  if (existsSync(join(work, "node_modules"))) return;
  mkdirSync(join(work, "node_modules", "@types"), { recursive: true });
  symlinkSync(ROOT, join(work, "node_modules", "keyctl"));
  symlinkSync(join(ROOT, "node_modules", "@types", "node"), join(work, "node_modules", "@types", "node"));
}

/** Runs a user's program (`.mjs` or `.cjs`) that has the library installed; it must end by itself. */
export async function runProgram(
  home: Home,
  name: "program.mjs" | "program.cjs",
  source: string,
  environment: NodeJS.ProcessEnv = {},
): Promise<ProgramRun> {
  installLibrary(home);
  writeFileSync(join(home.work, name), source);
  // Node 22 calls its own SQLite experimental; the library leaves that to who uses it.
  const result = await execa(process.execPath, ["--disable-warning=ExperimentalWarning", name], {
    cwd: home.work,
    extendEnv: false,
    env: { ...home.environment, ...environment },
    reject: false,
    timeout: 20_000,
  });
  return { code: result.exitCode, stdout: result.stdout, stderr: result.stderr };
}

/** What the compiler says of these programs of a user, by their names; empty when it has nothing to say. */
export async function compile(home: Home, programs: Readonly<Record<string, string>>): Promise<string> {
  installLibrary(home);
  for (const [name, source] of Object.entries(programs)) writeFileSync(join(home.work, name), source);
  const compiler = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const options = "--noEmit --strict --target es2022 --module nodenext --moduleResolution nodenext --types node".split(
    " ",
  );
  const { stdout } = await execa(process.execPath, [compiler, ...options, ...Object.keys(programs)], {
    cwd: home.work,
    reject: false,
  });
  return stdout;
}
