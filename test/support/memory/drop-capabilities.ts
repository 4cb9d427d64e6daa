import { execa } from "execa";
import type { Options } from "execa";
import type { Home } from "../home/home.ts";
import { BIN, onlyIn } from "../programs/keyctl.ts";

/**
 * Root may write everywhere. Without these two capabilities it obeys the modes of its own files, like any other user.
 */
const WITHOUT_OVERRIDE = ["--bounding-set", "--inh-caps"].map((set) => `${set} -dac_override,-dac_read_search`);

/** A shell line after which file modes are obeyed, even if root runs the tests. */
export const OBEY_MODES = process.getuid?.() === 0 ? `exec setpriv ${WITHOUT_OVERRIDE.join(" ")} "$0" "$@"` : ":";

/**
 * A shell line after which no file grows beyond this size, like on a full disk. It works because Node ignores the
 * signal.
 */
export function fullAfter(kibibytes: number): string {
  return `ulimit -f ${kibibytes}`;
}

export interface LimitedRun {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the built tool in a shell, after this line. */
export async function keyctlAfter(
  line: string,
  home: Home,
  args: readonly string[],
  options: Options = {},
): Promise<LimitedRun> {
  const result = await execa(
    "bash",
    ["-c", `${line}\nexec "$0" "$@"`, process.execPath, BIN, ...args],
    onlyIn(home, options),
  );
  return { code: result.exitCode, stdout: String(result.stdout), stderr: String(result.stderr) };
}
