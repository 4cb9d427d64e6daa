import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { KeyctlError } from "../core/errors.ts";
import { printable } from "../core/printable.ts";
import type { Spool, SpooledKey } from "../core/spool.ts";
import { userHash } from "../core/user-hash.ts";
import { makePrivateFolder, openPrivateFile, syncFolder, writeSynced } from "../files/private-files.ts";
import { codeOf, readRegularFile } from "../files/read-regular-file.ts";

const WAITING = ".jwe";
const SENT = ".sent.jwe";
const NAME = /^([0-9a-f]{16})-([0-9a-f]{64})-([1-9]\d*)(\.sent)?\.jwe$/;
const MOST_BYTES = 16 * 1024;

/** A folder with one file for each key: its name says whose it is and whether it was sent, its content is sealed. */
export function fileSpool(folder: string): Spool {
  const namesHere = () => (existsSync(folder) ? readdirSync(folder).filter((name) => NAME.test(name)) : []);
  const rename = (key: SpooledKey, from: string, to: string): boolean => {
    try {
      renameSync(pathOf(folder, key, from), pathOf(folder, key, to));
    } catch (thrown) {
      if (codeOf(thrown) === "ENOENT") return false;
      throw thrown;
    }
    syncFolder(folder);
    return true;
  };
  return {
    mayHoldKeys: () => namesHere().length > 0,
    async list(deployment, user) {
      const prefix = user === undefined ? `${deployment}-` : `${deployment}-${userHash(user)}-`;
      return namesHere()
        .filter((name) => name.startsWith(prefix))
        .flatMap((name) => read(folder, name) ?? [])
        .toSorted((one, other) => one.n - other.n);
    },
    count: async () => namesHere().length,
    async write(key) {
      makePrivateFolder(folder);
      const file = openPrivateFile(pathOf(folder, key, key.sent ? SENT : WAITING));
      writeSynced(file, JSON.stringify({ ...key, sent: undefined }));
      syncFolder(folder);
    },
    claim: async (key) => rename(key, WAITING, SENT),
    async release(key) {
      rename(key, SENT, WAITING);
    },
    async remove(key) {
      rmSync(pathOf(folder, key, SENT), { force: true });
    },
  };
}

function pathOf(folder: string, { deployment, userId, n }: SpooledKey, ending: string): string {
  return join(folder, `${deployment}-${userHash(userId)}-${n}${ending}`);
}

/** Undefined for a file that another process has taken meanwhile. Throws STORE_CORRUPT for one that says nothing. */
function read(folder: string, name: string): SpooledKey | undefined {
  const path = join(folder, name);
  const file = readRegularFile(path, MOST_BYTES);
  if (file.status === "absent") return undefined;
  const key = file.status === "read" ? parse(Buffer.from(file.bytes).toString("utf8")) : undefined;
  const [, deployment, hash, n, sent] = NAME.exec(name) ?? [];
  if (key?.deployment === deployment && key?.n === Number(n) && userHash(key.userId) === hash) {
    return { ...key, sent: sent !== undefined };
  }
  throw new KeyctlError(
    "STORE_CORRUPT",
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
