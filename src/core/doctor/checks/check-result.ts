import type { KeyctlError } from "../../model/errors.ts";
import type { Probe } from "../collect-facts.ts";

/** The result of one check: `attention` is a warning, `fail` is a failure. */
export type CheckVerdict =
  | { readonly status: "pass"; readonly message: string }
  | { readonly status: "attention"; readonly message: string; readonly hint: string }
  /** `cause`: the error that other commands would fail with. */
  | {
      readonly status: "fail";
      readonly message: string;
      readonly hint: string | null;
      readonly cause: KeyctlError | null;
    };

export function pass(message: string): CheckVerdict {
  return { status: "pass", message };
}

export function attention(message: string, hint: string): CheckVerdict {
  return { status: "attention", message, hint };
}

export function wrong(message: string, hint: string, cause: KeyctlError | null = null): CheckVerdict {
  return { status: "fail", message, hint, cause };
}

export function failure(cause: KeyctlError): CheckVerdict {
  return { status: "fail", message: cause.message, hint: cause.hint, cause };
}

/** The verdicts for a probe. A probe that failed or timed out is a verdict as well. */
export function judged<Value>(
  outcome: Probe<Value>,
  judge: (value: Value) => readonly CheckVerdict[],
): readonly CheckVerdict[] {
  switch (outcome.status) {
    case "known":
      return judge(outcome.value);
    case "failed":
      return [failure(outcome.error)];
    case "late":
      return [attention("not checked: timed out", "keyctl doctor --timeout 2m")];
    case "skipped":
      return [];
  }
}
