import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Vitest's global set-up: the tests run the tool and the library as they are built. */
export default function build(): void {
  execFileSync(process.execPath, [fileURLToPath(new URL("../../../build.mjs", import.meta.url))], { stdio: "inherit" });
}
