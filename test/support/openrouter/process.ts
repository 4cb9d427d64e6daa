import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { execa } from "execa";
import { onTestFinished } from "vitest";
import { CANARIES } from "../fixtures/leak-canaries.ts";

/** Runs every call in a separate process. Returns the status of each call and the whole output. */
export async function askEverything(url: string, environment: Readonly<Record<string, string>> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-openrouter-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const outfile = join(folder, "child.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "child.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    // undici is CommonJS and loads Node's modules with require().
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  const env = {
    PATH: process.env["PATH"],
    TEST_URL: url,
    TEST_KEY: CANARIES.key,
    TEST_MANAGEMENT_KEY: CANARIES["management key"],
    ...environment,
  };
  const { stdout, stderr } = await execa(process.execPath, [outfile], { env, extendEnv: false, cwd: folder });
  // The process prints one such line for each call.
  const lines = stdout.split("\n").map((line) => JSON.parse(line) as { name: string; status: string });
  return { statuses: Object.fromEntries(lines.map(({ name, status }) => [name, status])), stdout, stderr };
}
