import type { ApiKey } from "../model/api-key.ts";
import { KeyctlError } from "../model/errors.ts";
import { appendEntry } from "./write-journal.ts";
import { isFresh } from "../ports/journal.ts";
import type { Operation, Recorded } from "../ports/journal.ts";
import { keyNameOf } from "../model/key-name.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { newRecord } from "../model/key-record.ts";
import type { Stage } from "./shared-user-runs.ts";
import { isTimeout, deadlineIn } from "../async/deadline.ts";
import { sleep } from "../async/sleep.ts";
import { placeKey, sealerForNewKey } from "./store-new-key.ts";
import type { NewKey } from "./store-new-key.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";
import { hasRoomUnderCap, waitForRoom } from "./hourly-cap.ts";
import { randomBytes } from "../model/random-bytes.ts";
import { userFlag } from "../text/shell-quote.ts";
import { requireOwnAccount } from "./management-access.ts";
import { abandonOperation, abandonOperationWithoutKey, CLEAN_UP_MS } from "./abandon-operation.ts";
import { creationFailed, RUN_AGAIN } from "./creation-refusals.ts";
import type { CreateResult, UpstreamKeys } from "../ports/openrouter.ts";
import { printable } from "../text/printable.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";
import { conflictError } from "./contention.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import type { Warning } from "../model/warning.ts";
import { provisionPending } from "./shared-user-runs.ts";

export interface CreationTask {
  /** False: waits for another command's fresh operation, but starts and abandons none. */
  readonly mayMake: boolean;
  /** False: a person asked for this key, so the hourly cap neither delays nor counts it. */
  readonly isAuto: boolean;
  readonly terms: WantedTerms;
  /** The number of operations that this call has started, including this one. */
  readonly tries: number;
  /**
   * Receives the stage that the call waits for. From the first one on, a key may exist: the call must not be given up.
   */
  readonly onStage: (stage: Stage) => void;
}

/** The result: a new key, a row that another command created meanwhile, a request to start over, or no key. */
export type Provision =
  | {
      readonly status: "made";
      readonly row: KeyRecord;
      readonly key: ApiKey;
      readonly warnings: readonly Warning[];
    }
  | { readonly status: "found"; readonly row: KeyRecord }
  | { readonly status: "look-again" }
  | { readonly status: "none" };

/** No attempt to create the key of an operation starts later. */
const ATTEMPTS_END_MS = 30_000;
const LOOK_AGAIN = { status: "look-again" } as const;
const NONE = { status: "none" } as const;
/** One call that may create a key: for which user, how, and until when. */
interface Call {
  readonly user: UserId;
  readonly task: CreationTask;
  readonly context: Context;
  readonly signal: AbortSignal;
}

const NO_KEY_CAN_BE_MADE = "no key can be created";
const POLL = { firstMs: 250, mostMs: 2_000 } as const;

/**
 * RECORD OPERATION to RECORD OUTCOME, for a user without a row. Throws PROVISION_CAP at once if the hourly cap is used
 * up, and after a time-out if operations that are under way may use it up.
 */
export async function provision(
  user: UserId,
  task: CreationTask,
  context: Context,
  signal: AbortSignal,
): Promise<Provision> {
  const call = { user, task, context, signal };
  for (;;) {
    const last = await settleLastOperation(call);
    if ("status" in last) return last;
    const row = await context.store.find(user, signal);
    if (row !== undefined) return { status: "found", row };
    if (!task.mayMake) return NONE;
    await context.store.assertAbsent?.(user, signal);
    const made = await newOperation(last.n + 1, call);
    if (made !== "crowded") return made;
    await waitForRoom(context.provisioning.maxPerHour(), signal);
  }
}

/** The number of the user's last operation once it has an outcome (0 for none), or another end of this call. */
async function settleLastOperation(call: Call): Promise<{ readonly n: number } | Provision> {
  const { user, task, context, signal } = call;
  const { store, journal, clock } = context;
  const operation = await journal.lastOperation(user, signal);
  if (operation === undefined) return { n: 0 };
  const { n } = operation;
  for (let waitMs: number = POLL.firstMs; ; waitMs = Math.min(POLL.mostMs, waitMs * 2)) {
    if ((await journal.entry(user, "out", n, signal)) !== undefined) return { n };
    if (!isFresh(operation.at, clock.now().getTime())) break;
    await pauseFor(waitMs, user, signal);
    const row = await store.find(user, signal);
    if (row !== undefined) return { status: "found", row };
  }
  if (!task.mayMake) return NONE;
  const keys = await requireOwnAccount(context, NO_KEY_CAN_BE_MADE, signal);
  await abandonOperation(user, operation, { ...context, keys }, signal);
  if (signal.aborted && isTimeout(signal.reason)) {
    throw unavailable("timed out before the outcome of an earlier attempt was known");
  }
  return LOOK_AGAIN;
}

