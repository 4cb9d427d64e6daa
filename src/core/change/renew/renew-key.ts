import type { Context } from "../../context.ts";
import type { ApiKey } from "../../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../../model/errors.ts";
import type { KeyRecord, Version } from "../../model/key-record.ts";
import type { Log } from "../../model/log-event.ts";
import type { DeathCause } from "../../model/renew-results.ts";
import type { RotatedPrevious, RotateTask } from "../../model/rotate-results.ts";
import type { UserId } from "../../model/user-id.ts";
import type { Warning } from "../../model/warning.ts";
import { retryOnConflict } from "../../protocol/contention.ts";
import { createKey, settleLastOperation } from "../../protocol/create-key.ts";
import type { CreatedKey, CreationCall } from "../../protocol/create-key.ts";
import { findKey, isStillHeld } from "../../protocol/find-key.ts";
import { waitForRoom } from "../../protocol/hourly-cap.ts";
import { requireOwnAccount } from "../../protocol/management-access.ts";
import { confirmGeneration, revokePredecessor, withTrueGeneration } from "../../protocol/settle-row.ts";
import type { Stage } from "../../protocol/shared-user-runs.ts";
import { importSpooled } from "../../protocol/spool-gate.ts";
import { openForUse } from "../../sealing/open-row.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";
import { completeRotation } from "../rotate/complete-rotation.ts";
import { confirmRefusal } from "./confirm-refusal.ts";
import { planRotation } from "../rotate/plan-rotation.ts";
import { holdSameKey } from "../revoke-key.ts";

/**
 * **Order:** (1) RECORD OUTCOME of a row that is not settled; a row with another key than the refused one ends the renewal
 * with that key; REVOKE PREDECESSOR; (2) the refusal is confirmed; (3) RECORD OPERATION, after the operation of another
 * command has ended and the row was read again, and CREATE KEY; (4) as a rotation without a grace: the new key is verified and
 * restricted, STORE ROW by compare-and-set, RECORD OUTCOME, REVOKE PREDECESSOR, DELETE UPSTREAM, SETTLE.
 * **Invariant:** a renewal replaces only the key that was refused. A lost race ends with the winner's key, and a new key that is
 * refused ends the renewal.
 */

export interface RenewTask {
  /** The hash of the key that was refused. */
  readonly refused: string;
  /** Whether a key that is disabled at OpenRouter is replaced. */
  readonly includeDisabled: boolean;
  /** False: a person asked for many renewals, so the hourly cap does not count this one. */
  readonly isAuto: boolean;
  /** Called when the row holds the refused key. An answer ends the renewal; null: the key works. */
  readonly known: () => { readonly error: KeyctlError | null } | undefined;
  /** Whether OpenRouter's word about the key is waited for. */
  readonly onConfirming: (isUnderWay: boolean) => void;
  /** Called before a key is created. Rejects where none may be created. */
  readonly beforeCreation: () => Promise<void>;
  readonly onStage: (stage: Stage) => void;
}

/** `held`: the row holds another key than the refused one, or the refused one works. `absent`: there is no row. */
export type Renewed =
  | {
      readonly status: "renewed";
      readonly reason: DeathCause;
      readonly row: KeyRecord;
      readonly key: ApiKey;
      readonly previous: RotatedPrevious | null;
      readonly warnings: readonly Warning[];
    }
  | { readonly status: "held"; readonly row: KeyRecord; readonly key: ApiKey }
  | { readonly status: "absent" };

interface DeadKey {
  readonly row: KeyRecord;
  readonly reason: DeathCause;
}

/** For the steps after a key was created, which a caller who stops waiting does not cut short, in milliseconds. */
const COMPLETION_MS = 120_000;

export async function renewKey(user: UserId, task: RenewTask, context: Context, signal: AbortSignal): Promise<Renewed> {
  await importSpooled(user, context, signal);
  const renewal = new KeyRenewal(user, task, context);
  try {
    return await retryOnConflict(user, (tries) => renewal.attempt(tries, signal));
  } catch (thrown) {
    const other = isKeyctlError(thrown) && !signal.aborted ? await renewal.otherKey(signal) : undefined;
    if (other === undefined) throw thrown;
    return other;
  }
}

class KeyRenewal {
  readonly #user: UserId;
  readonly #task: RenewTask;
  readonly #context: Context;
  #reason: DeathCause | undefined;

  constructor(user: UserId, task: RenewTask, context: Context) {
    this.#user = user;
    this.#task = task;
    this.#context = { ...context, log: renewalLog(context.log) };
  }

  /** Whatever has stopped a renewal: a key that another command has stored meanwhile is the answer. */
  async otherKey(signal: AbortSignal): Promise<Renewed | undefined> {
    try {
      const now = await this.#read(signal);
      return now === "conflict" || !("status" in now) || now.status === "absent" ? undefined : now;
    } catch {
      return undefined;
    }
  }

