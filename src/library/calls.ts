import type { UserKeyCall } from "../core/change/renew/with-user-key.ts";
import type { KeyManager } from "../core/manager/manager.ts";
import type { KeyctlError } from "../core/model/errors.ts";
import { leakedFailed } from "../core/model/leaked-results.ts";
import { renewFailed } from "../core/model/renew-results.ts";
import {
  explainFailed,
  provisionFailed,
  purgeFailed,
  purgePreviewFailed,
  saveFailed,
  syncFailed,
  unblockFailed,
} from "../core/model/results.ts";
import type { EnsureResult, SyncResult } from "../core/model/results.ts";
import type { LeakedResult } from "../core/model/leaked-results.ts";
import type { SyncPreview } from "../core/resolve/preview-sync.ts";
import type { Validation } from "../core/validate/validate-key.ts";
import { rotateFailed } from "../core/model/rotate-results.ts";
import { MANAGER } from "./opened-managers.ts";
import { BATCHES, functionOf, KEY, oneOf, OPTIONS, USER_ID } from "./check.ts";
import type { Check } from "./check.ts";
import * as table from "./option-tables.ts";

/** One argument of a method, and how a message calls it. */
type Argument<Value> = undefined extends Value
  ? readonly [name: string, check: Check<Exclude<Value, undefined>>, optional: "optional"]
  : readonly [name: string, check: Check<Value>];

type EachArgument<Values extends readonly unknown[]> = { readonly [Index in keyof Values]: Argument<Values[Index]> };

type Arguments<Method> = Method extends (...values: infer Values) => unknown ? Required<EachArgument<Values>> : never;

/**
 * How a method tells a failure: in the `error` of its result (`fails` is that result), by a rejection, while it is read, or
 * at once. What a `run` returns has methods of its own, which tell theirs like methods.
 */
export type CallKind =
  | { readonly kind: "result"; readonly failed: (userId: string, error: KeyctlError) => unknown }
  | { readonly kind: "promise" | "run" | "iterable" | "value" };

type Call<Method> = CallKind & { readonly takes: Arguments<Method> };

const user = ["the user id", USER_ID] as const;
const key = ["the key", KEY] as const;
const batches = ["the batches", BATCHES] as const;

const options = <Value>(check: Check<Value>) => [OPTIONS, check, "optional"] as const;

const USE_CALL = functionOf<UserKeyCall<unknown>>(
  'withUserKey(userId, (key, { signal }) => fetch(url, { headers: { authorization: "Bearer " + key }, signal }))',
);
const RESULTS = oneOf<readonly SyncResult[]>([], ["an array of results", Array.isArray]);

