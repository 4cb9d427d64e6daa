import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { notOpened, OPEN_FLAGS, readRegularFile } from "./read-regular-file.ts";
import type { FileReading } from "./read-regular-file.ts";
import { codeOf, reasonOf } from "./system-error.ts";

/**
 * A file that a person named: a regular file, or a pipe, such as a shell's `<(command)`, a FIFO or /dev/stdin.
 * **Invariant:** no pipe blocks this process, or is waited for without an end.
 */

/** How long a pipe may take: for all of a key, and between two pieces of a longer file. */
export const PIPE_MS = 10_000;

/** How long a failure of a pipe is kept: a server may find it repaired. */
const FAILURE_MS = 60_000;

/** How long a run waits for a pipe. */
export interface PipeWait {
  /** In milliseconds, at most `PIPE_MS`. */
  readonly timeMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

type Opened = { readonly status: "stream"; readonly stream: Readable } | { readonly status: "file" } | Unusable;
type Unusable = Exclude<FileReading, { readonly status: "read" }>;

/** A pipe gives its content once, so it stays with this process. A failure stays for a while, so that one run waits for it once. */
const pipes = new Map<string, Promise<FileReading>>();
const settled = new Map<string, FileReading>();

/** As `readRegularFile`, also of a pipe that ends in time. Rejects with the signal's reason. */
export async function readNamedFile(path: string, maxBytes: number, wait: PipeWait = {}): Promise<FileReading> {
  if (!isPipe(path)) return readRegularFile(path, maxBytes);
  const reading = pipes.get(path) ?? readPipe(path, maxBytes, wait);
  pipes.set(path, reading);
  try {
    const file = await reading;
    settled.set(path, file);
    if (file.status !== "read") forgetLater(path);
  } catch (thrown) {
    pipes.delete(path);
    throw thrown;
  }
  return reading;
}

function forgetLater(path: string): void {
  setTimeout(() => {
    pipes.delete(path);
    settled.delete(path);
  }, FAILURE_MS).unref();
}

/** The same without a wait: a pipe must have been read by `readNamedFile`. */
export function readNamedFileNow(path: string, maxBytes: number): FileReading {
  return settled.get(path) ?? readRegularFile(path, maxBytes);
}

/** True for anything but a regular file and a directory: it cannot be read twice, changed or counted. */
export function isPipe(path: string): boolean {
  try {
    const stats = statSync(path);
    return !stats.isFile() && !stats.isDirectory();
  } catch {
    return false;
  }
}

/** Opens a pipe. A regular file is not opened here. */
export function openPipe(path: string): Opened {
  let file: number;
  try {
    file = openSync(path, OPEN_FLAGS);
  } catch (thrown) {
    // A socket, or a pipe of another user, is open already and cannot be opened again.
    const isInherited = isStdin(path) && ["ENXIO", "EACCES"].includes(codeOf(thrown));
    return isInherited ? { status: "stream", stream: process.stdin } : notOpened(path, thrown);
  }
  const stats = fstatSync(file);
  if (stats.isFIFO()) return { status: "stream", stream: streamOf(file) };
  const isEmpty = stats.isCharacterDevice() && stats.rdev === statSync("/dev/null").rdev;
  const isTerminal = process.getBuiltinModule("node:tty").isatty(file);
  closeSync(file);
  if (stats.isFile()) return { status: "file" };
  if (isEmpty) return { status: "stream", stream: process.getBuiltinModule("node:stream").Readable.from([]) };
  return { status: "unreadable", reason: isTerminal ? "it is a terminal" : "it is a device" };
}

/** Why a pipe was not read to its end. */
export function silence(hasBegun: boolean, timeMs = PIPE_MS): string {
  const time = `within ${timeMs / 1000} s`;
  return hasBegun ? `it did not end ${time}` : `nothing was written to it ${time}`;
}

async function readPipe(path: string, maxBytes: number, { timeMs = PIPE_MS, signal }: PipeWait): Promise<FileReading> {
  const timeLimit = Math.min(timeMs, PIPE_MS);
  const opened = openPipe(path);
  if (opened.status === "file") return readRegularFile(path, maxBytes);
  if (opened.status !== "stream") return opened;
  const { stream } = opened;
  const time = AbortSignal.timeout(timeLimit);
  const stop = () => stream.destroy();
  const end = signal === undefined ? time : AbortSignal.any([time, signal]);
  end.addEventListener("abort", stop, { once: true });
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of stream) {
      chunks.push(chunk as Buffer);
      length += (chunk as Buffer).length;
      if (length > maxBytes) return { status: "unreadable", reason: `it is larger than ${maxBytes / 1024} KiB` };
    }
  } catch (thrown) {
    if (!end.aborted) return { status: "unreadable", reason: reasonOf(thrown) };
  } finally {
    end.removeEventListener("abort", stop);
    stream.destroy();
  }
  signal?.throwIfAborted();
  if (time.aborted) return { status: "unreadable", reason: silence(length > 0, timeLimit) };
  return { status: "read", bytes: Buffer.concat(chunks), mode: 0o600, readableByOthers: false, modeCanChange: true };
}

/** Waits without a thread: a thread that waits for a pipe would keep the process from ending. */
function streamOf(file: number): Readable {
  const net: typeof import("node:net") = process.getBuiltinModule("node:net");
  return new net.Socket({ fd: file, readable: true, writable: false });
}

function isStdin(path: string): boolean {
  return ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"].includes(path);
}
