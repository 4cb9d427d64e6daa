import { randomBytes } from "node:crypto";
import { realpathSync } from "node:fs";
import { isKeyctlError, KeyctlError } from "../core/model/errors.ts";
import { isTimeout } from "../core/async/deadline.ts";
import { shellQuote } from "../core/text/shell-quote.ts";
import { decodeText } from "../files/decode-text.ts";
import { whileLocked } from "../files/lock-file.ts";
import { readRegularFile } from "../files/read-regular-file.ts";
import { replaceFile } from "../files/replace-file.ts";
import { masterKey } from "./jwe.ts";
import { BadMasterKeys, withActiveKey } from "./jwk-set.ts";
import { codeOf } from "../files/system-error.ts";

const MAX_BYTES = 64 * 1024;
/** Longer than any honest writer needs. */
const LOCK_WAIT_MS = 5_000;

/**
 * Puts a new master key in front of the set in this file, and gives its id. No key is ever lost: the set is read and
 * replaced under a lock, and at every moment the file is whole. A symbolic link stays, and what it names is changed.
 * Throws CONFIG_INVALID or CONFLICT; nothing has changed then.
 */
export async function addMasterKey(path: string, signal: AbortSignal): Promise<string> {
  try {
    const file = realpathSync(path);
    const lock = `${file}.lock`;
    const kid = await whileLocked(lock, LOCK_WAIT_MS, () => addTo(file), signal).catch((thrown: unknown) => {
      if (isTimeout(thrown)) return "held too long";
      throw thrown;
    });
    if (kid === "held too long") throw held(lock);
    return kid;
  } catch (thrown) {
    if (thrown instanceof BadMasterKeys) throw notWritten(path, `because it ${thrown.message}`);
    if (codeOf(thrown) === "" || isKeyctlError(thrown)) throw thrown;
    throw notWritten(path, `(${codeOf(thrown)})`);
  }
}

function addTo(file: string): string {
  const read = readRegularFile(file, MAX_BYTES);
  const text = read.status === "read" ? decodeText(read.bytes) : undefined;
  if (text === undefined) throw notWritten(file, "because it cannot be read");
  const added = masterKey(randomBytes(32));
  const set = withActiveKey(text, added);
  if (Buffer.byteLength(set) > MAX_BYTES) throw notWritten(file, "because it holds too many already");
  replaceFile(file, set);
  return added.kid;
}

function notWritten(path: string, why: string): KeyctlError {
  return new KeyctlError(
    "CONFIG_INVALID",
    `a new master key could not be written to ${path} ${why}; nothing was changed`,
    {
      hint: "run it as the owner of that file and folder, or put a new key in front of the set by hand; then: keyctl rekey",
    },
  );
}

function held(lock: string): KeyctlError {
  return new KeyctlError(
    "CONFLICT",
    `another rekey is changing the master keys: it holds ${lock}; nothing was changed`,
    {
      hint: `if no rekey is running, one was killed: rm ${shellQuote(lock)}`,
      retryable: true,
    },
  );
}
