import { randomBytes } from "node:crypto";
import { KeyctlError } from "../core/model/errors.ts";
import type { MasterKeys, Sealer } from "../core/ports/stores-and-sources.ts";
import { decodeText } from "../files/decode-text.ts";
import { createOnce } from "../files/private-files.ts";
import { readRegularFile } from "../files/read-regular-file.ts";
import { BadMasterKeys, formatMasterKeys, parseMasterKeys } from "./jwk-set.ts";
import { masterKey } from "./jwe.ts";
import { createSealer } from "./sealer.ts";
import { tooSlow } from "./slow-command.ts";
import { codeOf } from "../files/system-error.ts";

const MAX_BYTES = 64 * 1024;

/** The one place that the configuration names for master keys. */
export type MasterKeyPlace =
  | { readonly kind: "text"; readonly from: string; readonly text: string }
  | { readonly kind: "file"; readonly from: string; readonly path: string }
  | {
      readonly kind: "command";
      readonly from: string;
      readonly command: string;
      readonly environment: NodeJS.ProcessEnv;
    }
  /** As systemd gives it to a service: a file that only systemd writes. */
  | { readonly kind: "credential"; readonly path: string }
  /** Absent until the first key is sealed; made then. */
  | { readonly kind: "default-file"; readonly path: string };

/** How the outside is told of what only a person can act on. */
export interface MasterKeyNotices {
  generated(path: string): void;
  added(path: string): void;
  readableByOthers(path: string, mode: number): void;
}

/** Master keys of 256 bits each. Throws CONFIG_INVALID for a place that cannot be read or holds no key set; never says what it holds. */
export function masterKeysFrom(place: MasterKeyPlace, notices: MasterKeyNotices): MasterKeys {
  const from = nameOf(place);
  let reading = 0;
  const read = async (signal: AbortSignal) => {
    reading += 1;
    try {
      return await readPlace(place, notices, signal);
    } finally {
      reading -= 1;
    }
  };
  return {
    place: place.kind === "file" ? place.path : from,
    async load(signal) {
      const text = await read(signal);
      return text === undefined ? undefined : sealerOf(text, from);
    },
    late: () => (reading > 0 && place.kind === "command" ? tooSlow(from) : undefined),
    async generate(signal) {
      if (!isWritable(place)) {
        const text = await read(signal);
        return text === undefined ? unusable(from, "is not there") : sealerOf(text, from);
      }
      const text = formatMasterKeys(masterKey(randomBytes(32)));
      const written = writeOnce(place.path, text);
      if (written === text) notices.generated(place.path);
      return sealerOf(written, from);
    },
    async addActive(signal) {
      if (!isWritable(place)) throw notOurs(from);
      const { addMasterKey } = await import("./master-key-file.ts");
      const kid = await addMasterKey(place.path, signal);
      notices.added(place.path);
      return kid;
    },
  };
}

/** The places that keyctl itself may put a master key in. */
function isWritable(place: MasterKeyPlace): place is Extract<MasterKeyPlace, { kind: "file" | "default-file" }> {
  return place.kind === "file" || place.kind === "default-file";
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
      return readKeyFile(place.path, place.from, notices) ?? unusable(place.from, "names a file that is not there");
    case "credential":
    case "default-file":
      return readKeyFile(place.path, place.path, notices);
  }
}

function readKeyFile(path: string, from: string, notices: MasterKeyNotices): string | undefined {
  const read = readRegularFile(path, MAX_BYTES);
  if (read.status === "absent") return undefined;
  if (read.status === "unreadable") return unusable(from, `could not be read: ${read.reason}`);
  if (read.readableByOthers) notices.readableByOthers(path, read.mode);
  return decodeText(read.bytes) ?? unusable(from, "is not valid UTF-8");
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

function sealerOf(text: string, from: string): Sealer {
  try {
    const [active, ...others] = parseMasterKeys(text);
    return createSealer(active, others);
  } catch (thrown) {
    if (thrown instanceof BadMasterKeys) return unusable(from, thrown.message);
    throw thrown;
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

/** Never how to make a new one: a store that is sealed already would not open with it. */
function unusable(from: string, problem: string): never {
  throw new KeyctlError("CONFIG_INVALID", `${from} ${problem}`, {
    hint: "check it, or restore it from its backup; it holds a JWK Set, or one base64url key of 32 bytes",
  });
}
