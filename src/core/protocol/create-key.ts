import { KeyctlError } from "../model/errors.ts";
import { appendEntry } from "./write-journal.ts";
import { isFresh } from "../ports/journal.ts";
import type { Operation, Recorded } from "../ports/journal.ts";
import { keyNameOf } from "../model/key-name.ts";
import { newRecord } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { provisionPending } from "./shared-user-runs.ts";
import type { Stage } from "./shared-user-runs.ts";
import { isTimeout, deadlineIn, withTimeLimit } from "../async/deadline.ts";
import { sleep } from "../async/sleep.ts";
import type { NewKey } from "./store-new-key.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";
import { hasRoomUnderCap } from "./hourly-cap.ts";
import { randomBytes } from "../model/random-bytes.ts";
import { userFlag } from "../text/shell-quote.ts";
import { creationFailed, RUN_AGAIN } from "./creation-refusals.ts";
import { requireOwnAccount } from "./management-access.ts";
import type { AccountKeys } from "./management-access.ts";
import { abandonOperation, abandonOperationWithoutKey, CLEAN_UP_MS } from "./abandon-operation.ts";
import type { CreateResult } from "../ports/openrouter.ts";
import { printable } from "../text/printable.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";
import type { WantedTerms } from "../model/provision-rules.ts";

/** RECORD OPERATION and CREATE KEY: the first steps of everything that ends in a new key. */

export interface CreationTask {
  /** False: waits for another command's fresh operation, but starts and abandons none. */
  readonly mayMake: boolean;
  /** False: a person asked for this key, so the hourly cap neither delays nor counts it. */
  readonly isAuto: boolean;
  readonly terms: WantedTerms;
  /** Whether the spending of the user's own provider keys (BYOK) counts towards the limit; null: as OpenRouter decides. */
  readonly includeByokInLimit?: boolean | null;
  /** The number of operations that this call has started, including this one. */
  readonly tries: number;
  /**
   * Receives the stage that the call waits for. From the first one on, a key may exist: the call must not be given up.
   */
  readonly onStage: (stage: Stage) => void;
}

/** No attempt to create the key of an operation starts later. */
const ATTEMPTS_END_MS = 30_000;
/** One call that may create a key: for which user, how, and until when. */
export interface CreationCall {
  readonly user: UserId;
  readonly task: CreationTask;
  readonly context: Context;
  readonly signal: AbortSignal;
}

const NO_KEY_CAN_BE_MADE = "no key can be created";
const POLL = { firstMs: 250, mostMs: 2_000 } as const;

/**
 * The number of the user's last operation once it has an outcome (0 for none). `look-again`: it was stale, and is abandoned
 * now. `none`: it is stale, and this call may not decide about it.
 * @param lookUp a row that ends the wait for another command's operation
 */
export async function settleLastOperation(
  call: CreationCall,
  lookUp: () => Promise<KeyRecord | undefined>,
): Promise<{ readonly n: number } | { readonly row: KeyRecord } | "look-again" | "none"> {
  const { user, task, context, signal } = call;
  const { journal, clock } = context;
  const operation = await journal.lastOperation(user, signal);
  if (operation === undefined) return { n: 0 };
  const { n } = operation;
  for (let waitMs: number = POLL.firstMs; ; waitMs = Math.min(POLL.mostMs, waitMs * 2)) {
    if ((await journal.entry(user, "out", n, signal)) !== undefined) return { n };
    if (!isFresh(operation.at, clock.now().getTime())) break;
    await pauseFor(waitMs, user, signal);
    const row = await lookUp();
    if (row !== undefined) return { row };
  }
  if (!task.mayMake) return "none";
  const keys = await requireOwnAccount(context, NO_KEY_CAN_BE_MADE, signal);
  await abandonOperation(user, operation, { ...context, keys }, signal);
  if (signal.aborted && isTimeout(signal.reason)) {
    throw unavailable("timed out before the outcome of an earlier attempt was known");
  }
  return "look-again";
}

