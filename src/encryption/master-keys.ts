import { randomBytes } from "node:crypto";
import { isKeyctlError, KeyctlError } from "../core/model/errors.ts";
import { keyFileModeWarning } from "../core/model/key-file-mode.ts";
import type { Warning } from "../core/model/warning.ts";
import type { MasterKeys, Sealer } from "../core/ports/stores-and-sources.ts";
import { decodeText } from "../files/decode-text.ts";
import { createOnce } from "../files/private-files.ts";
import { isPipe, readNamedFile } from "../files/named-file.ts";
import { readRegularFile } from "../files/read-regular-file.ts";
import type { FileReading } from "../files/read-regular-file.ts";
import { BadMasterKeys, formatMasterKeys, parseMasterKeys } from "./jwk-set.ts";
import type { MasterKeySet } from "./jwk-set.ts";
import { otherPlaces } from "../core/sealing/verify-master-keys.ts";
import { isGuessable } from "./weak-key.ts";
import { conversionOf } from "./key-forms.ts";
import { masterKey } from "./jwe.ts";
import { shellQuote } from "../core/text/shell-quote.ts";
import type { MasterKeyPlace } from "./master-key-place.ts";
import { createSealer } from "./sealer.ts";
import { tooSlow } from "./slow-command.ts";
import { codeOf } from "../files/system-error.ts";

const MAX_BYTES = 64 * 1024;

/** Callbacks for events that need the attention of a person. */
export interface MasterKeyNotices {
  generated(path: string): void;
  added(path: string): void;
  /** Other users of this machine can read the file of the master keys. */
  readableByOthers(warning: Warning): void;
  /** A master key is guessable; `place` is the place that holds it. */
  guessable(kid: string, place: string): void;
}

/** Names of places. */
type Names = () => readonly string[];
const none: Names = () => [];

/**
 * Master keys of 256 bits each. Throws CONFIG_INVALID for a place that cannot be read or holds no key set; the message
 * contains nothing of its content.
 */
export function masterKeysFrom(place: MasterKeyPlace, notices: MasterKeyNotices, notRead: Names = none): MasterKeys {
  const from = nameOf(place);
  const guessable = new Set<string>();
  let reading = 0;
  const read = async (signal: AbortSignal) => {
    reading += 1;
    try {
      return await readPlace(place, notices, signal);
    } finally {
      reading -= 1;
    }
  };
  /** Reports each guessable key once. */
  const sealerOf = (text: string): Sealer => {
    const keys = keysIn(text, place);
    for (const { kid, bytes } of keys) {
      if (!isGuessable(bytes) || guessable.has(kid)) continue;
      guessable.add(kid);
      notices.guessable(kid, from);
    }
    const [active, ...others] = keys;
    return createSealer(active, others);
  };
  return {
    place: place.kind === "file" ? place.path : from,
    notRead,
    load: (signal) =>
      withOtherPlaces(from, notRead, async () => {
        const text = await read(signal);
        return text === undefined ? undefined : sealerOf(text);
      }),
    isGuessable: (kid) => guessable.has(kid),
    late: () => (reading > 0 && place.kind === "command" ? tooSlow(from) : undefined),
    async generate(signal) {
      if (!isWritable(place)) {
        const text = await read(signal);
        return text === undefined ? unusable(from, "is not there", restoredTo(place)) : sealerOf(text);
      }
      const text = formatMasterKeys(masterKey(randomBytes(32)));
      const written = writeOnce(place.path, text);
      if (written === text) notices.generated(place.path);
      return sealerOf(written);
    },
    async addActive(signal) {
      if (!isWritable(place)) throw notOurs(from);
      const { addMasterKey } = await import("./master-key-file.ts");
      const kid = await addMasterKey(place.path, signal);
      notices.added(place.path);
      return kid;
    },
    async remove(kid, signal) {
      if (!isWritable(place)) throw notRemovable(from, kid);
      const { removeMasterKey } = await import("./master-key-file.ts");
      await removeMasterKey(place.path, kid, signal);
    },
    assertRemovable(kid) {
      if (!isWritable(place)) throw notRemovable(from, kid);
    },
  };
}

