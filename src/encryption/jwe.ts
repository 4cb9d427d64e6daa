import { createCipheriv, createDecipheriv, hash } from "node:crypto";
import { randomBytes } from "../core/model/random-bytes.ts";

/**
 * JWE compact serialization (RFC 7516) with `alg: dir` and `enc: A256GCM`, and nothing else.
 * The protected header is authenticated with the ciphertext, so the row that it names cannot be changed.
 */

/** A 256-bit master key and its RFC 7638 thumbprint. */
export interface MasterKey {
  readonly kid: string;
  readonly bytes: Buffer;
}

/** The subject and the provider that a value is sealed for. */
export interface SealedFor {
  readonly sub: string;
  readonly prv: string;
}

export type Opened =
  | { readonly status: "open"; readonly text: string }
  | { readonly status: "unknown-master-key"; readonly kid: string }
  | { readonly status: "damaged" };

const IV_BYTES = 12;
const TAG_BYTES = 16;
/** Header parameters that would change how the value is read. */
const REFUSED = ["zip", "crit", "p2c", "p2s"];

export function masterKey(bytes: Buffer): MasterKey {
  const members = `{"k":"${bytes.toString("base64url")}","kty":"oct"}`;
  return { kid: hash("sha256", members, "base64url"), bytes };
}

export function sealJwe(text: string, key: MasterKey, { sub, prv }: SealedFor): string {
  const header = encode(JSON.stringify({ alg: "dir", enc: "A256GCM", kid: key.kid, sub, prv }));
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key.bytes, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(header, "ascii"));
  const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return `${header}..${iv.toString("base64url")}.${sealed.toString("base64url")}.${cipher.getAuthTag().toString("base64url")}`;
}

/** Never throws for a bad value: a damaged value, a value for another row and another algorithm are all `damaged`. */
export function openJwe(value: string, keys: ReadonlyMap<string, MasterKey>, expected: SealedFor): Opened {
  const damaged = { status: "damaged" } as const;
  const [protectedHeader, encryptedKey, ...rest] = value.split(".");
  const [iv, sealed, tag] = rest.map(decode);
  if (protectedHeader === undefined || encryptedKey !== "" || rest.length !== 3) return damaged;
  if (iv?.length !== IV_BYTES || sealed === undefined || tag?.length !== TAG_BYTES) return damaged;

  const kid = kidOf(protectedHeader, expected);
  if (kid === undefined) return damaged;
  const key = keys.get(kid);
  if (key === undefined) return { status: "unknown-master-key", kid };

  const decipher = createDecipheriv("aes-256-gcm", key.bytes, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(protectedHeader, "ascii"));
  decipher.setAuthTag(tag);
  try {
    return { status: "open", text: Buffer.concat([decipher.update(sealed), decipher.final()]).toString("utf8") };
  } catch {
    return damaged;
  }
}

/** The `kid` in a value's header, whatever the value is sealed for. Verifies nothing. */
export function kidOfJwe(value: string): string | undefined {
  const header = parseObject(decode(value.slice(0, Math.max(0, value.indexOf("."))))?.toString("utf8"));
  return typeof header?.["kid"] === "string" ? header["kid"] : undefined;
}

/** The `kid` of a header with the expected content; undefined for any other header. */
function kidOf(protectedHeader: string, { sub, prv }: SealedFor): string | undefined {
  const header = parseObject(decode(protectedHeader)?.toString("utf8"));
  if (header === undefined || REFUSED.some((name) => name in header)) return undefined;
  if (header["alg"] !== "dir" || header["enc"] !== "A256GCM") return undefined;
  if (header["sub"] !== sub || header["prv"] !== prv) return undefined;
  return typeof header["kid"] === "string" ? header["kid"] : undefined;
}

function parseObject(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function encode(text: string): string {
  return Buffer.from(text, "utf8").toString("base64url");
}

/** Strict: Node's decoder skips invalid characters and ignores spare bits, which could hide a change. */
function decode(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, "base64url");
  return bytes.toString("base64url") === part ? bytes : undefined;
}
