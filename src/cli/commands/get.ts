import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import type { SyncedKey, SyncResult } from "../../core/model/results.ts";
import type { LimitOverTime } from "../../core/model/known-terms.ts";
import { printable } from "../../core/text/printable.ts";
import { userFlag } from "../../core/text/shell-quote.ts";
import type { Validation } from "../../core/validate/validate-key.ts";
import { publicExpiry } from "../../core/model/expiry.ts";
import { withoutChecked } from "../../core/model/stored-key-warnings.ts";
import { checkInWords, NOT_SAID, storedVerdict } from "../../core/model/verdict.ts";
import type { KeyTerms } from "../../core/model/verdict.ts";
import { addCreateOption } from "./create-option.ts";
import type { CreateFlags } from "./create-option.ts";
import { formatShortAgo } from "../format-duration.ts";
import { addReasonOption } from "./reason-option.ts";
import type { ReasonFlags } from "./reason-option.ts";
import { forUsers } from "../bulk/user-command-runner.ts";
import { sayWarnings } from "../views/key-view.ts";
import { resolving } from "./resolve-keys.ts";
import type { Invocation, Run } from "../invocation.ts";
import { addSelection, selectionOf } from "../bulk/selection.ts";
import { isRefusedAsBlocked, ResultCounts } from "../bulk/result-counts.ts";
import { describeExpiry, describeLimit, limitFields, verdictFields } from "../views/verdict-view.ts";
import type { Warning } from "../../core/model/warning.ts";
import { addBulkOptions } from "../bulk/user-command.ts";
import type { BulkFlags, UserCommand } from "../bulk/user-command.ts";

interface GetFlags extends BulkFlags, CreateFlags, ReasonFlags {
  readonly stored?: true;
  readonly reveal?: true;
  readonly validate?: true;
}

export function configureCommand(command: Command, run: Run): void {
  addReasonOption(addCreateOption(addBulkOptions(addSelection(command))))
    .option("--stored", "read only the database; save nothing")
    .option("--validate", "ask OpenRouter whether the key works; exit 5 or 6 unless it does (one user only)")
    .option("--reveal", "print the bare key, and nothing else, on standard output")
    .addHelpText(
      "after",
      `
Looks where sync looks and saves what it finds, but never makes a key.

Examples:
  keyctl get --user alice
  keyctl get --user alice --stored --json
  keyctl get --user alice --reveal

keyctl exec   runs a command with the key in its environment.`,
    )
    .action(run((invocation, flags: GetFlags) => get(invocation, flags)));
}

async function get(invocation: Invocation, flags: GetFlags): Promise<KeyctlError | null> {
  if (flags.stored === true && flags.create === true) {
    throw new KeyctlError("USAGE", "--stored only reads, and creates no store", {
      hint: "give --stored or --create, not both",
    });
  }
  const isMany = selectionOf(flags, { asMany: flags.output !== undefined }).kind !== "one";
  if (flags.validate === true && isMany) {
    throw new KeyctlError("USAGE", "--validate is for one user", { hint: "keyctl validate --all" });
  }
  if (flags.reveal === true && isMany && !invocation.terminal.options.json) {
    throw new KeyctlError("USAGE", "bare keys of many users are printed as JSON only, so that each names its user", {
      hint: "add --json",
    });
  }
  return forUsers(invocation, flags, getCommand(invocation, flags));
}

