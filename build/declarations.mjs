// Merges the compiler's declaration files into one: the exports of the entry, the types that they use, and nothing
// else.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseSync } from "oxc-parser";

/**
 * The declarations of `entry` and everything that they refer to, as the text of one file. The entry's exports stay
 * exports; the other declarations cannot be imported. Throws for a statement that cannot be merged.
 */
export function rolledUp(entry) {
  const files = new Map();
  const fileAt = (path) => {
    if (!files.has(path)) files.set(path, readDeclarations(path));
    return files.get(path);
  };
  /** The statements of the result, by their name there, in the order in which they are found. */
  const written = new Map();

  /** The origin of an exported name of this file: the file that declares it, and its name there. */
  const originOf = (path, name) => {
    const { exported } = fileAt(path);
    const origin = exported.get(name);
    if (origin === undefined) throw new Error(`${path} exports no ${name}`);
    return origin.from === undefined ? { path, name: origin.name } : originOf(origin.from, origin.name);
  };

  /** The name in the result for `name` in the file `path`. */
  const take = (path, name) => {
    const imported = fileAt(path).imported.get(name);
    return place(imported === undefined ? { path, name } : originOf(imported.from, imported.name), name);
  };

  /** Adds a declaration to the result and returns its name there: on a clash of names, that of the importing file. */
  const place = ({ path, name }, alias) => {
    const placed = [...written].find(([, one]) => one.path === path && one.name === name);
    if (placed !== undefined) return placed[0];
    const free = [name, alias].find((one) => !written.has(one));
    if (free === undefined) throw new Error(`two declarations would be called ${name}: that of ${path} and another`);
    const statements = [];
    written.set(free, { path, name, statements });
    for (const node of fileAt(path).declared.get(name)) statements.push(textOf(fileAt(path), node));
    return free;
  };

  const textOf = (file, { statement, declaration }) => {
    const changes = [...referencesIn(declaration, file)].map(({ start, end, name, from }) => {
      const text = from === undefined ? take(file.path, name) : place(originOf(from, name), name);
      return { start, end, text };
    });
    return { comment: file.commentBefore(statement), body: changed(file.text, declaration, changes) };
  };

  const names = [...fileAt(entry).exported.keys()].map((name) => {
    const origin = originOf(entry, name);
    return [name, place(origin, name)];
  });
  const exported = new Map(names.map(([name, inFile]) => [inFile, name]));
  const blocks = [...written].flatMap(([name, { statements }]) =>
    statements.map(({ comment, body }) => {
      if (exported.has(name) && exported.get(name) !== name) throw new Error(`${name} would be exported as another`);
      return `${comment}${exported.has(name) ? "export " : ""}${body}`;
    }),
  );
  return `${blocks.join("\n")}\nexport {};\n`;
}

/** A file's declarations by name, and the origins of its imports and exports. */
function readDeclarations(path) {
  const text = readFileSync(path, "utf8");
  const { program, comments, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0].message}`);
  const file = { path, text, imported: new Map(), exported: new Map(), declared: new Map() };
  file.commentBefore = (statement) => {
    const comment = comments.findLast(({ end }) => end <= statement.start);
    const isItsOwn = comment?.value.startsWith("*") && text.slice(comment.end, statement.start).trim() === "";
    return isItsOwn ? `${text.slice(comment.start, comment.end)}\n` : "";
  };
  for (const statement of program.body) readStatement(file, statement);
  return file;
}

function readStatement(file, statement) {
  const { type, source, specifiers = [], declaration } = statement;
  const from = source ? target(file.path, source.value) : undefined;
  const declare = (node) => {
    for (const name of namesOf(node)) {
      file.declared.set(name, [...(file.declared.get(name) ?? []), { statement, declaration: node }]);
    }
    return namesOf(node);
  };
  if (type === "ImportDeclaration") {
    for (const { local, imported } of specifiers) {
      if (imported === undefined) throw new Error(`${file.path} imports more than names from ${source.value}`);
      file.imported.set(local.name, { from, name: imported.name });
    }
  } else if (type === "ExportNamedDeclaration" && declaration) {
    for (const name of declare(declaration)) file.exported.set(name, { name });
  } else if (type === "ExportNamedDeclaration") {
    for (const { local, exported } of specifiers) file.exported.set(exported.name, { from, name: local.name });
  } else if (type.endsWith("Declaration") && !type.startsWith("Export")) {
    declare(statement);
  } else {
    throw new Error(`${file.path} holds a ${type}`);
  }
}

function namesOf({ id, declarations }) {
  return declarations === undefined ? [id.name] : declarations.map((one) => one.id.name);
}

/** The declaration file of an import. Throws for a package or a module of Node: every user would need its types. */
function target(path, specifier) {
  const file = join(dirname(path), specifier.replace(/\.ts$/, ".d.ts"));
  if (!specifier.startsWith(".") || !existsSync(file)) throw new Error(`${path} needs ${specifier}`);
  return file;
}

/** Every identifier that may refer to a declaration or an import of its file; no names of members or parameters. */
function* referencesIn(node, file) {
  if (typeof node !== "object" || node === null) return;
  if (Array.isArray(node)) {
    for (const one of node) yield* referencesIn(one, file);
    return;
  }
  if (node.type === "TSImportType") {
    const { source, qualifier, start } = node;
    yield { start, end: qualifier.end, name: qualifier.name, from: target(file.path, source.value) };
    yield* referencesIn(node.typeArguments, file);
    return;
  }
  if (node.type === "Identifier") {
    // The span of a parameter or a constant includes its type.
    const { name, start } = node;
    if (file.imported.has(name) || file.declared.has(name)) yield { start, end: start + name.length, name };
    yield* referencesIn(node.typeAnnotation ?? null, file);
    return;
  }
  for (const [field, value] of Object.entries(node)) {
    if (field === "type" || (field === "key" && node.computed !== true)) continue;
    if (field === "params" && Array.isArray(value)) {
      for (const one of value) yield* referencesIn(one.typeAnnotation ?? one.argument ?? one, file);
    } else {
      yield* referencesIn(value, file);
    }
  }
}

function changed(text, { start, end }, changes) {
  let result = "";
  let at = start;
  for (const change of changes.toSorted((one, other) => one.start - other.start)) {
    result += text.slice(at, change.start) + change.text;
    at = change.end;
  }
  return result + text.slice(at, end);
}
