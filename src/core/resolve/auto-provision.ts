import type { Candidates } from "./source-candidates.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Log } from "../model/log-event.ts";
import type { Stage } from "../protocol/provisioning-flight.ts";
import { termsFor } from "../model/provision-terms.ts";
import { provision } from "../protocol/provision-key.ts";
import type { Provision } from "../protocol/provision-key.ts";
import { syncFailed } from "../model/results.ts";
import type { SyncResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";
import { answer } from "./sync-result.ts";
import type { WantedTerms } from "../model/provision-rules.ts";

/** A row that was found meanwhile, or a result, or nothing that can be relied on: look again. */
export type Adoption = SyncResult | "lost" | { readonly row: KeyRecord };

/** Whether a key may be made now, and why not; and how often it was tried. */
export interface Attempt {
  readonly permission: "off" | "no-management-key" | "may";
  /** A person asked for this key, so that the hourly cap does not count it. */
  readonly isDeliberate: boolean;
  readonly onStage: (stage: Stage) => void;
  tries: number;
}

/** There is no key anywhere: one is made, or somebody else's is waited for. */
export async function withoutKey(
  user: UserId,
  { candidates, attempt }: { readonly candidates: Candidates; readonly attempt: Attempt },
  context: Context,
  signal: AbortSignal,
): Promise<Adoption> {
  const { log, provisioning } = context;
  const { permission } = attempt;
  attempt.tries += 1;
  if (attempt.tries === 1) {
    log({ kind: "none-found" });
    if (permission !== "off") log({ kind: "provisioning" });
    if (permission === "no-management-key") log({ kind: "no-management-key" });
  }
  const terms = wantedTerms(context, permission);
  const refusal = permission === "may" ? (candidates.refusal ?? provisioning.refusal) : null;
  const made = await provisioned(user, { ...attempt, terms, isRefused: refusal !== null }, context, signal);
  if (made.status === "look-again") return "lost";
  if (made.status === "found") return { row: made.row };
  if (made.status === "made") return provisionedResult(made, candidates, log);
  if (refusal !== null) log({ kind: "provision-failed", reason: refusal });
  log({ kind: "no-key" });
  return syncFailed(user, candidates.noKey(user), candidates.warnings);
}

/** What a new key may do where none is made. */
const NOTHING_WANTED: WantedTerms = { label: null, limit: null, limitReset: null, expiresInMs: null, workspace: null };

/** Throws CONFIG_EMPTY or CONFIG_INVALID for what the environment says of making keys, unless none are to be made. */
function wantedTerms({ provisioning, log }: Context, permission: Attempt["permission"]): WantedTerms {
  if (permission === "off") return NOTHING_WANTED;
  try {
    return termsFor(provisioning);
  } catch (thrown) {
    if (isKeyctlError(thrown)) log({ kind: "provision-failed", reason: thrown.message });
    throw thrown;
  }
}

async function provisioned(
  user: UserId,
  {
    permission,
    isRefused,
    isDeliberate,
    ...task
  }: Attempt & { readonly terms: WantedTerms; readonly isRefused: boolean },
  context: Context,
  signal: AbortSignal,
): Promise<Provision> {
  const mayMake = permission === "may" && !isRefused;
  try {
    return await provision(user, { ...task, mayMake, isAuto: !isDeliberate }, context, signal);
  } catch (thrown) {
    if (permission === "may" && isKeyctlError(thrown))
      context.log({ kind: "provision-failed", reason: thrown.message });
    throw thrown;
  }
}

function provisionedResult(
  { row, key, warnings }: Extract<Provision, { status: "made" }>,
  candidates: Candidates,
  log: Log,
): SyncResult {
  log({ kind: "saved", origin: row.origin, key });
  log({ kind: "using", source: "auto-provisioned" });
  log({ kind: "synced" });
  log({ kind: "complete" });
  const result = answer(row, key, "auto-provisioned", candidates);
  return { ...result, warnings: [...result.warnings, ...warnings] };
}