/** A key that was found and, with --validate, OpenRouter's verdict about it. */
interface Gotten {
  readonly userId: string;
  readonly found: SyncResult;
  readonly validation: Validation | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

function gotten(found: SyncResult, validation: Validation | null = null): Gotten {
  const isChecked = validation !== null && validation.checkedAt !== null;
  const warnings = [...(isChecked ? withoutChecked(found.warnings) : found.warnings), ...(validation?.warnings ?? [])];
  return { userId: found.userId, found, validation, warnings, error: found.error ?? validation?.error ?? null };
}

function getCommand(invocation: Invocation, flags: GetFlags): UserCommand<Gotten> {
  const { signal } = invocation;
  const stored = flags.stored === true;
  const reveals = flags.reveal === true;
  const notNoted: Warning[] = [];
  const shared = resolving({
    signal,
    autoProvision: false,
    provision: false,
    maxKeys: () => 0,
    stored,
    log: flags.log === true,
    concurrency: undefined,
    reason: flags.reason,
  });
  return {
    name: "get",
    needs: { mayCreateStore: !stored, create: stored ? undefined : flags.create === true, logs: "changes" },
    async one(manager, user) {
      const found = await shared.one(manager, user);
      if (flags.validate !== true || found.error !== null) return gotten(found);
      return gotten(found, await manager.validateFound(found, { signal }));
    },
    async *many(manager, ...words) {
      for await (const results of shared.many(manager, ...words)) {
        if (reveals) notNoted.push(...(await manager.noteRevealed(results, { signal, reason: flags.reason })));
        yield results.map((found) => gotten(found));
      }
    },
    failed: (user, error) => gotten(shared.failed(user, error)),
    columns: shared.columns,
    cells: ({ found }) => shared.cells(found),
    score: () =>
      new ResultCounts({
        ...shared.counting,
        endingOf: ({ found }) => shared.counting.endingOf(found),
        isBlocked: isRefusedAsBlocked,
      }),
    runWarnings: () => [...shared.runWarnings(), ...notNoted.slice(0, 1)],
    document: (result) => document(result, reveals),
    reveals,
    hasChanged: ({ found }) => found.synced,
    onlyReads: stored,
    show: (result) => (reveals ? showBare(invocation, result) : showCard(invocation, result)),
  };
}

function document({ found, validation, warnings, error }: Gotten, reveals: boolean): object {
  const { userId, key, keyHash, source, origin, lastCheck, shadowed } = found;
  const { limitRemaining, limitReset, expiresAt, ...limits } = termsOf(found, validation);
  const isRevealed = reveals && key !== null && error === null;
  const verdict = validation === null ? (lastCheck === null ? null : storedVerdict(lastCheck)) : validation.verdict;
  const { valid, verdict: name, reason } = verdictFields(verdict);
  return {
    user_id: userId,
    key: (isRevealed ? key.reveal() : key?.masked) ?? null,
    revealed: isRevealed,
    key_hash: keyHash,
    source,
    origin,
    valid,
    verdict: name,
    reason,
    checked_at: (validation === null ? lastCheck?.at : validation.checkedAt) ?? null,
    ...limitFields(limits),
    limit_remaining: limitRemaining ?? null,
    limit_reset: limitReset,
    expires_at: publicExpiry(expiresAt),
    shadowed,
    warnings,
  };
}

/** Prints nothing on stdout for a key that must not be used. */
async function showBare({ terminal }: Invocation, { found, warnings, error }: Gotten): Promise<void> {
  sayWarnings(terminal, warnings);
  if (error === null && found.key !== null) await terminal.reveal(found.key.reveal());
}

async function showCard({ terminal }: Invocation, { found, validation, warnings }: Gotten): Promise<void> {
  sayWarnings(terminal, warnings);
  if (found.error !== null) return;
  const { userId, key, keyHash } = found;
  const { limit, limitRemaining, limitReset, expiresAt } = termsOf(found, validation);
  const card = [
    ["User", printable(userId)],
    ["Key", key.masked],
    ["Source", sourceOf(found)],
    ["Limit", limit === undefined ? "unknown" : describeLimit({ limit, limitRemaining, limitReset })],
    ["Expires", expiresAt === undefined ? "unknown" : describeExpiry(expiresAt)],
    ["Last check:", validation === null ? lastCheckIn(found, terminal.columns !== undefined) : checkIn(validation)],
    ["Hash", keyHash],
  ] as const;
  await terminal.result(card.map(([title, value]) => `${terminal.paint.dim(title.padEnd(11))} ${value}`).join("\n"));
  for (const name of found.shadowed)
    terminal.note(`${name === "environment" ? "OPENROUTER_API_KEY" : name} holds another key; the database wins`);
  terminal.hint(`keyctl get ${userFlag(userId)} --reveal   prints the bare key`);
}

/** The terms from the answer that OpenRouter gave just now; else the stored ones. */
function termsOf(
  found: SyncResult,
  validation: Validation | null,
): Omit<KeyTerms, "blockedBy" | "lastUsedAt"> & LimitOverTime {
  const { limit, limitNow, limitRestoreAt, limitReset, expiresAt, lastCheck } = found;
  const verdict = validation?.verdict ?? null;
  const said = verdict === null || verdict.status === "unknown" ? NOT_SAID : verdict;
  const isSaid = said.limit !== undefined;
  return {
    limit: isSaid && limitRestoreAt === null ? said.limit : limit,
    limitNow: isSaid ? said.limit : limitNow,
    limitRestoreAt,
    limitRemaining: isSaid ? said.limitRemaining : lastCheck?.limitRemaining,
    limitReset: isSaid ? said.limitReset : limitReset,
    expiresAt: said.expiresAt === undefined ? expiresAt : said.expiresAt,
  };
}

/** Off a terminal, the time is RFC 3339. */
function lastCheckIn({ lastCheck }: SyncedKey, isTerminal: boolean): string {
  if (lastCheck === null) return "never";
  return `${printable(checkInWords(lastCheck))}, ${isTerminal ? formatShortAgo(Date.now() - Date.parse(lastCheck.at)) : lastCheck.at}`;
}

function checkIn({ verdict }: Validation): string {
  if (verdict === null) return "not now";
  const found =
    verdict.status === "unknown"
      ? verdict.reason.replaceAll("_", " ")
      : checkInWords({ verdict: verdict.status, reason: verdict.reason });
  return `${printable(found)}, just now`;
}

function sourceOf({ source, origin, createdAt, synced }: SyncResult): string {
  const name = source === "environment" ? "OPENROUTER_API_KEY" : (source ?? "");
  if (synced) return `${name} (now in the database)`;
  return `${name} (saved from ${printable(origin ?? "")}, ${printable(createdAt?.slice(0, 10) ?? "")})`;
}
