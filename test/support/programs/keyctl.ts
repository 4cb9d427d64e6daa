import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { Options } from "execa";
import { inject } from "vitest";
import type { Home } from "../home/home.ts";

const PROJECT = inject("shipped")?.project;

/** The tool under test: the installed one if the run tests the package, else the one of this checkout. */
export const BIN =
  PROJECT === undefined
    ? fileURLToPath(new URL("../../../bin/keyctl.cjs", import.meta.url))
    : join(PROJECT, "node_modules", "keyctl", "bin", "keyctl.cjs");

export interface Run {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** The `[KeyManager]` lines of stderr, each with its line end. */
  readonly log: string;
}

/** The options for a process that sees only this home's environment, and whose failure is a result. */
export function onlyIn(home: Home, options: Options) {
  return {
    cwd: home.work,
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
    input: "",
    ...options,
    env: { ...home.environment, ...options.env },
  } satisfies Options;
}

/** Runs the built tool as a separate process, with only this home's environment. */
export async function keyctl(home: Home, args: readonly string[], options: Options = {}, bin = BIN): Promise<Run> {
  const result = await execa(process.execPath, [bin, ...args], onlyIn(home, options));
  const stderr = String(result.stderr);
  return {
    code: result.exitCode,
    signal: result.signal,
    stdout: String(result.stdout),
    stderr,
    log: logOf(stderr),
  };
}

export function logOf(stderr: string): string {
  return stderr
    .split(/(?<=\n)/)
    .filter((line) => line.startsWith("[KeyManager] "))
    .join("");
}
