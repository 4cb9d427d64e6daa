import { masterKey } from "./jwe.ts";
import type { MasterKey } from "./jwe.ts";

const KEY_BYTES = 32;

/** The first key is active and seals; the others only open. */
export type MasterKeySet = readonly [active: MasterKey, ...others: MasterKey[]];

/** The problem of a text that should hold master keys. Contains nothing of the text. */
export class BadMasterKeys extends Error {
  /** The encoding of the 32 bytes, if it is a known one other than base64url; else null. */
  readonly otherForm: OtherForm | null;

  constructor(message: string, otherForm: OtherForm | null = null) {
    super(message);
    this.otherForm = otherForm;
  }
}

/** An encoding that `openssl rand` prints, with -base64 or -hex. */
export interface OtherForm {
  readonly name: "base64" | "hex";
  /** A single bare key, not a JWK Set. */
  readonly isBare: boolean;
}

/** Reads a JWK Set (RFC 7517) of 256-bit `oct` keys, or one bare base64url key. Throws BadMasterKeys. */
export function parseMasterKeys(text: string): MasterKeySet {
  const keys = parsedSet(text)?.keys.map((jwk, index) => parseKey(jwk, index + 1)) ?? [
    masterKey(parseBytes(trimmed(text), true)),
  ];
  const [active, ...others] = keys;
  if (active === undefined) throw new BadMasterKeys("holds an empty key set");
  return [active, ...others];
}

/** The JWK Set of one key, as the text of a file. */
export function formatMasterKeys(key: MasterKey): string {
  return textOf({ keys: [jwkOf(key)] });
}

/** This text with one more key in front; all other content stays. Throws BadMasterKeys. */
export function withActiveKey(text: string, key: MasterKey): string {
  const present = parseMasterKeys(text);
  const set = parsedSet(text);
  return textOf({ ...set, keys: [jwkOf(key), ...(set?.keys ?? present.map(jwkOf))] });
}

/** This text without the key of this id. Throws BadMasterKeys. */
export function withoutMasterKey(text: string, kid: string): string {
  const set = parsedSet(text);
  const keys = set?.keys.filter((jwk, index) => parseKey(jwk, index + 1).kid !== kid);
  return keys === undefined ? text : textOf({ ...set, keys });
}

function jwkOf({ kid, bytes }: MasterKey): object {
  return { kty: "oct", k: bytes.toString("base64url"), kid, alg: "A256GCM" };
}

function textOf(set: object): string {
  return `${JSON.stringify(set, null, 2)}\n`;
}

function trimmed(text: string): string {
  return text.replace(/^\uFEFF/, "").trim();
}

/** Undefined for a text that is no JSON object. Throws BadMasterKeys for an object that is no JWK Set. */
function parsedSet(text: string): { readonly keys: readonly unknown[] } | undefined {
  if (!trimmed(text).startsWith("{")) return undefined;
  const set = parseJson(trimmed(text));
  const keys = isObject(set) ? set["keys"] : undefined;
  if (!Array.isArray(keys)) throw new BadMasterKeys('is not a JWK Set: {"keys":[…]}');
  return { ...(isObject(set) ? set : {}), keys };
}

function parseKey(jwk: unknown, position: number): MasterKey {
  if (!isObject(jwk) || jwk["kty"] !== "oct" || typeof jwk["k"] !== "string") {
    throw new BadMasterKeys(`has a key number ${position} that is not a symmetric JWK (kty oct)`);
  }
  const key = masterKey(parseBytes(jwk["k"], false));
  if (jwk["kid"] !== undefined && jwk["kid"] !== key.kid) {
    throw new BadMasterKeys(
      `has a key number ${position} whose kid is not its RFC 7638 thumbprint: it was changed or mistyped`,
    );
  }
  return key;
}

function parseBytes(text: string, isBare: boolean): Buffer {
  const bytes = Buffer.from(text, "base64url");
  if (bytes.length !== KEY_BYTES || bytes.toString("base64url") !== text.replace(/=$/, "")) {
    const name =
      Buffer.from(text, "base64").toString("base64") === text && bytes.length === KEY_BYTES ? "base64" : null;
    const form = /^[0-9a-fA-F]{64}$/.test(text) ? "hex" : name;
    throw new BadMasterKeys("does not hold 32 bytes in base64url", form === null ? null : { name: form, isBare });
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
