import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Vitest's global set-up: builds the tool and the library that the tests run. */
export default function build(): void {
  execFileSync(process.execPath, [fileURLToPath(new URL("../../../build.mjs", import.meta.url))], { stdio: "inherit" });
}
