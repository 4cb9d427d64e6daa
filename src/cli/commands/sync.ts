import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import type { SyncPreview } from "../../core/resolve/preview-sync.ts";
import { syncFailed } from "../../core/model/results.ts";
import type { SyncResult } from "../../core/model/results.ts";
import { addDryRunOption } from "../bulk/dry-run.ts";
import type { DryRunFlags } from "../bulk/dry-run.ts";
import { addMaxKeysOption, permittedKeys, refuseMaxKeys, statementOfCreation } from "../bulk/key-permission.ts";
import type { KeyPermissionFlags } from "../bulk/key-permission.ts";
import { addConcurrencyOption } from "../bulk/concurrency.ts";
import { CREATED_AT_ONCE } from "../../core/model/number-options.ts";
import { addCreateOption } from "./create-option.ts";
import type { CreateFlags } from "./create-option.ts";
import { addReasonOption } from "./reason-option.ts";
import type { ReasonFlags } from "./reason-option.ts";
import { inGroup, MANY_USERS } from "../help-format.ts";
import { forUsers } from "../bulk/user-command-runner.ts";
import { reachOf, resolving } from "./resolve-keys.ts";
import type { Invocation, Run } from "../invocation.ts";
import { addSelection } from "../bulk/selection.ts";
import { isRefusedAsBlocked, LEFT_WITHOUT_KEY, ResultCounts } from "../bulk/result-counts.ts";
import { sayShadowed, sayWarnings, syncFields } from "../views/key-view.ts";
import { addBulkOptions } from "../bulk/user-command.ts";
import type { BulkFlags, UserCommand } from "../bulk/user-command.ts";
import { USER_COLUMN } from "../views/columns.ts";

interface SyncFlags extends BulkFlags, CreateFlags, KeyPermissionFlags, DryRunFlags, ReasonFlags {
  /** True with --provision, false with --no-provision. */
  readonly provision?: boolean;
  readonly concurrency?: number;
}

export function configureCommand(command: Command, run: Run): void {
  const bulk = addMaxKeysOption(addCreateOption(addBulkOptions(addSelection(command))));
  const all = addConcurrencyOption(addReasonOption(addDryRunOption(bulk)), "keys created", CREATED_AT_ONCE);
  // **Order:** alone, --no-provision would make true the default, and many users would get keys that nobody asked for.
  inGroup(all, MANY_USERS, (group) => group.option("--provision", "create a key for each user without one"))
    .option("--no-provision", "do not create a key")
    .addHelpText(
      "after",
      `
Looks in four places, in this order: the database, key.txt, OPENROUTER_API_KEY
and, where none of them has a key, OpenRouter, which creates one (auto-provision).
A key in the database wins; one from key.txt or the environment is saved to it.

Auto-provision needs a management key in OPENROUTER_PROVISIONING_KEY, and costs
what the new key spends; --no-provision or KEYCTL_AUTO_PROVISION=0 leaves it out.
Many users get new keys only with --provision: on a terminal after a question,
elsewhere up to 10, or as many as --max-keys allows.

Examples:
  keyctl sync --user 68e228e87f803a11a4e23045
  keyctl sync --users-file users.txt --json
  keyctl sync --users-file users.txt --provision --max-keys 300
  keyctl sync --user alice --user bob --key-file /run/secrets/key.txt`,
    )
    .action(run((invocation, flags: SyncFlags) => sync(invocation, flags)));
}

async function sync(invocation: Invocation, flags: SyncFlags): Promise<KeyctlError | null> {
  if (flags.maxKeys !== undefined && flags.provision !== true) {
    throw new KeyctlError("USAGE", "--max-keys requires --provision", { hint: "--provision --max-keys 10" });
  }
  if (flags.concurrency !== undefined && flags.provision !== true) {
    throw new KeyctlError("USAGE", "--concurrency requires --provision", { hint: "--provision --concurrency 20" });
  }
  if (flags.dryRun === true) return forUsers(invocation, flags, previewCommand(invocation, flags));
  return forUsers(invocation, flags, syncCommand(invocation, flags));
}

