import type { KeyctlError } from "../errors.ts";
import type { Outcome } from "../examination.ts";
import { formatNumber } from "../number.ts";

/** What one check says: `attention` is worth a look, `fail` is wrong. */
export type Verdict =
  | { readonly status: "pass"; readonly message: string }
  | { readonly status: "attention"; readonly message: string; readonly hint: string }
  /** `cause`: the error that other commands would end with. */
  | {
      readonly status: "fail";
      readonly message: string;
      readonly hint: string | null;
      readonly cause: KeyctlError | null;
    };

export function pass(message: string): Verdict {
  return { status: "pass", message };
}

export function attention(message: string, hint: string): Verdict {
  return { status: "attention", message, hint };
}

export function wrong(message: string, hint: string, cause: KeyctlError | null = null): Verdict {
  return { status: "fail", message, hint, cause };
}

export function failure(cause: KeyctlError): Verdict {
  return { status: "fail", message: cause.message, hint: cause.hint, cause };
}

/** What was found out, judged; that it could not be found out is a verdict too. */
export function judged<Value>(
  outcome: Outcome<Value>,
  judge: (value: Value) => readonly Verdict[],
): readonly Verdict[] {
  switch (outcome.status) {
    case "known":
      return judge(outcome.value);
    case "failed":
      return [failure(outcome.error)];
    case "late":
      return [attention("not looked at: the time was over", "keyctl doctor --timeout 2m")];
    case "skipped":
      return [];
  }
}

export function keys(count: number): string {
  return `${formatNumber(count)} ${count === 1 ? "key" : "keys"}`;
}

export function are(count: number): string {
  return count === 1 ? "is" : "are";
}

export function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
