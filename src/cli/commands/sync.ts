import type { Command } from "commander";
import type { SyncResult } from "../../core/results.ts";
import { addCreateOption } from "../create-option.ts";
import type { CreateFlags } from "../create-option.ts";
import { addBulkOptions, forUsers } from "../for-users.ts";
import type { BulkFlags, UserCommand } from "../for-users.ts";
import { resolving } from "../resolving.ts";
import type { Invocation, Run } from "../runner.ts";
import { addSelection } from "../selection.ts";
import { Tally } from "../tally.ts";
import { sayShadowed, sayWarnings } from "../key-view.ts";

interface SyncFlags extends BulkFlags, CreateFlags {
  /** False with --no-provision. */
  readonly provision: boolean;
}

export function declare(command: Command, run: Run): void {
  addCreateOption(addBulkOptions(addSelection(command)))
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
  const shared = resolving({ signal, autoProvision, stored: false, log: flags.log === true });
  return {
    name: "sync",
    needs: { mayCreateStore: true, create: flags.create === true, logs: "all" },
    ...shared,
    score: () => new Tally(shared.endings, shared.ending),
    document: ({ userId, key, keyHash, source, origin, synced, shadowed, warnings }) => ({
      user_id: userId,
      key: key?.masked ?? null,
      key_hash: keyHash,
      source,
      origin,
      synced,
      shadowed,
      warnings,
    }),
    show: (result) => show(invocation, result),
    hasChanged: ({ synced }) => synced,
  };
}

async function show(invocation: Invocation, result: SyncResult): Promise<void> {
  const { terminal } = invocation;
  sayWarnings(terminal, result.warnings);
  if (result.error !== null) return;
  await terminal.result(`${result.key.masked} (source: ${terminal.paint.bold(result.source)})`);
  sayShadowed(invocation, result);
}
