import type { CallOptions } from "../core/async/deadline.ts";
import type { ImportEntry } from "../core/change/import-keys.ts";
import type { Revoke } from "../core/change/purge-key.ts";
import type { MaxFailures } from "../core/change/rotate/rotate-many.ts";
import type { WithUserKeyOptions } from "../core/change/renew/with-user-key.ts";
import type { Replace } from "../core/change/save-key.ts";
import type { SaveOptions } from "../core/change/save-with-check.ts";
import type { Actor } from "../core/model/history-event.ts";
import type { PartlyGiven } from "../core/model/partly-given.ts";
import type { WantedTerms } from "../core/model/provision-rules.ts";
import type { Warning } from "../core/model/warning.ts";
import { forProgram } from "./program-texts.ts";
import type { LeakedResult } from "../core/model/leaked-results.ts";
import type { SyncedKey } from "../core/model/results.ts";
import type { NewLimit } from "../core/model/rotate-results.ts";
import type { ValidateOptions } from "../core/validate/validate-key.ts";
import type * as options from "../core/manager/manager-options.ts";
import {
  passedBatches,
  BOOLEAN,
  DATE,
  fields,
  functionOf,
  isObject,
  KEY,
  MILLISECONDS,
  NUMBER,
  NUMBER_OR_NULL,
  oneOf,
  SIGNAL,
  textLike,
  TEXT_OR_NULL,
  USER_ID,
} from "./check.ts";
import type { Check } from "./check.ts";

/** The options of each method: the compiler wants an entry for each, of the declared type. Bounds are checked where a value is used. */

export const REASON = textLike("laptop lost");
export const SOURCE = textLike("manual");
export const HASH_OF_KEY = textLike("<the SHA-256 of the key>");
const EXPIRES_AT = textLike("2027-03-01T00:00:00Z");

const LIMITS = { timeoutMs: MILLISECONDS, signal: SIGNAL };
const CALL_FIELDS = { ...LIMITS, reason: REASON };
const SYNC_FIELDS = { ...CALL_FIELDS, autoProvision: BOOLEAN };
const VALIDATE_FIELDS = { ...CALL_FIELDS, warnWithinMs: NUMBER, minRemaining: NUMBER };
const MANY = { maxKeys: NUMBER, stop: SIGNAL, concurrency: NUMBER };

export const TERMS = fields<PartlyGiven<WantedTerms>>({
  label: TEXT_OR_NULL,
  limit: NUMBER_OR_NULL,
  limitReset: oneOf<WantedTerms["limitReset"]>(["daily", "weekly", "monthly", null]),
  expiresInMs: NUMBER_OR_NULL,
  expiresAt: EXPIRES_AT,
  workspace: TEXT_OR_NULL,
});

export const ACTOR = fields<PartlyGiven<Actor>>({
  osUser: TEXT_OR_NULL,
  host: TEXT_OR_NULL,
  ci: TEXT_OR_NULL,
  command: textLike("admin page"),
});

const REVOKE = oneOf<Revoke>(["no", "ours", "foreign too"]);
const REACH = oneOf<NonNullable<options.BulkOptions["reach"]>>(["stored", "known", "sources"]);
const REPLACE = oneOf<Replace>(
  ["none", "any"],
  ["{ keyHash }", (value) => isObject(value) && (value["keyHash"] === null || typeof value["keyHash"] === "string")],
);
const NEW_LIMIT = oneOf<NewLimit>(["keep", "full", null], ["a number", (value) => typeof value === "number"]);
const MAX_FAILURES: Check<MaxFailures> = oneOf<MaxFailures>(
  [],
  [
    "{ count: 10 } or { percent: 5 }",
    (value) => isObject(value) && [value["count"], value["percent"]].some((each) => typeof each === "number"),
  ],
);

const WARNED = functionOf<(warning: Warning) => void>("({ message }) => {}");
/** A listener is told in the words of a program, as a result tells. */
const ON_WARNING: Check<(warning: Warning) => void> = {
  pass(value, name, method) {
    const listener = WARNED.pass(value, name, method);
    return (warning: Warning) => {
      if (typeof listener === "function") listener(forProgram(warning));
    };
  },
};

const PURGE_MANY_FIELDS = {
  ...CALL_FIELDS,
  revoke: REVOKE,
  block: BOOLEAN,
  onStillOnDisk: ON_WARNING,
};
const PROVISION_FIELDS = { ...CALL_FIELDS, terms: TERMS };
const RENEW_FIELDS = { ...CALL_FIELDS, includeDisabled: BOOLEAN };
const ROTATE_FIELDS = {
  ...CALL_FIELDS,
  graceMs: NUMBER,
  limit: NEW_LIMIT,
  expiresInMs: NUMBER_OR_NULL,
  expiresAt: EXPIRES_AT,
  includeDisabled: BOOLEAN,
  foreign: oneOf<NonNullable<options.RotateOptions["foreign"]>>(["refuse", "keep", "revoke"]),
  wait: BOOLEAN,
};

