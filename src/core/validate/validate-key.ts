import type { ApiKey } from "../model/api-key.ts";
import { CheckRecorder, notRecorded } from "./check-recorder.ts";
import { KeyctlError } from "../model/errors.ts";
import { withoutKeys } from "../model/redact-keys.ts";
import { createdAtMs, maskOfRecord } from "../model/key-record.ts";
import type { KeyRecord, LastCheck, LimitDue, Timestamp } from "../model/key-record.ts";
import { deadlineIn, stepSignals, toKeyctlError } from "../async/deadline.ts";
import type { CallOptions } from "../async/deadline.ts";
import { checkedNumber, UP_TO_LONGEST } from "../model/number-options.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import { HIGHEST_LIMIT } from "../model/provision-terms.ts";
import { printable } from "../text/printable.ts";
import { openRow } from "../sealing/open-row.ts";
import { futureTimeWarnings } from "../model/stored-key-warnings.ts";
import { userFlag } from "../text/shell-quote.ts";
import { withRemedy } from "../ports/openrouter.ts";
import { upstreamKeys } from "../protocol/management-access.ts";
import type { UserId } from "../model/user-id.ts";
import { decideVerdict } from "./decide-verdict.ts";
import type { VerdictSources } from "./decide-verdict.ts";
import { attentionRemedies, attentionWords } from "./attention-texts.ts";
import { attentionOf, failingWarnings } from "../model/verdict.ts";
import type { Attention, Limits, Verdict } from "../model/verdict.ts";
import { findKey } from "../protocol/find-key.ts";
import { keyIn } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import type { Warning } from "../model/warning.ts";

