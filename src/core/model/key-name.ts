import type { UserId } from "./user-id.ts";
import { userHash } from "./user-id.ts";

/** The parts of a key's name upstream: its store, its user and its operation. */
export interface KeyName {
  /** The random id of the store. */
  readonly deployment: string;
  /** The first twelve characters of the SHA-256 of the user id. */
  readonly userPrefix: string;
  readonly n: number;
  /** The operation's nonce: a store that was restored from a backup must not claim keys that it did not create. */
  readonly nonce: string;
}

const NAME = /^keyctl\/([0-9a-f]{16})\/([0-9a-f]{12})\/([1-9]\d{0,7})-([0-9a-f]{16})$/;

export function keyNameOf(deployment: string, user: UserId, { n, nonce }: Pick<KeyName, "n" | "nonce">): string {
  return `keyctl/${deployment}/${userPrefixOf(user)}/${n}-${nonce}`;
}

/** Undefined for a name that keyctl does not use. */
export function parseKeyName(name: string): KeyName | undefined {
  const [, deployment, userPrefix, n, nonce] = NAME.exec(name) ?? [];
  if (deployment === undefined || userPrefix === undefined || nonce === undefined) return undefined;
  return { deployment, userPrefix, n: Number(n), nonce };
}

export function userPrefixOf(user: UserId): string {
  return userHash(user).slice(0, 12);
}
