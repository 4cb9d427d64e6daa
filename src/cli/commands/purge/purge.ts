import type { Command } from "commander";
import { KeyctlError } from "../../../core/model/errors.ts";
import { purgeFailed, purgePreviewFailed } from "../../../core/model/results.ts";
import type { PurgePreview, PurgeResult } from "../../../core/model/results.ts";
import type { UserIdBatches, UserId } from "../../../core/model/user-id.ts";
import type { Warning } from "../../../core/model/warning.ts";
import { oneByOne } from "../../bulk/one-by-one.ts";
import { addDryRunOption } from "../../bulk/dry-run.ts";
import { forUsers } from "../../bulk/user-command-runner.ts";
import { sayWarnings } from "../../views/key-view.ts";
import type { Invocation, Run } from "../../invocation.ts";
import { addSelection } from "../../bulk/selection.ts";
import type { Many } from "../../bulk/selection.ts";
import { ResultCounts } from "../../bulk/result-counts.ts";
import { addBulkOptions } from "../../bulk/user-command.ts";
import type { UserCommand } from "../../bulk/user-command.ts";
import { addReasonOption } from "../reason-option.ts";
import { confirmMany, confirmOne, confirmWithoutKey } from "./confirmation.ts";
import { blocksAnew, revocationWanted } from "./purge-flags.ts";
import type { PurgeFlags } from "./purge-flags.ts";
import { PurgeCounts } from "./purge-counts.ts";
import { noteNextSync, outcomeOf, remarkOnNextSync } from "./purge-texts.ts";
import { actionOf, forecastOf, purgeDocument, removesKeys, showPurge } from "./purge-view.ts";
import { KEY_COLUMN, USER_COLUMN } from "../../views/columns.ts";

/** A hash that no row has. */
const NO_KEYS_HASH = "none";

export function configureCommand(command: Command, run: Run): void {
  addReasonOption(addDryRunOption(addBulkOptions(addSelection(command))))
    .option("-y, --yes", "do not ask")
    .option("--revoke", "also delete the key at OpenRouter, if keyctl created it")
    .option("--revoke-foreign", "also delete it at OpenRouter, even if keyctl did not create it")
    .option("--block", "also block the user: no source brings a key back until keyctl unblock")
    .option("--confirm <count>", "with --all: the number of keys to delete", parseCount)
    .addHelpText(
      "after",
      `
Deletes from the database. Without --revoke, the key itself stays active at
OpenRouter. With it, every key that keyctl created for the user is deleted
there, those included that were replaced or purged before and kept.

A key returns if key.txt or the environment holds one, or if a sync creates one.
--block prevents that: no command stores a key for the user or hands one out
(exit 8, USER_BLOCKED), until keyctl unblock.

Examples:
  keyctl purge --user alice
  keyctl purge --user alice --revoke --dry-run
  keyctl purge --user alice --revoke --block --reason "left the company"
  keyctl purge --users-file leavers.txt --revoke --dry-run --json
  keyctl purge --all --store sqlite:keys.db --dry-run`,
    )
    .action(run((invocation, flags: PurgeFlags) => purge(invocation, flags)));
}

async function purge(invocation: Invocation, flags: PurgeFlags): Promise<KeyctlError | null> {
  if (flags.confirm !== undefined && flags.all !== true) {
    throw new KeyctlError("USAGE", "--confirm requires --all", {
      hint: "--yes   answers the question for the given users",
    });
  }
  if (flags.dryRun === true) return forUsers(invocation, flags, previewCommand(invocation, flags));
  return forUsers(invocation, flags, purgeCommand(invocation, flags));
}

