import { hash } from "node:crypto";
import { ApiKey } from "./api-key.ts";
import { maskOf } from "./mask.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";
import { withoutGaps } from "./redact-keys.ts";
import { keyAsUserId, parseUserId, repeatableId } from "./user-id.ts";
import type { UserId } from "./user-id.ts";

/** The characters of a bearer token (https://www.rfc-editor.org/rfc/rfc6750#section-2.1): none of them could end a header. */
const TOKEN = /^[A-Za-z0-9._~+/-]{8,512}={0,2}$/;
const inspect = Symbol.for("nodejs.util.inspect.custom");

/**
 * The key that creates and deletes keys. It has no reliable prefix, so it is not an `ApiKey`, but it is guarded in the same
 * way: `reveal()` is the only way out.
 */
export class ManagementKey {
  readonly #text: string;

  private constructor(text: string) {
    this.#text = text;
  }

  /** The key in this text, without white space around it; undefined for an invalid key or a mask. */
  static parse(text: string): ManagementKey | undefined {
    const key = text.trim();
    return TOKEN.test(key) && !ApiKey.isMask(key) ? new ManagementKey(key) : undefined;
  }

  /** The bare key. */
  reveal(): string {
    return this.#text;
  }

  /** Fifteen stars and the last four characters. */
  get masked(): string {
    return maskOf(this.#text.slice(-4));
  }

  toString(): string {
    return this.masked;
  }

  toJSON(): string {
    return this.masked;
  }

  [inspect](): string {
    return `ManagementKey(${this.masked})`;
  }

  [Symbol.toPrimitive](): never {
    throw new TypeError("a ManagementKey is not text: use .masked to show it or .reveal() to use it");
  }
}

/** The SHA-256 in lowercase hex of a management key's text, which is what `ApiKey.hash` is of that text. */
export function managementKeyHash(text: string): string {
  return hash("sha256", text.trim(), "hex");
}

/** Whether a management key is configured; false also if its configuration cannot be read. */
export function isThere(hasManagementKey: () => boolean): boolean {
  try {
    return hasManagementKey();
  } catch (thrown) {
    if (isKeyctlError(thrown)) return false;
    throw thrown;
  }
}

/**
 * Whether this text, or the key in it, is one of the management keys with these hashes. A management key creates and deletes
 * keys and works for no model request: no user may have it.
 */
export function isManagementKey(text: string | ApiKey, hashes: ReadonlySet<string>): boolean {
  if (hashes.size === 0) return false;
  if (typeof text !== "string") return hashes.has(text.hash);
  return hashes.has(ApiKey.parse(text)?.hash ?? managementKeyHash(text));
}

/** As `parseUserId`; a management key is no user id, even without a prefix that tells it. Throws BAD_USER_ID. */
export function parseGivenUserId(text: string, managementKeyHashes: ReadonlySet<string>): UserId {
  if (isManagementKey(withoutGaps(text), managementKeyHashes)) throw keyAsUserId();
  return parseUserId(text);
}

/** As `repeatableId`; empty for a management key, too. */
export function repeatableGivenId(text: string, managementKeyHashes: ReadonlySet<string>): string {
  return isManagementKey(withoutGaps(text), managementKeyHashes) ? "" : repeatableId(text);
}

/** The error of a row that holds the management key. A user who received it earlier can create and delete keys. */
export function managementKeyStored(user: UserId): KeyctlError {
  return new KeyctlError(
    "MANAGEMENT_KEY_AS_USER_KEY",
    `what is stored for user ${printable(user)} is the management key, which no user may have`,
    {
      hint:
        `keyctl save ${userFlag(user)} --replace   stores another key; if this one was handed out before, replace it at ` +
        "https://openrouter.ai/settings/management-keys",
    },
  );
}

/** @param detail what OpenRouter did, as in `CreateResult` and `Unknown` */
export function managementKeyRefused(detail: string): KeyctlError {
  return new KeyctlError("MANAGEMENT_KEY_REFUSED", `OpenRouter rejected the management key: it ${detail}`, {
    hint: "set OPENROUTER_PROVISIONING_KEY to a management key from OpenRouter's dashboard",
  });
}

export function managementKeyMissing(what: string): KeyctlError {
  return new KeyctlError("MANAGEMENT_KEY_MISSING", `no management key: ${what}`, {
    hint: "set OPENROUTER_PROVISIONING_KEY, or OPENROUTER_PROVISIONING_KEY_FILE",
  });
}
