import { printable } from "../../core/text/printable.ts";
import type { StoreName } from "../invocation.ts";

/** A store for people, and what named it: `sqlite:keys.db (from KEYCTL_STORE)`. */
export function storeLabel({ name, from }: StoreName): string {
  return `${printable(name)} (${from === "default" ? "" : "from "}${from})`;
}
