import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { appendEntry } from "./write-journal.ts";
import { FRESH_MS } from "../ports/journal.ts";
import type { Operation, Recorded } from "../ports/journal.ts";
import { keyNameOf } from "../model/key-name.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { newRecord } from "../model/key-record.ts";
import type { Stage } from "./provisioning-flight.ts";
import { managementKeyRefused } from "../model/management-key.ts";
import { isTimeout, deadlineIn } from "../async/deadline.ts";
import { sleep } from "../async/sleep.ts";
import { placeKey } from "./store-new-key.ts";
import { hasRoomUnderCap, waitForRoom } from "./hourly-cap.ts";
import { randomBytes } from "../model/random-bytes.ts";
import { userFlag } from "../text/shell-quote.ts";
import { requireOwnAccount } from "./management-access.ts";
import { unreferenced, removeUpstream } from "./delete-upstream.ts";
import { withRemedy } from "../ports/openrouter.ts";
import type { CreateResult, UpstreamKeys } from "../ports/openrouter.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";
import { conflictError } from "./contention.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import type { Warning } from "../model/warning.ts";
import { provisionPending } from "./provisioning-flight.ts";

export interface CreationTask {
  /** False: wait for somebody's fresh operation, but begin none and decide about none. */
  readonly mayMake: boolean;
  /** False: a person asked for this key, so that the hourly cap neither holds it up nor counts it. */
  readonly isAuto: boolean;
  readonly terms: WantedTerms;
  /** Told what is waited for; from the first on a key may exist, and may not be given up. */
  readonly onStage: (stage: Stage) => void;
}

/** What came of it: a key, a row that somebody else made meanwhile, another try, or none. */
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

/** No attempt of an operation begins later. */
const ATTEMPTS_END_MS = 30_000;
const LOOK_AGAIN = { status: "look-again" } as const;
const NONE = { status: "none" } as const;
const NO_KEY_CAN_BE_MADE = "no key can be made";
const POLL = { firstMs: 250, mostMs: 2_000 } as const;
/** To look for a key that may exist, and to remove it, when the caller has no patience left. */
const CLEAN_UP_MS = 20_000;

/**
 * Sync 2 to 8, for a user without a row. `tries` counts the operations of this call, from 1. Throws PROVISION_CAP where the
 * hourly cap is used up, and where it may be, when the time is over.
 */
export async function provision(
  user: UserId,
  context: Context,
  making: CreationTask,
  tries: number,
  signal: AbortSignal,
): Promise<Provision> {
  for (;;) {
    const last = await settleLastOperation(user, context, making, signal);
    if ("status" in last) return last;
    const row = await context.store.find(user, signal);
    if (row !== undefined) return { status: "found", row };
    if (!making.mayMake) return NONE;
    await context.store.assertAbsent?.(user, signal);
    const made = await newOperation(user, last.n + 1, context, making, tries, signal);
    if (made !== "crowded") return made;
    await waitForRoom(context.provisioning.maxPerHour(), signal);
  }
}

/** The user's last operation, once it has an outcome (0: there was none), or what came instead. */
async function settleLastOperation(
  user: UserId,
  context: Context,
  making: CreationTask,
  signal: AbortSignal,
): Promise<{ readonly n: number } | Provision> {
  const { store, journal, clock } = context;
  const operation = await journal.lastOperation(user, signal);
  if (operation === undefined) return { n: 0 };
  const { n } = operation;
  for (let waitMs: number = POLL.firstMs; ; waitMs = Math.min(POLL.mostMs, waitMs * 2)) {
    if ((await journal.entry(user, "out", n, signal)) !== undefined) return { n };
    if (Math.abs(clock.now().getTime() - Date.parse(operation.at)) >= FRESH_MS) break;
    await pauseFor(waitMs, user, signal);
    const row = await store.find(user, signal);
    if (row !== undefined) return { status: "found", row };
  }
  if (!making.mayMake) return NONE;
  const keys = await requireOwnAccount(context, NO_KEY_CAN_BE_MADE, signal);
  await abandonOperation(user, operation, keys, context, signal);
  if (signal.aborted && isTimeout(signal.reason)) {
    throw unavailable("the time was over before OpenRouter had said what became of an earlier attempt");
  }
  return LOOK_AGAIN;
}

