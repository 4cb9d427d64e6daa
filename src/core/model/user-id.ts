import { KeyctlError } from "./errors.ts";
import { MASK_LIKE } from "./mask.ts";
import { withoutGaps } from "./redact-keys.ts";
import { printable } from "../text/printable.ts";
import { hash } from "node:crypto";

declare const brand: unique symbol;

/** A user's id as it is stored: NFC text of 1 to 128 bytes; 24 hex characters are in lower case. */
export type UserId = string & { readonly [brand]: "UserId" };

/** Many users, as a program names them. */
export type UserBatches = AsyncIterable<readonly string[]>;

/** Many users, whose ids were parsed. */
export type UserIdBatches = AsyncIterable<readonly UserId[]>;

const MAX_BYTES = 128;
const OBJECT_ID = /^[0-9a-fA-F]{24}$/;
/** A key of any spelling and length: also one that was cut off, or that OpenRouter has shortened for a list. */
const KEY_BEGUN = /sk-or-(?:v\d+|mgmt|management|prov|provisioning)-/i;
const LOOKS_LIKE_A_KEY = "looks like a key, so it is neither used nor repeated";
const LOOKS_LIKE_A_MASK = "looks like the mask of a key";
const RULES: readonly (readonly [message: string, broken: (text: string) => boolean])[] = [
  [LOOKS_LIKE_A_KEY, looksLikeKey],
  [LOOKS_LIKE_A_MASK, (text) => MASK_LIKE.test(text)],
  ["is empty", (text) => text === ""],
  ["is longer than 128 bytes", (text) => Buffer.byteLength(text) > MAX_BYTES],
  ["is not valid Unicode", (text) => !text.isWellFormed() || text.includes("\uFFFD")],
  ["holds a control character", (text) => /\p{Cc}/u.test(text)],
  ["begins or ends with a blank", (text) => /^\s|\s$/.test(text)],
];

/** The only parser of user ids. Nothing is trimmed: an id that differs by a blank is another id. Throws BAD_USER_ID. */
export function parseUserId(text: unknown): UserId {
  if (typeof text !== "string") throw badUserId("", "is not a text");
  const id = text.normalize("NFC");
  const broken = RULES.find(([, isBroken]) => isBroken(id));
  if (broken !== undefined) throw badUserId(repeatableId(id), broken[0]);
  return (OBJECT_ID.test(id) ? id.toLowerCase() : id) as UserId;
}

/** Each batch as it arrives. Throws BAD_USER_ID where the batches are read. */
export async function* parsedBatches(batches: UserBatches): AsyncGenerator<readonly UserId[]> {
  for await (const batch of batches) yield batch.map((id) => parseUserId(id));
}

/** The error of a key that was given instead of a user id. */
export function keyAsUserId(): KeyctlError {
  return badUserId("", LOOKS_LIKE_A_KEY);
}

function badUserId(shown: string, rule: string): KeyctlError {
  const quoted = shown === "" ? "" : ` '${printable(shown)}'`;
  return new KeyctlError("BAD_USER_ID", `the user id${quoted} ${rule}`, {
    hint: [LOOKS_LIKE_A_KEY, LOOKS_LIKE_A_MASK].includes(rule)
      ? "give the id of a user; keyctl save --user <id>   asks for the key and hides it"
      : "a user id is 1 to 128 bytes of text without control characters and without a blank at either end",
  });
}

/** Whether a text holds a key or a part of one, in one piece or with gaps in it. */
export function looksLikeKey(text: string): boolean {
  return KEY_BEGUN.test(text) || KEY_BEGUN.test(withoutGaps(text));
}

/**
 * What was given as a user id, for results and messages; empty if it is not a text or may be a secret. It is whole or
 * empty: what hides secrets later does not find a part of one.
 */
export function repeatableId(given: unknown): string {
  return typeof given !== "string" || Buffer.byteLength(given) > MAX_BYTES || looksLikeKey(given) ? "" : given;
}

/** The first eight code points, for log lines. */
export function shortId(user: UserId): string {
  return printable(Array.from(user.slice(0, 16)).slice(0, 8).join(""));
}

/** Lowercase hex SHA-256 of an id, used in journal ids and in the names of keys upstream. */
export function userHash(user: UserId): string {
  return hash("sha256", user, "hex");
}
