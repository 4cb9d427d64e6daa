import { execa } from "execa";
import type { Options } from "execa";
import type { Home } from "../home/home.ts";
import { BIN, onlyIn } from "../programs/keyctl.ts";

/** Root may write everywhere; without these two rights it obeys the modes of its own files, as everybody does. */
const WITHOUT_OVERRIDE = ["--bounding-set", "--inh-caps"].map((set) => `${set} -dac_override,-dac_read_search`);

/** A shell line after which file modes are obeyed, whoever runs the tests. */
export const OBEY_MODES = process.getuid?.() === 0 ? `exec setpriv ${WITHOUT_OVERRIDE.join(" ")} "$0" "$@"` : ":";

/** A shell line after which no file grows beyond this: the disk is full there. Node ignores the signal, as it must be. */
export function fullAfter(kibibytes: number): string {
  return `ulimit -f ${kibibytes}`;
}

export interface LimitedRun {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the built tool in a shell in which this line was done first. */
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
