import { constants, fstatSync, readFileSync, readlinkSync, writeSync } from "node:fs";

import { codeOf } from "../files/read-regular-file.ts";

/** Where text goes. Rejects with an error that has a system code (EPIPE, ENOSPC) when it cannot. */
export interface Output {
  write(text: string): Promise<void>;
  /** The width of a terminal; undefined for a file or a pipe. */
  readonly columns: number | undefined;
  /** False when it was closed before we started, so that what is written reaches nobody. */
  readonly isOpen: boolean;
}

const PAUSE_MS = 5;
const LINUX_MEMORY_DEVICES = 1;

/**
 * A file descriptor. Written directly: `process.stdout` costs a tenth of Node's start, and says too late
 * that a disk is full. A pipe that takes nothing at the moment is waited for.
 */
export function descriptor(file: number): Output {
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  return {
    write(text) {
      const done = waiting === 0 ? writeText(file, text) : last.then(() => writeText(file, text));
      waiting += 1;
      const settle = () => {
        waiting -= 1;
      };
      last = done.then(settle, settle);
      return done;
    },
    get columns() {
      return isTerminal(file) ? (file === 1 ? process.stdout : process.stderr).columns : undefined;
    },
    get isOpen() {
      return !standsForClosed(file);
    },
  };
}

/** Text goes out as it is; a buffer for each would wait for the garbage collector by the hundred megabytes. */
async function writeText(file: number, text: string): Promise<void> {
  const length = Buffer.byteLength(text);
  const written = tryToWrite(() => writeSync(file, text));
  if (written < length) await writeRest(file, Buffer.from(text), written);
}

async function writeRest(file: number, bytes: Buffer, start: number): Promise<void> {
  let written = start;
  while (written < bytes.length) {
    const count = tryToWrite(() => writeSync(file, bytes, written));
    written += count;
    if (count === 0) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** 0 for a pipe that is full at the moment. */
function tryToWrite(write: () => number): number {
  try {
    return write();
  } catch (thrown) {
    if (codeOf(thrown) === "EAGAIN") return 0;
    throw thrown;
  }
}

/** In place of a descriptor that is closed at its start, Node opens /dev/null for reading and writing; a shell's `>` only writes. */
function standsForClosed(file: number): boolean {
  if (process.platform !== "linux") return false;
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${file}`, "utf8"))?.[1] ?? "";
    const accessMode = Number.parseInt(flags, 8) & 3;
    return accessMode === constants.O_RDWR && readlinkSync(`/proc/self/fd/${file}`) === "/dev/null";
  } catch {
    return false;
  }
}

/** As `tty.isatty`, without its module for what is plainly none. */
export function isTerminal(file: number): boolean {
  try {
    const stats = fstatSync(file);
    if (!stats.isCharacterDevice()) return false;
    if (process.platform === "linux" && stats.rdev >> 8 === LINUX_MEMORY_DEVICES) return false;
  } catch {
    return false;
  }
  const tty: typeof import("node:tty") = process.getBuiltinModule("node:tty");
  return tty.isatty(file);
}