export const CALL = fields<CallOptions>(CALL_FIELDS);
export const SYNC = fields<options.SyncOptions>(SYNC_FIELDS);
export const ENSURE = fields<options.EnsureOptions>({ ...SYNC_FIELDS, validate: BOOLEAN });
export const PROVISION = fields<options.ProvisionOptions>(PROVISION_FIELDS);
export const VALIDATE = fields<ValidateOptions>(VALIDATE_FIELDS);
export const VALIDATE_MANY = fields<options.ValidateManyOptions>({
  ...VALIDATE_FIELDS,
  concurrency: NUMBER,
  notValidatedSinceMs: NUMBER,
  fromListing: BOOLEAN,
  stop: SIGNAL,
});
export const SAVE = fields<SaveOptions>({
  ...CALL_FIELDS,
  source: SOURCE,
  replace: REPLACE,
  validate: BOOLEAN,
  revoke: BOOLEAN,
});
export const PURGE = fields<options.PurgeOptions>({
  ...CALL_FIELDS,
  onlyHash: TEXT_OR_NULL,
  revoke: REVOKE,
  block: BOOLEAN,
});
export const BLOCK = fields<Omit<options.PurgeOptions, "block">>({
  ...CALL_FIELDS,
  onlyHash: TEXT_OR_NULL,
  revoke: REVOKE,
});
export const PURGE_MANY = fields<options.PurgeManyOptions>(PURGE_MANY_FIELDS);
export const PREVIEW_PURGE = fields<options.PreviewPurgeOptions>({ ...PURGE_MANY_FIELDS, looksAhead: BOOLEAN });
export const ROTATE = fields<options.RotateOptions>(ROTATE_FIELDS);
export const ROTATE_MANY = fields<options.RotateManyOptions>({
  ...ROTATE_FIELDS,
  ...MANY,
  ratePerSecond: NUMBER,
  maxFailures: MAX_FAILURES,
  olderThanMs: NUMBER,
  expiresWithinMs: NUMBER,
  verdict: oneOf<"invalid">(["invalid"]),
});
export const RENEW = fields<options.RenewOptions>(RENEW_FIELDS);
export const RENEW_MANY = fields<options.RenewManyOptions>({ ...RENEW_FIELDS, ...MANY });
export const WITH_USER_KEY = fields<WithUserKeyOptions>({
  ...LIMITS,
  isRefusal: functionOf<NonNullable<WithUserKeyOptions["isRefusal"]>>("({ thrown }) => thrown?.status === 401"),
  renew: BOOLEAN,
  renewDisabled: BOOLEAN,
  autoProvision: BOOLEAN,
});
export const LEAKED = fields<options.LeakedOptions>({
  ...CALL_FIELDS,
  since: DATE,
  dryRun: BOOLEAN,
  disableOnly: BOOLEAN,
  after: oneOf<LeakedResult>([], ["a result of leaked", (value) => isObject(value) && "action" in value]),
});
export const RECONCILE = fields<options.ReconcileOptions>({
  ...CALL_FIELDS,
  userId: USER_ID,
  fixes: BOOLEAN,
  includeKept: BOOLEAN,
  adoptAccount: BOOLEAN,
  onStep: functionOf<NonNullable<options.ReconcileOptions["onStep"]>>("({ part, done }) => {}"),
});
export const SYNC_MANY = fields<options.BulkOptions>({
  ...CALL_FIELDS,
  ...MANY,
  provision: BOOLEAN,
  logged: BOOLEAN,
  reach: REACH,
});
export const PREVIEW_SYNC_MANY = fields<options.PreviewSyncOptions>({
  ...CALL_FIELDS,
  provision: BOOLEAN,
  reach: REACH,
  maxKeys: NUMBER,
});
export const PROVISION_MANY = fields<options.ProvisionManyOptions>({ ...PROVISION_FIELDS, ...MANY });
export const PREVIEW_PROVISION = fields<options.PreviewProvisionOptions>({
  ...PROVISION_FIELDS,
  maxKeys: NUMBER,
  refusesExisting: BOOLEAN,
});
export const DRY_RUN = fields<options.ImportOptions & options.CopyOptions>({ ...CALL_FIELDS, dryRun: BOOLEAN });
export const REKEY = fields<options.RekeyOptions>({
  ...CALL_FIELDS,
  kind: oneOf<NonNullable<options.RekeyOptions["kind"]>>(["new-key", "keep-key", "init", "retire"]),
  kid: textLike("<kid>"),
  dryRun: BOOLEAN,
});
export const HISTORY = fields<options.HistoryQuery>({ userId: USER_ID, keyHash: HASH_OF_KEY, since: DATE });

const ENTRY = fields<ImportEntry>({ userId: USER_ID, key: KEY, source: SOURCE });

export const ENTRIES: Check<AsyncIterable<readonly ImportEntry[]>> = {
  pass: (value, _, method) => passedBatches(value, method, (entry) => ENTRY.pass(entry, "an entry", method)),
};

/** A result of another call, of which the user and the key are used. */
export const FOUND: Check<SyncedKey> = {
  pass(value, name, method) {
    if (isObject(value)) USER_ID.pass(value["userId"], "userId", method);
    return KEYED.pass(value, name, method);
  },
};
const KEYED = oneOf<SyncedKey>([], ["a result that has a key", (value) => isObject(value) && isObject(value["key"])]);
