import type { Db, MongoClient, TopologyDescription } from "mongodb";
import { isTimeout, withTimeLimit } from "../../core/async/deadline.ts";
import { memoizeAsync } from "../../core/async/memoize.ts";
import { raceSignal } from "../../core/async/race-signal.ts";
import { retryWhile } from "../../core/async/retry-while.ts";
import type { Asking } from "./cursor-batches.ts";
import { mongoError, mongoLate } from "./errors.ts";
import type { NamedStore } from "./errors.ts";
import { isConflictCode, isExpiredCode, serverCodeOf } from "./write-outcome.ts";

/** The path of every call to the server: its time limits, its errors and its conflicts with other programs. */
export interface MongoCalls {
  readonly reading: Asking;
  /** Takes at most half of a call's time: if the answer is lost, the other half serves to read back the write. */
  readonly writing: Asking;
  /**
   * Whether nothing was written because another program wrote the same rows at the same time. **Invariant:** a write is
   * resent only after such an answer.
   */
  readonly isConflict: (code: unknown, signal: AbortSignal) => Promise<boolean>;
}

export interface CallLimits {
  /** The usual time limit of a call, in milliseconds. */
  readonly timeoutMs: number;
  /** Runs before each call. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
}

export function mongoCalls(
  { client, database }: { readonly client: MongoClient; readonly database: Db },
  store: NamedStore,
  { timeoutMs, ready }: CallLimits,
): MongoCalls {
  const isFerretdb2 = memoizeAsync(async (signal) => {
    const build = await raceSignal(database.command({ buildInfo: 1 }), signal);
    return "ferretdb" in build;
  });
  const isConflict = async (code: unknown, signal: AbortSignal) =>
    isConflictCode(code) || (isExpiredCode(code) && (await isFerretdb2(signal).catch(() => false)));

  const act = async <Result>(work: () => Promise<Result>, signal: AbortSignal, isWrite: boolean): Promise<Result> => {
    let hasBegun = false;
    let conflict: unknown;
    const attempt = () => {
      hasBegun = true;
      conflict = undefined;
      return raceSignal(work(), signal);
    };
    const mayPass = async (thrown: unknown) => {
      const isPassing = await isConflict(serverCodeOf(thrown), signal);
      if (isPassing) conflict = thrown;
      return isPassing;
    };
    try {
      signal.throwIfAborted();
      await ready(signal);
      return await retryWhile(attempt, mayPass, signal);
    } catch (thrown) {
      if (!signal.aborted || thrown !== signal.reason) {
        throw mongoError(thrown, store, { isWrite: isWrite && hasBegun });
      }
      if (!isTimeout(thrown)) throw thrown;
      if (conflict !== undefined) throw mongoError(conflict, store, { isWrite: false });
      throw mongoLate(topologyOf(client)?.description, store, { isWrite: isWrite && hasBegun });
    }
  };
  return {
    reading: (work, signal) => act(work, signal, false),
    writing: (work, signal) =>
      withTimeLimit({ timeoutMs: Math.ceil(timeoutMs / 2), signal }, (limited) => act(work, limited, true)),
    isConflict,
  };
}

interface Topology {
  readonly description: TopologyDescription;
  close(): void;
}

/** The driver's view of its servers; undefined before it begins to connect. */
export function topologyOf(client: MongoClient): Topology | undefined {
  // The driver does not declare this property, because it may change; keyctl fixes the version of the driver.
  return (client as unknown as { readonly topology?: Topology }).topology;
}
