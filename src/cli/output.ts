import { constants, fstatSync, readFileSync, readlinkSync, writeSync } from "node:fs";

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
      const bytes = Buffer.from(text);
      const done = waiting === 0 ? writeAll(file, bytes) : last.then(() => writeAll(file, bytes));
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

async function writeAll(file: number, bytes: Buffer): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    try {
      written += writeSync(file, bytes, written);
    } catch (thrown) {
      if (!(thrown instanceof Error && "code" in thrown && thrown.code === "EAGAIN")) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
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
