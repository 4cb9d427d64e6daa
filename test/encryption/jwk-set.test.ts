import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { calculateJwkThumbprint } from "jose";
import { describe, expect, it } from "vitest";
import { BadMasterKeys, formatMasterKeys, parseMasterKeys } from "../../src/encryption/jwk-set.ts";
import { masterKey } from "../../src/encryption/jwe.ts";

const bytes = Buffer.from("f0e1d2c3b4a5968778695a4b3c2d1e0ffedcba98765432100123456789abcdef", "hex");
const k = bytes.toString("base64url");
const other = Buffer.alloc(32, 0xfb).toString("base64url");
const { kid } = masterKey(bytes);
const jwk = { kty: "oct", k };
const setOf = (...keys: readonly unknown[]) => JSON.stringify({ keys });

describe("the name of a master key", () => {
  it("is its RFC 7638 thumbprint, as jose computes it", async () => {
    const any32Bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
    await fc.assert(
      fc.asyncProperty(any32Bytes, async (array) => {
        const key = masterKey(Buffer.from(array));
        const thumbprint = await calculateJwkThumbprint({ kty: "oct", k: key.bytes.toString("base64url") });
        expect(key.kid).toBe(thumbprint);
      }),
    );
  });
});

describe("a master key set that is written", () => {
  it("is read back as it was", () => {
    const key = masterKey(randomBytes(32));
    expect(parseMasterKeys(formatMasterKeys(key))).toStrictEqual([key]);
  });

  it("is a JWK Set that says what the key is for, ending in one line end", () => {
    const text = formatMasterKeys(masterKey(bytes));
    expect(JSON.parse(text)).toStrictEqual({ keys: [{ kty: "oct", k, kid, alg: "A256GCM" }] });
    expect(text).toMatch(/[^\n]\n$/);
  });
});