function purgeCommand(invocation: Invocation, flags: PurgeFlags): UserCommand<PurgeResult> {
  const { signal } = invocation;
  let limit = 0;
  let selected: Many["kind"] | undefined;
  const score = new PurgeCounts();
  const options = { signal, revoke: revocationWanted(flags), block: flags.block, reason: flags.reason };
  const stillOnDisk: Warning[] = [];
  return {
    name: "purge",
    // A block is kept in the store, also of a user who has no key.
    needs: { mayCreateStore: flags.block === true, logs: "all" },
    async confirm(opened, selection, users) {
      selected = selection.kind;
      limit = await confirmMany(invocation, flags, {
        opened,
        selection,
        users,
        preview: (batches) => opened.manager.previewPurgeMany(batches, { ...options, looksAhead: false }),
      });
      return Number.isFinite(limit) ? limit : undefined;
    },
    async one(manager, user) {
      const preview = await manager.previewPurge(user, { ...options, looksAhead: false });
      if (preview.error !== null) return preview;
      // The purge imports a key from a spool file and finishes earlier purges. --yes also covers an imported key.
      // Without --yes, no question named such a key, so it must not be deleted.
      if (preview.former === null) {
        await confirmWithoutKey(invocation, flags, preview);
        return manager.purge(user, { ...options, onlyHash: flags.yes === true ? undefined : NO_KEYS_HASH });
      }
      await confirmOne(invocation, flags, preview);
      return manager.purge(user, { ...options, onlyHash: preview.former.keyHash });
    },
    many: (manager, batches, _selection, stop) =>
      manager.purgeMany(oneByOne(upTo(limit, batches), stop), {
        ...options,
        onStillOnDisk: (warning) => stillOnDisk.push(warning),
      }),
    runWarnings: () => stillOnDisk,
    failed: purgeFailed,
    document: purgeDocument,
    show: (result) => showPurge(invocation.terminal, result),
    hasChanged: ({ purged, blocked, wasBlocked }) => purged || (blocked && !wasBlocked),
    columns: [USER_COLUMN, KEY_COLUMN, { title: "RESULT" }],
    cells: (result) => [result.userId, result.former?.key ?? "-", outcomeOf(result)],
    score: () => score,
    closingHints: () => score.hints(invocation.commandAgain, selected),
  };
}

function previewCommand({ terminal, signal }: Invocation, flags: PurgeFlags): UserCommand<PurgePreview> {
  const options = { signal, revoke: revocationWanted(flags), block: flags.block };
  return {
    name: "purge",
    needs: { mayCreateStore: false, logs: "none" },
    onlyReads: true,
    one: (manager, user) => manager.previewPurge(user, options),
    many: (manager, batches, _selection, stop) => manager.previewPurgeMany(oneByOne(batches, stop), options),
    failed: purgePreviewFailed,
    document: (preview) => ({ ...purgeDocument(preview), dry_run: true, action: actionOf(preview, flags) }),
    async show(preview) {
      sayWarnings(terminal, preview.warnings);
      if (preview.error !== null) return;
      await terminal.result(`purge would ${forecastOf(preview, flags)}`);
      noteNextSync(terminal, preview.returnsFrom);
    },
    columns: [USER_COLUMN, KEY_COLUMN, { title: "PURGE WOULD" }],
    cells: (preview) => [
      preview.userId,
      preview.former?.key ?? "-",
      preview.error?.message ?? forecastOf(preview, flags),
    ],
    score: () =>
      new ResultCounts({
        endings: ["to_purge", ...(flags.block === true ? ["to_block"] : []), "had_no_key"],
        endingOf: (preview) =>
          removesKeys(preview) ? "to_purge" : blocksAnew(preview, flags) ? "to_block" : "had_no_key",
        isBlocked: ({ blocked }) => blocked,
        remark: ({ former, returnsFrom }) => (former === null ? undefined : remarkOnNextSync(returnsFrom)),
        isDryRun: true,
      }),
  };
}

/** At most as many users as keys were confirmed, even if keys were saved in the meantime. Throws COUNT_CHANGED. */
async function* upTo(limit: number, batches: UserIdBatches): AsyncGenerator<readonly UserId[]> {
  let left = limit;
  for await (const batch of batches) {
    yield batch.slice(0, left);
    left -= batch.length;
    if (left >= 0) continue;
    throw new KeyctlError(
      "COUNT_CHANGED",
      `keys were saved in the meantime; no more than the confirmed ${limit} were deleted`,
      {
        hint: "keyctl list --count",
      },
    );
  }
}

function parseCount(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new KeyctlError("USAGE", "--confirm takes the number of keys", { hint: "keyctl list --count" });
}