/** The result of checking one key. `error` is null only for a valid key whose attention values are not errors. */
export interface Validation {
  /** Null for a key without a user here. */
  readonly userId: string | null;
  /** The mask. */
  readonly key: string | null;
  readonly keyHash: string | null;
  /** Null if OpenRouter was not asked. */
  readonly verdict: Verdict | null;
  /** The time of a definite verdict; else null. */
  readonly checkedAt: Timestamp | null;
  /** The verdict is stored in the database. */
  readonly recorded: boolean;
  /** The verdict is from an earlier run. */
  readonly resumed: boolean;
  /** When an earlier run found the key valid. */
  readonly lastValidated: Timestamp | null;
  /** The full limit of a key whose limit is lowered after a rotation; else null. */
  readonly limitDue: LimitDue | null;
  readonly attention: readonly Attention[];
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

/** The limits turn an attention value into the error ATTENTION. Without them, it is only listed. */
export interface ValidateOptions extends CallOptions, Limits {}

/** The limits, the time limit of one key in milliseconds, and signals for its steps. */
export interface ValidateContext {
  readonly limits: Limits;
  readonly timeoutMs: number;
  /** For steps after the check, whose own time may be over. */
  readonly newSignal: () => AbortSignal;
}

/** Throws USAGE for an option that is not a valid number. */
export function validateContext(
  { timeoutMs, signal, warnWithinMs, minRemaining }: ValidateOptions,
  { timeoutMs: defaultMs }: Pick<Context, "timeoutMs">,
): ValidateContext {
  if (warnWithinMs !== undefined) checkedNumber("warnWithinMs", warnWithinMs, UP_TO_LONGEST);
  if (minRemaining !== undefined) checkedNumber("minRemaining", minRemaining, { from: 0, to: HIGHEST_LIMIT });
  const newSignal = stepSignals({ timeoutMs, signal }, defaultMs);
  return { limits: { warnWithinMs, minRemaining }, timeoutMs: timeoutMs ?? defaultMs, newSignal };
}

/** Checks the key in the database, and records a definite verdict in its row. */
export async function validateStored(
  user: UserId,
  context: Context,
  asking: ValidateContext,
  signal: AbortSignal,
): Promise<Validation> {
  const budget = deadlineIn(asking.timeoutMs, signal);
  const row = await findKey(context.store, user, signal);
  if (row === undefined) throw notStored(user);
  const key = await openRow(row, context, signal);
  const { verdict, at } = await ask(key, context, budget, createdAtMs(row));
  const recorder = new CheckRecorder(context.store, asking.newSignal);
  const { recorded, warnings: unrecorded } = await recorder.record(row, verdict, at);
  const warnings = [...futureTimeWarnings(row, Date.parse(at)), ...unrecorded];
  return validationOfRow(
    row,
    key,
    { verdict, at, now: Date.parse(at), resumed: false, recorded, warnings },
    asking.limits,
  );
}

/** Checks a given key; the database is not used. */
export async function validateKey(
  key: ApiKey,
  context: Context,
  { limits, timeoutMs }: ValidateContext,
  signal: AbortSignal,
): Promise<Validation> {
  const { verdict, at } = await ask(key, context, deadlineIn(timeoutMs, signal));
  const facts = { userId: null, key: key.masked, keyHash: key.hash, lastValidated: null, limitDue: null };
  return validation(facts, { verdict, at, now: Date.parse(at), resumed: false, recorded: false, warnings: [] }, limits);
}

/** Records the check of a key that was just saved. */
export async function recordSavedCheck(
  { userId, keyHash, check }: { readonly userId: UserId; readonly keyHash: string; readonly check: LastCheck },
  store: KeyStore,
  newSignal: () => AbortSignal,
): Promise<readonly Warning[]> {
  try {
    const row = keyIn(await store.find(userId, newSignal()));
    return row?.keyHash === keyHash ? (await new CheckRecorder(store, newSignal).write(row, check)).warnings : [];
  } catch (thrown) {
    return [notRecorded(toKeyctlError(thrown))];
  }
}

export async function verdictSources(context: Context): Promise<VerdictSources> {
  const { openRouter, clock } = context;
  const keys = await upstreamKeys(context);
  return { openRouter: await openRouter.open(), keys, now: () => clock.now().getTime() };
}

async function ask(key: ApiKey, context: Context, budget: ReturnType<typeof deadlineIn>, born?: number) {
  const { log, clock } = context;
  const sources = await verdictSources(context);
  log({ kind: "validating" });
  const verdict = await decideVerdict(key, sources, budget, born);
  if (verdict.status === "valid") log({ kind: "validated" });
  if (verdict.status === "invalid") log({ kind: "invalid" });
  if (verdict.status === "unknown") log({ kind: "not-validated", reason: verdict.detail });
  return { verdict, at: clock.now().toISOString() };
}

/** A verdict, and whether it is recorded or from an earlier run. */
export interface RecordedVerdict {
  readonly verdict: Verdict;
  readonly at: Timestamp;
  /** The time of the evaluation, which may be later than `at`; in milliseconds since 1970. */
  readonly now: number;
  readonly resumed: boolean;
  readonly recorded: boolean;
  readonly warnings: readonly Warning[];
}

export function validationOfRow(
  row: KeyRecord,
  key: ApiKey | undefined,
  judgement: RecordedVerdict,
  limits: Limits,
): Validation {
  const { userId, lastValidated, limitDue } = row;
  const shown = key?.masked ?? maskOfRecord(row);
  const facts = { userId, key: shown, keyHash: key?.hash ?? row.keyHash, lastValidated, limitDue };
  return validation(facts, judgement, limits);
}

function validation(
  facts: Pick<Validation, "userId" | "key" | "keyHash" | "lastValidated" | "limitDue">,
  { verdict, at, now, resumed, recorded, warnings }: RecordedVerdict,
  limits: Limits,
): Validation {
  const attention = attentionOf(verdict, limits, now);
  const checkedAt = verdict.status === "unknown" ? null : at;
  const error = errorOf(facts.userId, verdict, failingWarnings(attention, limits));
  return { ...facts, verdict, checkedAt, recorded, resumed, attention, warnings, error };
}

export function validationFailed(userId: string | null, error: KeyctlError): Validation {
  return {
    userId: userId === null ? null : withoutKeys(userId),
    key: null,
    keyHash: null,
    verdict: null,
    checkedAt: null,
    recorded: false,
    resumed: false,
    lastValidated: null,
    limitDue: null,
    attention: [],
    warnings: [],
    error,
  };
}

export function notStored(user: UserId): KeyctlError {
  return new KeyctlError("NO_KEY", `no key for user ${printable(user)} in the database`, {
    hint: `keyctl sync ${userFlag(user)}   stores one, and   keyctl validate --stdin < key.txt   asks about one that is not stored`,
  });
}

const FAULTS: Readonly<Record<string, string>> = {
  deleted: "was deleted at OpenRouter",
  disabled: "is disabled at OpenRouter",
  expired: "has expired at OpenRouter",
  management_key: "is a management key: it manages keys, and no request can be made with it",
  refused: "is refused by OpenRouter: it was deleted or disabled, has expired or was copied wrongly",
};

function errorOf(userId: string | null, verdict: Verdict, worries: readonly Attention[]): KeyctlError | null {
  const whose = userId === null ? "the key" : `the key of user ${printable(userId)}`;
  const user = userId === null ? undefined : userFlag(userId);
  if (verdict.status === "unknown") {
    const { detail, remedy } = verdict;
    const again = `keyctl validate ${user ?? "--stdin"} --timeout 2m${user === undefined ? " < key.txt" : ""}`;
    return new KeyctlError("VERDICT_UNKNOWN", detail, withRemedy(remedy, again));
  }
  if (verdict.status === "invalid") {
    const { reason } = verdict;
    const hint = remedyOf(reason, user);
    return new KeyctlError("KEY_INVALID", `${whose} ${FAULTS[reason] ?? FAULTS["refused"]}`, { hint });
  }
  if (worries.length === 0) return null;
  const hint = attentionRemedies(worries, userId);
  return new KeyctlError("ATTENTION", `${whose} ${printable(attentionWords(worries, verdict))}`, { hint });
}

/** A key that is confirmed to be dead can be renewed. A disabled one may have been disabled on purpose. */
function remedyOf(reason: string, user: string | undefined): string {
  const save = `keyctl save ${user ?? "--user <id>"} --replace`;
  if (user === undefined || (reason !== "deleted" && reason !== "expired")) return save;
  return `keyctl renew ${user}   replaces it, and   ${save}   stores another key`;
}
