import { ApiKey } from "./api-key.ts";
import { KeyctlError } from "./errors.ts";
import type { ErrorCode } from "./errors.ts";
import { keyFaultOf, NO_KEY_AT_ALL } from "./key-fault.ts";
import type { Timestamp } from "./key-record.ts";
import type { Warning } from "./warning.ts";
import { KEY_HASH } from "./key-hash.ts";

/** A key that leaked: its text or, where only that is known, its SHA-256 or OpenRouter's id of it. */
export interface LeakedKey {
  readonly hash: string;
  readonly key: ApiKey | null;
}

/**
 * `rotate`: it is disabled, replaced by a new key of its user, and deleted. `purge`: an earlier key of a user is disabled and
 * deleted. `disable`: keyctl did not create it, so it is only disabled. `none`: it is not in the account of the management key,
 * or, in a dry run, not there any more.
 */
export type LeakedAction = "rotate" | "purge" | "disable" | "none";

/** `error` is null exactly if the key is contained: it works no more, and its user has a new one if keyctl created it. */
export interface LeakedResult {
  /** Null if what was given is neither a key nor a hash. */
  readonly keyHash: string | null;
  /** Whose key it is; null if neither a row nor the journal knows it. `current`: it is the key that the user has now. */
  readonly owner: { readonly userId: string; readonly current: boolean } | null;
  /** As OpenRouter calls the key; must be escaped for display. Null: not known. */
  readonly name: string | null;
  readonly action: LeakedAction;
  /** When OpenRouter confirmed that the key is disabled; null if it did not, and for a key that was gone before. */
  readonly disabledAt: Timestamp | null;
  /** The hash of the key that the user has instead. */
  readonly replacedBy: string | null;
  /** What was spent with the key since `usedFrom`, in USD; null if OpenRouter does not say. */
  readonly usageSince: number | null;
  /** 00:00 UTC of the first day that is counted. */
  readonly usedFrom: Timestamp | null;
  readonly lastUsedAt: Timestamp | null;
  /** Where OpenRouter lists the requests of the key, for the owner of its account. */
  readonly link: string | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

/** After a signal, too. */
export const GOES_ON = "run the same command again: it goes on";

const KEY_BEGINNING = /sk-or-v1-/gi;
const WHAT_IS_GIVEN = "give a key (sk-or-v1-…) or 64 hex characters, and nothing else";
const WHOLE_KEY = "a key is sk-or-v1- and 64 characters from 0 to 9 and a to f";

/** Throws BAD_KEY_FORMAT, KEY_IS_MASKED; repeats nothing of the text. */
export function parseLeaked(text: string | ApiKey): LeakedKey {
  const key = typeof text === "string" ? ApiKey.parse(text) : text;
  if (key !== undefined && beginnings(key.reveal()) === 1) return { hash: key.hash, key };
  const trimmed = String(text).trim();
  const hash = trimmed.toLowerCase();
  if (KEY_HASH.test(hash)) return { hash, key: null };
  if (ApiKey.isMask(trimmed)) {
    throw new KeyctlError("KEY_IS_MASKED", "this is the mask of a key, not the key", {
      hint: "give the key that leaked, or its SHA-256: keyctl list --json   shows it as key_hash",
    });
  }
  if (beginnings(trimmed) > 1) {
    throw new KeyctlError("BAD_KEY_FORMAT", "this holds several keys, and one is wanted", { hint: WHAT_IS_GIVEN });
  }
  const fault = keyFaultOf(trimmed);
  const what = fault === NO_KEY_AT_ALL ? "" : `: it ${fault}`;
  throw new KeyctlError("BAD_KEY_FORMAT", `this is neither a key nor the SHA-256 of one${what}`, {
    hint: `${WHAT_IS_GIVEN}; a management key is deleted at https://openrouter.ai/settings/management-keys`,
  });
}

function beginnings(text: string): number {
  return text.match(KEY_BEGINNING)?.length ?? 0;
}

/**
 * For a key that nothing here knows. A key that was cut, or that has more on its line, is refused by OpenRouter as well, while
 * the whole one works. Throws BAD_KEY_FORMAT.
 */
export function assertWhole({ key }: LeakedKey): void {
  if (key === null || key.hasUsualShape) return;
  const message = `this is not one whole key: ${WHOLE_KEY}, and nothing here knows this text`;
  throw new KeyctlError("BAD_KEY_FORMAT", message, { hint: WHAT_IS_GIVEN });
}

/** The failures that say themselves what a person does about the key. */
const SAYS_ALL: ReadonlySet<ErrorCode> = new Set([
  "BAD_KEY_FORMAT",
  "KEY_IS_MASKED",
  "MANAGEMENT_KEY_AS_USER_KEY",
  "USAGE",
]);
export const MAY_STILL_WORK = "the leaked key may still work";

/** This failure, of a key that is not known to be disabled: a person can disable it without keyctl. */
export function notDisabled(error: KeyctlError, upstreamId: string): KeyctlError {
  const { code, message, retryable, mayHaveHappened } = error;
  if (SAYS_ALL.has(code)) return error;
  const whole = message.startsWith(MAY_STILL_WORK) ? message : `${message}; ${MAY_STILL_WORK}`;
  const again = error.hint ?? (code === "INTERRUPTED" ? GOES_ON : null);
  const byHand = `disable the key now at https://openrouter.ai/keys/${upstreamId}`;
  const hint = again === null ? byHand : `${again}; or ${byHand}`;
  return new KeyctlError(code, whole, { hint, retryable, mayHaveHappened });
}

/** @param keyHash null if what was given is neither a key nor a hash */
export function leakedFailed(keyHash: string | null, error: KeyctlError | null): LeakedResult {
  return { ...nothingKnown(keyHash), error };
}

export function nothingKnown(keyHash: string | null): LeakedResult {
  return {
    keyHash,
    owner: null,
    name: null,
    action: "none",
    disabledAt: null,
    replacedBy: null,
    usageSince: null,
    usedFrom: null,
    lastUsedAt: null,
    link: keyHash === null ? null : logsOf(keyHash),
    warnings: [],
    error: null,
  };
}

export function logsOf(upstreamId: string): string {
  return `https://openrouter.ai/logs?api_key_hash=${upstreamId}`;
}
