import { KeyctlError } from "../core/model/errors.ts";
import { parsedKey } from "../core/model/parse-key.ts";
import { ApiKey } from "../core/model/api-key.ts";
import { parseUserId } from "../core/model/user-id.ts";
import { exampleOfNumber } from "../core/model/number-options.ts";
import type { UserBatches } from "../core/model/user-id.ts";
import { closest } from "../core/text/closest.ts";
import { withoutKeys } from "../core/model/redact-keys.ts";
import { printable } from "../core/text/printable.ts";

/**
 * What a program may give for an argument or an option. `Value` is what the declarations say that it is, and `Names` are its
 * options: two types whose options are all optional pass for each other.
 */
export interface Check<Value, Names = keyof Value> {
  /** Returns what is passed on. Throws USAGE, BAD_USER_ID, BAD_KEY_FORMAT. Never sees `undefined`: that is "not given". */
  readonly pass: (value: unknown, name: string, method: string) => unknown;
  /** The names that an object may have. */
  readonly names?: readonly string[];
  /** For the compiler only: a table with a check of another type does not compile. */
  readonly of?: (value: Value, name: Names) => readonly [Value, Names];
}

function kind<Value>(
  what: string,
  exampleFor: string | ((name: string) => string),
  isIt: (value: unknown) => boolean,
): Check<Value> {
  return {
    pass(value, name, method) {
      if (isIt(value)) return value;
      const example = typeof exampleFor === "string" ? exampleFor : exampleFor(name);
      throw new KeyctlError("USAGE", `${name} of ${method} is ${what}`, {
        // An argument has no name of its own to type.
        hint: name.includes(" ") ? example : `${name}: ${example}`,
      });
    },
  };
}

const isNumber = (value: unknown) => typeof value === "number" && !Number.isNaN(value);
const isText = (value: unknown): value is string => typeof value === "string";

export const BOOLEAN = kind<boolean>("true or false", "true", (value) => typeof value === "boolean");
export const NUMBER = kind<number>("a number", exampleOfNumber, isNumber);
export const MILLISECONDS = kind<number>(
  "a number of milliseconds that is not negative",
  exampleOfNumber,
  (value) => typeof value === "number" && value >= 0,
);
/** The example is shown in quotes. */
export const textLike = (example: string): Check<string> => kind<string>("a text", JSON.stringify(example), isText);
export const textWithContent = (example: string): Check<string> =>
  kind<string>("a text that is not empty", JSON.stringify(example), (value) => isText(value) && value !== "");
export const TEXT_OR_NULL = kind<string | null>("a text or null", "null", (value) => value === null || isText(value));
export const NUMBER_OR_NULL = kind<number | null>(
  "a number or null",
  exampleOfNumber,
  (value) => value === null || isNumber(value),
);
export const DATE = kind<Date>(
  "a valid Date",
  "new Date(Date.now() - 7 * 86_400_000)",
  (value) => value instanceof Date && !Number.isNaN(value.getTime()),
);
export const SIGNAL = kind<AbortSignal>(
  "an AbortSignal",
  "controller.signal",
  (value) =>
    isObject(value) && typeof value["aborted"] === "boolean" && typeof value["addEventListener"] === "function",
);

export function functionOf<Value>(example: string): Check<Value> {
  return kind<Value>("a function", example, (value) => typeof value === "function");
}

/** One of these texts, or what `others` accepts beside them. */
export function oneOf<Value>(
  texts: readonly Extract<Value, string | null>[],
  others?: readonly [what: string, isIt: (value: unknown) => boolean],
): Check<Value> {
  const all: readonly unknown[] = texts;
  const named = texts.map((text) => JSON.stringify(text));
  const what = [...named, ...(others === undefined ? [] : [others[0]])].join(" or ");
  return kind<Value>(
    what,
    named[0] ?? others?.[0] ?? "",
    (value) => all.includes(value) || others?.[1](value) === true,
  );
}

/** An object with no other names than these. A name that is not in the table is USAGE, with the one that was meant. */
export function fields<Value extends object>(table: {
  readonly [Name in keyof Value]-?: Check<Exclude<Value[Name], undefined>>;
}): Check<Value> {
  const checks = new Map<string, Check<never>>(Object.entries(table));
  return {
    names: [...checks.keys()],
    pass(value, name, method) {
      if (!isObject(value) || Array.isArray(value)) {
        throw new KeyctlError("USAGE", `${name} of ${method} is an object`, { hint: namesOf(checks, name) });
      }
      let passed = value;
      for (const field of Object.keys(value)) {
        if (value[field] === undefined) continue;
        const check = checks.get(field);
        if (check === undefined) throw unknownName(field, checks, { name, method });
        const after = check.pass(value[field], field, method);
        if (after !== value[field]) passed = { ...passed, [field]: after };
      }
      return passed;
    },
  };
}

/** The user id itself is checked where it is used; what is not a text is refused here. */
export const USER_ID: Check<string> = { pass: (value) => (isText(value) ? value : parseUserId(value)) };

export const KEY: Check<string | ApiKey> = {
  pass: (value) => (isText(value) ? value : parsedKey(textOfKey(value))),
};

/** Many users. The ids themselves are checked where they are used. */
export const BATCHES: Check<UserBatches> = {
  pass: (value, _, method) => passedBatches(value, method, (id) => id),
};

/** Batches whose every item passes; a batch that is no array is USAGE. */
export function passedBatches<Item>(value: unknown, method: string, item: (value: unknown) => Item) {
  if (!isIterable(value)) throw noBatches(method);
  return (async function* () {
    for await (const batch of value) {
      if (!Array.isArray(batch)) throw noBatches(method);
      yield batch.map((each: unknown) => item(each));
    }
  })();
}

function noBatches(method: string): KeyctlError {
  return new KeyctlError("USAGE", `the batches of ${method} are arrays in an async iterable`, {
    hint: `async function* batches() { yield ["alice", "bob"]; }`,
  });
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

export function isIterable(value: unknown): value is AsyncIterable<unknown> {
  return isObject(value) && (Symbol.asyncIterator in value || Symbol.iterator in value);
}

/** Of what is like an ApiKey, whose class is no sign: each bundled file has its own copy of it. Empty for anything else. */
function textOfKey(value: unknown): string {
  if (!isObject(value) || typeof value["reveal"] !== "function") return "";
  try {
    const shown: unknown = value["reveal"]();
    return isText(shown) ? shown : "";
  } catch {
    return "";
  }
}

function unknownName(
  field: string,
  checks: ReadonlyMap<string, unknown>,
  { name, method }: { readonly name: string; readonly method: string },
): KeyctlError {
  const [near] = closest(
    field.toLowerCase(),
    [...checks.keys()].map((each) => each.toLowerCase()),
  );
  const meant = [...checks.keys()].find((each) => each.toLowerCase() === near);
  const guess = meant === undefined ? "" : `; did you mean ${meant}?`;
  const shown = printable(withoutKeys(field.slice(0, 100)));
  const [where, message] =
    name === OPTIONS
      ? [method, `${method} has no option '${shown}'`]
      : [`${name} of ${method}`, `there is no '${shown}' in ${name} of ${method}`];
  return new KeyctlError("USAGE", `${message}${guess}`, { hint: namesOf(checks, where) });
}

function namesOf(checks: ReadonlyMap<string, unknown>, where: string): string {
  return `the names in ${where}: ${[...checks.keys()].join(", ")}`;
}

/** How an argument that holds options is called in a message. */
export const OPTIONS = "the argument with options";