/**
 * RECORD OPERATION and CREATE KEY. `look-again`: another command has recorded that operation, or OpenRouter asked to wait.
 * `crowded`: the hourly cap leaves no room at the moment.
 */
export async function createKey(n: number, call: CreationCall): Promise<CreatedKey | "look-again" | "crowded"> {
  const { user, task, context, signal } = call;
  const { journal, log, clock } = context;
  const keys = await requireOwnAccount(context, NO_KEY_CAN_BE_MADE, signal);
  // Without a sealer, no key is created.
  const sealer = await context.sealer("seal", signal);
  // Saves two entries if the cap leaves no room. The cap holds without this check.
  if (task.isAuto && !(await hasRoomUnderCap(context, clock.now().toISOString(), 0, signal))) return "crowded";
  const deployment = await journal.deployment(signal);
  await refuseSecondKey(user, deployment, context);
  const operation = operationOf(n, task, await beginningOf(task.terms, context, signal));
  const recorded = await appendEntry(user, operation, context, signal);
  if (recorded.nonce !== operation.nonce) return "look-again";
  if (task.isAuto && !(await keepUnderCap(recorded, call))) return "crowded";
  log({ kind: "making", user });
  task.onStage("answer");
  const { includeByokInLimit = null } = task;
  const request = { ...operation, name: keyNameOf(deployment, user, operation), includeByokInLimit };
  const account = await context.account.open();
  const creation = await keys.create(request, deadlineIn(ATTEMPTS_END_MS, signal));
  if (creation.status !== "created") {
    if (creation.status === "ambiguous") task.onStage("search");
    return handleNoKey(operation, creation, keys, call);
  }
  const accountBound = account.created(creation.upstream);
  // A failure is thrown where `accountBound` is awaited, unless storing the key fails first.
  accountBound.catch(() => {});
  return { creation, operation, sealer, keys, deployment, accountBound };
}

/** A created key, and everything that is needed to store it or to delete it again. */
export interface CreatedKey extends Pick<NewKey, "deployment" | "accountBound"> {
  readonly creation: Extract<CreateResult, { status: "created" }>;
  readonly operation: Operation;
  /** As it was before the key was created. */
  readonly sealer: Sealer;
  readonly keys: AccountKeys;
}

/** The unsettled row of a key that was just created. */
export async function newKeyRow(
  { creation, operation, sealer }: CreatedKey,
  user: UserId,
  context: Context,
): Promise<KeyRecord> {
  const { key, upstream } = creation;
  const { n, label, limit, limitReset, expiresAt } = operation;
  const sealed = (await sealerForNewKey(sealer, context)).seal(key, user);
  return {
    ...newRecord(user, { key, sealed, origin: "auto-provisioned", now: context.clock.now().toISOString() }),
    name: upstream.name,
    label,
    limit,
    limitReset,
    expiresAt,
    upstreamHash: upstream.hash === key.hash ? null : upstream.hash,
    generation: n,
    settled: false,
  };
}

/** CREATE KEY without a key as its result. */
async function handleNoKey(
  operation: Operation,
  creation: Exclude<CreateResult, { status: "created" }>,
  keys: AccountKeys,
  { user, task, context, signal }: CreationCall,
): Promise<"look-again"> {
  if (creation.status === "ambiguous") {
    const time = AbortSignal.timeout(CLEAN_UP_MS);
    const isClean = await abandonOperation(user, operation, { ...context, keys }, time);
    if (isClean) throw unanswered(`OpenRouter ${creation.detail}, so no key was kept`, creation.remedy?.hint);
    const message = `OpenRouter ${creation.detail}, and did not say whether a key was created; one may exist`;
    throw unanswered(message, `keyctl reconcile ${userFlag(user)} --fix   removes what may be left`);
  }
  await abandonOperationWithoutKey(user, operation.n, context);
  // A time-out is reported as OpenRouter's failure below: the call waited for OpenRouter, not for the store.
  if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason;
  if (creation.status === "rate-limited" && task.tries < MAX_OPERATIONS) {
    if (await keys.pause(creation, task.tries, deadlineIn(ATTEMPTS_END_MS, signal))) return "look-again";
  }
  throw creationFailed(creation);
}