/** RECORD OPERATION and CREATE KEY. */
async function newOperation(n: number, call: Call): Promise<Provision | "crowded"> {
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
  if (recorded.nonce !== operation.nonce) return LOOK_AGAIN;
  if (task.isAuto && !(await keepUnderCap(recorded, call))) return "crowded";
  log({ kind: "making", user });
  task.onStage("answer");
  const name = keyNameOf(deployment, user, operation);
  const account = await context.account.open();
  const creation = await keys.create({ ...operation, name }, deadlineIn(ATTEMPTS_END_MS, signal));
  if (creation.status !== "created") {
    if (creation.status === "ambiguous") task.onStage("search");
    return handleNoKey(operation, creation, keys, call);
  }
  const accountBound = account.created(creation.upstream);
  // A failure is thrown where `accountBound` is awaited, unless storing the key fails first.
  accountBound.catch(() => {});
  return storeCreated({ creation, operation, sealer, keys, deployment, accountBound }, call);
}

/** A created key, and everything that is needed to store it or to delete it again. */
interface Created extends Pick<NewKey, "deployment" | "accountBound"> {
  readonly creation: Extract<CreateResult, { status: "created" }>;
  readonly operation: Operation;
  /** As it was before the key was created. */
  readonly sealer: Sealer;
  readonly keys: UpstreamKeys;
}

/** STORE ROW and RECORD OUTCOME. */
async function storeCreated(created: Created, { user, task, context, signal }: Call): Promise<Provision> {
  const { creation, operation, sealer, keys, deployment, accountBound } = created;
  const { key, upstream } = creation;
  task.onStage("storage");
  const { n, label, limit, limitReset, expiresAt } = operation;
  const sealed = (await sealerForNewKey(sealer, context)).seal(key, user);
  const row = {
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
  const placed = await placeKey({ row, upstreamId: upstream.hash, keys, deployment, accountBound }, context);
  await accountBound;
  if (placed === "lost") return isTimeout(signal.reason) ? winnerOf(user, context) : LOOK_AGAIN;
  context.log({ kind: "made", key });
  return { status: "made", row: placed, key, warnings: warningsOf(operation) };
}

/** The row that was stored first, for a call without time to start over. */
async function winnerOf(user: UserId, { store }: Context): Promise<Provision> {
  const row = await store.find(user, AbortSignal.timeout(CLEAN_UP_MS));
  if (row === undefined) throw conflictError(user);
  return { status: "found", row };
}

/** CREATE KEY without a key as its result. */
async function handleNoKey(
  operation: Operation,
  creation: Exclude<CreateResult, { status: "created" }>,
  keys: UpstreamKeys,
  { user, task, context, signal }: Call,
): Promise<Provision> {
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
    if (await keys.pause(creation, task.tries, deadlineIn(ATTEMPTS_END_MS, signal))) return LOOK_AGAIN;
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
  const expiresAt =
    expiresInMs === null ? null : new Date(Math.floor((beginning + expiresInMs) / 1000) * 1000).toISOString();
  const nonce = randomBytes(8).toString("hex");
  return { kind: "op", n, nonce, label, limit, limitReset, expiresAt, workspace, deliberate: !isAuto };
}

/** The warnings about a key with this limit. */
export function warningsOf({ limit }: Pick<WantedTerms, "limit">): readonly Warning[] {
  if (limit !== null) return [];
  return [{ code: "NO_LIMIT", message: "the new key has no spending limit" }];
}

/**
 * Checks the hourly cap after the operation is recorded. Abandons the operation if the cap leaves no room (false) or
 * the check fails (throws).
 */
async function keepUnderCap({ n, at }: Recorded<Operation>, { user, context, signal }: Call): Promise<boolean> {
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
