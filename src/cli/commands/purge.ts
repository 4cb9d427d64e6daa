import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { purgeFailed, purgePreviewFailed } from "../../core/model/results.ts";
import type { PurgePreview, PurgeResult } from "../../core/model/results.ts";
import { shellQuote, userFlag } from "../../core/text/shell-quote.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { oneByOne } from "../bulk/one-by-one.ts";
import { addDryRunOption } from "../bulk/dry-run.ts";
import type { DryRunFlags } from "../bulk/dry-run.ts";
import { forUsers } from "../bulk/user-command-runner.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { sayWarnings } from "../views/key-view.ts";
import type { Invocation, Session, Run, StoreName } from "../invocation.ts";
import { addSelection, countOf } from "../bulk/selection.ts";
import type { Many, Shard } from "../bulk/selection.ts";
import { ResultCounts } from "../bulk/result-counts.ts";
import { addBulkOptions } from "../bulk/user-command.ts";
import type { BulkFlags, UserCommand } from "../bulk/user-command.ts";

interface PurgeFlags extends BulkFlags, DryRunFlags {
  readonly yes?: true;
  readonly revoke?: true;
  readonly revokeForeign?: true;
  readonly confirm?: number;
}

/** No row has it. */
const NO_KEYS_HASH = "none";

export function declare(command: Command, run: Run): void {
  addDryRunOption(addBulkOptions(addSelection(command)))
    .option("-y, --yes", "do not ask")
    .option("--revoke", "also delete the key at OpenRouter, if keyctl made it")
    .option("--revoke-foreign", "also delete it at OpenRouter, whoever made it")
    .option("--confirm <count>", "with --all: the number of keys that are to be deleted", parseCount)
    .addHelpText(
      "after",
      `
Deletes from the database. Without --revoke, the key itself goes on working at
OpenRouter. With it, every key that keyctl created for the user is deleted
there, those included that were replaced or purged before and kept.

Examples:
  keyctl purge --user alice
  keyctl purge --user alice --revoke --dry-run
  keyctl purge --user alice --revoke --yes --json
  keyctl purge --all --store sqlite:keys.db --confirm 4`,
    )
    .action(run((invocation, flags: PurgeFlags) => purge(invocation, flags)));
}

async function purge(invocation: Invocation, flags: PurgeFlags): Promise<KeyctlError | null> {
  if (flags.confirm !== undefined && flags.all !== true) {
    throw new KeyctlError("USAGE", "--confirm goes with --all", {
      hint: "--yes   answers the question for named users",
    });
  }
  if (flags.dryRun === true) return forUsers(invocation, flags, previewCommand(invocation, flags));
  return forUsers(invocation, flags, purgeCommand(invocation, flags));
}

function purgeCommand(invocation: Invocation, flags: PurgeFlags): UserCommand<PurgeResult> {
  const { signal } = invocation;
  let limit = 0;
  const options = { signal, revoke: revocationOf(flags) };
  return {
    name: "purge",
    needs: { mayCreateStore: false, logs: "all" },
    async confirm(opened, selection) {
      limit = await confirmMany(invocation, flags, opened, selection);
    },
    async one(manager, user) {
      const preview = await manager.previewPurge(user, { ...options, looksAhead: false });
      if (preview.error !== null) return preview;
      // A key that waits in a file comes in, and what an earlier purge has left is finished. Who has said yes to all has
      // said it to a key that came in as well; everybody else was asked about none.
      if (preview.former === null) {
        if (preview.retained > 0) await confirmRetained(invocation, flags, preview);
        return manager.purge(user, { ...options, onlyHash: flags.yes === true ? undefined : NO_KEYS_HASH });
      }
      await confirmOne(invocation, flags, preview);
      return manager.purge(user, { ...options, onlyHash: preview.former.keyHash });
    },
    many: (manager, batches) => manager.purgeMany(oneByOne(upTo(limit, batches)), options),
    failed: purgeFailed,
    document: documentOf,
    show: (result) => show(invocation, result),
    hasChanged: ({ purged }) => purged,
    columns: [{ title: "USER", shrinks: true }, { title: "KEY" }, { title: "RESULT" }],
    cells: ({ userId, former, purged, error }) => [
      userId,
      former?.key ?? "-",
      error?.message ?? (purged ? "purged" : "had no key"),
    ],
    score: () =>
      new ResultCounts({
        endings: ["purged", "had_no_key"],
        endingOf: ({ purged }) => (purged ? "purged" : "had_no_key"),
      }),
  };
}

function documentOf(result: PurgeResult): object {
  const { userId, former, purged, revocation, revokedKeys, returnsFrom, warnings } = result;
  return {
    user_id: userId,
    key: former?.key ?? null,
    key_hash: former?.keyHash ?? null,
    origin: former?.origin ?? null,
    purged,
    revocation,
    revoked_keys: revokedKeys,
    returns_from: returnsFrom,
    warnings,
  };
}

