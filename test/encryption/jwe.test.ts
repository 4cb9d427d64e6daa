import { createCipheriv, randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { base64url, compactDecrypt, CompactEncrypt } from "jose";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../src/core/model/api-key.ts";
import { isKeyctlError } from "../../src/core/model/errors.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { masterKey, openJwe, sealJwe } from "../../src/encryption/jwe.ts";
import type { SealedFor } from "../../src/encryption/jwe.ts";
import { createSealer } from "../../src/encryption/sealer.ts";

/** jose judges our JWE: an implementation that shares no line with ours. */

const TEXT = "sk-or-v1-0000000000000000000000000000000000000000000000000000000000b465";
const ALICE: SealedFor = { sub: "alice", prv: "openrouter" };
const key = masterKey(randomBytes(32));
const otherKey = masterKey(randomBytes(32));
const keys = new Map([[key.kid, key]]);
const header = { alg: "dir", enc: "A256GCM", kid: key.kid, ...ALICE };
const sealed = sealJwe(TEXT, key, ALICE);
const PARTS = ["protected header", "encrypted key", "initialization vector", "ciphertext", "tag"] as const;

const ourVerdict = (value: string, row = ALICE) => openJwe(value, keys, row).status;

async function joseOpens(value: string, bytes = key.bytes): Promise<string | undefined> {
  try {
    const { plaintext } = await compactDecrypt(value, bytes);
    return new TextDecoder().decode(plaintext);
  } catch {
    return undefined;
  }
}

function joseSeals(text: string, protectedHeader: object, crit: Readonly<Record<string, boolean>> = {}) {
  return new CompactEncrypt(new TextEncoder().encode(text))
    .setProtectedHeader(protectedHeader as typeof header)
    .encrypt(key.bytes, { crit });
}

/** A JWE with any header at all, correctly sealed: what jose refuses to make. */
function sealUnder(protectedHeader: unknown): string {
  const text = typeof protectedHeader === "string" ? protectedHeader : JSON.stringify(protectedHeader);
  const encoded = base64url.encode(text);
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key.bytes, iv).setAAD(Buffer.from(encoded));
  const ciphertext = Buffer.concat([cipher.update(TEXT), cipher.final()]);
  return [encoded, "", ...[iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString("base64url"))].join(".");
}

const replacePart = (value: string, index: number, part: string) =>
  value
    .split(".")
    .map((old, position) => (position === index ? part : old))
    .join(".");

const user = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
  .filter((text) => {
    try {
      return parseUserId(text) !== undefined;
    } catch {
      return false;
    }
  })
  .map(parseUserId);
const apiKey = fc.stringMatching(/^sk-or-v1-[A-Za-z0-9_-]{8,200}$/);

describe("a sealed value", () => {
  it("is opened by jose, whatever the user id and the key", async () => {
    await fc.assert(
      fc.asyncProperty(user, apiKey, async (sub, text) => {
        const { plaintext, protectedHeader } = await compactDecrypt(
          sealJwe(text, key, { sub, prv: "openrouter" }),
          key.bytes,
        );
        expect(new TextDecoder().decode(plaintext)).toBe(text);
        expect(protectedHeader).toStrictEqual({ alg: "dir", enc: "A256GCM", kid: key.kid, sub, prv: "openrouter" });
      }),
    );
  });

  it("may come from jose, whatever the user id and the key", async () => {
    await fc.assert(
      fc.asyncProperty(user, apiKey, async (sub, text) => {
        const value = await joseSeals(text, { ...header, sub });
        expect(openJwe(value, keys, { sub, prv: "openrouter" })).toStrictEqual({ status: "open", text });
      }),
    );
  });

  it.each([
    "alice",
    "Ünal Öztürk",
    "用户一",
    "👩‍👩‍👧@example.com",
    'a"b\\c',
    "é".normalize("NFC"),
    "</script>",
    "__proto__",
  ])("is understood both ways for user %s", async (sub) => {
    const row = { sub, prv: "openrouter" };
    expect(await joseOpens(sealJwe(TEXT, key, row))).toBe(TEXT);
    expect(openJwe(await joseSeals(TEXT, { ...header, sub }), keys, row)).toStrictEqual({ status: "open", text: TEXT });
  });

  it("may have its header in another order and with members that we do not know", async () => {
    const value = await joseSeals(TEXT, {
      prv: "openrouter",
      typ: "JWE",
      kid: key.kid,
      iat: 1,
      enc: "A256GCM",
      alg: "dir",
      sub: "alice",
    });
    expect(ourVerdict(value)).toBe("open");
  });

  it("is another one each time", () => {
    const values = Array.from({ length: 1000 }, () => sealJwe(TEXT, key, ALICE).split("."));
    for (const part of [2, 3, 4]) expect(new Set(values.map((value) => value[part])).size).toBe(1000);
  });

  it("names the master key that is not here", () => {
    const value = sealJwe(TEXT, otherKey, ALICE);
    expect(openJwe(value, keys, ALICE)).toStrictEqual({ status: "unknown-master-key", kid: otherKey.kid });
  });

  it("does not open with another master key of the same name", async () => {
    const impostor = new Map([[key.kid, { kid: key.kid, bytes: otherKey.bytes }]]);
    expect(openJwe(sealed, impostor, ALICE).status).toBe("damaged");
    expect(await joseOpens(sealed, otherKey.bytes)).toBeUndefined();
  });
});

