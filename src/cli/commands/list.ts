import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { isOfNoUser, maskOfRecord, noUserError, storedValue } from "../../core/model/key-record.ts";
import type { KeyRecord } from "../../core/model/key-record.ts";
import { printable } from "../../core/text/printable.ts";
import { userFlag } from "../../core/text/shell-quote.ts";
import { flagDuration, formatSpan } from "../format-duration.ts";
import { counted, formatNumber } from "../../core/text/format.ts";
import { errorDocument, isBrokenPipe } from "../invocation.ts";
import type { Invocation, Session, Run } from "../invocation.ts";
import { storeLabel } from "../views/store-label.ts";
import { TablePrinter } from "../terminal/table-printer.ts";
import { yieldToEventLoop } from "../../core/async/sleep.ts";
import { batched } from "../../core/async/batched.ts";

interface ListFlags {
  readonly source?: string;
  readonly verdict?: string;
  readonly hash?: string;
  /** In milliseconds. */
  readonly expiresWithin?: number;
  readonly count?: true;
}

const BATCH = 100;
const VERDICTS = ["valid", "invalid", "never"];
const COLUMNS = [
  { title: "USER", shrinks: true },
  { title: "KEY" },
  { title: "ORIGIN" },
  { title: "AGE" },
  { title: "CHECKED" },
];
const SIGNS = { valid: "✓", invalid: "✗" } as const;

export function configureCommand(command: Command, run: Run): void {
  const verdict = command.createOption("--verdict <verdict>", "only keys whose last check said so");
  command
    .option("--source <text>", "only keys that came from here (key.txt, environment, manual, …)")
    .addOption(verdict.choices(VERDICTS).argParser(parseVerdict))
    .option("--hash <sha256>", "only the key with this hash", parseHash)
    .option(
      "--expires-within <duration>",
      "only keys that expire within this time, or have expired",
      flagDuration("--expires-within"),
    )
    .option("--count", "print the number only")
    .addHelpText(
      "after",
      `
In the order of the user ids. Keys are masked and not opened: no master key is
needed.

Examples:
  keyctl list
  keyctl list --source key.txt --count
  keyctl list --json | jq -r 'select(.verdict == "invalid") | .user_id'`,
    )
    .action(run((invocation, flags: ListFlags) => list(invocation, flags)));
}

async function list(invocation: Invocation, flags: ListFlags): Promise<KeyctlError | null> {
  const totals = { shown: 0, clear: 0, unreadable: 0 };
  const opened = await printRows(invocation, flags, totals);
  if (opened === "reader gone") return null;
  const { terminal } = invocation;
  const error = failureOf(totals);
  if (flags.count === true) await printCount(invocation, totals.shown, error);
  else if (!terminal.options.json) sayTotals(invocation, opened, totals);
  return error;
}

function failureOf({ shown, unreadable: count }: { shown: number; unreadable: number }): KeyctlError | null {
  if (count === 0) return null;
  return new KeyctlError("SOME_FAILED", `${count} of ${shown} rows hold no readable key`, {
    hint: "keyctl save --user <id> --replace",
  });
}

async function printRows(
  invocation: Invocation,
  flags: ListFlags,
  totals: { shown: number; clear: number; unreadable: number },
): Promise<Session | "reader gone"> {
  const { terminal, withManager, signal, receivedSignal } = invocation;
  const table = new TablePrinter(terminal, COLUMNS);
  const print = async (rows: readonly KeyRecord[]) => {
    if (flags.count === true) return;
    if (terminal.options.json) return terminal.documents(rows.map((row) => document(row, receivedSignal())));
    await table.print(rows.map(cells));
  };
  try {
    return await withManager({ mayCreateStore: false, logs: "none" }, async (opened) => {
      for await (const rows of batched(wanted(opened.manager.rows({ signal }, flags.hash), flags), BATCH)) {
        for (const row of rows) {
          const { kind } = storedValue(row.keyEncrypted);
          totals.shown += 1;
          if (kind === "clear") totals.clear += 1;
          if (kind === "unreadable") totals.unreadable += 1;
        }
        await print(rows);
        await yieldToEventLoop();
        signal.throwIfAborted();
      }
      await table.end();
      return opened;
    });
  } catch (thrown) {
    if (isBrokenPipe(thrown)) return "reader gone";
    throw thrown;
  }
}

