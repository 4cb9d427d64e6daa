import { KeyctlError } from "./errors.ts";
import { KEY_LIKE } from "./redact-keys.ts";
import { printable } from "../text/printable.ts";
import { hash } from "node:crypto";

declare const brand: unique symbol;

/** A user's id as it is stored: NFC text of 1 to 128 bytes; 24 hex characters are in lower case. */
export type UserId = string & { readonly [brand]: "UserId" };

/** Many users, as they arrive from a file or from the database. */
export type UserBatches = AsyncIterable<readonly UserId[]>;

const MAX_BYTES = 128;
const OBJECT_ID = /^[0-9a-fA-F]{24}$/;
const RULE = "a user id is 1 to 128 bytes of text without control characters and without a blank at either end";
const RULES: readonly (readonly [message: string, broken: (text: string) => boolean])[] = [
  ["looks like a key, so it is neither used nor repeated", (text) => KEY_LIKE.test(text)],
  ["is empty", (text) => text === ""],
  ["is longer than 128 bytes", (text) => Buffer.byteLength(text) > MAX_BYTES],
  ["is not valid Unicode", (text) => !text.isWellFormed() || text.includes("\uFFFD")],
  ["holds a control character", (text) => /\p{Cc}/u.test(text)],
  ["begins or ends with a blank", (text) => /^\s|\s$/.test(text)],
];

/** The only parser of user ids. Nothing is trimmed: an id that differs by a blank is another id. Throws BAD_USER_ID. */
export function parseUserId(text: unknown): UserId {
  if (typeof text !== "string") throw new KeyctlError("BAD_USER_ID", "the user id is not a text", { hint: RULE });
  const id = text.normalize("NFC");
  const broken = RULES.find(([, isBroken]) => isBroken(id));
  if (broken !== undefined) {
    const shown = id === "" || KEY_LIKE.test(id) ? "" : ` '${printable(id.length > 40 ? `${id.slice(0, 40)}…` : id)}'`;
    throw new KeyctlError("BAD_USER_ID", `the user id${shown} ${broken[0]}`, {
      hint: RULE,
    });
  }
  return (OBJECT_ID.test(id) ? id.toLowerCase() : id) as UserId;
}

/** What was given as a user id, for the result of a call that failed; empty for what is not a text. */
export function userIdText(given: unknown): string {
  return typeof given === "string" ? given : "";
}

/** The first eight code points, for log lines. */
export function shortId(user: UserId): string {
  return printable(Array.from(user.slice(0, 16)).slice(0, 8).join(""));
}

/** Lowercase hex SHA-256 of an id, used in journal ids and in the names of keys upstream. */
export function userHash(user: UserId): string {
  return hash("sha256", user, "hex");
}
