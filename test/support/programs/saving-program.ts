import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { Home } from "../home/home.ts";

const CHILD = fileURLToPath(new URL("./saving-child.mjs", import.meta.url));

/** `outcome` is the hash of the key that is in the database afterwards, or `nothing`. */
export interface Change {
  readonly user: string;
  readonly outcome: string;
}

export interface SavingProgram {
  /** Whether the program has reported that the store is open. */
  readonly hasOpened: () => boolean;
  /** The changes that it has begun. The last one may be in progress. */
  readonly begun: readonly Change[];
  /** The number of those changes that it has reported as done. */
  readonly done: () => number;
  readonly ended: Promise<unknown>;
  readonly opened: () => Promise<void>;
  /** Resolves when this many changes are done. */
  readonly saved: (count: number) => Promise<void>;
  readonly stop: () => void;
  readonly resume: () => void;
  /** Lets it finish its current change, then ends it. Resolves when it has ended. */
  readonly finish: () => Promise<void>;
  /** kill -9; resolves when its whole output has been read. */
  readonly kill: () => Promise<void>;
}

/**
 * Starts a program that uses the built library to save keys of these users, or to save and remove them. `line` is a
 * shell line that runs first.
 */
export function savingProgram(
  home: Home,
  users: readonly string[],
  line = ":",
  task: "saves" | "changes" = "saves",
): SavingProgram {
  const child = spawn("bash", ["-c", `${line}\nexec "$0" "$@"`, process.execPath, CHILD, task, ...users], {
    cwd: home.work,
    env: home.environment,
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended = once(child, "close");
  const begun: Change[] = [];
  const failures: string[] = [];
  let opened = false;
  let done = 0;
  const said = new EventEmitter();
  createInterface(child.stdout).on("line", (text) => {
    const [word = "", user = "", outcome = ""] = text.split(" ");
    if (word === "opened") opened = true;
    else if (word === "begin") begun.push({ user, outcome });
    else if (word === "done") done += 1;
    else if (word !== "lost") failures.push(text);
    said.emit("line");
  });
  const until = async (condition: () => boolean) => {
    while (!condition()) {
      if (failures.length > 0) throw new Error(`the saving program said ${failures.join(", ")}`);
      await Promise.race([
        once(said, "line"),
        ended.then(() => {
          throw new Error("the saving program has ended by itself");
        }),
      ]);
    }
  };
  const endedWith = async (expected: number | "SIGKILL") => {
    const [code, signal] = await ended;
    if (failures.length > 0) throw new Error(`the saving program said ${failures.join(", ")}`);
    if ((code ?? signal) !== expected) throw new Error(`the saving program ended with ${code ?? signal}`);
  };
  return {
    hasOpened: () => opened,
    begun,
    done: () => done,
    ended,
    opened: () => until(() => opened),
    saved: (count) => until(() => done >= count),
    stop: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    async finish() {
      child.stdin.end();
      await endedWith(0);
    },
    async kill() {
      child.kill("SIGKILL");
      await endedWith("SIGKILL");
    },
  };
}