/** Sync 4 and 5. */
async function newOperation(
  user: UserId,
  n: number,
  context: Context,
  making: CreationTask,
  tries: number,
  signal: AbortSignal,
): Promise<Provision | "crowded"> {
  const { journal, clock, log } = context;
  const keys = await requireOwnAccount(context, NO_KEY_CAN_BE_MADE, signal);
  // Whoever cannot seal makes no key.
  const sealer = await context.sealer("seal", signal);
  // Where there is no room, nothing is written. It saves two entries; the cap holds without it.
  if (making.isAuto && !(await hasRoomUnderCap(context, clock.now().toISOString(), 0, signal))) return "crowded";
  const deployment = await journal.deployment(signal);
  const operation = operationOf(n, making, clock.now().getTime());
  const stands = await appendEntry(user, operation, context, signal);
  if (stands.nonce !== operation.nonce) return LOOK_AGAIN;
  if (making.isAuto && !(await keepUnderCap(user, stands, context, signal))) return "crowded";
  log({ kind: "making", user });
  making.onStage("answer");
  const name = keyNameOf(deployment, user, operation);
  const account = await context.account.open();
  const creation = await keys.create({ ...operation, name }, deadlineIn(ATTEMPTS_END_MS, signal));
  if (creation.status !== "created") {
    if (creation.status === "ambiguous") making.onStage("search");
    return handleNoKey(user, operation, creation, keys, context, tries, signal);
  }

  making.onStage("storage");
  const { key, upstream } = creation;
  const { label, limit, limitReset, expiresAt } = operation;
  const upstreamHash = upstream.hash === key.hash ? null : upstream.hash;
  const row = {
    ...newRecord(user, key, sealer.seal(key, user), "auto-provisioned", clock.now().toISOString()),
    name: upstream.name,
    label,
    limit,
    limitReset,
    expiresAt,
    upstreamHash,
    generation: n,
    settled: false,
  };
  const accountBound = account.created(upstream);
  // A bug of it is thrown where it is waited for, if the key does not go elsewhere first.
  accountBound.catch(() => {});
  const placed = await placeKey(row, { deployment, upstreamId: upstream.hash, accountBound }, keys, context);
  await accountBound;
  if (placed === "lost") return isTimeout(signal.reason) ? winnerOf(user, context) : LOOK_AGAIN;
  log({ kind: "made", key });
  return { status: "made", row: placed, key, warnings: warningsOf(operation) };
}

/** The row that was there first, for one who has no time left to start over. */
async function winnerOf(user: UserId, { store }: Context): Promise<Provision> {
  const row = await store.find(user, AbortSignal.timeout(CLEAN_UP_MS));
  if (row === undefined) throw conflictError(user);
  return { status: "found", row };
}

/** Sync 5, without a key. */
async function handleNoKey(
  user: UserId,
  operation: Operation,
  creation: Exclude<CreateResult, { status: "created" }>,
  keys: UpstreamKeys,
  context: Context,
  tries: number,
  signal: AbortSignal,
): Promise<Provision> {
  if (creation.status === "ambiguous") {
    const isClean = await abandonOperation(user, operation, keys, context, AbortSignal.timeout(CLEAN_UP_MS));
    if (isClean) throw unanswered(`OpenRouter ${creation.detail}, so that no key was kept`);
    const message = `OpenRouter ${creation.detail}, and did not say whether a key was made; none was kept`;
    throw unanswered(message, `keyctl reconcile ${userFlag(user)} --fix   removes what may be left`);
  }
  await abandonUnmade(user, operation.n, context);
  // That the time is over is no reason to blame the store: it was OpenRouter that was waited for.
  if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason;
  if (creation.status === "rate-limited" && tries < MOST_OPERATIONS) {
    if (await keys.pause(creation, tries, deadlineIn(ATTEMPTS_END_MS, signal))) return LOOK_AGAIN;
  }
  if (creation.status === "refused" && (creation.httpStatus === 401 || creation.httpStatus === 403)) {
    throw managementKeyRefused(creation.detail);
  }
  const remedy = creation.status === "never-sent" ? creation.remedy : undefined;
  const details = withRemedy(remedy, RUN_AGAIN);
  throw new KeyctlError("PROVIDER_UNAVAILABLE", `OpenRouter ${creation.detail}`, details);
}

