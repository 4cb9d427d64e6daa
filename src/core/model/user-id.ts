import { KeyctlError } from "./errors.ts";
import { MASK_LIKE, maskOf } from "./mask.ts";
import { printable } from "../text/printable.ts";
import { hash } from "node:crypto";

declare const brand: unique symbol;

/** A user's id as it is stored: NFC text of 1 to 128 bytes; 24 hex characters are in lower case. */
export type UserId = string & { readonly [brand]: "UserId" };

/** Many users, as they arrive from a file or from the database. */
export type UserBatches = AsyncIterable<readonly UserId[]>;

const MAX_BYTES = 128;
const OBJECT_ID = /^[0-9a-fA-F]{24}$/;
/** A key of any spelling and length: also one that was cut off, or that OpenRouter has shortened for a list. */
const KEY_BEGUN = /sk-or-(?:v\d+|mgmt|management|prov|provisioning)-[\w-]*/i;
const SECRETS: readonly (readonly [message: string, pattern: RegExp])[] = [
  ["looks like a key, so it is neither used nor repeated", KEY_BEGUN],
  ["looks like the mask of a key", MASK_LIKE],
];
const RULES: readonly (readonly [message: string, broken: (text: string) => boolean])[] = [
  ["is empty", (text) => text === ""],
  ["is longer than 128 bytes", (text) => Buffer.byteLength(text) > MAX_BYTES],
  ["is not valid Unicode", (text) => !text.isWellFormed() || text.includes("\uFFFD")],
  ["holds a control character", (text) => /\p{Cc}/u.test(text)],
  ["begins or ends with a blank", (text) => /^\s|\s$/.test(text)],
];

/** The only parser of user ids. Nothing is trimmed: an id that differs by a blank is another id. Throws BAD_USER_ID. */
export function parseUserId(text: string): UserId {
  const id = text.normalize("NFC");
  const secret = SECRETS.find(([, pattern]) => pattern.test(id));
  if (secret !== undefined) {
    throw new KeyctlError("BAD_USER_ID", `the user id ${secret[0]}`, {
      hint: "give the id of a user; keyctl save --user <id>   asks for the key and hides it",
    });
  }
  const broken = RULES.find(([, isBroken]) => isBroken(id));
  if (broken !== undefined) {
    const shown = id === "" ? "" : ` '${printable(id.length > 40 ? `${id.slice(0, 40)}…` : id)}'`;
    throw new KeyctlError("BAD_USER_ID", `the user id${shown} ${broken[0]}`, {
      hint: "a user id is 1 to 128 bytes of text without control characters and without a blank at either end",
    });
  }
  return (OBJECT_ID.test(id) ? id.toLowerCase() : id) as UserId;
}

/** A text that was given as a user id, as output may repeat it: with the mask of a key in the place of a key. */
export function withoutKeyIn(text: string): string {
  return text.replace(new RegExp(KEY_BEGUN, "gi"), (key) => maskOf(key.slice(-4)));
}

/** The first eight code points, for log lines. */
export function shortId(user: UserId): string {
  return printable(Array.from(user.slice(0, 16)).slice(0, 8).join(""));
}

/** Lowercase hex SHA-256 of an id, used in journal ids and in the names of keys upstream. */
export function userHash(user: UserId): string {
  return hash("sha256", user, "hex");
}
