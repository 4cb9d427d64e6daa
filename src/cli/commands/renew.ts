import type { Command } from "commander";
import type { RenewManyOptions } from "../../core/manager/manager-options.ts";
import { ROTATED_AT_ONCE } from "../../core/model/number-options.ts";
import { renewFailed, renewPreviewFailed } from "../../core/model/renew-results.ts";
import type { DeathCause, RenewPreview, RenewResult } from "../../core/model/renew-results.ts";
import { parseUserId } from "../../core/model/user-id.ts";
import { counted, plural } from "../../core/text/format.ts";
import { addConcurrencyOption } from "../bulk/concurrency.ts";
import { addDryRunOption, firstOfOne } from "../bulk/dry-run.ts";
import type { DryRunFlags } from "../bulk/dry-run.ts";
import { addMaxKeysOption, isForMany, permittedKeys, refuseMaxKeys } from "../bulk/key-permission.ts";
import type { KeyPermissionFlags } from "../bulk/key-permission.ts";
import { oneByOne } from "../bulk/one-by-one.ts";
import { isRefusedAsBlocked, ResultCounts } from "../bulk/result-counts.ts";
import type { LeftUsers } from "../bulk/result-counts.ts";
import { addSelection } from "../bulk/selection.ts";
import { forUsers } from "../bulk/user-command-runner.ts";
import { addBulkOptions } from "../bulk/user-command.ts";
import type { BulkFlags, UserCommand } from "../bulk/user-command.ts";
import type { Invocation, Run } from "../invocation.ts";
import { KEY_COLUMN, USER_COLUMN } from "../views/columns.ts";
import { sayWarnings, syncFields } from "../views/key-view.ts";
import { addReasonOption } from "./reason-option.ts";
import type { ReasonFlags } from "./reason-option.ts";
import { previousDocument } from "./rotate/rotate-view.ts";

interface RenewFlags extends BulkFlags, DryRunFlags, KeyPermissionFlags, ReasonFlags {
  readonly includeDisabled?: true;
  readonly concurrency?: number;
}

/** What OpenRouter said about the old key. */
const CAUSES: Readonly<Record<DeathCause, string>> = {
  deleted: "was deleted at OpenRouter",
  expired: "has expired",
  disabled: "is disabled at OpenRouter",
};

const LEFT_DEAD: LeftUsers = { how: "with a dead key", verb: "renew" };

export function configureCommand(command: Command, run: Run): void {
  const one = addReasonOption(addDryRunOption(addSelection(command))).option(
    "--include-disabled",
    "also replace a key that is disabled at OpenRouter",
  );
  addConcurrencyOption(addMaxKeysOption(addBulkOptions(one), "renew"), "keys renewed", ROTATED_AT_ONCE)
    .addHelpText(
      "after",
      `
Replaces a stored key that is dead: OpenRouter refuses it twice, and says with
the management key that it was deleted or has expired. A key that works stays.
A disabled key stays too, because somebody may have disabled it on purpose.
The new key has the terms and restrictions of the old one. What was left of a
deleted key's limit is not known, so the new key has the whole limit.

Needs a management key in OPENROUTER_PROVISIONING_KEY. For many users a terminal
is asked; elsewhere, more than 10 keys want --max-keys.

Examples:
  keyctl renew --user alice
  keyctl renew --user alice --include-disabled
  keyctl renew --all --dry-run
  keyctl renew --all --max-keys 100 --json`,
    )
    .action(
      run((invocation, flags: RenewFlags) =>
        flags.dryRun === true
          ? forUsers(invocation, flags, previewCommand(invocation, flags))
          : forUsers(invocation, flags, renewCommand(invocation, flags)),
      ),
    );
}

