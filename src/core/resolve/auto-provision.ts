import { refusalIn } from "./decide.ts";
import type { Decision, Wish } from "./decide.ts";
import type { Candidates } from "./source-candidates.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Stage } from "../protocol/shared-user-runs.ts";
import { provision } from "../protocol/provision-key.ts";
import type { Provision } from "../protocol/provision-key.ts";
import { syncFailed } from "../model/results.ts";
import type { SyncResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";
import { answer } from "./sync-result.ts";
import type { WantedTerms } from "../model/provision-rules.ts";

/** A result, or a row that another command created in the meantime. `lost`: not certain, so the row is read again. */
export type Adoption = SyncResult | "lost" | { readonly row: KeyRecord };

/** The state of a resolution without a row: whether a key is wanted, and the number of attempts. */
export interface Attempt {
  readonly wish: Wish;
  /** A person asked for this key, so the hourly cap does not count it. */
  readonly isDeliberate: boolean;
  readonly onStage: (stage: Stage) => void;
  tries: number;
}

/** For a user without a key in any place: creates one, or waits for one that another command is creating. */
export async function withoutKey(
  user: UserId,
  {
    candidates,
    decision,
    attempt,
  }: { readonly candidates: Candidates; readonly decision: Decision; readonly attempt: Attempt },
  context: Context,
  signal: AbortSignal,
): Promise<Adoption> {
  const { log } = context;
  const { wish } = attempt;
  attempt.tries += 1;
  if (attempt.tries === 1) {
    log({ kind: "none-found" });
    if (wish !== "off") log({ kind: "provisioning" });
    if (wish === "no-management-key") log({ kind: "no-management-key" });
  }
  const made = await provisioned(user, { ...attempt, decision }, context, signal);
  if (made.status === "look-again") return "lost";
  if (made.status === "found") return { row: made.row };
  if (made.status === "made") return provisionedResult(made, candidates, context);
  const refusal = refusalIn(decision);
  if (refusal !== null) log({ kind: "provision-failed", reason: refusal });
  log({ kind: "no-key" });
  return syncFailed(user, candidates.noKey(user, refusal), candidates.warnings);
}

/** The terms if no key is created. */
const NOTHING_WANTED: WantedTerms = { label: null, limit: null, limitReset: null, expiresInMs: null, workspace: null };

/** Throws the error of a decision to fail. */
async function provisioned(
  user: UserId,
  { wish, isDeliberate, decision, onStage, tries }: Attempt & { readonly decision: Decision },
  context: Context,
  signal: AbortSignal,
): Promise<Provision> {
  const mayMake = decision.kind === "create";
  const terms = mayMake ? decision.terms : NOTHING_WANTED;
  try {
    if (decision.kind === "fail") throw decision.error;
    return await provision(user, { mayMake, isAuto: !isDeliberate, terms, onStage, tries }, context, signal);
  } catch (thrown) {
    if ((wish === "may" || decision.kind === "fail") && isKeyctlError(thrown))
      context.log({ kind: "provision-failed", reason: thrown.message });
    throw thrown;
  }
}

function provisionedResult(
  { row, key, warnings }: Extract<Provision, { status: "made" }>,
  candidates: Candidates,
  { log, clock }: Pick<Context, "log" | "clock">,
): SyncResult {
  log({ kind: "saved", origin: row.origin, key });
  log({ kind: "using", source: "auto-provisioned" });
  log({ kind: "synced" });
  log({ kind: "complete" });
  const result = answer(row, key, { source: "auto-provisioned", candidates, now: clock.now().getTime() });
  return { ...result, warnings: [...result.warnings, ...warnings] };
}