/** The maximum number of operations of one call that OpenRouter asks to slow down. */
const MAX_OPERATIONS = 4;

const SERVER_TIME_MS = 5_000;

/**
 * The start of a new key's lifetime, in milliseconds since 1970: by OpenRouter's clock, which also ends it, or by the
 * local clock if OpenRouter's is unknown.
 */
async function beginningOf(
  { expiresInMs }: WantedTerms,
  { openRouter, clock }: Context,
  signal: AbortSignal,
): Promise<number> {
  const ours = () => clock.now().getTime();
  if (expiresInMs === null) return ours();
  const server = await openRouter.open();
  if (server.serverTime() === undefined) await server.reach(deadlineIn(SERVER_TIME_MS, signal));
  return server.serverTime() ?? ours();
}

function operationOf(n: number, { terms, isAuto }: CreationTask, beginning: number): Operation {
  const { label, limit, limitReset, expiresInMs, workspace } = terms;
  // In whole seconds, as OpenRouter stores it.
  const end = expiresInMs === null ? null : Math.floor((beginning + expiresInMs) / 1000) * 1000;
  const expiresAt = terms.expiresAt ?? (end === null ? null : new Date(end).toISOString());
  const nonce = randomBytes(8).toString("hex");
  return { kind: "op", n, nonce, label, limit, limitReset, expiresAt, workspace, deliberate: !isAuto };
}

/**
 * Checks the hourly cap after the operation is recorded. Abandons the operation if the cap leaves no room (false) or
 * the check fails (throws).
 */
async function keepUnderCap({ n, at }: Recorded<Operation>, { user, context, signal }: CreationCall): Promise<boolean> {
  let hasRoom = false;
  try {
    hasRoom = await hasRoomUnderCap(context, at, 1, signal);
    return hasRoom;
  } finally {
    if (!hasRoom) await abandonOperationWithoutKey(user, n, context);
  }
}

/** Pauses while another command creates the key. Throws PROVISION_PENDING after a time-out. */
async function pauseFor(milliseconds: number, user: UserId, signal: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, signal);
  } catch (thrown) {
    throw isTimeout(thrown) ? provisionPending(user) : thrown;
  }
}

function unavailable(message: string): KeyctlError {
  return new KeyctlError("PROVIDER_UNAVAILABLE", message, { hint: RUN_AGAIN, retryable: true });
}

/** The error for a POST whose answer was lost: its operation is abandoned, but a key may exist. */
function unanswered(message: string, hint = RUN_AGAIN): KeyctlError {
  return new KeyctlError("PROVIDER_UNAVAILABLE", message, { hint, retryable: true, mayHaveHappened: true });
}

/** Throws CONFLICT if a key of this user waits for another database, offline or replaced: no second key is bought. */
async function refuseSecondKey(user: UserId, deployment: string, { spool }: Context): Promise<void> {
  const path = await spool.elsewhere(deployment, user);
  if (path === undefined) return;
  throw new KeyctlError(
    "CONFLICT",
    `a key that was created for user ${printable(user)} waits in ${printable(path)} for another database; no second one is created`,
    {
      hint: "use the database that it was created for; or move that file away, and delete its key at https://openrouter.ai/keys",
    },
  );
}

/** How long a created key waits for the master keys. */
const SEALER_MS = 2_000;

/**
 * A master key may have gone out of use while the key was created. Whatever fails here, the key is sealed as it would have
 * been before: it is not lost over that, and its operation, which has no outcome yet, keeps that master key in its set.
 */
async function sealerForNewKey(before: Sealer, { sealer }: Context): Promise<Sealer> {
  try {
    return await withTimeLimit({ timeoutMs: SEALER_MS }, (signal) => sealer("seal", signal));
  } catch {
    return before;
  }
}
