import type { Command } from "commander";
import { printable } from "../../core/text/printable.ts";
import { KeyctlError } from "../../core/model/errors.ts";
import { provisionFailed } from "../../core/model/results.ts";
import type { ProvisionResult } from "../../core/model/results.ts";
import {
  isLabel,
  LONGEST_LABEL,
  parseLimit,
  LIMIT_RESETS,
  parseLimitReset,
  parseWorkspace,
} from "../../core/model/provision-terms.ts";
import type { ProvisionPreview } from "../../core/resolve/preview-provision.ts";
import { parseUserId } from "../../core/model/user-id.ts";
import { addDryRunOption, firstOfOne } from "../bulk/dry-run.ts";
import type { DryRunFlags } from "../bulk/dry-run.ts";
import { addMaxKeysOption, permittedKeys, refuseMaxKeys, statementOfCreation } from "../bulk/key-permission.ts";
import type { KeyPermissionFlags } from "../bulk/key-permission.ts";
import { flagFuture, lifetimeOf } from "../time-flags.ts";
import type { TimeFlag } from "../time-flags.ts";
import { addCreateOption } from "./create-option.ts";
import type { CreateFlags } from "./create-option.ts";
import { addReasonOption } from "./reason-option.ts";
import type { ReasonFlags } from "./reason-option.ts";
import { addConcurrencyOption } from "../bulk/concurrency.ts";
import { hashOfRecord, maskOfRecord } from "../../core/model/key-record.ts";
import { CREATED_AT_ONCE } from "../../core/model/number-options.ts";
import { oneByOne } from "../bulk/one-by-one.ts";
import { forUsers } from "../bulk/user-command-runner.ts";
import { sayWarnings, spendingOf } from "../views/key-view.ts";
import type { Invocation, Run } from "../invocation.ts";
import { addSelection } from "../bulk/selection.ts";
import { isRefusedAsBlocked, LEFT_WITHOUT_KEY, ResultCounts } from "../bulk/result-counts.ts";
import type { WantedTerms } from "../../core/model/provision-rules.ts";
import { addBulkOptions } from "../bulk/user-command.ts";
import type { BulkFlags, UserCommand } from "../bulk/user-command.ts";
import { KEY_COLUMN, USER_COLUMN } from "../views/columns.ts";

interface ProvisionFlags extends BulkFlags, CreateFlags, KeyPermissionFlags, DryRunFlags, ReasonFlags {
  readonly label?: string;
  /** In an object: commander treats null as a missing value. */
  readonly limit?: Pick<WantedTerms, "limit">;
  readonly limitReset?: WantedTerms["limitReset"];
  readonly expiresIn?: TimeFlag;
  readonly workspace?: string;
  readonly concurrency?: number;
}

export function configureCommand(command: Command, run: Run): void {
  const reset = command.createOption("--limit-reset <when>", "when the limit resets");
  const bulk = addMaxKeysOption(addCreateOption(addBulkOptions(addSelection(command))));
  addConcurrencyOption(addReasonOption(addDryRunOption(bulk)), "keys created", CREATED_AT_ONCE)
    .option("--label <text>", "a label for the key; stored only in the database", label)
    .option("--limit <usd|none>", "spending limit in USD", (text) => ({
      limit: checked(parseLimit(text), "--limit", text, "an amount such as 10 or 2.50, or none"),
    }))
    .addOption(
      reset
        .choices(LIMIT_RESETS)
        .argParser((text) => checked(parseLimitReset(text), "--limit-reset", text, LIMIT_RESETS.join(", "))),
    )
    .option("--expires-in <duration|date>", "lifetime of the key, or when it ends", flagFuture("--expires-in"))
    .option("--workspace <id>", "the workspace of the key", (text) =>
      checked(parseWorkspace(text), "--workspace", text, "an id as OpenRouter shows it"),
    )
    .addHelpText(
      "after",
      `
Makes a key at OpenRouter for a user who has none, whatever key.txt and
OPENROUTER_API_KEY hold. Needs a management key in OPENROUTER_PROVISIONING_KEY.
Each user gets one key, however often and wherever this is run at once. For
many users a terminal is asked; elsewhere, more than 10 keys want --max-keys.
Of many users, those who have a key keep it: an interrupted run is run again.

Examples:
  keyctl provision --user alice --limit 10 --limit-reset monthly
  keyctl provision --user alice --expires-in 90d --label "web shop"
  keyctl provision --users-file users.txt --limit 5 --dry-run
  keyctl provision --users-file users.txt --limit 5 --max-keys 300 --json`,
    )
    .action(
      run((invocation, flags: ProvisionFlags) =>
        flags.dryRun === true
          ? forUsers(invocation, flags, previewCommand(invocation, flags))
          : forUsers(invocation, flags, provisionCommand(invocation, flags)),
      ),
    );
}

