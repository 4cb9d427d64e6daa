import { parseAst } from "vitest/node";

/** A function of the source: its own name, or the name of the variable or property that it is assigned to. */
interface SourceFunction {
  readonly name: string;
  readonly lines: number;
  readonly parameters: number;
}

/** The exports that a TypeScript file declares itself, and all its functions, including nested ones. */
export interface SourceShape {
  readonly lines: number;
  readonly exports: readonly string[];
  readonly functions: readonly SourceFunction[];
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** Functions with a body, and function types, which have parameters too. */
const FUNCTIONS: ReadonlySet<string> = new Set([
  "FunctionDeclaration",
  "FunctionExpression",
  "ArrowFunctionExpression",
  "TSFunctionType",
  "TSMethodSignature",
  "TSDeclareFunction",
]);

export function shapeOf(text: string): SourceShape {
  const program = parseAst(text, { lang: "ts" }) as unknown as Node;
  const functions: SourceFunction[] = [];
  const visit = (node: Node, name: string) => {
    if (FUNCTIONS.has(node.type)) {
      const own = nameOf(node) ?? name;
      const lines = countLines(text.slice(node.start, node.end));
      functions.push({ name: own, lines, parameters: nodesIn(node["params"]).length });
    }
    const inner = nameOf(node) ?? name;
    for (const value of Object.values(node)) for (const child of nodesIn(value)) visit(child, inner);
  };
  visit(program, "");
  return { lines: countLines(text), exports: nodesIn(program["body"]).flatMap(exportedBy), functions };
}

function countLines(text: string): number {
  return text.replace(/\n$/, "").split("\n").length;
}

function nodesIn(value: unknown): readonly Node[] {
  return (Array.isArray(value) ? value : [value]).filter(
    (one): one is Node => typeof one === "object" && one !== null && "type" in one,
  );
}

/** The name of a declaration, a method or a property. */
function nameOf(node: Node): string | undefined {
  const [named] = nodesIn(node["id"] ?? node["key"]);
  return typeof named?.["name"] === "string" ? named["name"] : undefined;
}

/** Re-exported names are left out: they belong to the other file. */
function exportedBy(statement: Node): readonly string[] {
  if (statement.type === "ExportDefaultDeclaration") return ["default"];
  if (statement.type !== "ExportNamedDeclaration" || statement["source"] !== null) return [];
  const [declaration] = nodesIn(statement["declaration"]);
  if (declaration === undefined) {
    return nodesIn(statement["specifiers"]).flatMap(({ exported }) =>
      nodesIn(exported).map((one) => String(one["name"])),
    );
  }
  const declared = declaration.type === "VariableDeclaration" ? nodesIn(declaration["declarations"]) : [declaration];
  return declared.flatMap((one) => nameOf(one) ?? []);
}