describe("a value that was moved to another row", () => {
  it.each([
    ["another user", { sub: "bob", prv: "openrouter" }],
    ["the same name in capitals", { sub: "Alice", prv: "openrouter" }],
    ["another provider", { sub: "alice", prv: "other" }],
    ["user and provider exchanged", { sub: "openrouter", prv: "alice" }],
    ["the check record", { sub: "check", prv: "keyctl" }],
  ])("does not open for %s", (_, row) => {
    expect(ourVerdict(sealed, row)).toBe("damaged");
  });

  it("does not open for any other user", () => {
    fc.assert(
      fc.property(user, user, (sub, other) => {
        fc.pre(sub !== other);
        expect(ourVerdict(sealJwe(TEXT, key, { ...ALICE, sub }), { ...ALICE, sub: other })).toBe("damaged");
      }),
    );
  });

  it("does not pass for a check record, nor a check record for a key", () => {
    const sealer = createSealer(key);
    const alice = parseUserId("alice");
    const { kid, value } = sealer.newSealCheck();
    expect(sealer.opensSealCheck({ kid, value })).toBe(true);
    expect(sealer.opensSealCheck({ kid, value: sealed })).toBe(false);
    expect(errorCodeOf(() => sealer.open(value, alice))).toBe("ROW_UNREADABLE");
    expect(errorCodeOf(() => sealer.open(value, parseUserId("check")))).toBe("ROW_UNREADABLE");
  });
});

describe("a damaged value", () => {
  const characters = Array.from(sealed, (_, index) => index);

  it("is refused with any one bit of any character flipped, by us and by jose", async () => {
    const spellings: string[] = [];
    for (const index of characters) {
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = String.fromCharCode(sealed.charCodeAt(index) ^ (1 << bit));
        const value = sealed.slice(0, index) + flipped + sealed.slice(index + 1);
        expect(ourVerdict(value), value).not.toBe("open");
        if ((await joseOpens(value)) !== undefined) spellings.push(value);
      }
    }
    // jose reads base64url leniently: it may take another spelling of the very same bytes, and nothing else.
    // We take no second spelling, so that one stored text is one value.
    expect(spellings).not.toHaveLength(0);
    for (const value of spellings) expect(bytesOf(value), value).toStrictEqual(bytesOf(sealed));
  });

  it("is refused with every other character in the place of any one", async () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (const index of characters) {
      for (const character of alphabet) {
        if (character === sealed[index]) continue;
        const value = sealed.slice(0, index) + character + sealed.slice(index + 1);
        expect(ourVerdict(value), value).not.toBe("open");
      }
    }
  });

  it("is refused when it is cut anywhere, at either end", async () => {
    for (const index of characters) {
      expect(ourVerdict(sealed.slice(0, index))).toBe("damaged");
      expect(await joseOpens(sealed.slice(0, index))).toBeUndefined();
      if (index === 0) continue;
      expect(ourVerdict(sealed.slice(index))).toBe("damaged");
      expect(await joseOpens(sealed.slice(index))).toBeUndefined();
    }
  });

  const parts = sealed.split(".");
  const another = sealJwe(TEXT, key, ALICE).split(".");
  const ofBob = sealJwe(TEXT, key, { sub: "bob", prv: "openrouter" }).split(".");
  it.each(
    PARTS.flatMap((name, index): [string, string][] => {
      const part = parts[index] ?? "";
      const changes: [string, string][] = [
        [`its ${name} left out`, parts.filter((_, position) => position !== index).join(".")],
        [`its ${name} twice`, parts.toSpliced(index, 0, part).join(".")],
        [`something behind its ${name}`, replacePart(sealed, index, `${part}AAAA`)],
        [`something before its ${name}`, replacePart(sealed, index, `AAAA${part}`)],
      ];
      if (name === "encrypted key") return changes;
      changes.push(
        [`its ${name} empty`, replacePart(sealed, index, "")],
        [`its ${name} without its last character`, replacePart(sealed, index, part.slice(0, -1))],
        [`its ${name} without its last bytes`, replacePart(sealed, index, part.slice(0, -4))],
        [`its ${name} reversed`, replacePart(sealed, index, Array.from(part).toReversed().join(""))],
      );
      if (name === "protected header")
        changes.push([`the ${name} of bob's`, replacePart(sealed, index, ofBob[0] ?? "")]);
      else changes.push([`the ${name} of another value`, replacePart(sealed, index, another[index] ?? "")]);
      for (let to = index + 1; to < parts.length; to += 1) {
        if (to !== 1) changes.push([`its ${name} and its ${PARTS[to]} exchanged`, exchanged(index, to)]);
      }
      return changes;
    }),
  )("is refused with %s, by us and by jose", async (_, value) => {
    expect(value).not.toBe(sealed);
    expect(ourVerdict(value)).toBe("damaged");
    expect(await joseOpens(value)).toBeUndefined();
  });

  it.each([
    ["padding", `${sealed}==`],
    ["a line end", `${sealed}\n`],
    ["a blank before it", ` ${sealed}`],
    ["a NUL behind it", `${sealed}\0`],
    ["a blank inside", replacePart(sealed, 2, ` ${parts[2]}`)],
    ["padding inside", replacePart(sealed, 4, `${parts[4]}==`)],
    ["a letter of standard base64", replacePart(sealed, 4, `+${parts[4]?.slice(1)}`)],
  ])("is refused with %s, which jose may overlook", (_, value) => {
    expect(ourVerdict(value)).toBe("damaged");
  });

  it.each(["", ".", "....", ".....", "eyJ....", "null", "{}", TEXT, "a.b.c", "é.é.é.é.é"])(
    "is refused when it is no JWE at all: %j",
    async (value) => {
      expect(ourVerdict(value)).toBe("damaged");
      expect(await joseOpens(value)).toBeUndefined();
    },
  );

  it("is refused whatever it is, and nothing is thrown", () => {
    const part = fc.oneof(fc.base64String(), fc.constantFrom(...parts), fc.string());
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(part, { minLength: 4, maxLength: 6 }).map((all) => all.join(".")),
        ),
        (value) => {
          fc.pre(value !== sealed);
          expect(ourVerdict(value)).not.toBe("open");
        },
      ),
    );
  });

  function exchanged(from: number, to: number): string {
    return parts
      .with(from, parts[to] ?? "")
      .with(to, parts[from] ?? "")
      .join(".");
  }
});