function renewCommand(invocation: Invocation, flags: RenewFlags): UserCommand<RenewResult> {
  const options = optionsOf(invocation, flags);
  let maxKeys = 0;
  return {
    name: "renew",
    needs: { mayCreateStore: false, logs: "all" },
    one(manager, user) {
      refuseFlagsOfMany(flags);
      return manager.renew(user, options);
    },
    async confirm({ manager }, selection, users) {
      maxKeys = await permittedKeys(invocation, flags, {
        selection,
        users,
        preview: (batches) => manager.previewRenewMany(batches, options),
        done: "renewed",
        statement: (count) =>
          `This replaces ${counted(count, "dead key")} at OpenRouter by ${plural(count, "a new one", "new ones")} with the same limit.`,
      });
      return undefined;
    },
    // One user at a time, so that the log lines of two users do not mix.
    many: (manager, batches, _selection, stop) =>
      flags.log === true
        ? manager.renewMany(oneByOne(batches, stop), { ...options, maxKeys, stop, concurrency: 1 })
        : manager.renewMany(batches, { ...options, maxKeys, stop, concurrency: flags.concurrency }),
    failed: renewFailed,
    document: (result) => ({
      ...syncFields(result),
      renewed: result.renewed,
      reason: result.reason,
      previous: result.previous === null ? null : previousDocument(result.previous),
      warnings: result.warnings,
    }),
    show: (result) => show(invocation, result),
    hasChanged: ({ renewed }) => renewed,
    columns: [USER_COLUMN, KEY_COLUMN, { title: "RESULT" }],
    cells: ({ userId, key, reason, error }) => [
      userId,
      key?.masked ?? "-",
      error?.message ?? (reason === null ? "works" : `renewed: the old key ${CAUSES[reason]}`),
    ],
    score: () =>
      new ResultCounts({
        endings: ["renewed", "still_valid"],
        endingOf: ({ renewed }) => (renewed ? "renewed" : "still_valid"),
        isBlocked: isRefusedAsBlocked,
        left: LEFT_DEAD,
        hint: hintOf,
      }),
  };
}

function previewCommand(invocation: Invocation, flags: RenewFlags): UserCommand<RenewPreview> {
  const { terminal } = invocation;
  const options = optionsOf(invocation, flags);
  return {
    name: "renew",
    needs: { mayCreateStore: false, logs: "none" },
    onlyReads: true,
    one(manager, user) {
      refuseFlagsOfMany(flags);
      return firstOfOne(parseUserId(user), (batches) => manager.previewRenewMany(batches, options));
    },
    many: (manager, batches) => manager.previewRenewMany(batches, { ...options, maxKeys: flags.maxKeys }),
    failed: renewPreviewFailed,
    document: ({ userId, current, action, reason, warnings }) => ({
      user_id: userId,
      key: current?.key ?? null,
      key_hash: current?.keyHash ?? null,
      source: current === null ? null : "database",
      origin: current?.origin ?? null,
      synced: false,
      shadowed: [],
      renewed: false,
      reason,
      previous: null,
      dry_run: true,
      action,
      warnings,
    }),
    async show({ current, reason, warnings, error }) {
      sayWarnings(terminal, warnings);
      if (error !== null) return;
      const key = current?.key ?? "the key";
      await terminal.result(
        reason === null ? `renew would keep ${key}: it works` : `renew would replace ${key}: it ${CAUSES[reason]}`,
      );
    },
    columns: [USER_COLUMN, KEY_COLUMN, { title: "RENEW WOULD" }],
    cells: ({ userId, current, reason, error }) => [
      userId,
      current?.key ?? "-",
      error?.message ?? (reason === null ? "keep it" : `replace it: it ${CAUSES[reason]}`),
    ],
    score: () =>
      new ResultCounts({
        endings: ["to_renew", "still_valid"],
        endingOf: ({ action }) => (action === "create" ? "to_renew" : "still_valid"),
        isBlocked: isRefusedAsBlocked,
        left: LEFT_DEAD,
        hint: hintOf,
        isDryRun: true,
      }),
  };
}

/** No hint of a run for many users replaces disabled keys. */
function hintOf(codes: ReadonlySet<string>): string | undefined {
  return codes.has("KEY_INVALID") ? "a disabled key stays, because it may be disabled on purpose" : undefined;
}

function optionsOf({ signal }: Invocation, { includeDisabled, reason }: RenewFlags): RenewManyOptions {
  return { signal, reason, includeDisabled: includeDisabled === true };
}

function refuseFlagsOfMany(flags: RenewFlags): void {
  refuseMaxKeys(flags);
  if (flags.concurrency === undefined) return;
  throw isForMany("--concurrency");
}

async function show({ terminal }: Invocation, result: RenewResult): Promise<void> {
  sayWarnings(terminal, result.warnings);
  if (result.error !== null) return;
  const { key, reason, previous } = result;
  if (reason === null) return terminal.result(`${key.masked} works, and stays`);
  const old = previous?.key === undefined || previous.key === null ? "the old key" : `old key ${previous.key}`;
  const pending = previous?.revocation === "pending" ? "; its removal is not confirmed" : "";
  await terminal.result(`${key.masked} ${terminal.paint.bold("renewed")}: ${old} ${CAUSES[reason]}${pending}`);
}
