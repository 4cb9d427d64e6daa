import { KeyctlError } from "../../../core/model/errors.ts";
import type { ErrorCode } from "../../../core/model/errors.ts";
import { WARN_WITHIN_MS } from "../../../core/model/verdict.ts";
import type { ValidateOptions, Validation } from "../../../core/validate/validate-key.ts";

/** What `--fail-on` names: the results that are an error of the run. Without it, `null`: the usual ones. */
export type FailOn = ReadonlySet<Failing> | null;
type Failing = (typeof FAILING)[number];

const FAILING = ["invalid", "unknown", "attention"] as const;
const BY_CODE: Readonly<Partial<Record<ErrorCode, Failing>>> = {
  KEY_INVALID: "invalid",
  VERDICT_UNKNOWN: "unknown",
  ATTENTION: "attention",
};

/** `invalid,unknown`, or `none`. Throws USAGE. */
export function parseFailOn(text: string): FailOn {
  if (text === "none") return new Set();
  const names = text.split(",");
  const known = FAILING.filter((name) => names.includes(name));
  if (known.length === names.length) return new Set(known);
  throw new KeyctlError("USAGE", "--fail-on takes invalid, unknown and attention, separated by commas, or none", {
    hint: "--fail-on invalid,unknown",
  });
}

export function failsOn(failOn: FailOn, name: Failing): boolean {
  return failOn === null || failOn.has(name);
}

/** The validation without its error, if `--fail-on` leaves it out. */
export function tolerated(failOn: FailOn, validation: Validation): Validation {
  const { error } = validation;
  const name = error === null ? undefined : BY_CODE[error.code];
  return name === undefined || failsOn(failOn, name) ? validation : { ...validation, error: null };
}

/** The limits for `--fail-on attention`, where none are given: as the screen counts. */
export function withLimits(failOn: FailOn, options: ValidateOptions): ValidateOptions {
  if (failOn?.has("attention") !== true) return options;
  const { warnWithinMs = WARN_WITHIN_MS, minRemaining = 0, ...rest } = options;
  return { ...rest, warnWithinMs, minRemaining };
}

/** `--expect-at-least`. Throws USAGE. */
export function parseExpected(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new KeyctlError("USAGE", "--expect-at-least takes a number of keys, 1 or more", {
    hint: "--expect-at-least 100",
  });
}
