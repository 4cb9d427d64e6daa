import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { exitCodeOf } from "../../../src/cli/exit-codes.ts";
import type { Ports } from "../../../src/compose.ts";
import type { KeyManager } from "../../../src/core/manager/manager.ts";
import type { KeyctlError } from "../../../src/core/model/errors.ts";
import type { Home } from "../home/home.ts";
import { openManager } from "../memory/manager.ts";
import { inProcess } from "../programs/in-process.ts";
import type { InProcessOptions } from "../programs/in-process.ts";
import type { Run } from "../programs/keyctl.ts";
import type { OpenRouterServer } from "../openrouter/server.ts";
import { witnessed } from "./port-calls.ts";
import { capIn, tracesOf } from "./runs.ts";
import type { UserTrace } from "./runs.ts";
import { recorder } from "./recorder.ts";

/** The input of a command: its arguments, and a key on standard input or in the environment. */
export interface Given {
  readonly args: readonly string[];
  readonly input?: string;
  readonly environmentKey?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The command runs while another one does. */
  readonly beside?: Pick<InProcessOptions, "besideOthers">;
  /** This call of the library does what the arguments say, in place of the tool. */
  readonly call?: (keys: KeyManager) => Promise<{ readonly error: KeyctlError | null }>;
}

export interface RecordedRun {
  readonly run: Pick<Run, "code" | "stderr">;
  readonly traces: readonly UserTrace[];
}

/** The variables with which a command uses this mock server. */
export function environmentFor({ url, managementKey }: Pick<OpenRouterServer, "url" | "managementKey">) {
  return { KEYCTL_OPENROUTER_URL: url, OPENROUTER_PROVISIONING_KEY: managementKey };
}

export function environmentOf({ environmentKey }: Given): Readonly<Record<string, string>> {
  return environmentKey === undefined ? {} : { OPENROUTER_API_KEY: environmentKey };
}

export function givenKey({ input, environmentKey }: Given): string | undefined {
  return input ?? environmentKey;
}

type Around = (ports: Ports) => Ports;
const asTheyAre: Around = (ports) => ports;

/**
 * Runs a command in this process and records its accesses. `below` and `above` wrap the ports under and over the
 * recorder.
 */
export async function recordedInProcess(
  home: Home,
  openRouter: OpenRouterServer,
  given: Given,
  below: Around = asTheyAre,
  above: Around = asTheyAre,
): Promise<RecordedRun> {
  const path = join(mkdtempSync(join(home.folder, "recorded-")), "accesses");
  const env = { ...environmentFor(openRouter), ...environmentOf(given), ...given.env };
  const around: Around = (ports) => above(witnessed(below(ports), recorder(path)));
  const run = await (given.call === undefined
    ? inProcess(home, given.args, { env, input: given.input ?? "", around, ...given.beside })
    : called(given.call, await openManager(home, env, around)));
  const succeeded = run.code === 0;
  return { run, traces: tracesOf(path, { args: given.args, key: givenKey(given), cap: capIn(given.env), succeeded }) };
}

async function called(call: NonNullable<Given["call"]>, keys: KeyManager): Promise<Pick<Run, "code" | "stderr">> {
  try {
    const { error } = await call(keys);
    return { code: exitCodeOf(error), stderr: error?.message ?? "" };
  } finally {
    await keys.close();
  }
}
