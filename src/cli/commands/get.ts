import type { Command } from "commander";
import { KeyctlError } from "../../core/errors.ts";
import type { SyncResult } from "../../core/results.ts";
import { printable } from "../../core/printable.ts";
import { userFlag } from "../../core/shell-quote.ts";
import { formatAgo } from "../duration.ts";
import { addBulkOptions, forUsers } from "../for-users.ts";
import type { BulkFlags, UserCommand } from "../for-users.ts";
import { sayWarnings } from "../key-view.ts";
import { resolving } from "../resolving.ts";
import type { Invocation, Run } from "../runner.ts";
import { addSelection, selectionOf } from "../selection.ts";

interface GetFlags extends BulkFlags {
  readonly stored?: true;
  readonly reveal?: true;
}

export function declare(command: Command, run: Run): void {
  addBulkOptions(addSelection(command))
    .option("--stored", "read the database only; nothing is saved")
    .option("--reveal", "print the bare key, and nothing else, on standard output")
    .addHelpText(
      "after",
      `
Looks where sync looks and saves what it finds, but never makes a key.

Examples:
  keyctl get --user alice
  keyctl get --user alice --stored --json
  OPENROUTER_API_KEY="$(keyctl get --user alice --reveal)" node app.js`,
    )
    .action(run((invocation, flags: GetFlags) => get(invocation, flags)));
}

async function get(invocation: Invocation, flags: GetFlags): Promise<KeyctlError | null> {
  if (
    flags.reveal === true &&
    selectionOf(flags, flags.output !== undefined).kind !== "one" &&
    !invocation.terminal.options.json
  ) {
    throw new KeyctlError("USAGE", "bare keys of many users are printed as JSON only, so that each names its user", {
      hint: "add --json",
    });
  }
  return forUsers(invocation, flags, getCommand(invocation, flags));
}

function getCommand(invocation: Invocation, flags: GetFlags): UserCommand<SyncResult> {
  const { signal } = invocation;
  const stored = flags.stored === true;
  const reveals = flags.reveal === true;
  return {
    name: "get",
    needs: { mayCreateStore: !stored, logs: "changes" },
    ...resolving({ signal, autoProvision: false, stored, log: flags.log === true }),
    document: (result) => document(result, reveals),
    reveals,
    show: (result) => (reveals ? showBare(invocation, result) : showCard(invocation, result)),
  };
}

function document(result: SyncResult, reveals: boolean): object {
  const { userId, key, keyHash, source, origin, lastCheck, shadowed, warnings } = result;
  return {
    user_id: userId,
    key: (reveals ? key?.reveal() : key?.masked) ?? null,
    revealed: reveals && key !== null,
    key_hash: keyHash,
    source,
    origin,
    valid: lastCheck === null ? null : lastCheck.verdict === "valid",
    verdict: lastCheck?.verdict ?? null,
    reason: lastCheck?.reason ?? null,
    checked_at: lastCheck?.at ?? null,
    shadowed,
    warnings,
  };
}

async function showBare({ terminal }: Invocation, { key, warnings }: SyncResult): Promise<void> {
  sayWarnings(terminal, warnings);
  if (key !== null) await terminal.reveal(key.reveal());
}

async function showCard({ terminal }: Invocation, result: SyncResult): Promise<void> {
  sayWarnings(terminal, result.warnings);
  const { userId, key, keyHash, lastCheck, error } = result;
  if (error !== null || key === null) return;
  const checked =
    lastCheck === null
      ? "never"
      : `${printable(lastCheck.reason ?? lastCheck.verdict)}, ${formatAgo(Date.now() - Date.parse(lastCheck.at))}`;
  const card = [
    ["User", printable(userId)],
    ["Key", key.masked],
    ["Source", sourceOf(result)],
    ["Checked", checked],
    ["Hash", keyHash ?? ""],
  ] as const;
  await terminal.result(card.map(([title, value]) => `${terminal.paint.dim(title.padEnd(10))} ${value}`).join("\n"));
  for (const name of result.shadowed)
    terminal.note(`${name === "environment" ? "OPENROUTER_API_KEY" : name} holds another key; the database wins`);
  terminal.hint(`keyctl get ${userFlag(userId)} --reveal   prints the bare key`);
}

function sourceOf({ source, origin, createdAt, synced }: SyncResult): string {
  const name = source === "environment" ? "OPENROUTER_API_KEY" : (source ?? "");
  if (synced) return `${name} (now in the database)`;
  return `${name} (saved from ${printable(origin ?? "")}, ${printable(createdAt?.slice(0, 10) ?? "")})`;
}
