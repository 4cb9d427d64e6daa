import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { Home } from "../home/home.ts";

const CHILD = fileURLToPath(new URL("./waiting-child.mjs", import.meta.url));

export interface Waited {
  /** The code of the error, or null if the key was saved. */
  readonly code: string | null;
  readonly longestGapMs: number;
}

/** Starts a program that uses the built library. Returns a function that saves a key in that program. */
export function waitingProgram(home: Home): (user: string, timeoutMs: number) => Promise<Waited> {
  const child = spawn(process.execPath, [CHILD], {
    cwd: home.work,
    env: home.environment,
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  return async (user, timeoutMs) => {
    child.stdin.write(`${JSON.stringify({ user, timeoutMs })}\n`);
    const { done, value } = await answers.next();
    if (done === true) throw new Error("the waiting program has ended by itself");
    return JSON.parse(value) as Waited;
  };
}
