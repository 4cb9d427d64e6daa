import { readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isKeyctlError, KeyctlError } from "../core/model/errors.ts";
import { NO_TERMS, storedValue } from "../core/model/key-record.ts";
import { printable } from "../core/text/printable.ts";
import type { Spool, SpooledKey } from "../core/ports/spool.ts";
import { makePrivateFolder, openPrivateFile, syncFolder, writeSynced } from "../files/private-files.ts";
import { readRegularFile } from "../files/read-regular-file.ts";
import { userHash } from "../core/model/user-id.ts";
import { temporaryPath } from "../files/temporary-path.ts";
import { codeOf } from "../files/system-error.ts";

const WAITING = ".jwe";
const SENT = ".sent.jwe";
const NAME = /^([0-9a-f]{16})-([0-9a-f]{64})-([1-9]\d*)(\.sent)?\.jwe$/;
const MOST_BYTES = 16 * 1024;

/**
 * A folder with one file per key. The name identifies the key and shows whether it was sent; the key inside is sealed.
 */
export function fileSpool(folder: string): Spool {
  const namesHere = (): readonly string[] =>
    orAbsent(folder, () => readdirSync(folder).filter((name) => NAME.test(name))) ?? [];
  const rename = (key: SpooledKey, from: string, to: string): boolean => {
    const isDone = orAbsent(folder, () => {
      renameSync(pathOf(folder, key, from), pathOf(folder, key, to));
      return true;
    });
    if (isDone === true) syncIfPossible(folder);
    return isDone === true;
  };
  return {
    mayHoldKeys: () => namesHere().length > 0,
    async list(deployment, user) {
      const prefix = user === undefined ? `${deployment}-` : `${deployment}-${userHash(user)}-`;
      return namesHere()
        .filter((name) => name.startsWith(prefix))
        .flatMap((name) => readOne(folder, name, user) ?? [])
        .toSorted((one, other) => one.n - other.n);
    },
    async elsewhere(deployment, user) {
      const name = namesHere().find((one) => one.includes(`-${userHash(user)}-`) && !one.startsWith(`${deployment}-`));
      return name === undefined ? undefined : join(folder, name);
    },
    async counts() {
      const counts = new Map<string, number>();
      for (const name of namesHere()) {
        const [deployment = ""] = name.split("-", 1);
        counts.set(deployment, (counts.get(deployment) ?? 0) + 1);
      }
      return counts;
    },
    async write(key) {
      makePrivateFolder(folder);
      const path = pathOf(folder, key, key.sent ? SENT : WAITING);
      const draft = temporaryPath(path);
      try {
        writeSynced(openPrivateFile(draft), JSON.stringify({ ...key, sent: undefined }));
        renameSync(draft, path);
      } catch (thrown) {
        rmSync(draft, { force: true });
        throw thrown;
      }
      // The file is complete from here on. A failure reported now would make the caller delete the key.
      syncIfPossible(folder);
    },
    claim: async (key) => rename(key, WAITING, SENT),
    async release(key) {
      rename(key, SENT, WAITING);
    },
    async remove(key) {
      try {
        rmSync(pathOf(folder, key, SENT), { force: true });
      } catch {
        // Its outcome is recorded: if the file is read again, the key is found to be decided.
      }
    },
  };
}

function pathOf(folder: string, { deployment, userId, n }: SpooledKey, ending: string): string {
  return join(folder, `${deployment}-${userHash(userId)}-${n}${ending}`);
}

/** Undefined if the file or folder does not exist. Throws STORE_UNAVAILABLE if it cannot be used. */
function orAbsent<Result>(folder: string, work: () => Result): Result | undefined {
  try {
    return work();
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT" || codeOf(thrown) === "ENOTDIR") return undefined;
    throw new KeyctlError(
      "STORE_UNAVAILABLE",
      `keys may wait in ${printable(folder)}, which cannot be used (${codeOf(thrown)})`,
      { hint: "make it a folder of your own, or remove it if it is empty" },
    );
  }
}

function syncIfPossible(folder: string): void {
  try {
    syncFolder(folder);
  } catch {
    // A power cut may undo the change; the next reconcile finds the key.
  }
}

/** In a list of one user, a damaged file is an error; in a list of all users, it is skipped. */
function readOne(folder: string, name: string, user: SpooledKey["userId"] | undefined): SpooledKey | undefined {
  try {
    return read(folder, name);
  } catch (thrown) {
    if (user === undefined && isKeyctlError(thrown)) return undefined;
    throw thrown;
  }
}

/** Undefined for a file that another process has taken meanwhile. Throws ROW_UNREADABLE for a damaged file. */
function read(folder: string, name: string): SpooledKey | undefined {
  const path = join(folder, name);
  const file = readRegularFile(path, MOST_BYTES);
  if (file.status === "absent") return undefined;
  const key = file.status === "read" ? parse(Buffer.from(file.bytes).toString("utf8")) : undefined;
  const [, deployment, hash, n, sent] = NAME.exec(name) ?? [];
  const isItself = key?.deployment === deployment && key?.n === Number(n) && userHash(key.userId) === hash;
  // keyctl writes no key in plain text here: another program did.
  if (key !== undefined && isItself && storedValue(key.keyEncrypted).kind !== "clear") {
    return { ...key, sent: sent !== undefined };
  }
  throw new KeyctlError(
    "ROW_UNREADABLE",
    `a key that could not be stored waits in ${printable(path)}, which is damaged`,
    {
      hint: "move that file away; keyctl reconcile finds the key at OpenRouter",
    },
  );
}

function parse(text: string): SpooledKey | undefined {
  try {
    // The deciding fields are compared with the file's name; the sealed key is authenticated when it is opened. An
    // earlier version knows fewer terms.
    return { ...NO_TERMS, ...(JSON.parse(text) as SpooledKey) };
  } catch {
    return undefined;
  }
}