function previewCommand({ terminal, signal }: Invocation, flags: PurgeFlags): UserCommand<PurgePreview> {
  const options = { signal, revoke: revocationOf(flags) };
  return {
    name: "purge",
    needs: { mayCreateStore: false, logs: "none" },
    onlyReads: true,
    one: (manager, user) => manager.previewPurge(user, options),
    many: (manager, batches) => manager.previewPurgeMany(oneByOne(batches), options),
    failed: purgePreviewFailed,
    document: (preview) => ({ ...documentOf(preview), dry_run: true, action: actionOf(preview) }),
    async show(preview) {
      sayWarnings(terminal, preview.warnings);
      if (preview.error !== null) return;
      await terminal.result(`purge would ${forecastOf(preview, flags)}`);
      sayReturns(terminal, preview);
    },
    columns: [{ title: "USER", shrinks: true }, { title: "KEY" }, { title: "PURGE WOULD" }],
    cells: (preview) => [
      preview.userId,
      preview.former?.key ?? "-",
      preview.error?.message ?? forecastOf(preview, flags),
    ],
    score: () =>
      new ResultCounts({
        endings: ["to_purge", "had_no_key"],
        endingOf: (preview) => (actionOf(preview) === "purge" ? "to_purge" : "had_no_key"),
        isDryRun: true,
      }),
  };
}

function actionOf({ former, retained, error }: PurgePreview): "purge" | "none" {
  return error === null && (former !== null || retained > 0) ? "purge" : "none";
}

/** Completes `purge would …`. */
function forecastOf(preview: PurgePreview, flags: PurgeFlags): string {
  const { former, retained } = preview;
  if (actionOf(preview) === "none") return "find no key";
  const kept =
    retained === 0 ? "" : `${keyCount(retained)} of this user that ${retained === 1 ? "is" : "are"} kept there`;
  if (former === null) return `delete at OpenRouter ${kept}`;
  const upstream = kept === "" ? " and at OpenRouter" : ` and at OpenRouter, with ${kept}`;
  return `delete ${former.key ?? "an unreadable key"} here${revocationOf(flags) === "no" ? "" : upstream}`;
}

async function confirmOne(invocation: Invocation, flags: PurgeFlags, preview: PurgePreview): Promise<void> {
  const { userId, former } = preview;
  const where = revocationOf(flags) === "no" ? "" : ` here and at OpenRouter, and there ${everyOtherKey(preview)}`;
  const which = `${former?.key ?? "unreadable"}, from ${printable(former?.origin ?? "")}`;
  await confirmed(invocation, flags, userId, `Delete the key of ${printable(userId)} (${which})${where}?`);
}

/** Of a user who has no key in the database. */
async function confirmRetained(invocation: Invocation, flags: PurgeFlags, preview: PurgePreview): Promise<void> {
  const { userId } = preview;
  const question = `${printable(userId)} has no key in the database. Delete at OpenRouter ${everyOtherKey(preview)}?`;
  await confirmed(invocation, flags, userId, question);
}

function everyOtherKey({ former, retained }: PurgePreview): string {
  const count = retained === 0 ? "" : ` (${retained} ${retained === 1 ? "is" : "are"} kept there)`;
  return `every ${former === null ? "" : "other "}key that keyctl created for this user${count}`;
}

async function confirmed(
  { terminal, prompt }: Invocation,
  flags: PurgeFlags,
  userId: string,
  question: string,
): Promise<void> {
  if (flags.yes === true) return;
  const hint = `keyctl purge ${userFlag(userId)}${revokeFlag(flags)} --yes`;
  if (!terminal.options.isInteractive)
    throw new KeyctlError("CONFIRMATION_NEEDED", "nobody can be asked; nothing was changed", { hint });
  const { confirm } = await prompt();
  if (!(await confirm(question))) throw new KeyctlError("CONFIRMATION_NEEDED", "nothing was changed", { hint });
}

/** How many keys may be deleted. */
async function confirmMany(
  invocation: Invocation,
  flags: PurgeFlags,
  opened: Session,
  selection: Many,
): Promise<number> {
  if (selection.kind === "all") return confirmAll(invocation, flags, opened, selection.shard);
  if (flags.yes === true) return Number.POSITIVE_INFINITY;
  const { terminal, prompt } = invocation;
  if (!terminal.options.isInteractive || (selection.kind === "file" && selection.path === "-")) {
    throw new KeyctlError("CONFIRMATION_NEEDED", "nobody can be asked; nothing was changed", { hint: "add --yes" });
  }
  const whose =
    selection.kind === "file" ? `all users in ${printable(selection.path)}` : `${selection.users.length} users`;
  const { confirm } = await prompt();
  if (!(await confirm(`Delete the keys of ${whose} from ${printable(opened.store.name)}${andUpstream(flags)}?`)))
    throw declined();
  return Number.POSITIVE_INFINITY;
}

/** Not one key more than was confirmed, whatever was saved meanwhile. */
async function* upTo(limit: number, batches: AsyncIterable<readonly UserId[]>): AsyncGenerator<readonly UserId[]> {
  let left = limit;
  for await (const batch of batches) {
    yield batch.slice(0, left);
    left -= batch.length;
    if (left >= 0) continue;
    throw new KeyctlError(
      "COUNT_CHANGED",
      `keys were saved meanwhile; no more than the confirmed ${limit} were deleted`,
      {
        hint: "keyctl list --count",
      },
    );
  }
}