/** Every method of a manager. The compiler refuses a table without one of them, or with another argument. */
export const CALLS = {
  syncAndGetKey: { kind: "result", failed: syncFailed, takes: [user, options(table.SYNC)] },
  autoProvisionKey: { kind: "result", failed: provisionFailed, takes: [user, options(table.PROVISION)] },
  ensureKeyForUser: { kind: "result", failed: ensureFailed, takes: [user, options(table.ENSURE)] },
  validate: { kind: "result", failed: validationFailed, takes: [user, options(table.VALIDATE)] },
  validateFound: {
    kind: "result",
    failed: validationFailed,
    takes: [["the result", table.FOUND], options(table.VALIDATE)],
  },
  validateKeyWithApi: { kind: "result", failed: keyNotValidated, takes: [key, options(table.VALIDATE)] },
  validateMany: { kind: "run", takes: [options(table.VALIDATE_MANY)] },
  getStoredKey: { kind: "result", failed: syncFailed, takes: [user, options(table.CALL)] },
  explain: { kind: "result", failed: explainFailed, takes: [user, options(table.SYNC)] },
  saveKeyToDb: {
    kind: "result",
    failed: saveFailed,
    takes: [user, key, ["source", table.SOURCE, "optional"], options(table.CALL)],
  },
  save: { kind: "result", failed: saveFailed, takes: [user, key, options(table.SAVE)] },
  purge: { kind: "result", failed: purgeFailed, takes: [user, options(table.PURGE)] },
  purgeMany: { kind: "iterable", takes: [batches, options(table.PURGE_MANY)] },
  block: { kind: "result", failed: purgeFailed, takes: [user, options(table.BLOCK)] },
  unblock: { kind: "result", failed: unblockFailed, takes: [user, options(table.CALL)] },
  blockedUsers: { kind: "iterable", takes: [options(table.CALL)] },
  previewPurge: { kind: "result", failed: purgePreviewFailed, takes: [user, options(table.PREVIEW_PURGE)] },
  previewPurgeMany: { kind: "iterable", takes: [batches, options(table.PREVIEW_PURGE)] },
  rotate: { kind: "result", failed: rotateFailed, takes: [user, options(table.ROTATE)] },
  rotateMany: { kind: "iterable", takes: [batches, options(table.ROTATE_MANY)] },
  previewRotateMany: { kind: "iterable", takes: [batches, options(table.ROTATE_MANY)] },
  finishDue: { kind: "iterable", takes: [options(table.CALL)] },
  dueDuties: { kind: "promise", takes: [options(table.CALL)] },
  renew: { kind: "result", failed: renewFailed, takes: [user, options(table.RENEW)] },
  renewMany: { kind: "iterable", takes: [batches, options(table.RENEW_MANY)] },
  previewRenewMany: { kind: "iterable", takes: [batches, options(table.RENEW_MANY)] },
  withUserKey: { kind: "promise", takes: [user, ["the call", USE_CALL], options(table.WITH_USER_KEY)] },
  leaked: { kind: "result", failed: leakNotKnown, takes: [key, options(table.LEAKED)] },
  reconcile: { kind: "run", takes: [options(table.RECONCILE)] },
  syncMany: { kind: "iterable", takes: [batches, options(table.SYNC_MANY)] },
  previewSync: { kind: "result", failed: syncPreviewFailed, takes: [user, options(table.SYNC)] },
  previewSyncMany: { kind: "iterable", takes: [batches, options(table.PREVIEW_SYNC_MANY)] },
  provisionMany: { kind: "iterable", takes: [batches, options(table.PROVISION_MANY)] },
  previewProvisionMany: { kind: "iterable", takes: [batches, options(table.PREVIEW_PROVISION)] },
  importKeys: { kind: "iterable", takes: [["the batches", table.ENTRIES], options(table.DRY_RUN)] },
  rekey: { kind: "iterable", takes: [options(table.REKEY)] },
  copyTo: { kind: "iterable", takes: [["the destination", MANAGER], options(table.DRY_RUN)] },
  history: { kind: "iterable", takes: [["the query", table.HISTORY, "optional"], options(table.CALL)] },
  takeWarnings: { kind: "value", takes: [] },
  noteRevealed: { kind: "promise", takes: [["the results", RESULTS], options(table.CALL)] },
  hasManagementKey: { kind: "value", takes: [] },
  provisionTerms: { kind: "value", takes: [["the terms", table.TERMS, "optional"]] },
  rows: { kind: "iterable", takes: [options(table.CALL), ["keyHash", table.HASH_OF_KEY, "optional"]] },
  count: { kind: "promise", takes: [options(table.CALL)] },
  requireMasterKeys: { kind: "promise", takes: [options(table.CALL)] },
  check: { kind: "promise", takes: [options(table.CALL)] },
  close: { kind: "promise", takes: [] },
} satisfies { readonly [Name in keyof KeyManager]: Call<KeyManager[Name]> };

function ensureFailed(_: string, error: KeyctlError): EnsureResult {
  return { key: null, source: null, valid: null, warnings: [], error };
}

async function validationFailed(userId: string, error: KeyctlError): Promise<Validation> {
  return (await import("../core/validate/validate-key.ts")).validationFailed(userId, error);
}

async function keyNotValidated(_: string, error: KeyctlError): Promise<Validation> {
  return (await import("../core/validate/validate-key.ts")).validationFailed(null, error);
}

async function syncPreviewFailed(userId: string, error: KeyctlError): Promise<SyncPreview> {
  return (await import("../core/resolve/preview-sync.ts")).syncPreviewFailed(userId, error);
}

function leakNotKnown(_: string, error: KeyctlError): LeakedResult {
  return leakedFailed(null, error);
}
