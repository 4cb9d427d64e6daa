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
import { BadMasterKeys, parseMasterKeys, withActiveKey, withoutMasterKey } from "./jwk-set.ts";
import { codeOf } from "../files/system-error.ts";

const MAX_BYTES = 64 * 1024;
/** Longer than any writer needs. */
const LOCK_WAIT_MS = 5_000;

/**
 * Puts a new master key in front of the set in this file and returns its id. Throws CONFIG_INVALID or CONFLICT; nothing
 * has changed then. No key is ever lost: the set is read and replaced under a lock, and the file is complete at every
 * moment. A symbolic link stays, and the file behind it is changed.
 */
export async function addMasterKey(path: string, signal: AbortSignal): Promise<string> {
  return changeSet(path, "a new master key could not be written to", addTo, signal);
}

/** Removes a master key from the set in this file; else as `addMasterKey`. Throws CONFLICT for the active key. */
export async function removeMasterKey(path: string, kid: string, signal: AbortSignal): Promise<void> {
  return changeSet(path, "the master key could not be taken out of", (file) => removeFrom(file, kid), signal);
}

/** @param problem the change that failed, as the beginning of a sentence that continues with the path */
async function changeSet<Result>(
  path: string,
  problem: string,
  change: (file: string) => Result,
  signal: AbortSignal,
): Promise<Result> {
  const failed = (why: string) => notWritten(`${problem} ${path} ${why}`);
  try {
    const file = realpathSync(path);
    const lock = `${file}.lock`;
    const result = await whileLocked(lock, LOCK_WAIT_MS, () => ({ changed: change(file) }), signal).catch(
      (thrown: unknown) => {
        if (isTimeout(thrown)) return "held too long" as const;
        throw thrown;
      },
    );
    if (result === "held too long") throw held(lock);
    return result.changed;
  } catch (thrown) {
    if (thrown instanceof BadMasterKeys) throw failed(`because it ${thrown.message}`);
    if (codeOf(thrown) === "" || isKeyctlError(thrown)) throw thrown;
    throw failed(`(${codeOf(thrown)})`);
  }
}

function addTo(file: string): string {
  const added = masterKey(randomBytes(32));
  const set = withActiveKey(textIn(file), added);
  if (Buffer.byteLength(set) > MAX_BYTES) throw new BadMasterKeys("holds too many already");
  replaceFile(file, set);
  return added.kid;
}

function removeFrom(file: string, kid: string): void {
  const text = textIn(file);
  const [active, ...others] = parseMasterKeys(text);
  if (active.kid === kid) {
    throw new KeyctlError("CONFLICT", `master key ${kid} is the active one by now; nothing was changed`, {
      hint: "keyctl doctor   names the master keys that are not used",
    });
  }
  if (others.some((other) => other.kid === kid)) replaceFile(file, withoutMasterKey(text, kid));
}

function textIn(file: string): string {
  const read = readRegularFile(file, MAX_BYTES);
  const text = read.status === "read" ? decodeText(read.bytes) : undefined;
  if (text === undefined) throw new BadMasterKeys("cannot be read");
  return text;
}

function notWritten(problem: string): KeyctlError {
  return new KeyctlError("CONFIG_INVALID", `${problem}; nothing was changed`, {
    hint: "run it as the owner of that file and folder, or change the set by hand; then: keyctl rekey",
  });
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