function provisionCommand(invocation: Invocation, flags: ProvisionFlags): UserCommand<ProvisionResult> {
  const { signal } = invocation;
  const options = { signal, reason: flags.reason, terms: termsOf(flags) };
  let maxKeys = 0;
  return {
    name: "provision",
    needs: { mayCreateStore: true, create: flags.create === true, logs: "all" },
    one(manager, user) {
      refuseMaxKeys(flags);
      return manager.autoProvisionKey(user, options);
    },
    async confirm({ manager }, selection, users) {
      maxKeys = await permittedKeys(invocation, flags, {
        selection,
        users,
        preview: (batches) => manager.previewProvisionMany(batches, options),
        done: "created",
        statement: (count) => statementOfCreation(count, manager.provisionTerms(options.terms)),
      });
      return undefined;
    },
    // One user at a time, so that the log lines of two users do not mix.
    many: (manager, batches, _selection, stop) =>
      flags.log === true
        ? manager.provisionMany(oneByOne(batches, stop), { ...options, maxKeys, stop, concurrency: 1 })
        : manager.provisionMany(batches, { ...options, maxKeys, stop, concurrency: flags.concurrency }),
    failed: provisionFailed,
    document: ({ userId, created, row, warnings }) => ({
      user_id: userId,
      key: row === null ? null : maskOfRecord(row),
      key_hash: row === null ? null : hashOfRecord(row),
      source: row === null ? null : created ? "auto-provisioned" : "database",
      origin: row?.origin ?? null,
      generation: row?.generation ?? null,
      name: row?.name ?? null,
      label: row?.label ?? null,
      limit: row?.limit ?? null,
      limit_reset: row?.limitReset ?? null,
      expires_at: row?.expiresAt ?? null,
      previous: null,
      warnings,
    }),
    show: (result) => show(invocation, result),
    hasChanged: ({ key }) => key !== null,
    columns: [USER_COLUMN, KEY_COLUMN, { title: "RESULT" }],
    cells: ({ userId, created, row, error }) => [
      userId,
      (row === null ? null : maskOfRecord(row)) ?? "-",
      error?.message ?? (created ? "made" : "had a key"),
    ],
    score: () =>
      new ResultCounts({
        endings: ["made", "had_a_key"],
        endingOf: ({ created }) => (created ? "made" : "had_a_key"),
        isBlocked: isRefusedAsBlocked,
        left: LEFT_WITHOUT_KEY,
      }),
  };
}

function previewCommand(invocation: Invocation, flags: ProvisionFlags): UserCommand<ProvisionPreview> {
  const { terminal, signal } = invocation;
  const options = { signal, terms: termsOf(flags) };
  return {
    name: "provision",
    needs: { mayCreateStore: false, create: flags.create === true, logs: "none" },
    onlyReads: true,
    one(manager, user) {
      refuseMaxKeys(flags);
      const refusing = { ...options, refusesExisting: true };
      return firstOfOne(parseUserId(user), (batches) => manager.previewProvisionMany(batches, refusing));
    },
    many: (manager, batches) => manager.previewProvisionMany(batches, { ...options, maxKeys: flags.maxKeys }),
    failed: (user, error) => ({ ...provisionFailed(user, error), action: "none", terms: null }),
    document: ({ userId, action, terms, row, warnings }) => ({
      user_id: userId,
      key: row === null ? null : maskOfRecord(row),
      key_hash: row === null ? null : hashOfRecord(row),
      source: action === "create" ? "auto-provisioned" : row === null ? null : "database",
      origin: row?.origin ?? null,
      generation: null,
      name: null,
      label: terms?.label ?? null,
      limit: terms?.limit ?? null,
      limit_reset: terms?.limitReset ?? null,
      expires_at: expiryOf(terms),
      previous: null,
      dry_run: true,
      action,
      warnings,
    }),
    async show({ terms, warnings, error }) {
      sayWarnings(terminal, warnings);
      if (error !== null || terms === null) return;
      const expiresAt = expiryOf(terms);
      const ends = expiresAt === null ? "does not expire" : `expires ${expiresAt.slice(0, 10)}`;
      await terminal.result(`provision would create a key at OpenRouter (${spendingOf(terms)}, ${ends})`);
    },
    columns: [USER_COLUMN, { title: "PROVISION WOULD" }],
    cells: ({ userId, action, error }) => [
      userId,
      error?.message ?? (action === "create" ? "create a key" : "keep the key that is there"),
    ],
    score: () =>
      new ResultCounts({
        endings: ["to_create", "had_a_key"],
        endingOf: ({ action }) => (action === "create" ? "to_create" : "had_a_key"),
        isBlocked: isRefusedAsBlocked,
        left: LEFT_WITHOUT_KEY,
        isDryRun: true,
      }),
  };
}

/** The expiry of a key that was created now, rounded down to the second. */
function expiryOf(terms: WantedTerms | null): string | null {
  if (terms?.expiresAt !== undefined) return terms.expiresAt;
  if (terms?.expiresInMs == null) return null;
  return new Date(Math.floor((Date.now() + terms.expiresInMs) / 1000) * 1000).toISOString();
}

/** Only the terms that flags set; the environment sets the others. */
function termsOf({ label: text, limit, limitReset, expiresIn, workspace }: ProvisionFlags): Partial<WantedTerms> {
  return {
    ...(text === undefined ? {} : { label: text }),
    ...limit,
    ...(limitReset === undefined ? {} : { limitReset }),
    ...(expiresIn === undefined ? {} : lifetimeOf(expiresIn)),
    ...(workspace === undefined ? {} : { workspace }),
  };
}

async function show({ terminal }: Invocation, { key, row, warnings, error }: ProvisionResult): Promise<void> {
  sayWarnings(terminal, warnings);
  if (error !== null || key === null || row === null) return;
  const { expiresAt } = row;
  const ends = expiresAt === null ? "does not expire" : `expires ${expiresAt.slice(0, 10)}`;
  await terminal.result(`${key.masked} ${terminal.paint.bold("created")} (${spendingOf(row)}, ${ends})`);
}

function label(text: string): string {
  if (isLabel(text)) return text;
  throw new KeyctlError("USAGE", `--label takes up to ${LONGEST_LABEL} printable characters`, {
    hint: '--label "web shop"',
  });
}

function checked<Value>(value: Value | undefined, flag: string, text: string, expected: string): Value {
  if (value !== undefined) return value;
  throw new KeyctlError("USAGE", `invalid value '${printable(text)}' for ${flag}: expected ${expected}`, {
    hint: "keyctl provision --help",
  });
}
