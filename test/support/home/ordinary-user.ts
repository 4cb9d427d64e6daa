import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { execa } from "execa";

/** Longer than any honest answer takes: a read that hangs ends here instead of holding up the run. */
const GIVE_UP_MS = 20_000;

/**
 * What `expression` is worth in a process of its own, as a user whom file permissions bind: root gives up its rights
 * after everything is loaded. It may await and uses `subject`, the exports of this file of src/; its value comes back as JSON.
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
