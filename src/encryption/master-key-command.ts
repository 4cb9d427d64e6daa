import { spawn } from "node:child_process";
import { KeyctlError } from "../core/model/errors.ts";
import { anySignal, isTimeout } from "../core/async/deadline.ts";
import { tooSlow } from "./slow-command.ts";

const LIMIT_MS = 10_000;
const LIMIT_BYTES = 64 * 1024;

/**
 * The standard output of a shell command that prints master keys. The command runs in its own process group, so that
 * none of its processes outlives the time limit. Its standard error is dropped, because it may hold a secret.
 */
export async function runCommand(
  command: string,
  from: string,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const patience = anySignal(signal, AbortSignal.timeout(LIMIT_MS));
  const detached = process.platform !== "win32";
  const child = spawn(command, { shell: true, detached, env: environment, stdio: ["ignore", "pipe", "ignore"] });
  const kill = () => {
    try {
      if (detached && child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      else child.kill();
    } catch {
      // It has ended by itself.
    }
  };
  const chunks: Buffer[] = [];
  let length = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length > LIMIT_BYTES) kill();
  });
  const over = new AbortController();
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once("error", () => resolve(null));
      child.once("close", (code) => resolve(code));
      // Rejects before the process ends: the callers that share this run have no time left.
      const stop = () => {
        kill();
        child.stdout.destroy();
        reject(signal.aborted ? givenUp(from, signal.reason) : failed(from, "did not end within 10 s"));
      };
      patience.addEventListener("abort", stop, { once: true, signal: over.signal });
    });
    if (length > LIMIT_BYTES) throw failed(from, "printed more than 64 KiB");
    if (status !== 0)
      throw failed(from, status === null ? "could not be run to its end" : `ended with exit code ${status}`);
    return Buffer.concat(chunks).toString("utf8");
  } finally {
    over.abort();
  }
}

/** The error once the caller stops waiting for a command: the caller's reason, or CONFIG_INVALID after a time-out. */
function givenUp(from: string, reason: unknown): unknown {
  return isTimeout(reason) ? tooSlow(from) : reason;
}

function failed(from: string, problem: string): KeyctlError {
  return new KeyctlError("CONFIG_INVALID", `the command in ${from} ${problem}`, {
    hint: "run it by hand to see what it says; it must print a JWK Set or one base64url key",
  });
}
