import type { KeyManager } from "../../core/manager/manager.ts";
import { syncFailed } from "../../core/model/results.ts";
import type { SyncResult } from "../../core/model/results.ts";
import { oneByOne } from "../bulk/one-by-one.ts";
import type { Many } from "../bulk/selection.ts";
import type { ResultCountsOptions } from "../bulk/result-counts.ts";
import type { BulkOptions } from "../../core/manager/manager-options.ts";
import type { Warning } from "../../core/model/warning.ts";
import type { UserCommand } from "../bulk/user-command.ts";
import { KEY_COLUMN, USER_COLUMN } from "../views/columns.ts";

export interface ResolveKeysOptions {
  readonly signal: AbortSignal;
  /** Whether a key may be created for one user; undefined: the environment decides. */
  readonly autoProvision: boolean | undefined;
  /** Whether keys are created for many users. */
  readonly provision: boolean;
  /** The maximum number of keys created for many users. */
  readonly maxKeys: () => number;
  /** Reads the database only. */
  readonly stored: boolean;
  /** Writes the log lines of each user, so users are processed one by one. */
  readonly log: boolean;
  /** How many keys are created at once; undefined: the usual number. */
  readonly concurrency: number | undefined;
  /** Why keys are saved or created, for the history. */
  readonly reason: string | undefined;
}

type Shared = "one" | "many" | "failed" | "columns" | "cells" | "runWarnings";

type ResolvingCommand = Required<Pick<UserCommand<SyncResult>, Shared>> & {
  readonly counting: Pick<ResultCountsOptions<SyncResult>, "endings" | "endingOf">;
};

/** The common part of sync and get: resolves keys, and shows each key and its source. */
export function resolving(options: ResolveKeysOptions): ResolvingCommand {
  const { signal, reason, autoProvision, provision, maxKeys, stored, log, concurrency } = options;
  const given = new Map<string, number>();
  return {
    one: (manager, user) =>
      stored ? manager.getStoredKey(user, { signal }) : manager.syncAndGetKey(user, { signal, reason, autoProvision }),
    async *many(manager: KeyManager, batches, selection: Many, stop) {
      const reach = stored ? "stored" : reachOf(selection);
      const permission = { provision, maxKeys: maxKeys(), concurrency };
      const bulk: BulkOptions = { signal, reason, reach, ...permission, logged: log, stop };
      for await (const batch of manager.syncMany(log ? oneByOne(batches, stop) : batches, bulk)) {
        for (const { synced, source, keyHash } of batch) {
          // Every created key is another one, and a million of them would fill the memory.
          if (synced && source !== "auto-provisioned") given.set(keyHash, (given.get(keyHash) ?? 0) + 1);
        }
        yield batch;
      }
    },
    failed: syncFailed,
    columns: [USER_COLUMN, KEY_COLUMN, { title: "SOURCE" }],
    cells: ({ userId, key, source, error }) => [userId, key?.masked ?? "-", error === null ? source : error.message],
    counting: {
      endings: ["synced", "from_database"],
      endingOf: ({ synced }) => (synced ? "synced" : "from_database"),
    },
    runWarnings: () => sharedKeyWarning(Math.max(0, ...given.values())),
  };
}

/** `--all` selects users from the database, so there is nothing to save. */
export function reachOf(selection: Many): "known" | "sources" {
  return selection.kind === "all" ? "known" : "sources";
}

/** OpenRouter has one limit and one usage for each key, so users who share a key cannot be told apart there. */
function sharedKeyWarning(users: number): readonly Warning[] {
  return users < 2 ? [] : [{ code: "KEY_SHARED", message: `${users} users were given the same key` }];
}
