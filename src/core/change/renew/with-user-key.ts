import { anySignal, timeLimit } from "../../async/deadline.ts";
import type { CallOptions } from "../../async/deadline.ts";
import type { ApiKey } from "../../model/api-key.ts";
import type { KeyctlError } from "../../model/errors.ts";
import type { Log } from "../../model/log-event.ts";
import type { RenewResult } from "../../model/renew-results.ts";
import type { SyncResult } from "../../model/results.ts";
import { isRefusedKey } from "./refusal.ts";
import type { CallOutcome } from "./refusal.ts";

/**
 * **Invariant:** a call is repeated once at most, with another key, and only after its first outcome was a refusal. Every other
 * outcome, and that of the repetition, is returned or thrown as it is.
 */

/** A program's own call, with the bare key. */
export type UserKeyCall<Value> = (
  key: string,
  context: { readonly signal: AbortSignal; readonly attempt: 1 | 2 },
) => Promise<Value>;

export interface WithUserKeyOptions<Value = unknown> extends Omit<CallOptions, "reason"> {
  /** Whether the outcome of the call says that OpenRouter refused the key. Default: `isRefusedKey`. */
  readonly isRefusal?: ((outcome: CallOutcome<Value>) => boolean | Promise<boolean>) | undefined;
  /** Whether a key that is confirmed to be dead is replaced. Default true. */
  readonly renew?: boolean | undefined;
  /** Whether a key that is disabled at OpenRouter is replaced: somebody may have disabled it on purpose. Default false. */
  readonly renewDisabled?: boolean | undefined;
  /** Whether a key may be created for a user without one. Default: the setting of the manager. */
  readonly autoProvision?: boolean | undefined;
}

export interface UserKeyResult<Value> {
  readonly value: Value;
  /** The key was renewed during this call, for it or for another call at the same time. */
  readonly autoRenewed: boolean;
  /** Why a refused key could not be renewed. Null also if it still works, or another key had taken its place. */
  readonly autoRenewalError: KeyctlError | null;
}

/** The fields of a result in a document of the system before keyctl. */
export function renewalFields({
  autoRenewed,
  autoRenewalError,
}: Pick<UserKeyResult<unknown>, "autoRenewed" | "autoRenewalError">) {
  return {
    auto_renewed: autoRenewed,
    auto_renewal_failed: autoRenewalError !== null,
    auto_renewal_error: autoRenewalError?.message ?? null,
  };
}

/** What a call needs of the manager. */
export interface UserKeyAccess {
  readonly find: (options: CallOptions) => Promise<SyncResult>;
  readonly renew: (refused: ApiKey, options: CallOptions) => Promise<RenewResult>;
  readonly log: Log;
}

/** Rejects with the KeyctlError of a key that cannot be found, and with what the call has thrown. */
export async function callWithKey<Value>(
  call: UserKeyCall<Value>,
  access: UserKeyAccess,
  { isRefusal = isRefusedKey, renew = true, timeoutMs, signal: ofCaller }: WithUserKeyOptions<Value>,
): Promise<UserKeyResult<Value>> {
  const limit = timeoutMs === undefined ? undefined : timeLimit({}, timeoutMs);
  // The caller's own signal still reaches an answer that is read after the call.
  const signal = ofCaller && limit ? anySignal(ofCaller, limit.signal) : (ofCaller ?? limit?.signal);
  try {
    const found = await access.find({ signal });
    if (found.error !== null) throw found.error;
    const callSignal = signal ?? new AbortController().signal;
    callSignal.throwIfAborted();
    const first = await outcomeOf(() => call(found.key.reveal(), { signal: callSignal, attempt: 1 }));
    if (!renew || !(await isRefusal(first))) return asIs(first, null);
    const renewal = await access.renew(found.key, { signal });
    if (renewal.error !== null) return asIs(first, renewal.error);
    const { key, renewed } = renewal;
    if (key.hash === found.key.hash) return asIs(first, null);
    if (renewed) access.log({ kind: "renewed-in-request" });
    discard(first);
    const value = await call(key.reveal(), { signal: callSignal, attempt: 2 });
    return { value, autoRenewed: renewed, autoRenewalError: null };
  } finally {
    limit?.clear();
  }
}

async function outcomeOf<Value>(work: () => Promise<Value>): Promise<CallOutcome<Value>> {
  try {
    return { value: await work() };
  } catch (thrown) {
    return { thrown };
  }
}

function asIs<Value>(outcome: CallOutcome<Value>, autoRenewalError: KeyctlError | null): UserKeyResult<Value> {
  if ("thrown" in outcome) throw outcome.thrown;
  return { value: outcome.value, autoRenewed: false, autoRenewalError };
}

/** The connection of an answer that nobody reads is free for the next request. */
function discard(outcome: CallOutcome): void {
  const answer = "value" in outcome ? outcome.value : outcome.thrown;
  if (answer instanceof Response && !answer.bodyUsed) void answer.body?.cancel().catch(() => {});
}
