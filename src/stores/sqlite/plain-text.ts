import { closeSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import type { PlainTextRemains } from "../../core/ports/stores-and-sources.ts";
import { codeOf } from "../../files/system-error.ts";
import { isTooLargeToRewrite } from "./erase.ts";
import { openStoreError } from "./errors.ts";
import type { DatabaseFile } from "./file.ts";
import { keptDescriptor } from "./kept-descriptor.ts";
import { walOf } from "./wal-owner.ts";

const KEY = /sk-or-v1-[A-Za-z0-9_-]{8}/;
const LONGEST = 32;
const CHUNK_BYTES = 1024 * 1024;

const readAt = promisify(read);

/** As `Inspection.filesWithPlainText`: a key may be in a row, in free space or in the log. */
export async function filesWithPlainText(file: DatabaseFile, signal: AbortSignal): Promise<PlainTextRemains> {
  const { realPath } = file;
  const log = walOf(realPath);
  try {
    file.requireSame();
    const files = [
      ...((await holdsKey(keptDescriptor(realPath), signal)) ? [realPath] : []),
      ...((await logHoldsKey(log, signal)) ? [log] : []),
    ];
    return { files, tooLarge: isTooLargeToRewrite(realPath) ? realPath : null };
  } catch (thrown) {
    signal.throwIfAborted();
    throw openStoreError(thrown, file.path);
  }
}

/** False if there is no log. */
async function logHoldsKey(path: string, signal: AbortSignal): Promise<boolean> {
  let log: number;
  try {
    log = openSync(path, "r");
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return false;
    throw thrown;
  }
  try {
    return await holdsKey(log, signal);
  } finally {
    closeSync(log);
  }
}

async function holdsKey(descriptor: number, signal: AbortSignal): Promise<boolean> {
  const buffer = Buffer.alloc(CHUNK_BYTES);
  let rest = "";
  for (let position = 0; ;) {
    signal.throwIfAborted();
    const { bytesRead } = await readAt(descriptor, buffer, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return false;
    const text = rest + buffer.toString("latin1", 0, bytesRead);
    if (KEY.test(text)) return true;
    rest = text.slice(-LONGEST);
    position += bytesRead;
  }
}