const RUN_AGAIN = "run the same command again";
/** Nothing was created, so there is nothing to look for. */
async function abandonUnmade(user: UserId, n: number, context: Context): Promise<void> {
  await appendEntry(user, { kind: "out", n, outcome: "abandoned" }, context, AbortSignal.timeout(CLEAN_UP_MS));
}

/** Of one call: OpenRouter has asked us to slow down. */
const MOST_OPERATIONS = 4;

/**
 * Decides against an operation that may have made a key, then looks for what it made and removes that. False where
 * something may be left, which the next reconcile finds.
 */
async function abandonOperation(
  user: UserId,
  operation: Operation,
  keys: UpstreamKeys,
  context: Context,
  signal: AbortSignal,
): Promise<boolean> {
  const { n, workspace } = operation;
  const outcome = await appendEntry(user, { kind: "out", n, outcome: "abandoned" }, context, signal);
  if (outcome.outcome === "saved") return true;
  const name = keyNameOf(await context.journal.deployment(signal), user, operation);
  const budget = () => deadlineIn(CLEAN_UP_MS, signal);
  const matches: string[] = [];
  let isClean = true;
  try {
    for await (const page of keys.list({ kind: "workspace", workspace }, budget)) {
      if (page.status === "unknown") isClean = false;
      else matches.push(...page.keys.filter((key) => key.name === name).map(({ hash }) => hash));
    }
    for (const hash of await unreferenced(matches, context, () => signal)) {
      const removal = await removeUpstream(hash, keys, budget());
      if (removal.status === "unknown") isClean = false;
    }
    return isClean;
  } catch (thrown) {
    if (isKeyctlError(thrown) && thrown.code === "MANAGEMENT_KEY_REFUSED") return false;
    throw thrown;
  }
}

function operationOf(n: number, { terms, isAuto }: CreationTask, now: number): Operation {
  const { label, limit, limitReset, expiresInMs, workspace } = terms;
  // To the second, as OpenRouter keeps it.
  const expiresAt = expiresInMs === null ? null : new Date(Math.floor((now + expiresInMs) / 1000) * 1000).toISOString();
  const nonce = randomBytes(8).toString("hex");
  return { kind: "op", n, nonce, label, limit, limitReset, expiresAt, workspace, deliberate: !isAuto };
}

/** The worries about a key with this limit. */
export function warningsOf({ limit }: Pick<WantedTerms, "limit">): readonly Warning[] {
  if (limit !== null) return [];
  return [{ code: "NO_LIMIT", message: "the new key has no limit: it can spend without bound" }];
}

/** Sync 4a, once the operation is recorded. One that finds no room, or cannot find out, is abandoned: false, or throws. */
async function keepUnderCap(
  user: UserId,
  { n, at }: Recorded<Operation>,
  context: Context,
  signal: AbortSignal,
): Promise<boolean> {
  let hasRoom = false;
  try {
    hasRoom = await hasRoomUnderCap(context, at, 1, signal);
    return hasRoom;
  } finally {
    if (!hasRoom) await abandonUnmade(user, n, context);
  }
}

/** While somebody else is at it. Throws PROVISION_PENDING when the time is over first. */
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

/** Of a POST: what came of it was decided against, and may yet be there. */
function unanswered(message: string, hint = RUN_AGAIN): KeyctlError {
  return new KeyctlError("PROVIDER_UNAVAILABLE", message, { hint, retryable: true, mayHaveHappened: true });
}
