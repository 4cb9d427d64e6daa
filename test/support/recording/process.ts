import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { execa } from "execa";
import { onTestFinished } from "vitest";
import type { Home } from "../home/home.ts";
import { onlyIn } from "../programs/keyctl.ts";
import type { OpenRouterServer } from "../openrouter/server.ts";
import { environmentFor, environmentOf, givenKey } from "./keyctl.ts";
import type { Given } from "./keyctl.ts";
import { capIn, tracesOf } from "./runs.ts";
import type { UserTrace } from "./runs.ts";

const TOOL = join(import.meta.dirname, "../../../dist/tool/main.cjs");

/** A moment of a port call: `before store.insert`. */
type Moment = string;

interface Signalled {
  /** The number of the moment, from 1; or a number and a moment, such as `2 before store.insert`: the second of that name. */
  readonly at: number | `${number} ${Moment}`;
  readonly signal: "SIGKILL" | "SIGSTOP";
}

export interface RecordedProcess {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly moments: readonly Moment[];
  readonly traces: readonly UserTrace[];
}

/** A started process. */
export interface RecordingProcess {
  readonly pid: number | undefined;
  readonly moments: () => readonly Moment[];
  readonly ended: Promise<RecordedProcess>;
}

export type StartRecording = (
  home: Home,
  openRouter: Pick<OpenRouterServer, "url" | "managementKey">,
  given: Given,
  options?: { readonly signalled?: Signalled; readonly env?: Readonly<Record<string, string>> },
) => RecordingProcess;

/**
 * Returns a function that starts the built tool with the recorder. Its files are removed when the calling test ends.
 */
export async function recordingProgram(): Promise<StartRecording> {
  const folder = mkdtempSync(join(tmpdir(), "keyctl-recording-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, "recording.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "child.ts")],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
  });
  return (home, openRouter, given, options = {}) => {
    const records = mkdtempSync(join(home.folder, "records-"));
    const [accesses, moments] = [join(records, "accesses"), join(records, "moments")];
    const env = {
      ...environmentFor(openRouter),
      ...environmentOf(given),
      ...options.env,
      RECORD_TOOL: TOOL,
      RECORD_ACCESSES: accesses,
      RECORD_MOMENTS: moments,
      ...signalling(options.signalled),
    };
    const words = [program, ...given.args];
    const child = execa(process.execPath, words, onlyIn(home, { env, input: given.input ?? "" }));
    const momentsSoFar = () => (existsSync(moments) ? readFileSync(moments, "utf8").split("\n").slice(0, -1) : []);
    const ended = async (): Promise<RecordedProcess> => {
      const { exitCode: code, signal, stdout, stderr } = await child;
      const cap = capIn(options.env);
      const traces = tracesOf(accesses, { args: given.args, key: givenKey(given), cap, succeeded: code === 0 });
      return { code, signal, stdout: String(stdout), stderr: String(stderr), moments: momentsSoFar(), traces };
    };
    return { pid: child.pid, moments: momentsSoFar, ended: ended() };
  };
}

function signalling(signalled: Signalled | undefined) {
  return signalled === undefined ? {} : { SIGNAL_AT: String(signalled.at), SIGNAL: signalled.signal };
}
