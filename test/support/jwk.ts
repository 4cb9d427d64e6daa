import { createHash, randomBytes } from "node:crypto";

/** A master key as other programs make it. */
export interface Jwk {
  readonly kty: "oct";
  readonly k: string;
  readonly kid: string;
}

export function newJwk(): Jwk {
  const k = randomBytes(32).toString("base64url");
  return { kty: "oct", k, kid: createHash("sha256").update(`{"k":"${k}","kty":"oct"}`).digest("base64url") };
}

export function jwkSet(...keys: readonly Jwk[]): string {
  return JSON.stringify({ keys });
}