/** An error of the place also names the places that come after it: perhaps one of those was meant. */
async function withOtherPlaces<Result>(from: string, notRead: Names, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (thrown) {
    const names = notRead();
    if (!isKeyctlError(thrown) || thrown.code !== "CONFIG_INVALID" || names.length === 0) throw thrown;
    const { code, message, hint } = thrown;
    throw new KeyctlError(code, message, { hint: `${hint ?? ""}\n      ${otherPlaces(from, names)}` });
  }
}

/** True for the places to which keyctl itself may write a master key. */
function isWritable(place: MasterKeyPlace): place is Extract<MasterKeyPlace, { kind: "file" | "default-file" }> {
  return place.kind === "default-file" || (place.kind === "file" && !isPipe(place.path));
}

async function readPlace(
  place: MasterKeyPlace,
  notices: MasterKeyNotices,
  signal: AbortSignal,
): Promise<string | undefined> {
  switch (place.kind) {
    case "text":
      return place.text;
    case "command": {
      const { runCommand } = await import("./master-key-command.ts");
      return runCommand(place.command, place.from, place.environment, signal);
    }
    case "file":
      return (
        keyFileText(await readNamedFile(place.path, MAX_BYTES, { signal }), place, notices) ??
        unusable(place.from, "names a file that is not there", restoredTo(place))
      );
    case "credential":
    case "default-file":
      return keyFileText(readRegularFile(place.path, MAX_BYTES), place, notices);
  }
}

function keyFileText(
  read: FileReading,
  place: Extract<MasterKeyPlace, { readonly path: string }>,
  notices: MasterKeyNotices,
): string | undefined {
  const { path } = place;
  const from = nameOf(place);
  if (read.status === "absent") return undefined;
  if (read.status === "unreadable") return unusable(from, `could not be read: ${read.reason}`, checked(path));
  if (read.readableByOthers) notices.readableByOthers(keyFileModeWarning(path, read));
  return decodeText(read.bytes) ?? unusable(from, "is not valid UTF-8", checked(path));
}

function writeOnce(path: string, text: string): string {
  try {
    return createOnce(path, text);
  } catch (thrown) {
    throw new KeyctlError(
      "CONFIG_INVALID",
      `the first master key could not be written to ${path} (${codeOf(thrown)})`,
      {
        hint: "make that folder writable, or set KEYCTL_MASTER_KEYS_FILE",
      },
    );
  }
}

function keysIn(text: string, place: MasterKeyPlace): MasterKeySet {
  try {
    return parseMasterKeys(text);
  } catch (thrown) {
    if (!(thrown instanceof BadMasterKeys)) throw thrown;
    const { otherForm } = thrown;
    const hint = otherForm === null ? checked("path" in place ? place.path : null) : conversionOf(otherForm, place);
    return unusable(nameOf(place), thrown.message, hint);
  }
}

function nameOf(place: MasterKeyPlace): string {
  return "from" in place ? place.from : place.path;
}

function notOurs(from: string): KeyctlError {
  return new KeyctlError("CONFIG_INVALID", `keyctl cannot add a master key to ${from}; nothing was changed`, {
    hint:
      'put a new one in front of the JWK Set there, {"kty":"oct","k":"<32 random bytes in base64url>"}, and leave the ' +
      "others behind it; then: keyctl rekey",
  });
}

function notRemovable(from: string, kid: string): KeyctlError {
  return new KeyctlError("CONFIG_INVALID", `keyctl cannot take a master key out of ${from}; nothing was changed`, {
    hint: `take the one with "kid": "${kid}" out of the JWK Set there by hand`,
  });
}

const WHAT_IT_HOLDS = "it holds a JWK Set, or one base64url key of 32 bytes";

/** Never suggests a new key: it would not open a store that is already sealed. */
function checked(path: string | null): string {
  return `check it, or restore it from its backup${path === null ? "" : ` to ${shellQuote(path)}`}; ${WHAT_IT_HOLDS}`;
}

function restoredTo(place: MasterKeyPlace): string {
  return "path" in place ? `restore it from its backup to ${shellQuote(place.path)}; ${WHAT_IT_HOLDS}` : checked(null);
}

function unusable(from: string, problem: string, hint: string): never {
  throw new KeyctlError("CONFIG_INVALID", `${from} ${problem}`, { hint });
}
