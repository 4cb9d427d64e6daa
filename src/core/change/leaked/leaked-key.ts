import { anySignal, deadlineIn, throwIfCancelled, timeOf, toKeyctlError } from "../../async/deadline.ts";
import type { Deadline } from "../../async/deadline.ts";
import type { Context } from "../../context.ts";
import { isKeyctlError, KeyctlError } from "../../model/errors.ts";
import type { ErrorCode, ErrorDetails } from "../../model/errors.ts";
import { keyOfRow } from "../../model/history-event.ts";
import type { Timestamp } from "../../model/key-record.ts";
import { assertWhole, leakedFailed, MAY_STILL_WORK, nothingKnown, notDisabled } from "../../model/leaked-results.ts";
import type { LeakedKey, LeakedResult } from "../../model/leaked-results.ts";
import type { Warning } from "../../model/warning.ts";
import { doubtsAbout } from "../../protocol/confirm-deletion.ts";
import type { Deletion } from "../../protocol/confirm-deletion.ts";
import { RUN_AGAIN } from "../../protocol/creation-refusals.ts";
import { requireUpstreamKeys } from "../../protocol/management-access.ts";
import type { AccountKeys } from "../../protocol/management-access.ts";
import { withTrueGeneration } from "../../protocol/settle-row.ts";
import { settleStored } from "../../protocol/settle-stored.ts";
import { withRemedy } from "../../ports/openrouter.ts";
import { printable } from "../../text/printable.ts";
import { retireNow } from "../rotate/finish-due.ts";
import { assertDead, leakedKeyCheck, managementKeyLeaked } from "./leaked-check.ts";
import { describeOwner, ownerOf, usersWithoutKey } from "./leaked-owner.ts";
import type { CurrentOwner, EarlierOwner, LeakedOwner } from "./leaked-owner.ts";
import { placesWith } from "./leaked-places.ts";
import { usageOf } from "./leaked-usage.ts";
import type { LeakedUsage } from "./leaked-usage.ts";
import { emptyLimit, keyNotAsked } from "./leaked-warnings.ts";
import { rotateKey } from "../rotate/rotate-key.ts";

/**
 * **Order:** (1) find out whose key it is; (2) disable it at OpenRouter, the one change that comes before the row; (3) read
 * what it spent; (4) give its user a new key, by a rotation without a grace, or remove an earlier key of the user. Whatever
 * stops this, the same call goes on: a disabled key is no obstacle to it. From (2) on the user may have no working key, so a
 * caller who stops waiting stops nothing any more once the request is sent.
 */

export interface LeakedTask {
  /** Usage is counted from the day of this time on, in milliseconds since 1970. Null: as far back as OpenRouter tells. */
  readonly since: number | null;
  /** The rest is left to another call. */
  readonly disableOnly: boolean;
  /** The result of the call that has disabled the key; null if none has. */
  readonly after: LeakedResult | null;
}

const DISABLING_MS = 20_000;
const CONFIRMING_MS = 20_000;
const MAX_LOOKS = 4;
/** The key was replaced, purged or blocked while this was under way: whose it is now is found out again. */
const LOOK_AGAIN: ReadonlySet<ErrorCode> = new Set(["CONFLICT", "NO_KEY", "USER_BLOCKED", "FOREIGN_KEY"]);

/** Every expected failure is in the result, beside what was done before it. */
export async function containLeaked(
  leak: LeakedKey,
  task: LeakedTask,
  context: Context,
  signal: AbortSignal,
): Promise<LeakedResult> {
  if (context.managementKeyHashes().has(leak.hash)) return leakedFailed(leak.hash, managementKeyLeaked());
  const containment = new Containment(leak, task, context, signal);
  try {
    await containment.run();
    return containment.result;
  } catch (thrown) {
    return containment.failed(toKeyctlError(thrown, signal));
  }
}

class Containment {
  readonly #leak: LeakedKey;
  readonly #since: number | null;
  readonly #disableOnly: boolean;
  readonly #context: Context;
  /** Of the caller; from the moment when the key is to be disabled, only of the caller's time. */
  #signal: AbortSignal;
  #owner: LeakedOwner | null = null;
  /** What OpenRouter's entry of the key says; undefined while that is not known. */
  #state: "disabled" | "gone" | undefined;
  #disabledAt: Timestamp | null = null;
  #usage: LeakedUsage | null = null;
  /** The hash of the key that this call has put in use. */
  #newKey: string | null = null;
  #said: Pick<LeakedResult, "owner" | "action" | "replacedBy" | "link">;
  #warnings: readonly Warning[] = [];
  /** What is left to a person: users who have no working key now, and places that hold the leaked one. */
  #left: readonly Warning[] = [];