describe("master keys", () => {
  it.each([
    ["a bare key", k],
    ["a bare key with its padding", `${k}=`],
    ["a bare key in white space", `\n ${k} \r\n`],
    ["a bare key behind a byte order mark", `\uFEFF${k}\r\n`],
    ["a set of one key without a kid", setOf(jwk)],
    ["a set of one key with its kid", setOf({ ...jwk, kid })],
    [
      "a set with members that we do not know",
      JSON.stringify({ issuer: "vault", keys: [{ ...jwk, use: "enc", x: [1] }] }),
    ],
    ["a set behind a byte order mark", `\uFEFF${setOf(jwk)}\r\n`],
    ["a set with white space in it", JSON.stringify({ keys: [jwk] }, null, "\t")],
  ])("may be %s", (_, text) => {
    expect(parseMasterKeys(text)).toStrictEqual([{ kid, bytes }]);
  });

  it("keep their order: the first is active", () => {
    const set = parseMasterKeys(setOf({ kty: "oct", k: other }, jwk));
    expect(set.map((key) => key.bytes.toString("base64url"))).toStrictEqual([other, k]);
  });

  const BYTES = "does not hold 32 bytes in base64url";
  const NO_SET = 'is not a JWK Set: {"keys":[…]}';
  const NO_KEY = "has a key number 1 that is not a symmetric JWK (kty oct)";
  const KID = "has a key number 1 whose kid is not its RFC 7638 thumbprint: it was changed or mistyped";
  it.each([
    ["nothing", "", BYTES],
    ["white space", " \r\n", BYTES],
    ["a key of 31 bytes", bytes.subarray(1).toString("base64url"), BYTES],
    ["a key of 33 bytes", Buffer.concat([bytes, Buffer.from([0])]).toString("base64url"), BYTES],
    ["a key of 16 bytes", bytes.subarray(16).toString("base64url"), BYTES],
    ["a key in hex", bytes.toString("hex"), BYTES],
    ["a key in standard base64", Buffer.alloc(32, 0xfb).toString("base64"), BYTES],
    ["a key with two paddings", `${k}==`, BYTES],
    ["a key with a blank inside", `${k.slice(0, 20)} ${k.slice(20)}`, BYTES],
    ["a key with a line end inside", `${k.slice(0, 20)}\n${k.slice(20)}`, BYTES],
    ["two keys on two lines", `${k}\n${other}`, BYTES],
    ["a key with bits to spare set", `${k.slice(0, -1)}${k.endsWith("8") ? "9" : "8"}`, BYTES],
    ["a key in quotes", `"${k}"`, BYTES],
    ["a shell assignment", `KEY=${k}`, BYTES],
    ["a passphrase", "correct horse battery staple", BYTES],
    ["a list of keys", JSON.stringify([jwk]), BYTES],
    ["half of a set", setOf(jwk).slice(0, -2), "is not valid JSON"],
    ["a set and more", `${setOf(jwk)}{}`, "is not valid JSON"],
    ["a set with a comma too many", `{"keys":[${JSON.stringify(jwk)},]}`, "is not valid JSON"],
    ["an empty object", "{}", NO_SET],
    ["one JWK outside a set", JSON.stringify(jwk), NO_SET],
    ["keys that are no list", JSON.stringify({ keys: jwk }), NO_SET],
    ["keys that are null", JSON.stringify({ keys: null }), NO_SET],
    ["an empty set", setOf(), "holds an empty key set"],
    ["a set of null", setOf(null), NO_KEY],
    ["a set of texts", setOf(k), NO_KEY],
    ["a set of lists", setOf([jwk]), NO_KEY],
    ["a JWK without kty", setOf({ k }), NO_KEY],
    ["a JWK of another kty", setOf({ ...jwk, kty: "RSA" }), NO_KEY],
    ["a JWK with kty in capitals", setOf({ ...jwk, kty: "OCT" }), NO_KEY],
    ["a JWK without k", setOf({ kty: "oct" }), NO_KEY],
    ["a JWK with k as a number", setOf({ kty: "oct", k: 1 }), NO_KEY],
    ["a JWK with k as a list", setOf({ kty: "oct", k: [k] }), NO_KEY],
    ["a JWK with an empty k", setOf({ kty: "oct", k: "" }), BYTES],
    ["a JWK with a short k", setOf({ kty: "oct", k: k.slice(0, -4) }), BYTES],
    ["a JWK with a blank around k", setOf({ kty: "oct", k: ` ${k}` }), BYTES],
    ["a kid of another key", setOf({ ...jwk, kid: masterKey(randomBytes(32)).kid }), KID],
    ["a kid of our own choice", setOf({ ...jwk, kid: "2026-11" }), KID],
    ["a kid that is null", setOf({ ...jwk, kid: null }), KID],
    ["an empty kid", setOf({ ...jwk, kid: "" }), KID],
    ["a k that was changed beside its kid", setOf({ ...jwk, k: other, kid }), KID],
    ["a bad key behind a good one", setOf(jwk, { kty: "EC" }), NO_KEY.replace("1", "2")],
    ["a bad kid behind a good key", setOf(jwk, { kty: "oct", k: other, kid }), KID.replace("1", "2")],
    ["a short key behind a good one", setOf(jwk, { kty: "oct", k: "AAAA" }), BYTES],
  ])("are refused: %s", (_, text, message) => {
    const error = refusalOf(text);
    expect(error.message).toBe(message);
    for (const secret of [k, other, k.slice(0, 12), k.slice(-12), bytes.toString("hex").slice(0, 12)]) {
      expect(`${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`).not.toContain(secret);
    }
  });

  it("are refused whatever they are, in one sentence without any of the text", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((keys) => `{"keys":${keys}}`),
        ),
        (text) => {
          expect([BYTES, "is not valid JSON", NO_SET, "holds an empty key set", NO_KEY]).toContain(
            refusalOf(text).message,
          );
        },
      ),
    );
  });
});

function refusalOf(text: string): BadMasterKeys {
  try {
    parseMasterKeys(text);
  } catch (thrown) {
    if (thrown instanceof BadMasterKeys) return thrown;
    throw thrown;
  }
  throw new Error("it was not refused");
}
