import { ApiKey } from "../core/api-key.ts";
import type { KeySource } from "../core/ports.ts";

/** `OPENROUTER_API_KEY`; `value` gives its text, or undefined when it is not set. */
export function environmentKey(value: () => string | undefined): KeySource {
  return {
    name: "environment",
    async read() {
      const text = value();
      if (text === undefined) return { reading: { status: "absent" }, warnings: [] };
      const key = ApiKey.parse(text);
      if (key === undefined) {
        return { reading: { status: "malformed", detail: "does not hold one well-formed key" }, warnings: [] };
      }
      return { reading: { status: "found", key }, warnings: [] };
    },
  };
}
