import { createReadStream } from "node:fs";
import { codeOf } from "../../files/system-error.ts";
import { walOf } from "./wal-owner.ts";

const KEY = /sk-or-v1-[A-Za-z0-9_-]{8}/;
const LONGEST = 32;

/** The files of this database that hold a key in plain text: in a row, in free space or in the log. */
export async function filesWithPlainText(path: string, signal: AbortSignal): Promise<readonly string[]> {
  const files: string[] = [];
  for (const file of [path, walOf(path)]) if (await holdsKey(file, signal)) files.push(file);
  return files;
}

async function holdsKey(path: string, signal: AbortSignal): Promise<boolean> {
  let rest = "";
  try {
    for await (const chunk of createReadStream(path, { encoding: "latin1", highWaterMark: 1024 * 1024, signal })) {
      const text = rest + String(chunk);
      if (KEY.test(text)) return true;
      rest = text.slice(-LONGEST);
    }
    return false;
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return false;
    signal.throwIfAborted();
    throw thrown;
  }
}