async function* wanted(rows: AsyncIterable<KeyRecord>, flags: ListFlags): AsyncGenerator<KeyRecord> {
  for await (const row of rows) if (matches(row, flags)) yield row;
}

function matches({ origin, lastCheck, expiresAt }: KeyRecord, { source, verdict, expiresWithin }: ListFlags): boolean {
  return (
    (source === undefined || source === origin) &&
    (verdict === undefined || verdict === (lastCheck?.verdict ?? "never")) &&
    (expiresWithin === undefined || (expiresAt !== null && Date.parse(expiresAt) <= Date.now() + expiresWithin))
  );
}

async function printCount(
  { terminal, receivedSignal }: Invocation,
  count: number,
  error: KeyctlError | null,
): Promise<void> {
  if (terminal.options.json) await terminal.document({ count, error: errorDocument(error, receivedSignal()) });
  else await terminal.result(String(count));
}

function sayTotals(
  { terminal }: Invocation,
  { store, storeExists }: Session,
  totals: { shown: number; clear: number },
): void {
  const place = storeLabel(store);
  if (!storeExists) {
    terminal.footer(`there is no store yet at ${place}`);
    terminal.hint("keyctl sync --help");
    return;
  }
  terminal.footer(`${counted(totals.shown, "key")} in ${place}`);
  if (totals.clear > 0) terminal.hint(clearKeys(totals.clear));
}

function clearKeys(count: number): string {
  if (count === 1) return "1 key is stored in clear; keyctl rekey encrypts it";
  return `${formatNumber(count)} keys are stored in clear; keyctl rekey encrypts them`;
}

function cells(row: KeyRecord): readonly string[] {
  const { userId, origin, createdAt, lastCheck } = row;
  const checked = lastCheck === null ? "never" : `${SIGNS[lastCheck.verdict]} ${age(lastCheck.at)}`;
  return [userId, maskOfRecord(row) ?? "unreadable", origin, age(createdAt), checked];
}

function age(since: string): string {
  return formatSpan(Date.now() - Date.parse(since));
}

function document(row: KeyRecord, signal: NodeJS.Signals | undefined): object {
  const { kind } = storedValue(row.keyEncrypted);
  return {
    user_id: row.userId,
    key: maskOfRecord(row),
    key_hash: row.keyHash,
    origin: row.origin,
    generation: row.generation,
    settled: row.settled,
    encrypted: kind === "sealed",
    created_at: row.createdAt,
    updated_at: row.updatedAt,
    last_validated: row.lastValidated,
    verdict: row.lastCheck?.verdict ?? null,
    reason: row.lastCheck?.reason ?? null,
    limit: row.limit,
    limit_reset: row.limitReset,
    expires_at: row.expiresAt,
    error: kind === "unreadable" ? errorDocument(unreadable(row), signal) : null,
  };
}

function unreadable(row: KeyRecord): KeyctlError {
  if (isOfNoUser(row)) return noUserError(row);
  const { userId } = row;
  return new KeyctlError("ROW_UNREADABLE", `what is stored for user ${printable(userId)} is not a key`, {
    hint: `keyctl save ${userFlag(userId)} --replace`,
  });
}

function parseVerdict(text: string): string {
  if (VERDICTS.includes(text)) return text;
  throw new KeyctlError("USAGE", `--verdict takes one of ${VERDICTS.join(", ")}`, { hint: "--verdict invalid" });
}

function parseHash(text: string): string {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return text.toLowerCase();
  throw new KeyctlError("USAGE", "--hash takes the 64 hex characters of a SHA-256", {
    hint: "keyctl get --user <id> --stored --json   shows a key_hash",
  });
}
