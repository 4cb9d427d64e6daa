import { isKeyctlError, KeyctlError } from "../core/model/errors.ts";
import { decodeText } from "../files/decode-text.ts";
import { resolvePath } from "../files/home-folder.ts";
import { isPipe, readNamedFile, readNamedFileNow } from "../files/named-file.ts";
import type { PipeWait } from "../files/named-file.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export const MAX_SECRET_BYTES = 64 * 1024;
const SWITCH: ReadonlyMap<string, boolean> = new Map([
  ["1", true],
  ["true", true],
  ["yes", true],
  ["on", true],
  ["0", false],
  ["false", false],
  ["no", false],
  ["off", false],
]);

/** A missing CI secret arrives as an empty string, which must not lead to a new, empty store. Throws CONFIG_EMPTY. */
export function notEmpty(environment: Environment, name: string): string | undefined {
  const value = environment[name];
  if (value === undefined || value.trim() !== "") return value;
  throw configEmpty(`${name} is set but empty`, name);
}

export function configEmpty(message: string, name: string): KeyctlError {
  return new KeyctlError("CONFIG_EMPTY", message, { hint: `give ${name} a value, or unset it` });
}

/** How a variable is read, and what it takes. */
export interface VariableForm<Value> {
  readonly parse: (text: string) => Value | undefined;
  /** Completes `KEYCTL_… takes …`. */
  readonly form: string;
  /** A value that does no harm when it is copied. */
  readonly example: string;
  /** The value that another text means. */
  readonly meant?: (text: string) => string | undefined;
}

/**
 * Undefined if not set. An empty value, such as a missing CI variable, does not mean "no limit". Throws CONFIG_EMPTY,
 * CONFIG_INVALID.
 */
export function parsedVariable<Value>(
  environment: Environment,
  name: string,
  { parse, form, example, meant }: VariableForm<Value>,
): Value | undefined {
  const text = notEmpty(environment, name)?.trim();
  if (text === undefined) return undefined;
  const value = parse(text);
  if (value !== undefined) return value;
  throw new KeyctlError("CONFIG_INVALID", `${name} takes ${form}`, { hint: `${name}=${meant?.(text) ?? example}` });
}

/** An empty value, such as a missing CI variable, does not mean the default. Throws CONFIG_EMPTY, CONFIG_INVALID. */
export function switchOf(environment: Environment, name: string, otherwise: boolean): boolean {
  const value = notEmpty(environment, name);
  if (value === undefined) return otherwise;
  const known = SWITCH.get(value.toLowerCase());
  if (known === undefined) throw new KeyctlError("CONFIG_INVALID", `${name} is neither 0 nor 1`, { hint: `${name}=0` });
  return known;
}

/** The variable, or the content of the file that its `_FILE` form names. Set but empty counts as unset. Throws CONFIG_CONFLICT, CONFIG_INVALID. */
export function secret(environment: Environment, name: string): string | undefined {
  const names = [name, `${name}_FILE`].filter((one) => environment[one]?.trim() !== "");
  return agreedValue(environment, names)?.value;
}

/** A value, without white space at its ends, and the variable that it comes from. */
interface NamedValue {
  readonly value: string;
  readonly from: string;
}

/**
 * The value that all of these variables hold that are set; a `_FILE` variable names a file with it. Undefined if none is
 * set. Throws CONFIG_CONFLICT if two differ, without repeating them, and CONFIG_EMPTY, CONFIG_INVALID.
 */
export function agreedValue(environment: Environment, names: readonly string[]): NamedValue | undefined {
  const set = names.filter((name) => notEmpty(environment, name) !== undefined);
  // A file that cannot be read agrees with nothing.
  const read = (name: string) => (set.length > 1 ? valueAtHand(environment, name) : valueOf(environment, name));
  const [first, ...others] = set.map((name): NamedValue => ({ value: read(name).trim(), from: name }));
  const other = others.find(({ value }) => value !== first?.value);
  // Files that cannot be read agree with each other: the first says why.
  if (first !== undefined && other === undefined && first.value === "") valueOf(environment, first.from);
  if (first === undefined || other === undefined) return first;
  throw new KeyctlError("CONFIG_CONFLICT", `${first.from} and ${other.from} hold different values`, {
    hint: `unset ${other.from}`,
  });
}

function valueOf(environment: Environment, name: string): string {
  const value = environment[name] ?? "";
  return name.endsWith("_FILE") ? secretFile(environment, name, value) : value;
}

/** As `valueOf`, and empty for a file that cannot be read. */
function valueAtHand(environment: Environment, name: string): string {
  return name.endsWith("_FILE") ? fileAtHand(environment, name) : (environment[name] ?? "");
}

/**
 * The content of the file that a variable names. Throws CONFIG_INVALID.
 * @param from the variable
 */
function secretFile(environment: Environment, from: string, path: string): string {
  const file = readNamedFileNow(resolvePath(path, environment), MAX_SECRET_BYTES);
  const problem =
    file.status === "absent" ? "it does not exist" : file.status === "unreadable" ? file.reason : undefined;
  const text = file.status === "read" ? decodeText(file.bytes) : undefined;
  if (text !== undefined) return text;
  throw new KeyctlError(
    "CONFIG_INVALID",
    `the file that ${from} names cannot be used: ${problem ?? "it is not text"}`,
    {
      hint: `check ${from}`,
    },
  );
}

/** Reads the pipes that the `_FILE` forms among these variables name, so that `secret` and `agreedValue` find their content. */
export async function readPipes(environment: Environment, names: readonly string[], wait: PipeWait): Promise<void> {
  const files = names.flatMap((name) => (name.endsWith("_FILE") && environment[name]) || []);
  const paths = files.map((path) => resolvePath(path, environment));
  await Promise.all(paths.filter(isPipe).map((path) => readNamedFile(path, MAX_SECRET_BYTES, wait)));
}

/** The values that `secret` reads from both forms, as far as they can be read. Throws nothing. */
export function secretsAtHand(environment: Environment, name: string): readonly string[] {
  return [environment[name] ?? "", fileAtHand(environment, `${name}_FILE`)].filter((value) => value.trim() !== "");
}

function fileAtHand(environment: Environment, from: string): string {
  const path = environment[from] ?? "";
  try {
    return path === "" ? "" : secretFile(environment, from, path);
  } catch (thrown) {
    if (isKeyctlError(thrown)) return "";
    throw thrown;
  }
}
