import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { execa } from "execa";

/** Longer than any correct answer takes: a read that hangs ends here instead of blocking the run. */
const GIVE_UP_MS = 20_000;

/**
 * Evaluates `expression` in a separate process, as a user who must obey file permissions: root gives up its rights
 * after everything is loaded. The expression may await, and uses `subject`, the exports of this file of src/. Its value
 * is returned through JSON.
 */
export async function asOrdinaryUser(sourceFile: string, expression: string): Promise<unknown> {
  const script = `${await bundled(sourceFile)}
    if (process.getuid() === 0) {
      process.setgroups([]);
      process.setgid(65534);
      process.setuid(65534);
    }
    (async () => console.log(JSON.stringify(await (${expression}))))();`;
  const { stdout } = await execa(process.execPath, ["-e", script], { timeout: GIVE_UP_MS });
  return JSON.parse(stdout);
}

const bundles = new Map<string, Promise<string>>();

function bundled(sourceFile: string): Promise<string> {
  const known = bundles.get(sourceFile) ?? bundle(sourceFile);
  bundles.set(sourceFile, known);
  return known;
}

async function bundle(sourceFile: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`../../../src/${sourceFile}`, import.meta.url))],
    bundle: true,
    write: false,
    platform: "node",
    format: "iife",
    globalName: "subject",
  });
  return outputFiles[0]?.text ?? "";
}