describe("a value that is correctly sealed with the right key, under another header", () => {
  it.each([
    ["enc A128CBC-HS256", { ...header, enc: "A128CBC-HS256" }],
    ["alg A256KW", { ...header, alg: "A256KW" }],
    ["alg A256GCMKW", { ...header, alg: "A256GCMKW" }],
    ["alg PBES2-HS256+A128KW", { ...header, alg: "PBES2-HS256+A128KW", p2c: 1000 }],
    ["alg PBES2-HS512+A256KW", { ...header, alg: "PBES2-HS512+A256KW" }],
    ["zip DEF", { ...header, zip: "DEF" }],
    ["crit", { ...header, crit: ["x"], x: 1 }],
    ["p2c", { ...header, p2c: 1000 }],
    ["p2c of a billion", { ...header, p2c: 1_000_000_000 }],
    ["p2s", { ...header, p2s: "AAAA" }],
  ])("is refused: %s, which jose seals and opens when it is told to", async (_, protectedHeader) => {
    const crit = { x: false };
    const value = await joseSeals(TEXT, protectedHeader, crit);
    const allowed = { crit, keyManagementAlgorithms: [protectedHeader.alg] };
    expect(new TextDecoder().decode((await compactDecrypt(value, key.bytes, allowed)).plaintext)).toBe(TEXT);
    expect(ourVerdict(value)).toBe("damaged");
  });

  it.each([
    ["no alg", { ...header, alg: undefined }],
    ["alg none", { ...header, alg: "none" }],
    ["alg in capitals", { ...header, alg: "DIR" }],
    ["alg as a list", { ...header, alg: ["dir"] }],
    ["no enc", { ...header, enc: undefined }],
    ["enc A128GCM", { ...header, enc: "A128GCM" }],
    ["enc in small letters", { ...header, enc: "a256gcm" }],
    ["zip unknown", { ...header, zip: "none" }],
    ["zip null", { ...header, zip: null }],
    ["crit empty", { ...header, crit: [] }],
    ["p2c null", { ...header, p2c: null }],
    ["no kid", { ...header, kid: undefined }],
    ["kid as a number", { ...header, kid: 1 }],
    ["no sub", { ...header, sub: undefined }],
    ["sub null", { ...header, sub: null }],
    ["sub as a list", { ...header, sub: ["alice"] }],
    ["sub of another user", { ...header, sub: "bob" }],
    ["no prv", { ...header, prv: undefined }],
    ["prv of another provider", { ...header, prv: "other" }],
    ["a list", [header]],
    ["null", null],
    ["a text", JSON.stringify("dir")],
    ["no JSON", JSON.stringify(header).slice(0, -1)],
    ["JSON and more", `${JSON.stringify(header)}{}`],
    ["nothing", ""],
  ])("is refused: %s", (_, protectedHeader) => {
    expect(ourVerdict(sealUnder(header))).toBe("open");
    expect(ourVerdict(sealUnder(protectedHeader))).toBe("damaged");
  });

  it.each([
    ["an initialization vector of 16 bytes", { iv: 16, tag: 16 }],
    ["an initialization vector of 8 bytes", { iv: 8, tag: 16 }],
    ["a tag of 12 bytes", { iv: 12, tag: 12 }],
    ["a tag of 4 bytes", { iv: 12, tag: 4 }],
  ])("is refused: %s", async (_, lengths) => {
    const aad = base64url.encode(JSON.stringify(header));
    const iv = randomBytes(lengths.iv);
    const cipher = createCipheriv("aes-256-gcm", key.bytes, iv, { authTagLength: lengths.tag }).setAAD(
      Buffer.from(aad),
    );
    const ciphertext = Buffer.concat([cipher.update(TEXT), cipher.final()]);
    const value = `${aad}..${[iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString("base64url")).join(".")}`;
    expect(ourVerdict(value)).toBe("damaged");
    expect(await joseOpens(value)).toBeUndefined();
  });
});

