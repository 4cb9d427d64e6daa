import { isKeyctlError, KeyctlError } from "../core/model/errors.ts";
import { isObject } from "./check.ts";
import { programText } from "./program-text.ts";

/** Where a result holds an error or warnings. What a program has put into a result is left as it is. */
const HOLDERS = ["error", "autoRenewalError", "sync", "warnings", "failures", "verdict", "remedy"] as const;

/** The texts of a warning and of a remedy. */
const TEXTS = ["message", "hint"] as const;

/** The same result or error, with hints and messages that speak of methods and options. */
export function forProgram(value: KeyctlError): KeyctlError;
export function forProgram(value: unknown): unknown;
export function forProgram(value: unknown): unknown {
  if (isKeyctlError(value)) return errorForProgram(value);
  if (Array.isArray(value)) {
    const all = value.map(forProgram);
    return all.some((one, index) => one !== value[index]) ? all : value;
  }
  if (!isObject(value) || Object.getPrototypeOf(value) !== Object.prototype) return value;
  let result = value;
  for (const name of TEXTS) {
    const text = value[name];
    const told = typeof text === "string" ? programText(text) : text;
    if (told !== text) result = { ...result, [name]: told };
  }
  for (const name of HOLDERS) {
    const held = value[name];
    const after = isObject(held) ? forProgram(held) : held;
    if (after !== held) result = { ...result, [name]: after };
  }
  return result;
}

function errorForProgram(error: KeyctlError): KeyctlError {
  const message = programText(error.message);
  const hint = error.hint === null ? null : programText(error.hint);
  if (message === error.message && hint === error.hint) return error;
  const { code, retryable, mayHaveHappened, stack } = error;
  const told = new KeyctlError(code, message, { retryable, mayHaveHappened, ...(hint === null ? {} : { hint }) });
  if (stack !== undefined) told.stack = stack;
  return told;
}
