import { hash } from "node:crypto";
import { maskOf } from "./mask.ts";

/**
 * A well-formed key, with the white space and invisible characters (byte order marks, zero-width characters) that editors,
 * shells and web pages add around it. One pass over the text, however long it is.
 */
const PADDED_KEY =
  /^[\p{White_Space}\p{Default_Ignorable_Code_Point}]*(sk-or-v1-[A-Za-z0-9_-]{8,200})[\p{White_Space}\p{Default_Ignorable_Code_Point}]*$/u;
const USUAL_SHAPE = /^sk-or-v1-[0-9a-f]{64}$/;
const MASK = /^\*{4,}[A-Za-z0-9_-]{0,4}$/;
const inspect = Symbol.for("nodejs.util.inspect.custom");

/**
 * An OpenRouter key. `toString`, `toJSON` and `inspect` give the mask and implicit coercion throws;
 * `reveal()` is the only way out, so a review is a search for `.reveal(`.
 */
export class ApiKey {
  readonly #text: string;
  #hash: string | undefined;

  private constructor(text: string) {
    this.#text = text;
  }

  /** The key in this text, without the white space and invisible characters around it; undefined if the text holds anything but one well-formed key. */
  static parse(text: string): ApiKey | undefined {
    const key = PADDED_KEY.exec(text)?.[1];
    return key === undefined ? undefined : new ApiKey(key);
  }

  /** True for a mask, which people paste back by mistake. */
  static isMask(text: string): boolean {
    return MASK.test(text.trim());
  }

  /** The bare key. */
  reveal(): string {
    return this.#text;
  }

  /** Fifteen stars and the last four characters. */
  get masked(): string {
    return maskOf(this.tail);
  }

  /** The last four characters. */
  get tail(): string {
    return this.#text.slice(-4);
  }

  /** Lowercase hex SHA-256: OpenRouter's id of the key; not secret. */
  get hash(): string {
    this.#hash ??= hash("sha256", this.#text, "hex");
    return this.#hash;
  }

  /** False for a key that is accepted but does not look like the keys that OpenRouter creates. */
  get hasUsualShape(): boolean {
    return USUAL_SHAPE.test(this.#text);
  }

  equals(other: ApiKey): boolean {
    return this.#text === other.reveal();
  }

  toString(): string {
    return this.masked;
  }

  toJSON(): string {
    return this.masked;
  }

  /** @internal */
  [inspect](): string {
    return `ApiKey(${this.masked})`;
  }

  /** A mask sent as a key costs an hour of debugging, so nothing turns a key into text by accident. */
  [Symbol.toPrimitive](): never {
    throw new TypeError("an ApiKey is not text: use .masked to show it or .reveal() to use it");
  }
}
