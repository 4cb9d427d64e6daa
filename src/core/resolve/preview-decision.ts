import { Candidates } from "./source-candidates.ts";
import { decide, permissionOf, refusalIn, wishOf } from "./decide.ts";
import type { Decision, Permission } from "./decide.ts";
import { assertCanCreate, assertRoomUnderCap } from "./creation-obstacles.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { ErrorCode, KeyctlError } from "../model/errors.ts";
import { maskOfRecord } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { ApiKey } from "../model/api-key.ts";
import { silent } from "../model/log-event.ts";
import { toKeyctlError } from "../async/deadline.ts";
import { openForUse } from "../sealing/open-row.ts";
import { foreseen } from "../protocol/preview-store.ts";
import type { UserId } from "../model/user-id.ts";
import { findKey } from "../protocol/find-key.ts";
import type { Context } from "../context.ts";
import { usableOf } from "./usable-candidates.ts";

/** The decision that a sync of one user would reach, and its reasons. */
export interface Foresight {
  readonly stored: StoredKey;
  readonly candidates: Candidates;
  readonly decision: Decision;
  /** A fault of keyctl's own configuration, which ends a sync before it begins. */
  readonly startFailure: KeyctlError | null;
  /** The decision if it can be performed, else the error of the sync. */
  readonly outcome: Outcome;
}

export type Outcome = Performable | { readonly kind: "fails"; readonly error: KeyctlError };

export type Performable = Extract<Decision, { kind: "keep" | "save" | "create" }>;

/** The state of a user's row. */
export type StoredKey =
  | { readonly kind: "absent"; readonly row: undefined }
  | {
      readonly kind: "held";
      readonly row: KeyRecord;
      /** Null if the master keys do not open the row. */
      readonly key: ApiKey | null;
      readonly mask: string | null;
      readonly keyHash: string | null;
      /** The fault of the master keys that would open the row. */
      readonly obstacle: KeyctlError | null;
    }
  | { readonly kind: "failed"; readonly row: KeyRecord | undefined; readonly error: KeyctlError };

/** Faults of keyctl's own keys or configuration, not of the row. */
const OUR_OWN: readonly ErrorCode[] = [
  "MASTER_KEY_MISSING",
  "MASTER_KEY_WRONG",
  "CONFIG_EMPTY",
  "CONFIG_INVALID",
  "CONFIG_CONFLICT",
];

/**
 * **Invariant:** the decision is the one that `resolve` would reach, and nothing is written: no store and no master key
 * is created. OpenRouter is not asked. A row wins even if the master keys to open it are missing.
 */
export async function foresee(
  user: UserId,
  context: Context,
  autoProvision: boolean,
  signal: AbortSignal,
): Promise<Foresight> {
  const start = wishOrFailure(context, autoProvision);
  const stored = await lookUp(user, foreseen(context), signal);
  const read = await Candidates.readBeside(context.sources);
  // As in `resolve`, the journal is asked only without a row.
  const { candidates } = stored.kind === "absent" ? await usableOf(read, context, signal) : { candidates: read };
  const permission: Permission =
    typeof start === "string" ? permissionOf(context, start) : { kind: "may", fault: start };
  const decision = decide(stored, candidates, permission);
  const startFailure = typeof start === "string" ? null : start;
  const obstacle = startFailure ?? (stored.kind === "held" ? stored.obstacle : null);
  const outcome: Outcome =
    obstacle === null
      ? await outcomeOf(user, { decision, candidates }, context, signal)
      : { kind: "fails", error: obstacle };
  return { stored, candidates, decision, startFailure, outcome };
}

function wishOrFailure(context: Context, autoProvision: boolean): Permission["kind"] | KeyctlError {
  try {
    return wishOf(context, autoProvision);
  } catch (thrown) {
    if (isKeyctlError(thrown)) return thrown;
    throw thrown;
  }
}

/** Checks the obstacles of the decision in the order of the sync. */
async function outcomeOf(
  user: UserId,
  { decision, candidates }: { readonly decision: Decision; readonly candidates: Candidates },
  context: Context,
  signal: AbortSignal,
): Promise<Outcome> {
  if (decision.kind === "fail") return { kind: "fails", error: decision.error };
  if (decision.kind === "none") return { kind: "fails", error: candidates.noKey(user, refusalIn(decision)) };
  try {
    if (decision.kind === "save") await context.assertCanSeal(signal);
    if (decision.kind === "create") {
      await assertCanCreate(user, context, signal);
      await assertRoomUnderCap(context, signal);
    }
    return decision;
  } catch (thrown) {
    return { kind: "fails", error: failureOf(thrown, signal) };
  }
}

async function lookUp(user: UserId, context: Context, signal: AbortSignal): Promise<StoredKey> {
  let row: KeyRecord | undefined;
  try {
    row = await findKey(context.store, user, signal);
    if (row === undefined) return { kind: "absent", row };
    const key = await openForUse(row, { ...context, log: silent }, signal);
    return { kind: "held", row, key, mask: key.masked, keyHash: key.hash, obstacle: null };
  } catch (thrown) {
    const error = failureOf(thrown, signal);
    if (row === undefined || !OUR_OWN.includes(error.code)) return { kind: "failed", row, error };
    return { kind: "held", row, key: null, mask: maskOfRecord(row), keyHash: row.keyHash, obstacle: error };
  }
}

/** The thrown error as a value. Throws again if the caller stopped waiting. */
function failureOf(thrown: unknown, signal: AbortSignal): KeyctlError {
  const error = toKeyctlError(thrown, signal);
  if (error.code === "INTERRUPTED") throw error;
  return error;
}