/** Emptying a store takes more than a yes: the count, and off a terminal the store's name. */
async function confirmAll(
  invocation: Invocation,
  flags: PurgeFlags,
  { manager, store }: Session,
  shard: Shard | undefined,
): Promise<number> {
  const { terminal, signal, prompt } = invocation;
  if (!terminal.options.isInteractive && !["--store", "KEYCTL_STORE"].includes(store.from)) {
    throw new KeyctlError(
      "CONFIRMATION_NEEDED",
      "off a terminal, purge --all wants the store to be named by --store or KEYCTL_STORE",
      {
        hint: `keyctl purge --all${storeFlag(store)} --confirm <count>`,
      },
    );
  }
  const given = flags.confirm ?? (await askForCount(await countOf(manager, shard, signal)));
  const count = await countOf(manager, shard, signal);
  if (given === count) return count;
  throw new KeyctlError("COUNT_CHANGED", `${keyCount(count)} would be deleted, not ${given}; nothing was changed`, {
    hint: "keyctl list --count",
  });

  async function askForCount(keys: number): Promise<number> {
    if (keys === 0) return 0;
    const part = shard === undefined ? undefined : `${shard.index}/${shard.count}`;
    const hint = `keyctl purge --all${part === undefined ? "" : ` --shard ${part}`}${storeFlag(store)} --confirm ${keys}`;
    if (!terminal.options.isInteractive)
      throw new KeyctlError("CONFIRMATION_NEEDED", "purge --all wants the number of keys", { hint });
    const { text } = await prompt();
    const answer = await text(
      `This deletes ${keyCount(keys)}, ${part === undefined ? "all" : `the part ${part}`} of ${printable(store.name)}${andUpstream(flags)}. Type the number of keys to go on:`,
    );
    if (!/^\d+$/.test(answer.trim())) throw declined();
    return Number(answer.trim());
  }
}

/** What goes at OpenRouter with the keys of many users. */
function andUpstream(flags: PurgeFlags): string {
  return revocationOf(flags) === "no" ? "" : ", and at OpenRouter every key that keyctl created for these users";
}

function keyCount(count: number): string {
  return count === 1 ? "1 key" : `${count} keys`;
}

function declined(): KeyctlError {
  return new KeyctlError("CONFIRMATION_NEEDED", "nothing was changed", {
    hint: "add --yes to go on without a question",
  });
}

async function show({ terminal }: Invocation, result: PurgeResult): Promise<void> {
  const { userId, former, purged, revocation, revokedKeys, warnings, error } = result;
  sayWarnings(terminal, warnings);
  if (error !== null && !purged) return;
  if (!purged) {
    const earlier =
      revocation === "done"
        ? `; ${keyCount(revokedKeys)} of this user ${revokedKeys === 1 ? "was" : "were"} deleted at OpenRouter`
        : "";
    await terminal.result(`${printable(userId)} has no key in the database${earlier}`);
  } else {
    const more = revocation === "done" && revokedKeys > 1 ? `, with ${earlierKeys(revokedKeys - 1)} of this user` : "";
    await terminal.result(
      `${former?.key ?? "an unreadable key"} ${terminal.paint.bold("purged")} (${FATES[revocation ?? "kept"]}${more})`,
    );
  }
  sayReturns(terminal, result);
}

/** What the next sync does. */
function sayReturns(terminal: Terminal, { returnsFrom }: Pick<PurgeResult, "returnsFrom">): void {
  for (const name of returnsFrom) {
    if (name === "auto-provisioned") {
      terminal.note("the next sync of this user creates a new, paid key; --no-provision prevents that");
      continue;
    }
    const place = name === "environment" ? "OPENROUTER_API_KEY" : name;
    terminal.note(`${place} holds a key: the next sync of this user stores that one`);
  }
}

function earlierKeys(count: number): string {
  return count === 1 ? "1 earlier key" : `${count} earlier keys`;
}

const FATES: Readonly<Record<NonNullable<PurgeResult["revocation"]>, string>> = {
  done: "and deleted at OpenRouter",
  pending: "not confirmed at OpenRouter",
  kept: "it goes on working at OpenRouter",
  not_ours: "it goes on working at OpenRouter",
};

function revokeFlag({ revoke, revokeForeign }: PurgeFlags): string {
  if (revokeForeign === true) return " --revoke-foreign";
  return revoke === true ? " --revoke" : "";
}

function revocationOf({ revoke, revokeForeign }: PurgeFlags): "no" | "ours" | "foreign too" {
  if (revokeForeign === true) return "foreign too";
  return revoke === true ? "ours" : "no";
}

function parseCount(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new KeyctlError("USAGE", "--confirm takes the number of keys", { hint: "keyctl list --count" });
}

/** The name of a MongoDB store lacks the user and the password: its URI stays in the variable. */
function storeFlag({ name, from }: StoreName): string {
  if (name.startsWith("sqlite:")) return ` --store ${shellQuote(name)}`;
  return from === "--store" ? ` --store ${shellQuote(name)}` : "";
}
