import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { ENTER, programOnTerminal } from "../support/programs/pseudo-terminal.ts";
import { BIN, onlyIn } from "../support/programs/keyctl.ts";
import type { Block } from "./pages.ts";
import type { Scene } from "./scenes.ts";

export interface BlockRun {
  readonly code: number | null;
  /** Standard output and standard error, as they came. */
  readonly output: string;
}

/** Runs a block as a person would: `console` on a terminal, `sh` as in a script, and with questions to answer on a terminal. */
export async function runBlock(block: Block, scene: Scene): Promise<BlockRun> {
  const { home } = scene;
  const script = join(home.folder, "block.sh");
  writeFileSync(script, placed(commandsOf(block), scene));
  const bin = join(home.folder, "bin");
  mkdirSync(bin, { recursive: true });
  if (!existsSync(join(bin, "keyctl"))) symlinkSync(BIN, join(bin, "keyctl"));
  // In a clone, `npx keyctl` is this very program.
  writeFileSync(join(bin, "npx"), '#!/bin/sh\nexec "$@"\n');
  chmodSync(join(bin, "npx"), 0o755);
  const env = { ...scene.env, PATH: `${bin}:${dirname(process.execPath)}:${process.env["PATH"]}` };
  const { answers } = block.terms;
  if (block.language === "console" || answers.length > 0) {
    const typed = answers.map(({ to, type }) => ({ to, type: `${type}${ENTER}` }));
    const { code, screen } = await programOnTerminal(home, ["bash", "-eu", script], typed, env);
    return { code, output: screen };
  }
  const { exitCode, all } = await execa("bash", ["-euo", "pipefail", script], onlyIn(home, { env, all: true }));
  return { code: exitCode ?? null, output: String(all) };
}

/** What is typed: of a `console` block the lines behind its prompts. */
function commandsOf({ language, text }: Block): string {
  if (language !== "console") return text;
  return Array.from(text.matchAll(/^\$ ((?:.*\\\n)*.*)$/gm), ([, command]) => `${command}\n`).join("");
}

/** What is shown: of a `console` block the other lines. */
export function shownLines({ text }: Block): readonly string[] {
  const lines = text.replaceAll(/^\$ (?:.*\\\n)*.*$/gm, "").split("\n");
  return lines.filter((line) => line.trim() !== "");
}

/** The places of a server in the places of a test. */
function placed(text: string, { secrets, mongodb, home }: Scene): string {
  const here = text.replaceAll("/run/secrets/", `${secrets}/`).replaceAll("/srv/app/", `${home.work}/`);
  return mongodb === undefined ? here : here.replaceAll("mongodb://db.prod/keyctl", mongodb);
}

/** A line without what differs from run to run, and without the widths of columns. */
export function comparable(line: string, { home, mongodb }: Scene): string {
  return line
    .replaceAll(`${home.work}/`, "/srv/app/")
    .replaceAll(`${home.folder}/secrets/`, "/run/secrets/")
    .replaceAll(`${home.folder}/`, "/home/ann/")
    .replaceAll(mongodb?.replace(/\?.*/, "") ?? "\0", "mongodb://db.prod/keyctl")
    .replaceAll(/\*{15}[\w-]{4}/g, "<mask>")
    .replaceAll(/sk-or-v1-[\w-]+/g, "<key>")
    .replaceAll(/ending \w{4}\b/g, "ending <tail>")
    .replaceAll(/\b[0-9a-f]{64}\b/g, "<hash>")
    .replaceAll(/keyctl\/[0-9a-f]{16}\/\S+/g, "<name>")
    .replaceAll(/\d{4}-\d\d-\d\d(?:T[\d:.]+Z)?/g, "<date>")
    .replaceAll(/\b\d+(?:\.\d+)? ?(?:ms|s|m|d|seconds?|days?)\b/g, "<time>")
    .replaceAll(/, new$/g, ", <time> old")
    .replaceAll(/"(elapsed_ms|generation)":\d+/g, '"$1":<number>')
    .replaceAll(/(keyctl|Node|SQLite) \d+\.\d+\.\d+/g, "$1 <version>")
    .replaceAll(/-{2,}/g, "--")
    .replaceAll(/\s+/g, " ")
    .trim();
}
