import { readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isKeyctlError, KeyctlError } from "../core/model/errors.ts";
import { storedValue } from "../core/model/key-record.ts";
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

/** A folder with one file for each key: its name says whose it is and whether it was sent, its content is sealed. */
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
      // From here on the file is there, whole: who was told otherwise would delete its key.
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
        // It is decided: brought in once more, it is found to be so.
      }
    },
  };
}

function pathOf(folder: string, { deployment, userId, n }: SpooledKey, ending: string): string {
  return join(folder, `${deployment}-${userHash(userId)}-${n}${ending}`);
}

/** Undefined where there is no such file or folder. Throws STORE_UNAVAILABLE for what cannot be looked at. */
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
    // What a power cut may undo is found by the next reconcile.
  }
}

/** Of one user, a file that is damaged is their error; of all, it is passed over. */
function readOne(folder: string, name: string, user: SpooledKey["userId"] | undefined): SpooledKey | undefined {
  try {
    return read(folder, name);
  } catch (thrown) {
    if (user === undefined && isKeyctlError(thrown)) return undefined;
    throw thrown;
  }
}

/** Undefined for a file that another process has taken meanwhile. Throws ROW_UNREADABLE for one that says nothing. */
function read(folder: string, name: string): SpooledKey | undefined {
  const path = join(folder, name);
  const file = readRegularFile(path, MOST_BYTES);
  if (file.status === "absent") return undefined;
  const key = file.status === "read" ? parse(Buffer.from(file.bytes).toString("utf8")) : undefined;
  const [, deployment, hash, n, sent] = NAME.exec(name) ?? [];
  const isItself = key?.deployment === deployment && key?.n === Number(n) && userHash(key.userId) === hash;
  // Keyctl puts no key there in plain text: another program has.
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
    // Its parts that decide are held against the file's name; what is sealed proves itself.
    return JSON.parse(text) as SpooledKey;
  } catch {
    return undefined;
  }
}
