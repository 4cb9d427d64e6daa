import { printable } from "../../core/text/printable.ts";
import type { UsageMistake } from "./usage-mistake.ts";

/** A switch may be followed by one of these, and nobody has such a name. */
export const SWITCH_VALUE = /^(?:true|false|yes|no|on|off)$/i;
export const FALSE = /^(?:0|false|no|off|never|none)$/i;

/** `--json=true`, or `--json true`: a switch with a value, which takes `length` words from `index` on. */
export function switchWithValue(
  words: readonly string[],
  { index, length, name, value }: Readonly<Record<"index" | "length", number> & Record<"name" | "value", string>>,
): UsageMistake {
  const isOff = FALSE.test(value);
  return {
    message: `${printable(name)} takes no value${isOff ? "; omit it" : ""}`,
    corrected: words.toSpliced(index, length, ...(isOff ? [] : [name])),
  };
}
