import type { Command } from "commander";
import { syncFailed } from "../../core/results.ts";
import type { SyncResult } from "../../core/results.ts";
import { addBulkOptions, forUsers } from "../for-users.ts";
import type { BulkFlags, UserCommand } from "../for-users.ts";
import type { Invocation, Run } from "../runner.ts";
import { addSelection } from "../selection.ts";
import { keyColumns, keyDocument, sayShadowed, sayWarnings, sharedKeyWarning } from "../key-view.ts";
import { eachAlone, syncAlone } from "../each-alone.ts";

interface SyncFlags extends BulkFlags {
  /** False with --no-provision. */
  readonly provision: boolean;
}

export function declare(command: Command, run: Run): void {
  addBulkOptions(addSelection(command))
    .option("--no-provision", "do not make a key for a user who has none")
    .addHelpText(
      "after",
      `
Looks in this order: the database, key.txt, OPENROUTER_API_KEY. A key in the
database wins; one from key.txt or the environment is saved to the database.

Examples:
  keyctl sync --user 68e228e87f803a11a4e23045
  keyctl sync --users-file users.txt --json
  keyctl sync --user alice --user bob --key-file /run/secrets/key.txt`,
    )
    .action(run((invocation, flags: SyncFlags) => forUsers(invocation, flags, syncCommand(invocation, flags))));
}

function syncCommand(invocation: Invocation, flags: SyncFlags): UserCommand<SyncResult> {
  const { signal } = invocation;
  const autoProvision = flags.provision ? undefined : false;
  const sharing = new Map<string, number>();
  const counted = (results: readonly SyncResult[]) => {
    for (const { synced, keyHash } of results)
      if (synced && keyHash !== null) sharing.set(keyHash, (sharing.get(keyHash) ?? 0) + 1);
    return results;
  };
  return {
    name: "sync",
    needs: { mayCreateStore: true, logs: "all" },
    one: (manager, user) => manager.syncAndGetKey(user, { signal, autoProvision }),
    async *many(manager, batches, selection) {
      const results =
        flags.log === true
          ? eachAlone(batches, (user) => syncAlone(manager, user, selection, { signal, autoProvision }))
          : manager.syncMany(batches, { signal, reach: selection.kind === "all" ? "known" : "sources" });
      for await (const batch of results) yield counted(batch);
    },
    failed: syncFailed,
    document: ({ synced, ...result }) => {
      const { user_id, key, key_hash, source, origin, shadowed, warnings } = keyDocument(result);
      return { user_id, key, key_hash, source, origin, synced, shadowed, warnings };
    },
    show: (result) => show(invocation, result),
    columns: keyColumns,
    cells: ({ userId, key, source, error }) => [
      userId,
      key?.masked ?? "-",
      error === null ? (source ?? "-") : error.message,
    ],
    endings: ["synced", "from_database"],
    ending: ({ synced }) => (synced ? "synced" : "from_database"),
    runWarnings: () => sharedKeyWarning(Math.max(0, ...sharing.values())),
  };
}

async function show(invocation: Invocation, result: SyncResult): Promise<void> {
  const { terminal } = invocation;
  sayWarnings(terminal, result.warnings);
  const { key, source, error } = result;
  if (error !== null || key === null) return;
  await terminal.result(`${key.masked} (source: ${terminal.paint.bold(source ?? "")})`);
  sayShadowed(invocation, result);
}
