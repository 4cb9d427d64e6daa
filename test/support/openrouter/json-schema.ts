/** The violations of a JSON Schema, one line each. Throws for a keyword that our schemas do not use. */
export function offences(schema: Schema, value: unknown, path = "$"): readonly string[] {
  return Object.entries(schema).flatMap(([word, argument]) => {
    const check = CHECKS[word];
    if (check === undefined) throw new Error(`JSON Schema's ${word} is not known here`);
    // JSON Schema defines the type of each keyword's value.
    return check(argument as never, value, path);
  });
}

export type Schema = Readonly<Record<string, unknown>>;

type Check = (argument: never, value: unknown, path: string) => readonly string[];

const CHECKS: Readonly<Record<string, Check>> = {
  type: (types: string | readonly string[], value, path) =>
    [types].flat().some((type) => isOf(type, value)) ? [] : [`${path} is not ${[types].flat().join(" or ")}`],
  properties: (schemas: Readonly<Record<string, Schema>>, value, path) =>
    Object.entries(schemas).flatMap(([name, schema]) =>
      isObject(value) && name in value ? offences(schema, value[name], `${path}.${name}`) : [],
    ),
  required: (names: readonly string[], value, path) =>
    names.filter((name) => !isObject(value) || !(name in value)).map((name) => `${path}.${name} is missing`),
  items: (schema: Schema, value, path) =>
    Array.isArray(value) ? value.flatMap((item, index) => offences(schema, item, `${path}[${index}]`)) : [],
  anyOf: (schemas: readonly Schema[], value, path) =>
    schemas.some((schema) => offences(schema, value).length === 0) ? [] : [`${path} is none of its kinds`],
  const: (only: unknown, value, path) => (value === only ? [] : [`${path} is not ${JSON.stringify(only)}`]),
  pattern: (pattern: string, value, path) =>
    typeof value !== "string" || new RegExp(pattern, "u").test(value) ? [] : [`${path} is not as the pattern wants`],
  minimum: (least: number, value, path) => (Number(value) >= least ? [] : [`${path} is less than ${least}`]),
  maximum: (most: number, value, path) => (Number(value) <= most ? [] : [`${path} is more than ${most}`]),
  format: (format: string, value, path) =>
    typeof value !== "string" || (FORMATS[format]?.test(value) ?? true) ? [] : [`${path} is no ${format}`],
  $schema: () => [],
  additionalProperties: () => [],
  propertyNames: () => [],
};

const FORMATS: Readonly<Record<string, RegExp>> = { uuid: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/ };

function isOf(type: string, value: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isObject(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
