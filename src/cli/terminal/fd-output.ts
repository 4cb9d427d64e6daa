import { constants, fstatSync, readFileSync, readlinkSync, writeSync } from "node:fs";
import type { Stats } from "node:fs";
import { codeOf } from "../../files/system-error.ts";

/** Writes text. Rejects with an error that has a system code (EPIPE, ENOSPC). */
export interface Output {
  write(text: string): Promise<void>;
  /** The width of a terminal; undefined for a file or a pipe. */
  readonly columns: number | undefined;
  /** True while a reader that does not read blocks a write. */
  readonly isBlocked: boolean;
  /** Resolves when no write is blocked; each write reports its own result. */
  drained(): Promise<void>;
  /** False if the descriptor was closed before the start, so that writes go nowhere. */
  readonly isOpen: boolean;
}

/** An empty pipe accepts at least this many bytes without blocking. */
const DIRECT_BYTES = 16 * 1024;
/** For a terminal that reports a width of 0. */
const USUAL_COLUMNS = 80;
const LINUX_MEMORY_DEVICES = 1;

/**
 * Standard output or error. Writes directly where that cannot block: `process.stdout` costs a tenth of Node's start-up time
 * and reports a full disk too late. More than a pipe certainly holds goes through `process.stdout` nevertheless: a reader
 * that does not read must not keep the process from handling signals.
 */
export function fdOutput(file: 1 | 2): Output {
  let written = 0;
  let streaming = false;
  let waiting = 0;
  let last: Promise<unknown> = Promise.resolve();
  let isOpen: boolean | undefined;
  return {
    async write(text) {
      const bytes = Buffer.byteLength(text);
      streaming ||= written + bytes > DIRECT_BYTES && isPipe(file);
      const direct = streaming ? 0 : writeDirectly(file, text);
      written += bytes;
      if (direct === bytes) return;
      streaming = true;
      waiting += 1;
      const writing = writeThrough(streamOf(file), direct === 0 ? text : Buffer.from(text).subarray(direct));
      // A stream writes in order.
      last = writing.catch(() => {});
      try {
        await writing;
      } finally {
        waiting -= 1;
      }
    },
    async drained() {
      await last;
    },
    get isBlocked() {
      if (waiting === 0) return false;
      // A stream reports slightly later what it has written, or could not write.
      const { writableLength, errored } = streamOf(file);
      return writableLength > 0 && errored === null;
    },
    get columns() {
      try {
        return isTerminal(file) ? streamOf(file).columns || USUAL_COLUMNS : undefined;
      } catch {
        return undefined; // The descriptor has just been closed.
      }
    },
    get isOpen() {
      isOpen ??= !wasClosedAtStart(file);
      return isOpen;
    },
  };
}

/**
 * How many bytes were written: all of them, or as many as a non-blocking pipe accepts. Text is written without a buffer:
 * buffers would pile up by the hundred megabytes before they are garbage-collected.
 */
function writeDirectly(file: number, text: string): number {
  try {
    return writeSync(file, text);
  } catch (thrown) {
    if (codeOf(thrown) === "EAGAIN") return 0;
    throw thrown;
  }
}

function writeThrough(stream: NodeJS.WriteStream, chunk: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(chunk, (error) => {
      if (error === undefined || error === null) resolve();
      else reject(error);
    });
  });
}

function streamOf(file: 1 | 2): NodeJS.WriteStream {
  const stream = file === 1 ? process.stdout : process.stderr;
  // Each write receives its error; without a listener, the event would still end the process.
  if (stream.listenerCount("error") === 0) stream.on("error", () => {});
  return stream;
}

function isPipe(file: number): boolean {
  const stats = fstatSync(file);
  return stats.isFIFO() || stats.isSocket();
}

/** For a descriptor that is closed at the start, Node opens /dev/null for reading and writing; a shell's `>` only for writing. */
function wasClosedAtStart(file: number): boolean {
  if (process.platform !== "linux") return false;
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${file}`, "utf8"))?.[1] ?? "";
    const accessMode = Number.parseInt(flags, 8) & 3;
    return accessMode === constants.O_RDWR && readlinkSync(`/proc/self/fd/${file}`) === "/dev/null";
  } catch {
    return false;
  }
}

/** As `tty.isatty`, without loading its module for files and pipes. */
export function isTerminal(file: number): boolean {
  try {
    const stats = fstatSync(file);
    if (!stats.isCharacterDevice() || isDeviceOfMemory(stats)) return false;
  } catch {
    return false;
  }
  const tty: typeof import("node:tty") = process.getBuiltinModule("node:tty");
  return tty.isatty(file);
}

/** /dev/null and its like. */
export function isDeviceOfMemory({ rdev }: Stats): boolean {
  return process.platform === "linux" && rdev >> 8 === LINUX_MEMORY_DEVICES;
}
