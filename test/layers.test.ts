import { describe, expect, it } from "vitest";
import { importsIn, sourceFiles } from "./support/source-imports.ts";
import type { SourceFile } from "./support/source-imports.ts";

/**
 * Who may import whom, beside the files of their own floor's folder. Adapters are blind to each other,
 * and the core knows nobody.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  bin: ["main"],
  main: ["compose", "config", "cli", "core", "package.json"],
  index: ["compose", "config", "encryption", "core"],
  compose: ["config", "cli", "stores", "sources", "openrouter", "encryption", "files", "core"],
  config: ["cli", "stores", "sources", "openrouter", "encryption", "files", "core"],
  cli: ["files", "core"],
  stores: ["files", "core"],
  sources: ["files", "core"],
  openrouter: ["files", "core"],
  encryption: ["files", "core"],
  files: ["core"],
  core: [],
};

/** What only these floors may use; everybody else does without. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  commander: ["main", "cli"],
  chalk: ["cli"],
  ora: ["cli"],
  "string-width": ["cli"],
  "@inquirer/prompts": ["cli"],
  mongodb: ["stores"],
  undici: ["openrouter"],
  "node:sqlite": ["stores"],
  "node:fs": ["compose", "config", "cli", "stores", "sources", "encryption", "files"],
  "node:child_process": ["cli", "encryption", "stores"],
};
const IN_THE_CORE: readonly string[] = ["node:crypto"];

/** `core` for src/core/log.ts, `main` for src/main.ts, and for built files the floor that they are built from. */
function floorOf(path: string): string {
  const [top = "", ...rest] = path.split("/");
  const built = /^dist\/tool\/(\w+)/.exec(path)?.[1];
  if (built !== undefined) return built;
  if (top !== "src") return top;
  return (rest[0] ?? "").replace(/\.ts$/, "");
}

/** One sentence for each import that the floors forbid. */
function offences(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap(({ path, imports }) => {
    const floor = floorOf(path);
    return imports
      .filter((imported) =>
        /^(src|dist|bin)\/|^package\.json$/.test(imported) ? !mayImport(floor, imported) : !mayUse(floor, imported),
      )
      .map((imported) => `${path} imports ${imported}`);
  });
}

function mayImport(floor: string, path: string): boolean {
  return floorOf(path) === floor || (MAY_IMPORT[floor] ?? []).includes(floorOf(path));
}

function mayUse(floor: string, name: string): boolean {
  if (floor === "core") return IN_THE_CORE.includes(name);
  const users = PACKAGES[name];
  return users === undefined ? name.startsWith("node:") : users.includes(floor);
}

describe("the floors of src/", () => {
  it("import only what lies below them", () => {
    expect(offences(sourceFiles())).toEqual([]);
  });

  it("are all known", () => {
    expect([...new Set(sourceFiles().map(({ path }) => floorOf(path)))].toSorted()).toEqual(
      Object.keys(MAY_IMPORT).toSorted(),
    );
  });

  it("are walked for real: every file is there, and what it imports is there", () => {
    const files = sourceFiles();
    const paths = new Set(files.map(({ path }) => path));
    expect(paths.size).toBeGreaterThan(40);
    const named = files.flatMap(({ imports }) => imports).filter((path) => path.startsWith("src/"));
    expect(named.length).toBeGreaterThan(paths.size);
    expect(named.filter((path) => !paths.has(path))).toEqual([]);
    // Nothing stands alone: what nobody imports is a way in.
    const imported = new Set(named);
    expect([...paths].filter((path) => !imported.has(path)).toSorted()).toEqual([
      "bin/keyctl.cjs",
      "src/index.ts",
      "src/main.ts",
    ]);
  });
});