describe("the key in a sealed value", () => {
  const sealer = createSealer(key, [otherKey]);
  const alice = parseUserId("alice");

  it("comes back as it was", () => {
    expect(sealer.open(sealed, alice).reveal()).toBe(TEXT);
  });

  it("is sealed with the active master key and opened with any of the set", () => {
    const turned = createSealer(otherKey, [key]);
    expect(turned.open(sealed, alice).reveal()).toBe(TEXT);
    const fresh = turned.seal(sealer.open(sealed, alice), alice);
    expect(openJwe(fresh, keys, ALICE)).toStrictEqual({ status: "unknown-master-key", kid: otherKey.kid });
    expect(sealer.open(fresh, alice).reveal()).toBe(TEXT);
  });

  it.each(["", " ", "hello", "sk-or-v1-short", `${TEXT}\n`, ` ${TEXT}`, `\uFEFF${TEXT}`, `${TEXT} ${TEXT}`, "\u0000"])(
    "is exactly one key, so that %j is refused",
    async (text) => {
      const value = await joseSeals(text, header);
      expect(errorCodeOf(() => sealer.open(value, alice))).toBe("ROW_UNREADABLE");
    },
  );

  it("is no text that is not UTF-8", async () => {
    const bytes = Buffer.concat([Buffer.from(TEXT), Buffer.from([0xff])]);
    const value = await new CompactEncrypt(bytes).setProtectedHeader(header).encrypt(key.bytes);
    expect(errorCodeOf(() => sealer.open(value, alice))).toBe("ROW_UNREADABLE");
  });

  it("has an error that names neither the key nor the value when it does not open", () => {
    const value = replacePart(sealed, 4, "AAAAAAAAAAAAAAAAAAAAAA");
    const error = errorOf(() => sealer.open(value, alice));
    expect(error.message).toBe(
      "the stored key of user alice does not open: it is damaged or was moved from another row",
    );
    expect(JSON.stringify([error.message, error.hint, error.stack])).not.toContain(sealed.slice(200, 220));
    expect(error.cause).toBeUndefined();
  });

  it("names the missing master key, and says where it belongs", () => {
    const error = errorOf(() => createSealer(otherKey).open(sealed, alice));
    expect(error.code).toBe("ROW_UNREADABLE");
    expect(error.message).toContain(key.kid);
  });

  it("shows no more than 43 escaped characters of a kid that somebody else wrote", () => {
    const value = sealUnder({ ...header, kid: `\u001b[2J${"x".repeat(5000)}` });
    const { message } = errorOf(() => sealer.open(value, alice));
    expect(message.length).toBeLessThan(200);
    expect(message).toContain("\\u001b[2Jxxx");
  });

  it("is a key again, not text", () => {
    expect(sealer.open(sealed, alice)).toBeInstanceOf(ApiKey);
  });
});

function bytesOf(value: string): readonly Buffer[] {
  return value.split(".").map((part) => Buffer.from(part, "base64url"));
}

function errorOf(act: () => unknown) {
  try {
    act();
  } catch (thrown) {
    if (isKeyctlError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error("it was not refused");
}

function errorCodeOf(act: () => unknown): string {
  return errorOf(act).code;
}
