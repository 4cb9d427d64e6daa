import type { Db, MongoClient, TopologyDescription } from "mongodb";
import { anySignal, isTimeout } from "../../core/async/deadline.ts";
import { memoizeAsync } from "../../core/async/memoize.ts";
import { raceSignal } from "../../core/async/race-signal.ts";
import { retryWhile } from "../../core/async/retry-while.ts";
import type { Asking } from "./cursor-batches.ts";
import { mongoError, mongoLate } from "./errors.ts";
import type { NamedStore } from "./errors.ts";
import { isConflictCode, isExpiredCode, serverCodeOf } from "./write-outcome.ts";

/** What every call to the server goes through: its limits, its errors, and the conflicts with other programs. */
export interface MongoCalls {
  readonly reading: Asking;
  /** Half of a call's time: in the other half it can be read whether a write has landed whose answer is lost. */
  readonly writing: Asking;
  /**
   * Whether nothing was written because of another program that writes the same rows at the same time. **Invariant:** only
   * what was answered so is sent again.
   */
  readonly isConflict: (code: unknown, signal: AbortSignal) => Promise<boolean>;
}

export interface CallLimits {
  /** How long calls are given as a rule, in milliseconds. */
  readonly timeoutMs: number;
  /** What is done before the first of them. */
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
    writing: (work, signal) => act(work, anySignal(signal, AbortSignal.timeout(Math.ceil(timeoutMs / 2))), true),
    isConflict,
  };
}

interface Topology {
  readonly description: TopologyDescription;
  close(): void;
}

/** What the driver keeps of its servers; undefined before it has begun to connect. */
export function topologyOf(client: MongoClient): Topology | undefined {
  // Not declared, because it may change: the version of the driver is fixed.
  return (client as unknown as { readonly topology?: Topology }).topology;
}
