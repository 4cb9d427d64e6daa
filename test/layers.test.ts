import { describe, expect, it } from "vitest";
import { importsIn, sourceFiles } from "./support/programs/source-imports.ts";
import type { SourceFile } from "./support/programs/source-imports.ts";

/**
 * Who may import whom, beside the files of their own floor's folder. Adapters are blind to each other,
 * and the core knows nobody.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  // Of the tool, only what must come before everything else.
  bin: ["main", "cli"],
  main: ["compose", "config", "cli", "core", "package.json"],
  index: ["compose", "config", "encryption", "library", "core"],
  library: ["core"],
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
  "string-width": ["cli"],
  "@inquirer/prompts": ["cli"],
  mongodb: ["stores"],
  undici: ["openrouter"],
  "node:sqlite": ["stores"],
  "node:fs": ["compose", "config", "cli", "stores", "sources", "encryption", "files"],
  "node:child_process": ["cli", "encryption", "stores"],
};
const IN_THE_CORE: readonly string[] = ["node:crypto", "node:events"];

/** Inside core/, from the lowest: a room imports from itself and from those before it. */
const ROOMS_OF_THE_CORE: readonly string[] = [
  "text",
  "model",
  "async",
  "ports",
  "context",
  "open-work",
  "history",
  "protocol",
  "sealing",
  "use case",
  "manager",
];
const USE_CASES: readonly string[] = ["resolve", "change", "validate", "reconcile", "copy", "doctor"];
/** What a use case may take from another one. */
const SHARED_BY_USE_CASES: readonly string[] = [
  "src/core/resolve/next-sync.ts",
  "src/core/validate/decide-verdict.ts",
  "src/core/validate/validate-key.ts",
];

/** `core` for src/core/model/log-event.ts, `main` for src/main.ts, and for built files the floor that they are built from. */
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

/** One sentence for each import inside core/ that runs up, or from one use case into another. */
function offencesInTheCore(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap(({ path, imports }) =>
    imports
      .filter((imported) => [path, imported].every((one) => one.startsWith("src/core/")))
      .filter((imported) => !mayImportInTheCore(path, imported))
      .map((imported) => `${path} imports ${imported}`),
  );
}

function mayImportInTheCore(path: string, imported: string): boolean {
  const [from, to] = [path, imported].map((one) => one.split("/")[2]?.replace(/\.ts$/, "") ?? "");
  if (from === to || SHARED_BY_USE_CASES.includes(imported)) return true;
  const [above, below] = [from, to].map((room = "") => {
    if (USE_CASES.includes(room)) return ROOMS_OF_THE_CORE.indexOf("use case");
    return ROOMS_OF_THE_CORE.indexOf(room.startsWith("manager") ? "manager" : room);
  });
  if (above === undefined || below === undefined || above < 0 || below < 0) return false;
  return below < above || (below === above && above === ROOMS_OF_THE_CORE.indexOf("manager"));
}

/** Files that import each other, directly or not; each circle once, by its first file. */
function circles(files: readonly SourceFile[]): readonly string[] {
  const importsOf = new Map(files.map(({ path, imports }) => [path, imports.filter((one) => one.startsWith("src/"))]));
  const reached = (start: string): ReadonlySet<string> => {
    const seen = new Set<string>();
    const queue = [...(importsOf.get(start) ?? [])];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      queue.push(...(importsOf.get(next) ?? []));
    }
    return seen;
  };
  return files.map(({ path }) => path).filter((path) => reached(path).has(path));
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

  it("import inside the core only what lies below them", () => {
    expect(offencesInTheCore(sourceFiles())).toEqual([]);
  });

  it("have no circle of imports", () => {
    expect(circles(sourceFiles())).toEqual([]);
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
      "src/cli/terminal/hide-input.ts",
      "src/index.ts",
      "src/main.ts",
    ]);
  });
});

