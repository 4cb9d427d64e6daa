import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { sourceFiles } from "./support/programs/source-imports.ts";
import { shapeOf } from "./support/programs/source-shape.ts";
import type { SourceShape } from "./support/programs/source-shape.ts";

interface ShapedFile extends SourceShape {
  readonly path: string;
}

const MAX_FILE_LINES = 300;
const MAX_FUNCTION_LINES = 60;
const MAX_PARAMETERS = 4;

/** Tables of methods: as long as the port that they implement. */
const METHOD_TABLES: readonly string[] = [
  "src/stores/mongo/journal.ts mongoJournal",
  "src/stores/mongo/store.ts mongoStore",
  "src/stores/sqlite/journal.ts sqliteJournal",
  "src/stores/sqlite/store.ts sqliteStore",
];

/** `configureCommand` is what every command's file exports; the library's `KeyManager` opens the core's. */
const SHARED_NAMES: readonly string[] = ["KeyManager", "configureCommand"];

function longFiles(files: readonly ShapedFile[]): readonly string[] {
  return files.filter(({ lines }) => lines > MAX_FILE_LINES).map(({ path }) => path);
}

function longFunctions(files: readonly ShapedFile[]): readonly string[] {
  return functionsWith(files, ({ lines }) => lines > MAX_FUNCTION_LINES);
}

function crowdedFunctions(files: readonly ShapedFile[]): readonly string[] {
  return functionsWith(files, ({ parameters }) => parameters > MAX_PARAMETERS);
}

function functionsWith(
  files: readonly ShapedFile[],
  isMeant: (one: SourceShape["functions"][number]) => boolean,
): readonly string[] {
  return files.flatMap(({ path, functions }) => functions.filter(isMeant).map(({ name }) => `${path} ${name}`));
}

/** Names that more than one file exports; a file may export a type and a value of one name. */
function sharedNames(files: readonly ShapedFile[]): readonly string[] {
  const paths = new Map<string, Set<string>>();
  for (const { path, exports } of files) {
    for (const name of exports) paths.set(name, (paths.get(name) ?? new Set()).add(path));
  }
  return [...paths].filter(([, some]) => some.size > 1).map(([name]) => name);
}

let read: readonly ShapedFile[] | undefined;

function sources(): readonly ShapedFile[] {
  return (read ??= readSources());
}

function readSources(): readonly ShapedFile[] {
  const root = new URL("../", import.meta.url);
  return sourceFiles()
    .filter(({ path }) => path.startsWith("src/"))
    .map(({ path }) => ({ path, ...shapeOf(readFileSync(fileURLToPath(new URL(path, root)), "utf8")) }));
}

function shaped(text: string, path = "src/core/a.ts"): ShapedFile {
  return { path, ...shapeOf(text) };
}

describe("the sources", () => {
  it("are files of at most 300 lines", () => {
    expect(longFiles(sources())).toEqual([]);
  });

  it("are functions of at most 60 lines", () => {
    expect(longFunctions(sources()).toSorted()).toEqual(METHOD_TABLES);
  });

  it("are functions of at most four parameters", () => {
    expect(crowdedFunctions(sources())).toEqual([]);
  });

  it("export each name once", () => {
    expect(sharedNames(sources()).toSorted()).toEqual(SHARED_NAMES.toSorted());
  });

  it("are read for real", () => {
    const files = sources();
    expect(files.length).toBeGreaterThan(200);
    const named = (path: string) => files.find((file) => file.path === path);
    expect(named("src/core/manager/manager.ts")?.exports).toEqual(["KeyManager"]);
    expect(named("src/core/manager/manager.ts")?.functions.map(({ name }) => name)).toContain("syncAndGetKey");
    expect(named("src/index.ts")?.exports).toEqual([
      "KeyManager",
      "KeyManager",
      "syncUserApiKey",
      "getUserApiKey",
      "withUserKey",
    ]);
  });
});

function callsOf(count: number): string {
  return "  f();\n".repeat(count);
}

describe("the reader", () => {
  it("counts the lines of a file", () => {
    expect(longFiles([shaped(callsOf(300))])).toEqual([]);
    expect(longFiles([shaped(callsOf(301))])).toEqual(["src/core/a.ts"]);
  });

  it.each([
    ["a function", `export async function long(): Promise<void> {\n${callsOf(59)}}`],
    ["an arrow", `const long = async () => {\n${callsOf(59)}};`],
    ["a method", `class A {\n  static async *long() {\n${callsOf(59)}  }\n}`],
    ["a private method", `class A {\n  #long() {\n${callsOf(59)}  }\n}`],
    ["a getter of a table", `const table = {\n  get long() {\n${callsOf(59)}  },\n};`],
    ["a function in another one", `const a = { b: 1, long: function () {\n${callsOf(59)}} };`],
  ])("counts the lines of %s", (_, text) => {
    expect(longFunctions([shaped(text)])).toEqual(["src/core/a.ts long"]);
    expect(longFunctions([shaped(text.replace("  f();\n", ""))])).toEqual([]);
  });

  it.each([
    ["a function", "export function crowded(a: A, { b }: B, [c]: C, d = 1, ...e: E[]) {}"],
    ["an arrow", "const crowded = (a, b, c, d, e) => 1;"],
    ["a method", "class A {\n  crowded(a, b, c, d, e) {}\n}"],
    ["a constructor", "class A {\n  constructor(a, b, c, d, e) {}\n}"],
    ["a method of a port", "export interface Port {\n  crowded(a: A, b: B, c: C, d: D, e: E): void;\n}"],
    ["a type", "export type Crowded = (a: A, b: B, c: C, d: D, e: E) => void;"],
  ])("counts the parameters of %s", (_, text) => {
    expect(crowdedFunctions([shaped(text)])).toHaveLength(1);
    expect(crowdedFunctions([shaped(text.replace(/(, \.\.\.e|, e)(: E(\[\])?)?/, ""))])).toEqual([]);
  });

  it.each([
    "export const taken = 1;",
    "export function taken(): void {}",
    "export async function* taken() {}",
    "export class taken {}",
    "export interface taken {}",
    "export type taken = string;",
    "export let other = 1, taken = 2;",
    "const mine = 1;\nexport { mine as taken };",
  ])("sees that a name is taken by %s", (text) => {
    const other = shaped("export const taken = 0;", "src/core/b.ts");
    expect(sharedNames([shaped(text), other])).toEqual(["taken"]);
  });

  it("takes a name that is exported again, or twice by one file, for one", () => {
    const again = shaped(`export type { taken } from "./b.ts";`);
    const twice = shaped("export type taken = 1;\nexport const taken = 1;", "src/core/b.ts");
    expect(sharedNames([again, twice])).toEqual([]);
  });
});
