import { Candidates } from "./source-candidates.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { ErrorCode, KeyctlError } from "../model/errors.ts";
import { databaseStep, makingStep, outsideStep } from "./explanation-steps.ts";
import type { Findings, CreationOutlook, Stored } from "./explanation-steps.ts";
import { maskOfRecord } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { silent } from "../model/log-event.ts";
import { toKeyctlError } from "../async/deadline.ts";
import { termsFor } from "../model/provision-terms.ts";
import { warningsOf } from "../protocol/provision-key.ts";
import { openForUse } from "../sealing/open-row.ts";
import type { Explanation, Forecast } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";
import type { Warning } from "../model/warning.ts";
import { usableOf } from "./usable-candidates.ts";

/**
 * **Invariant:** explain says what `resolve` would do, in the same order, and does none of it. Nothing is written; no store
 * and no master key is made. Missing master keys, with which a row would be opened, do not hide which source wins.
 */

/** What is wrong with our own keys and configuration, and not with the row. */
const OUR_OWN: readonly ErrorCode[] = [
  "MASTER_KEY_MISSING",
  "MASTER_KEY_WRONG",
  "CONFIG_EMPTY",
  "CONFIG_INVALID",
  "CONFIG_CONFLICT",
];

export async function explain(
  user: UserId,
  context: Context,
  autoProvision: boolean,
  signal: AbortSignal,
): Promise<Explanation> {
  const stored = await lookUp(user, context, signal);
  const read = await Candidates.readBeside(context.sources);
  // As resolve does, which asks only where there is no row.
  const { candidates } = stored.kind === "absent" ? await usableOf(read, context, signal) : { candidates: read };
  const making = makingOf(context, candidates, autoProvision);
  const findings = { making, ...search(stored, candidates, making) };
  const sync = await forecast(user, findings, context, signal);
  return {
    userId: user,
    winner: findings.winner,
    steps: [databaseStep(stored), ...candidates.all.map((each) => outsideStep(each, findings)), makingStep(findings)],
    stored: stored.row === undefined ? null : { origin: stored.row.origin, createdAt: stored.row.createdAt },
    sync,
    warnings: [...candidates.warnings, ...warningsOfSync(sync, findings, context)],
    error: findings.winner === null && sync.kind === "fails" ? sync.error : null,
  };
}

/** What sync would warn of beside the sources, and that it would fail where somebody has a key. */
function warningsOfSync(sync: Forecast, { winner }: Findings, { provisioning }: Context): readonly Warning[] {
  if (sync.kind === "makes") return warningsOf(provisioning.terms({}));
  if (sync.kind !== "fails" || winner === null) return [];
  return [{ code: "SYNC_WOULD_FAIL", message: `sync would fail: ${sync.error.message}` }];
}

async function lookUp(user: UserId, context: Context, signal: AbortSignal): Promise<Stored> {
  let row: KeyRecord | undefined;
  try {
    row = await context.store.find(user, signal);
    if (row === undefined) return { kind: "absent", row };
    const key = await openForUse(row, { ...context, log: silent }, signal);
    return { kind: "held", row, mask: key.masked, keyHash: key.hash, obstacle: null };
  } catch (thrown) {
    const error = failure(thrown, signal);
    if (row === undefined || !OUR_OWN.includes(error.code)) return { kind: "failed", row, error };
    return { kind: "held", row, mask: maskOfRecord(row), keyHash: row.keyHash, obstacle: error };
  }
}

/** No key would be made. */
function not(reason: string): CreationOutlook {
  return { isAllowed: false, reason, failure: null, fault: null };
}

function makingOf(
  { hasManagementKey, provisioning }: Context,
  candidates: Candidates,
  autoProvision: boolean,
): CreationOutlook {
  if (!autoProvision) return not("switched off");
  const managementKey = attempt(hasManagementKey);
  if (isKeyctlError(managementKey)) return { ...not(managementKey.message), failure: managementKey };
  const terms = attempt(() => termsFor(provisioning));
  if (isKeyctlError(terms)) return { ...not(terms.message), fault: terms };
  if (!managementKey) return not("OPENROUTER_PROVISIONING_KEY is not set");
  const refusal = candidates.refusal ?? provisioning.refusal;
  if (refusal !== null) return not(refusal);
  return { isAllowed: true, reason: "a new key would be made", failure: null, fault: null };
}

/** What it gives, or the expected failure that it throws. */
function attempt<Value>(act: () => Value): Value | KeyctlError {
  try {
    return act();
  } catch (thrown) {
    if (isKeyctlError(thrown)) return thrown;
    throw thrown;
  }
}

function search(stored: Stored, candidates: Candidates, making: CreationOutlook): Omit<Findings, "making"> {
  const found = { stored, candidates, winner: null, stop: null };
  if (stored.kind === "held") return { ...found, winner: "database" };
  if (stored.kind === "failed") return { ...found, stop: { at: "database", error: stored.error } };
  if (candidates.failure !== null) return { ...found, stop: { at: "environment", error: candidates.failure } };
  return { ...found, winner: candidates.winner?.name ?? (making.isAllowed ? "auto-provisioned" : null) };
}

/** In the order in which sync meets what may stop it. */
async function forecast(
  user: UserId,
  { making, stored, candidates, winner, stop }: Findings,
  context: Context,
  signal: AbortSignal,
): Promise<Forecast> {
  const error = making.failure ?? stop?.error ?? (stored.kind === "held" ? stored.obstacle : null);
  if (error !== null) return { kind: "fails", error };
  if (winner === null) return { kind: "fails", error: making.fault ?? candidates.noKey(user) };
  if (winner === "database") return { kind: "keeps" };
  try {
    await context.assertCanSeal(signal);
    return winner === "auto-provisioned" ? { kind: "makes" } : { kind: "saves", from: winner };
  } catch (thrown) {
    return { kind: "fails", error: failure(thrown, signal) };
  }
}

/** What was thrown as a finding; that the caller stopped waiting is none. */
function failure(thrown: unknown, signal: AbortSignal): KeyctlError {
  const error = toKeyctlError(thrown, signal);
  if (error.code === "INTERRUPTED") throw error;
  return error;
}
