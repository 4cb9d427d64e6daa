import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";

/** A file of the project: its path from the root, and its imports as paths from the root or names of packages. */
export interface SourceFile {
  readonly path: string;
  readonly imports: readonly string[];
}

/** Every form of import: static (also of types), dynamic, as a type, and `require`. */
const SPECIFIER =
  /(?:\b(?:import|export)\s+(?:type\s+)?(?:[\w$*{},\s]+?\s+from\s+)?|\bimport\s*\(\s*|\brequire\s*\(\s*|\bgetBuiltinModule\s*\(\s*)["']([^"']+)["']/g;

export function importsIn(path: string, text: string): readonly string[] {
  return Array.from(text.matchAll(SPECIFIER), ([, specifier = ""]) =>
    specifier.startsWith(".") ? posix.join(posix.dirname(path), specifier) : specifier,
  );
}

/** All `.ts` and `.cjs` files of src/ and bin/. */
export function sourceFiles(): readonly SourceFile[] {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  return ["src", "bin"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .map((name) => posix.join(folder, name.replaceAll("\\", "/")))
      .filter((path) => /\.(ts|cjs)$/.test(path))
      .map((path) => ({ path, imports: importsIn(path, readFileSync(join(root, path), "utf8")) })),
  );
}
