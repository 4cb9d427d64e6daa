import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

/** Secrets that exist nowhere else: whoever meets one of them where the test did not put it has found a leak. */
export const CANARIES = {
  key: "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",
  "replaced key": "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",
  "made key": "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",
  "management key": "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",
  "master key": "Vx3kQ9_tLw7Zp0RmYcE2uHn-8sJfBd5aGi1oXvT4yKM",
  password: "Canary pa55/w:rd@Zq7Lm2Xw9Kf4Tn8",
} as const;

const PIECE = 16;
const STEP = 8;

interface Form {
  readonly name: string;
  readonly text: string;
  readonly anyCase: boolean;
}

const NEEDLES = Object.entries(CANARIES).flatMap(([canary, secret]) =>
  readings(secret)
    .flatMap(pieces)
    .flatMap(formsOf)
    .map((form) => ({ canary, ...form })),
);

/** Which canaries stand in these texts, plain or encoded, as `place: canary as form`. */
export function canariesIn(places: Readonly<Record<string, string | Uint8Array>>): readonly string[] {
  const found = Object.entries(places).flatMap(([place, content]) => {
    const text = Buffer.from(content as Uint8Array).toString("latin1");
    const lowerCase = text.toLowerCase();
    return NEEDLES.filter((needle) => (needle.anyCase ? lowerCase : text).includes(needle.text)).map(
      ({ canary, name }) => `${place}: ${canary} as ${name}`,
    );
  });
  return [...new Set(found)];
}

/** Every file below the folder, by its path in it. */
export function filesBelow(folder: string): Readonly<Record<string, Buffer>> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(paths.map((path) => [relative(folder, path), readFileSync(path)]));
}

/** The bytes whose parts are looked for: of a key without its public prefix and without the tail that the mask shows. */
function readings(secret: string): readonly Buffer[] {
  if (secret.startsWith("sk-or-v1-")) return [Buffer.from(secret.slice("sk-or-v1-".length, -4))];
  const decoded = Buffer.from(secret, "base64url");
  const isMasterKey = decoded.toString("base64url") === secret;
  return isMasterKey ? [Buffer.from(secret), decoded] : [Buffer.from(secret)];
}

/** Overlapping pieces, so that a part of a secret is found as well. */
function pieces(bytes: Buffer): readonly Buffer[] {
  const starts = Array.from({ length: Math.floor((bytes.length - PIECE) / STEP) + 1 }, (_, index) => index * STEP);
  return starts.map((start) => bytes.subarray(start, start + PIECE));
}

function formsOf(piece: Buffer): readonly Form[] {
  const hex = piece.toString("hex");
  const text = piece.toString("latin1");
  const forms: readonly (readonly [name: string, text: string, anyCase?: boolean])[] = [
    ["plain text", text],
    ["UTF-16", piece.toString("latin1").split("").join("\0")],
    ["hex", hex, true],
    ["a printed Buffer", hex.replaceAll(/..(?=.)/g, "$& "), true],
    ["URL-encoded", encodeURIComponent(text)],
    ["fully URL-encoded", hex.replaceAll(/../g, "%$&"), true],
    ...[0, 1, 2].map((offset) => ["base64", base64At(offset, piece)] as const),
    ...[0, 1, 2].map(
      (offset) => ["base64url", base64At(offset, piece).replaceAll("+", "-").replaceAll("/", "_")] as const,
    ),
  ];
  const encoded = forms.filter(([, form], index) => index === 0 || form !== text);
  return encoded.map(([name, form, anyCase = false]) => ({ name, text: form, anyCase }));
}

/** The characters that stand for these bytes alone when they begin `offset` bytes into a group of three. */
function base64At(offset: number, bytes: Buffer): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString("base64");
  return text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
}