  constructor(leak: LeakedKey, { since, disableOnly, after }: LeakedTask, context: Context, signal: AbortSignal) {
    this.#leak = leak;
    this.#since = since;
    this.#disableOnly = disableOnly;
    this.#context = context;
    this.#signal = signal;
    const { owner, action, replacedBy, link } = after ?? nothingKnown(leak.hash);
    this.#said = { owner, action, replacedBy, link };
    this.#disabledAt = after?.disabledAt ?? null;
    if (this.#disabledAt !== null) this.#state = "disabled";
  }

  async run(): Promise<void> {
    const keys = await requireUpstreamKeys(this.#context, "no key can be disabled");
    for (let looks = 1; ; looks += 1) {
      const owner = await this.#look();
      const upstreamId = owner?.upstreamId ?? this.#leak.hash;
      if (looks === 1) await this.#disable(upstreamId, keys);
      if (this.#disableOnly) return;
      this.#usage ??= await this.#readUsage(upstreamId, keys);
      try {
        if ((await this.#act(owner, keys)) === "done") return;
      } catch (thrown) {
        if (!LOOK_AGAIN.has(toKeyctlError(thrown, this.#signal).code) || looks >= MAX_LOOKS) throw thrown;
      }
    }
  }

  get result(): LeakedResult {
    const { name = null, usageSince = null, usedFrom = null, lastUsedAt = null, warnings = [] } = this.#usage ?? {};
    return {
      ...nothingKnown(this.#leak.hash),
      ...this.#said,
      replacedBy: this.#newKey ?? this.#said.replacedBy,
      name,
      disabledAt: this.#disabledAt,
      usageSince,
      usedFrom,
      lastUsedAt,
      warnings: [...this.#left, ...warnings, ...this.#warnings],
    };
  }

  failed(error: KeyctlError): LeakedResult {
    const found = this.#owner;
    if (this.#state === undefined) {
      return { ...this.result, error: notDisabled(error, found?.upstreamId ?? this.#leak.hash) };
    }
    const { owner, action } = this.#said;
    const isStuck = owner?.current === true && action === "rotate" && this.#newKey === null;
    if (!isStuck) return { ...this.result, error };
    if (this.#state === "disabled" && found?.kind === "current") this.#noteDisabled(found);
    const { code, message, hint, retryable } = error;
    const whole = `the leaked key works no more, and user ${printable(owner.userId)} has no other one: ${message}`;
    const again = `${RUN_AGAIN}: it goes on from here`;
    const details = { hint: retryable ? again : (hint ?? again), retryable };
    return { ...this.result, error: new KeyctlError(code, whole, details) };
  }

  async #look(): Promise<LeakedOwner | null> {
    const context = this.#context;
    const newSignal = () => this.#signal;
    const find = async (user: LeakedOwner["userId"]) => {
      const row = await settleStored(user, { ...context, newSignal });
      return row && withTrueGeneration(row, context, this.#signal);
    };
    const owner = await ownerOf(this.#leak.hash, find, context, newSignal);
    this.#owner = owner;
    // A rotation of this call has made its key an earlier one.
    if (this.#newKey === null) this.#said = describeOwner(owner, this.#leak.hash);
    return owner;
  }

  /** Throws REVOKE_PENDING if it is not known whether the key still works. */
  async #disable(upstreamId: string, keys: AccountKeys): Promise<void> {
    throwIfCancelled(this.#deadline(DISABLING_MS));
    // From here on the key may be disabled.
    this.#signal = timeOf(this.#signal);
    if (this.#state === undefined) {
      this.#state = await this.#disableUpstream(upstreamId, keys);
      if (this.#state === "disabled") this.#disabledAt = this.#context.clock.now().toISOString();
    }
    const places = await placesWith(this.#leak, this.#context);
    this.#left = [...usersWithoutKey(this.#owner, this.#leak.hash, "now"), ...places];
  }

  async #readUsage(upstreamId: string, keys: AccountKeys): Promise<LeakedUsage | null> {
    if (this.#owner === null && this.#state !== "disabled") return null;
    const { clock, openRouter } = this.#context;
    const now = (await openRouter.open()).serverTime() ?? clock.now().getTime();
    return usageOf(upstreamId, { since: this.#since, now }, keys, this.#signal);
  }

  /**
   * The account is compared before the key is disabled. If that fails, the entry of the key decides: an outage that refuses
   * the key itself says nothing.
   */
  async #disableUpstream(upstreamId: string, keys: AccountKeys): Promise<"disabled" | "gone"> {
    const disabled = await this.#answered(() => keys.disable(upstreamId, this.#deadline(DISABLING_MS)));
    if (disabled.status === "done") return "disabled";
    if (disabled.status === "gone") return "gone";
    const entry = await this.#answered(() => keys.find(upstreamId, this.#deadline(CONFIRMING_MS)));
    if (entry.status === "found" && entry.key.disabled) return "disabled";
    if (entry.status === "gone") return "gone";
    throw mayStillWork(`OpenRouter ${disabled.detail}`, withRemedy(disabled.remedy, RUN_AGAIN));
  }

  async #answered<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    try {
      return await ask();
    } catch (thrown) {
      if (!isKeyctlError(thrown) || thrown.code !== "PROVIDER_UNAVAILABLE") throw thrown;
      throw mayStillWork(thrown.message, { hint: thrown.hint ?? RUN_AGAIN, retryable: thrown.retryable });
    }
  }

  #deadline(totalMs: number): Deadline {
    return deadlineIn(totalMs, anySignal(this.#signal));
  }

  /** `again`: whose key it is has to be found out again. */
  async #act(owner: LeakedOwner | null, keys: AccountKeys): Promise<"done" | "again"> {
    if (owner?.kind === "earlier") return this.#retire(owner, keys);
    if (owner?.isOurs === true) return this.#rotate(owner);
    this.#said = { ...this.#said, action: this.#state === "disabled" ? "disable" : "none" };
    const check = await leakedKeyCheck(this.#leak, owner?.row ?? null, this.#context, this.#signal);
    if (check === null) this.#warnings = [keyNotAsked()];
    if (this.#state === "disabled") {
      await this.#confirmDisabled(owner?.upstreamId ?? this.#leak.hash, check, keys);
      if (owner !== null) this.#noteDisabled(owner);
    } else {
      await assertDead(check, this.#deadline(CONFIRMING_MS));
      if (owner === null) assertWhole(this.#leak);
    }
    return "done";
  }

  /** Of a key that is not replaced. The history is one of users: it tells nothing of a key that is no user's. */
  #noteDisabled({ userId, row }: CurrentOwner): void {
    this.#context.history.note({ event: "revoked", userId, key: keyOfRow(row), isFinished: true });
  }

  async #rotate({ row, userId }: CurrentOwner): Promise<"done" | "again"> {
    // A key that keyctl created, and that a person has saved again, becomes an earlier key of the user.
    const isSavedAgain = row.generation === 0;
    const terms = { graceMs: 0, limit: "keep", includeDisabled: true, wait: false } as const;
    const run = { ...terms, foreign: isSavedAgain ? "keep" : "refuse", only: row, onReplaced: () => {} } as const;
    const rotated = await rotateKey(userId, run, this.#context, this.#signal);
    this.#newKey = rotated.keyHash;
    this.#warnings = [...rotated.warnings, ...emptyLimit(rotated)];
    if (rotated.error !== null) throw rotated.error;
    return isSavedAgain ? "again" : "done";
  }

  async #retire({ userId: user, n, keyHash, upstreamId }: EarlierOwner, keys: AccountKeys): Promise<"done"> {
    const checkKey = await leakedKeyCheck(this.#leak, null, this.#context, this.#signal);
    if (checkKey === null) this.#warnings = [...this.#warnings, keyNotAsked()];
    const removal = { ...this.#context, keys, newSignal: () => this.#signal };
    return retireNow({ user, n, keyHash, upstreamId, checkKey }, removal);
  }

  /** Throws REVOKE_PENDING while OpenRouter still accepts the key, as far as the key itself can be asked. */
  async #confirmDisabled(hash: string, checkKey: Deletion["checkKey"], keys: AccountKeys): Promise<void> {
    const deletion = { hash, isFresh: true, isDisabling: true, keys, checkKey };
    const [doubt = null] = await doubtsAbout([deletion], this.#deadline(CONFIRMING_MS));
    if (doubt !== null) throw mayStillWork(`OpenRouter ${doubt}`, { hint: RUN_AGAIN, retryable: true });
  }
}

function mayStillWork(why: string, details: Pick<ErrorDetails, "hint" | "retryable">): KeyctlError {
  return new KeyctlError("REVOKE_PENDING", `${MAY_STILL_WORK}: ${why}`, details);
}
