import { ApiKey, maskOf } from "./api-key.ts";
import { KeyctlError } from "./errors.ts";

/** What a bearer token may be (https://www.rfc-editor.org/rfc/rfc6750#section-2.1): nothing that could end a header. */
const TOKEN = /^[A-Za-z0-9._~+/-]{8,512}={0,2}$/;
const inspect = Symbol.for("nodejs.util.inspect.custom");

/**
 * The key that makes and removes keys. It has no reliable prefix, so it is not an `ApiKey`, but it is guarded as one:
 * `reveal()` is the only way out.
 */
export class ManagementKey {
  readonly #text: string;

  private constructor(text: string) {
    this.#text = text;
  }

  /** The key in this text, without white space around it; undefined for what cannot be one, or is a mask of one. */
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

/** @param detail what OpenRouter did, as in `Creation` and `Unknown` */
export function managementKeyRefused(detail: string): KeyctlError {
  return new KeyctlError("MANAGEMENT_KEY_REFUSED", `OpenRouter does not take the management key: it ${detail}`, {
    hint: "set OPENROUTER_PROVISIONING_KEY to a management key from OpenRouter's dashboard",
  });
}
