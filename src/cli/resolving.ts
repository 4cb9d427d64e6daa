import type { KeyManager, SyncOptions } from "../core/manager.ts";
import type { Warning } from "../core/ports.ts";
import { syncFailed } from "../core/results.ts";
import type { SyncResult } from "../core/results.ts";
import type { UserId } from "../core/user-id.ts";
import { eachAlone } from "./each-alone.ts";
import type { UserCommand } from "./for-users.ts";
import type { Many } from "./selection.ts";

export interface Resolving {
  readonly signal: AbortSignal;
  readonly autoProvision: boolean | undefined;
  /** Read the database only. */
  readonly stored: boolean;
  /** With the log lines of each user, and so one by one. */
  readonly log: boolean;
}

type Shared = "one" | "many" | "failed" | "columns" | "cells" | "runWarnings";

type ResolvingCommand = Required<Pick<UserCommand<SyncResult>, Shared>> & {
  /** What the summary counts: a name for each way to end well, and which of them a result is. */
  readonly endings: readonly string[];
  readonly ending: (result: SyncResult) => string;
};

/** What sync and get do alike: they resolve keys, and show which and from where. */
export function resolving({ signal, autoProvision, stored, log }: Resolving): ResolvingCommand {
  const options = { signal, autoProvision };
  const given = new Map<string, number>();
  return {
    one: (manager, user) => (stored ? manager.getStoredKey(user, { signal }) : manager.syncAndGetKey(user, options)),
    async *many(manager, batches, selection) {
      const reach = stored ? "stored" : selection.kind === "all" ? "known" : "sources";
      const results =
        log && !stored
          ? eachAlone(batches, (user) => resolveAlone(manager, user, selection, options))
          : manager.syncMany(batches, { signal, reach, autoProvision });
      for await (const batch of results) {
        for (const { synced, keyHash } of batch) if (synced) given.set(keyHash, (given.get(keyHash) ?? 0) + 1);
        yield batch;
      }
    },
    failed: syncFailed,
    columns: [{ title: "USER", shrinks: true }, { title: "KEY" }, { title: "SOURCE" }],
    cells: ({ userId, key, source, error }) => [userId, key?.masked ?? "-", error === null ? source : error.message],
    endings: ["synced", "from_database"],
    ending: ({ synced }) => (synced ? "synced" : "from_database"),
    runWarnings: () => sharedKeyWarning(Math.max(0, ...given.values())),
  };
}

/** A user of `--all` who was purged meanwhile does not get a key back. */
async function resolveAlone(
  manager: KeyManager,
  user: UserId,
  selection: Many,
  options: SyncOptions,
): Promise<SyncResult> {
  if (selection.kind !== "all") return manager.syncAndGetKey(user, options);
  const stored = await manager.getStoredKey(user, options);
  return stored.error === null ? manager.syncAndGetKey(user, options) : stored;
}

/** One key for many users cannot be told apart at OpenRouter: not its limit, not its use. */
function sharedKeyWarning(users: number): readonly Warning[] {
  return users < 2 ? [] : [{ code: "KEY_SHARED", message: `${users} users were given the same key` }];
}
