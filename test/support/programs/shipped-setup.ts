import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { TestProject } from "vitest/node";

/** The package as packed by npm, installed into an empty project. */
export interface Shipped {
  readonly tarball: string;
  /** The paths in the tarball, without the prefix `package/`. */
  readonly files: readonly string[];
  /** The project: its node_modules holds only the package and its dependencies. */
  readonly project: string;
}

declare module "vitest" {
  interface ProvidedContext {
    /** Undefined in a run that tests the checkout. */
    readonly shipped?: Shipped;
  }
}

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/**
 * Vitest's global set-up for the tests of the package: `npm pack` builds and packs it, and all tests share one install.
 */
export default async function setUp({ provide }: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-shipped-"));
  // Tests run programs as other users, who need access to this folder.
  chmodSync(folder, 0o755);
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    provide("shipped", await install(folder));
  } catch (thrown) {
    remove();
    throw thrown;
  }
  return remove;
}

async function install(folder: string): Promise<Shipped> {
  const packed = await execa("npm", ["pack", "--json", "--pack-destination", folder], { cwd: ROOT, stderr: "inherit" });
  // The output of the build comes first.
  const [{ filename, files }] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf("[\n"))) as [Packed];
  const tarball = join(folder, filename);
  const project = join(folder, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true }));
  await execa("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], { cwd: project });
  return { tarball, project, files: files.map(({ path }) => path) };
}

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}