function syncCommand(invocation: Invocation, flags: SyncFlags): UserCommand<SyncResult> {
  const { signal } = invocation;
  const provision = flags.provision === true;
  let maxKeys = 0;
  let couldCreate = false;
  const shared = resolving({
    signal,
    autoProvision: flags.provision,
    provision,
    maxKeys: () => maxKeys,
    stored: false,
    log: flags.log === true,
    concurrency: flags.concurrency,
    reason: flags.reason,
  });
  return {
    name: "sync",
    needs: { mayCreateStore: true, create: flags.create === true, logs: "all" },
    ...shared,
    one(manager, user) {
      refuseMaxKeys(flags);
      return shared.one(manager, user);
    },
    async confirm({ manager }, selection, users) {
      couldCreate = flags.provision === undefined && manager.hasManagementKey();
      if (!provision) return undefined;
      const options = { signal, provision, reach: reachOf(selection) };
      maxKeys = await permittedKeys(invocation, flags, {
        selection,
        users,
        preview: (batches) => manager.previewSyncMany(batches, options),
        done: "created",
        statement: (count) => statementOfCreation(count, manager.provisionTerms()),
      });
      return undefined;
    },
    score: () =>
      new ResultCounts({
        ...shared.counting,
        isBlocked: isRefusedAsBlocked,
        left: provision ? LEFT_WITHOUT_KEY : undefined,
        hint: (codes) =>
          couldCreate && codes.has("NO_KEY") ? "--provision   creates keys for users who have none" : undefined,
      }),
    document: (result) => ({ ...syncFields(result), warnings: result.warnings }),
    show: (result) => show(invocation, result),
    hasChanged: ({ synced }) => synced,
  };
}

function previewCommand(invocation: Invocation, flags: SyncFlags): UserCommand<SyncPreview> {
  const { signal } = invocation;
  const provision = flags.provision === true;
  return {
    name: "sync",
    needs: { mayCreateStore: false, create: flags.create === true, logs: "none" },
    onlyReads: true,
    one(manager, user) {
      refuseMaxKeys(flags);
      return manager.previewSync(user, { signal, autoProvision: flags.provision });
    },
    many: (manager, batches, selection) =>
      manager.previewSyncMany(batches, { signal, provision, maxKeys: flags.maxKeys, reach: reachOf(selection) }),
    failed: (user, error) => ({ ...syncFailed(user, error), action: "none" }),
    document: ({ userId, key, keyHash, source, origin, shadowed, warnings, action }) => ({
      user_id: userId,
      key: key?.masked ?? null,
      key_hash: keyHash,
      source,
      origin,
      synced: false,
      shadowed,
      dry_run: true,
      action,
      warnings,
    }),
    async show({ warnings, error, ...preview }) {
      sayWarnings(invocation.terminal, warnings);
      if (error === null) await invocation.terminal.result(forecastOf(preview));
    },
    columns: [USER_COLUMN, { title: "SYNC WOULD" }],
    cells: ({ error, ...preview }) => [preview.userId, error?.message ?? forecastOf(preview)],
    score: () =>
      new ResultCounts({
        endings: ["to_create", "to_save", "unchanged"],
        endingOf: ({ action, source }) =>
          action === "create" ? "to_create" : source === "database" ? "unchanged" : "to_save",
        isBlocked: isRefusedAsBlocked,
        left: provision ? LEFT_WITHOUT_KEY : undefined,
        isDryRun: true,
      }),
  };
}

/** Completes `sync would …`. */
function forecastOf({ action, key, source }: Pick<SyncPreview, "action" | "key" | "source">): string {
  if (action === "create") return "create a key at OpenRouter";
  const which = key?.masked ?? "the key";
  return source === "database" ? `keep ${which} (source: database)` : `save ${which} (source: ${source})`;
}

async function show(invocation: Invocation, result: SyncResult): Promise<void> {
  const { terminal } = invocation;
  sayWarnings(terminal, result.warnings);
  if (result.error !== null) return;
  await terminal.result(`${result.key.masked} (source: ${terminal.paint.bold(result.source)})`);
  sayShadowed(invocation, result);
}