  /** The row, if it holds the refused key. Another key ends the renewal. */
  async #read(
    signal: AbortSignal,
  ): Promise<Renewed | { readonly found: KeyRecord; readonly key: ApiKey } | "conflict"> {
    const context = this.#context;
    const found = await findKey(context.store, this.#user, signal);
    if (found === undefined) return { status: "absent" };
    if (!(await confirmGeneration(found, context, signal))) return "conflict";
    const key = await openForUse(found, context, signal);
    return key.hash === this.#task.refused ? { found, key } : heldIn(found, key, context, signal);
  }

  async attempt(tries: number, signal: AbortSignal): Promise<Renewed | "conflict"> {
    const context = this.#context;
    const read = await this.#read(signal);
    if (read === "conflict" || "status" in read) return read;
    const { found, key } = read;
    const row = await withTrueGeneration(found, context, signal);
    const known = this.#reason === undefined ? this.#task.known() : undefined;
    if (known !== undefined) {
      if (known.error !== null) throw known.error;
      return heldIn(found, key, context, signal);
    }
    await revokePredecessor(row, context, signal);
    const reason = await this.#confirm(row, key, signal);
    // The confirmation takes its time.
    if (reason === "alive") return stillHeldIn(found, key, context, signal);
    return this.#replace({ row, reason }, tries, signal);
  }

  /** Once: a lost race changes nothing about the refused key. */
  async #confirm(row: KeyRecord, key: ApiKey, signal: AbortSignal): Promise<DeathCause | "alive"> {
    if (this.#reason !== undefined) return this.#reason;
    const { includeDisabled, onConfirming } = this.#task;
    onConfirming(true);
    const cause = await confirmRefusal(row, { key, includeDisabled }, this.#context, signal);
    onConfirming(false);
    if (cause === "alive") return cause;
    this.#context.log({ kind: "renewal-due", key });
    return (this.#reason = cause);
  }

  async #replace({ row, reason }: DeadKey, tries: number, signal: AbortSignal): Promise<Renewed | "conflict"> {
    const context = this.#context;
    const { includeDisabled, isAuto, onStage } = this.#task;
    const keys = await requireOwnAccount(context, "no key can be renewed", signal);
    await context.store.requireAtomicChanges(signal);
    await context.sealer("prepare", signal);
    const plan = await planRotation(
      row,
      { task: { ...AS_ROTATION, includeDisabled }, context, keys, isRenewal: true },
      signal,
    );
    const { terms, includeByokInLimit } = plan.newTerms;
    const creation = { mayMake: true, isAuto, terms, includeByokInLimit, tries, onStage };
    const created = await this.#create(row, { user: this.#user, task: creation, context, signal });
    if (created === "conflict") return "conflict";
    onStage("storage");
    try {
      const { result, row: placed } = await completeRotation(
        created,
        plan,
        context,
        AbortSignal.timeout(COMPLETION_MS),
      );
      const { previous, warnings } = result;
      // The old key is refused: where its removal is not confirmed, reconcile removes it.
      return { status: "renewed", reason, row: placed, key: created.creation.key, previous, warnings };
    } catch (thrown) {
      if (isKeyctlError(thrown) && thrown.code === "CONFLICT") return "conflict";
      throw thrown;
    }
  }

  /** RECORD OPERATION and CREATE KEY, unless the row was changed while another command's operation was under way. */
  async #create(row: KeyRecord, call: CreationCall): Promise<CreatedKey | "conflict"> {
    const { store, provisioning } = this.#context;
    const { signal } = call;
    const changed = async () => {
      const now = await findKey(store, this.#user, signal);
      return now !== undefined && holdSameKey(now, row) ? undefined : now;
    };
    await this.#task.beforeCreation();
    for (;;) {
      const last = await settleLastOperation(call, changed);
      if (typeof last === "string" || "row" in last) return "conflict";
      const now = await findKey(store, this.#user, signal);
      if (now === undefined || !isSameVersion(now, row)) return "conflict";
      const created = await createKey(last.n + 1, call);
      if (created === "look-again") return "conflict";
      if (created !== "crowded") return created;
      await waitForRoom(provisioning.maxPerHour(), signal);
    }
  }
}

/** The key that the row holds: as it was read if that shows it to be current, else as it is at the last look. */
async function heldIn(
  row: KeyRecord,
  key: ApiKey,
  context: Pick<Context, "store">,
  signal: AbortSignal,
): Promise<Renewed | "conflict"> {
  if (row.settled || row.generation === 0) return { status: "held", row, key };
  return stillHeldIn(row, key, context, signal);
}

async function stillHeldIn(
  row: KeyRecord,
  key: ApiKey,
  { store }: Pick<Context, "store">,
  signal: AbortSignal,
): Promise<Renewed | "conflict"> {
  return (await isStillHeld(row, store, signal)) ? { status: "held", row, key } : "conflict";
}

/** A foreign key is replaced, and left alone at OpenRouter. */
const AS_ROTATION: RotateTask = {
  graceMs: 0,
  limit: "keep",
  includeDisabled: false,
  foreign: "keep",
  wait: false,
};

function isSameVersion(one: Version, other: Version): boolean {
  return one.id === other.id && one.revision === other.revision && one.keyEncrypted === other.keyEncrypted;
}

/** The steps that a renewal shares with a rotation are logged in a renewal's words. */
function renewalLog(log: Log): Log {
  return (event) => {
    if (event.kind === "making") log({ kind: "renewing", user: event.user });
    else if (event.kind === "saved") log({ kind: "renewed", key: event.key });
    else if (event.kind !== "made") log(event);
  };
}

export function nothingToRenew(user: UserId): KeyctlError {
  return new KeyctlError("NO_KEY", `no key is stored for user ${printable(user)}, so none is renewed`, {
    hint: `keyctl sync ${userFlag(user)}`,
  });
}
