import { masterKey } from "./jwe.ts";
import type { MasterKey } from "./jwe.ts";

const KEY_BYTES = 32;

/** The first key is active, the others only open. */
export type MasterKeySet = readonly [active: MasterKey, ...others: MasterKey[]];

/** Says what is wrong with a text that should hold master keys, without any of it. */
export class BadMasterKeys extends Error {}

/** Reads a JWK Set (RFC 7517) of 256-bit `oct` keys, or one bare base64url key. Throws BadMasterKeys. */
export function parseMasterKeys(text: string): MasterKeySet {
  const trimmed = text.replace(/^\uFEFF/, "").trim();
  const keys = trimmed.startsWith("{") ? parseSet(trimmed) : [masterKey(parseBytes(trimmed))];
  const [active, ...others] = keys;
  if (active === undefined) throw new BadMasterKeys("holds an empty key set");
  return [active, ...others];
}

/** The JWK Set of one key, as it is written to a file. */
export function formatMasterKeys({ kid, bytes }: MasterKey): string {
  const jwk = { kty: "oct", k: bytes.toString("base64url"), kid, alg: "A256GCM" };
  return `${JSON.stringify({ keys: [jwk] }, null, 2)}\n`;
}

function parseSet(text: string): readonly MasterKey[] {
  const set = parseJson(text);
  const keys = isObject(set) ? set["keys"] : undefined;
  if (!Array.isArray(keys)) throw new BadMasterKeys('is not a JWK Set: {"keys":[…]}');
  return keys.map((jwk: unknown, index) => parseKey(jwk, index + 1));
}

function parseKey(jwk: unknown, position: number): MasterKey {
  if (!isObject(jwk) || jwk["kty"] !== "oct" || typeof jwk["k"] !== "string") {
    throw new BadMasterKeys(`has a key number ${position} that is not a symmetric JWK (kty oct)`);
  }
  const key = masterKey(parseBytes(jwk["k"]));
  if (jwk["kid"] !== undefined && jwk["kid"] !== key.kid) {
    throw new BadMasterKeys(
      `has a key number ${position} whose kid is not its RFC 7638 thumbprint: it was changed or mistyped`,
    );
  }
  return key;
}

function parseBytes(text: string): Buffer {
  const bytes = Buffer.from(text, "base64url");
  if (bytes.length !== KEY_BYTES || bytes.toString("base64url") !== text.replace(/=$/, "")) {
    throw new BadMasterKeys("does not hold 32 bytes in base64url");
  }
  return bytes;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new BadMasterKeys("is not valid JSON");
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