describe("the walker", () => {
  it.each([
    ["the core on a terminal", "src/core/log.ts", `import { Terminal } from "../cli/terminal.ts";`],
    ["the core on a type of an adapter", "src/core/ports.ts", `import type { Row } from "../stores/sqlite-store.ts";`],
    ["the core on files, on use", "src/core/manager.ts", `const { a } = await import("../files/decode-text.ts");`],
    ["the core on a type in place", "src/core/manager.ts", `type A = import("../config.ts").Config;`],
    ["the core on node:fs", "src/core/manager.ts", `import { readFileSync } from "node:fs";`],
    ["the core on node:fs/promises", "src/core/manager.ts", `import { readFile } from "node:fs/promises";`],
    ["the core on fs", "src/core/manager.ts", `import fs from "fs";`],
    ["the core on commander", "src/core/manager.ts", `import { Command } from "commander";`],
    ["the core on chalk", "src/core/log.ts", `import { Chalk } from "chalk";`],
    ["the core on ora", "src/core/log.ts", `import ora from "ora";`],
    ["the core on inquirer", "src/core/log.ts", `import { input } from "@inquirer/prompts";`],
    ["the core on undici", "src/core/manager.ts", `import { fetch } from "undici";`],
    ["the core on mongodb", "src/core/ports.ts", `import type { Document } from "mongodb";`],
    ["the core on SQLite", "src/core/ports.ts", `import type { DatabaseSync } from "node:sqlite";`],
    ["the core on SQLite, by the process", "src/core/ports.ts", `process.getBuiltinModule("node:sqlite");`],
    ["one adapter on another", "src/stores/sqlite-store.ts", `import { openJwe } from "../encryption/jwe.ts";`],
    ["one adapter on another, again exported", "src/sources/key-file.ts", `export * from "../stores/absent-store.ts";`],
    ["a store on undici", "src/stores/mongo-store.ts", `import { Agent } from "undici";`],
    ["one adapter on OpenRouter", "src/stores/mongo-store.ts", `import { openRouter } from "../openrouter/client.ts";`],
    ["an adapter on the configuration", "src/encryption/sealer.ts", `import { readConfig } from "../config.ts";`],
    ["files on an adapter", "src/files/decode-text.ts", `import { a } from "../sources/key-file.ts";`],
    ["a command on the composition", "src/cli/commands/get.ts", `import { compose } from "../../compose.ts";`],
    [
      "a command on a store",
      "src/cli/commands/list.ts",
      `import {\n  sqliteStore,\n} from "../../stores/sqlite-store.ts";`,
    ],
    ["the configuration on the composition", "src/config.ts", `import { compose } from "./compose.ts";`],
    ["the library on the tool", "src/index.ts", `import { main } from "./main.ts";`],
    ["the library on a terminal", "src/index.ts", `import { Terminal } from "./cli/terminal.ts";`],
    ["main on an adapter", "src/main.ts", `import { keyFile } from "./sources/key-file.ts";`],
    ["bin on the core", "bin/keyctl.cjs", `require("../dist/tool/core-manager.cjs");`],
    ["a store on a package that nobody may use", "src/stores/sqlite-store.ts", `import x from "better-sqlite3";`],
    ["a source on commander", "src/sources/key-file.ts", `import { Command } from "commander";`],
  ])("sees %s", (_name, path, text) => {
    expect(offences([{ path, imports: importsIn(path, text) }])).toHaveLength(1);
  });

  it.each([
    ["main on a command", "src/main.ts", `import { Terminal } from "./cli/terminal.ts";`],
    ["a command on the core", "src/cli/commands/get.ts", `import type { SyncResult } from "../../core/results.ts";`],
    ["a command on its neighbour", "src/cli/commands/get.ts", `import { addSelection } from "../selection.ts";`],
    ["the composition on a store", "src/compose.ts", `const a = await import("./stores/sqlite-store.ts");`],
    ["the composition on OpenRouter", "src/compose.ts", `import { openRouter } from "./openrouter/client.ts";`],
    ["a source on files", "src/sources/key-file.ts", `import { decodeText } from "../files/decode-text.ts";`],
    ["the core on node:crypto", "src/core/api-key.ts", `import { createHash } from "node:crypto";`],
    ["bin on main", "bin/keyctl.cjs", `require("../dist/tool/main.cjs")`],
  ])("allows %s", (_name, path, text) => {
    expect(importsIn(path, text)).toHaveLength(1);
    expect(offences([{ path, imports: importsIn(path, text) }])).toEqual([]);
  });
});