describe("the walker", () => {
  it.each([
    ["a model on the protocol", "src/core/model/user-id.ts", `import { a } from "../protocol/contention.ts";`],
    ["a use case on another", "src/core/change/purge-key.ts", `import { a } from "../reconcile/plan.ts";`],
    ["a use case on the manager", "src/core/doctor/diagnose.ts", `import type { A } from "../manager-options.ts";`],
    ["a text on a model", "src/core/text/format.ts", `import { a } from "../model/errors.ts";`],
  ])("sees inside the core %s", (_name, path, text) => {
    expect(offencesInTheCore([{ path, imports: importsIn(path, text) }])).toHaveLength(1);
  });

  it("sees a circle of three", () => {
    const pairs = ["a b", "b c", "c a", "d a"].map((pair) => pair.split(" ").map((name) => `src/${name}.ts`));
    expect(circles(pairs.map(([path = "", imported = ""]) => ({ path, imports: [imported] })))).toEqual([
      "src/a.ts",
      "src/b.ts",
      "src/c.ts",
    ]);
  });

  it.each([
    [
      "the core on a terminal",
      "src/core/model/log-event.ts",
      `import { Terminal } from "../../cli/terminal/terminal.ts";`,
    ],
    [
      "the core on a type of an adapter",
      "src/core/ports/stores-and-sources.ts",
      `import type { Row } from "../../stores/sqlite/store.ts";`,
    ],
    [
      "the core on files, on use",
      "src/core/manager/manager.ts",
      `const { a } = await import("../../files/decode-text.ts");`,
    ],
    ["the core on a type in place", "src/core/manager/manager.ts", `type A = import("../../config/config.ts").Config;`],
    ["the core on node:fs", "src/core/manager/manager.ts", `import { readFileSync } from "node:fs";`],
    ["the core on node:fs/promises", "src/core/manager/manager.ts", `import { readFile } from "node:fs/promises";`],
    ["the core on fs", "src/core/manager/manager.ts", `import fs from "fs";`],
    ["the core on commander", "src/core/manager/manager.ts", `import { Command } from "commander";`],
    ["the core on chalk", "src/core/model/log-event.ts", `import { Chalk } from "chalk";`],
    ["the core on inquirer", "src/core/model/log-event.ts", `import { input } from "@inquirer/prompts";`],
    ["the core on undici", "src/core/manager/manager.ts", `import { fetch } from "undici";`],
    ["the core on mongodb", "src/core/ports/stores-and-sources.ts", `import type { Document } from "mongodb";`],
    ["the core on SQLite", "src/core/ports/stores-and-sources.ts", `import type { DatabaseSync } from "node:sqlite";`],
    [
      "the core on SQLite, by the process",
      "src/core/ports/stores-and-sources.ts",
      `process.getBuiltinModule("node:sqlite");`,
    ],
    ["one adapter on another", "src/stores/sqlite/store.ts", `import { openJwe } from "../../encryption/jwe.ts";`],
    ["one adapter on another, again exported", "src/sources/key-file.ts", `export * from "../stores/absent-store.ts";`],
    ["a store on undici", "src/stores/mongo/store.ts", `import { Agent } from "undici";`],
    [
      "one adapter on OpenRouter",
      "src/stores/mongo/store.ts",
      `import { openRouter } from "../../openrouter/client.ts";`,
    ],
    [
      "an adapter on the configuration",
      "src/encryption/sealer.ts",
      `import { readConfig } from "../config/config.ts";`,
    ],
    ["files on an adapter", "src/files/decode-text.ts", `import { a } from "../sources/key-file.ts";`],
    ["a command on the composition", "src/cli/commands/get.ts", `import { compose } from "../../compose.ts";`],
    [
      "a command on a store",
      "src/cli/commands/list/list.ts",
      `import {\n  sqliteStore,\n} from "../../../stores/sqlite/store.ts";`,
    ],
    ["the configuration on the composition", "src/config/config.ts", `import { compose } from "../compose.ts";`],
    ["the library on the tool", "src/index.ts", `import { main } from "./main.ts";`],
    ["the library on a terminal", "src/index.ts", `import { Terminal } from "./cli/terminal/terminal.ts";`],
    ["main on an adapter", "src/main.ts", `import { keyFile } from "./sources/key-file.ts";`],
    ["bin on the core", "bin/keyctl.cjs", `require("../dist/tool/core-manager.cjs");`],
    ["a store on a package that nobody may use", "src/stores/sqlite/store.ts", `import x from "better-sqlite3";`],
    ["a source on commander", "src/sources/key-file.ts", `import { Command } from "commander";`],
  ])("sees %s", (_name, path, text) => {
    expect(offences([{ path, imports: importsIn(path, text) }])).toHaveLength(1);
  });

  it.each([
    ["main on a command", "src/main.ts", `import { Terminal } from "./cli/terminal/terminal.ts";`],
    [
      "a command on the core",
      "src/cli/commands/get.ts",
      `import type { SyncResult } from "../../core/model/results.ts";`,
    ],
    ["a command on its neighbour", "src/cli/commands/get.ts", `import { addSelection } from "../bulk/selection.ts";`],
    ["the composition on a store", "src/compose.ts", `const a = await import("./stores/sqlite/store.ts");`],
    ["the composition on OpenRouter", "src/compose.ts", `import { openRouter } from "./openrouter/client.ts";`],
    ["a source on files", "src/sources/key-file.ts", `import { decodeText } from "../files/decode-text.ts";`],
    ["the core on node:events", "src/core/async/deadline.ts", `import { setMaxListeners } from "node:events";`],
    ["the core on node:crypto", "src/core/model/api-key.ts", `import { createHash } from "node:crypto";`],
    ["bin on main", "bin/keyctl.cjs", `require("../dist/tool/main.cjs")`],
  ])("allows %s", (_name, path, text) => {
    expect(importsIn(path, text)).toHaveLength(1);
    expect(offences([{ path, imports: importsIn(path, text) }])).toEqual([]);
  });
});
