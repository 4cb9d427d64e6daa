import type { Command } from "commander";
import { KeyctlError } from "../../../core/model/errors.ts";
import { expiryMs } from "../../../core/model/expiry.ts";
import type { KeyRecord } from "../../../core/model/key-record.ts";
import { knownExpiry } from "../../../core/model/known-terms.ts";
import type { DutyCounts } from "../../../core/model/rotate-results.ts";
import { RISKS } from "../../../core/model/risks.ts";
import type { Risk } from "../../../core/model/risks.ts";
import { flagFuture } from "../../time-flags.ts";
import type { TimeFlag } from "../../time-flags.ts";
import { counted, formatNumber, plural } from "../../../core/text/format.ts";
import { isBrokenPipe } from "../../invocation.ts";
import type { Invocation, Session, Run } from "../../invocation.ts";
import { describeDuties, FINISH, NO_DUTIES, overdueError } from "../../../core/model/duties.ts";
import { storeLabel } from "../../views/store-label.ts";
import { TablePrinter } from "../../terminal/table-printer.ts";
import { WarningSummary } from "../../bulk/warning-summary.ts";
import { yieldToEventLoop } from "../../../core/async/sleep.ts";
import { batched } from "../../../core/async/batched.ts";
import { parseHash } from "../hash-option.ts";
import { BLOCKED_USERS, listBlocked, usersBlocked } from "./blocked-users.ts";
import { printCount } from "./count.ts";
import { cellOfRisks, cells, COLUMNS, document, listed, RISKS_COLUMN } from "./row-view.ts";
import type { ListedRow } from "./row-view.ts";

interface ListFlags {
  readonly source?: string;
  readonly verdict?: string;
  readonly hash?: string;
  readonly expiresWithin?: TimeFlag;
  readonly risk?: readonly (Risk | typeof BLOCKED_USERS)[];
  readonly count?: true;
}

/** The flags of a list of keys. */
interface KeyFlags extends ListFlags {
  readonly risk?: readonly Risk[];
}

const BATCH = 100;
/** After this many rows, timers and signals get their turn, though none of the rows is wanted. */
const ROWS_A_TURN = 1000;

/** The check that tells a risk: only a key's own answer shows budgets, and only the listing shows the last use. */
const FINDS: Readonly<Record<Risk, string>> = {
  "no-limit": "keyctl validate --all --from-listing",
  "never-expires": "keyctl validate --all --from-listing",
  "idle-90d": "keyctl validate --all --from-listing",
  "limit-used-up": "keyctl validate --all",
};

function untoldRisks(): Record<Risk, number> {
  return { "no-limit": 0, "never-expires": 0, "idle-90d": 0, "limit-used-up": 0 };
}

/** What `--risk` takes. */
const LISTED = [...RISKS, BLOCKED_USERS] as const;
const VERDICTS = ["valid", "invalid", "never"];

export function configureCommand(command: Command, run: Run): void {
  const verdict = command.createOption("--verdict <verdict>", "only keys whose last check said so");
  const risk = command.createOption(
    "--risk <risk>",
    "only keys with this risk, as of their last check; may be repeated; blocked: the users who are blocked",
  );
  command
    .option("--source <text>", "only keys with this origin (key.txt, environment, manual, …)")
    .addOption(verdict.choices(VERDICTS).argParser(parseVerdict))
    .option("--hash <sha256>", "only the key with this hash", parseHash)
    .option(
      "--expires-within <duration|date>",
      "only keys that expire within this time, or have expired",
      flagFuture("--expires-within"),
    )
    .addOption(risk.choices(LISTED).argParser(parseRisks))
    .option("--count", "print only the number")
    .addHelpText(
      "after",
      `
In the order of the user ids. Keys are masked and not opened: no master key is
needed.

Examples:
  keyctl list
  keyctl list --source key.txt --count
  keyctl list --risk no-limit,never-expires
  keyctl list --risk blocked
  keyctl list --json | jq -r 'select(.verdict == "invalid") | .user_id'`,
    )
    .action(run((invocation, flags: ListFlags) => list(invocation, flags)));
}

/** The counts for the lines below the table. */
interface Totals {
  shown: number;
  clear: number;
  unreadable: number;
  /** For each risk of --risk: the rows that match all other flags, and whose last check did not tell this risk. */
  readonly untold: Record<Risk, number>;
  readonly warnings: WarningSummary;
  /** What rotations have left to do, for all users. */
  duties: DutyCounts;
  /** The users who are blocked, whatever is listed. */
  blocked: number;
}

async function list(invocation: Invocation, flags: ListFlags): Promise<KeyctlError | null> {
  const { risk, ...others } = flags;
  if (risk?.includes(BLOCKED_USERS) !== true) {
    const risks = risk?.filter((one) => one !== BLOCKED_USERS);
    return listKeys(invocation, { ...others, ...(risks === undefined ? {} : { risk: risks }) });
  }
  refuseFiltersOfKeys(flags);
  return listBlocked(invocation, flags.count === true);
}

/** A blocked user has no key. Throws USAGE. */
function refuseFiltersOfKeys({ source, verdict, hash, expiresWithin, risk = [] }: ListFlags): void {
  const others = [source, verdict, hash, expiresWithin].filter((one) => one !== undefined);
  if (others.length === 0 && risk.length === 1) return;
  throw new KeyctlError("USAGE", "a blocked user has no key, so --risk blocked goes with no other filter", {
    hint: "keyctl list --risk blocked",
  });
}

async function listKeys(invocation: Invocation, flags: KeyFlags): Promise<KeyctlError | null> {
  const totals: Totals = {
    shown: 0,
    clear: 0,
    unreadable: 0,
    untold: untoldRisks(),
    warnings: new WarningSummary(),
    duties: NO_DUTIES,
    blocked: 0,
  };
  const opened = await printRows(invocation, flags, totals);
  if (opened === "reader gone") return null;
  const { terminal } = invocation;
  const error = failureOf(totals) ?? (flags.count === true ? null : overdueError(totals.duties));
  if (flags.count === true) await printCount(invocation, totals.shown, error);
  else if (!terminal.options.json) sayTotals(invocation, opened, totals);
  return error;
}

function failureOf({ shown, unreadable: count }: Totals): KeyctlError | null {
  if (count === 0) return null;
  return new KeyctlError("SOME_FAILED", `${count} of ${shown} rows hold no readable key`, {
    hint: "keyctl save --user <id> --replace",
  });
}

async function printRows(invocation: Invocation, flags: KeyFlags, totals: Totals): Promise<Session | "reader gone"> {
  const { terminal, progress, withManager, signal, receivedSignal } = invocation;
  const showsRisks = flags.risk !== undefined;
  const table = new TablePrinter(terminal, showsRisks ? [...COLUMNS, RISKS_COLUMN] : COLUMNS);
  const isTerminal = terminal.columns !== undefined;
  const cellsOf = (row: ListedRow) => [...cells(row, isTerminal), ...(showsRisks ? [cellOfRisks(row)] : [])];
  const print = async (rows: readonly ListedRow[]) => {
    if (flags.count === true) return;
    if (terminal.options.json) return terminal.documents(rows.map((row) => document(row, receivedSignal())));
    await table.print(rows.map(cellsOf));
  };
  try {
    return await withManager({ mayCreateStore: false, logs: "none" }, async (opened) => {
      const { manager } = opened;
      const rows = manager.rows({ signal }, flags.hash);
      const total = flags.hash === undefined ? () => manager.count({ signal }) : undefined;
      progress.begin({ what: "list", unit: "rows", total });
      const looked = (count: number) => progress.update(count);
      for await (const batch of batched(wanted(rows, { flags, totals, looked }), BATCH)) {
        for (const { kind, warnings } of batch) {
          totals.shown += 1;
          if (kind === "clear") totals.clear += 1;
          if (kind === "unreadable") totals.unreadable += 1;
          totals.warnings.add(warnings);
        }
        await print(batch);
        await yieldToEventLoop();
        signal.throwIfAborted();
      }
      await table.end();
      if (opened.storeExists && flags.count !== true) {
        totals.duties = await manager.dueDuties({ signal });
        for await (const _ of manager.blockedUsers({ signal })) totals.blocked += 1;
      }
      return opened;
    });
  } catch (thrown) {
    if (isBrokenPipe(thrown)) return "reader gone";
    throw thrown;
  }
}

async function* wanted(
  rows: AsyncIterable<KeyRecord>,
  {
    flags,
    totals,
    looked,
  }: { readonly flags: KeyFlags; readonly totals: Totals; readonly looked: (count: number) => void },
): AsyncGenerator<ListedRow> {
  let count = 0;
  for await (const stored of rows) {
    looked((count += 1));
    if (count % ROWS_A_TURN === 0) await yieldToEventLoop();
    const row = listed(stored, Date.now());
    if (!matches(row, flags)) continue;
    if (flags.risk === undefined || flags.risk.some((risk) => row.risks.known.includes(risk))) yield row;
    else for (const risk of flags.risk) if (row.risks.unknown.includes(risk)) totals.untold[risk] += 1;
  }
}

/** An unreadable expiry matches every --expires-within. */
function matches({ row, now }: ListedRow, { source, verdict, expiresWithin }: ListFlags): boolean {
  const { origin, lastCheck } = row;
  if (source !== undefined && source !== origin) return false;
  if (verdict !== undefined && verdict !== (lastCheck?.verdict ?? "never")) return false;
  if (expiresWithin === undefined) return true;
  const end = expiryMs(knownExpiry(row));
  return end === "unknown" || end <= now + expiresWithin.milliseconds;
}

function sayTotals(
  { terminal }: Invocation,
  { store, storeExists }: Session,
  { shown, clear, untold, warnings, duties, blocked }: Totals,
): void {
  const place = storeLabel(store);
  if (!storeExists) {
    terminal.footer(`no store exists yet at ${place}`);
    terminal.hint("keyctl sync --help");
    return;
  }
  terminal.footer(`${counted(shown, "key")} in ${place}`);
  if (blocked > 0) terminal.footer(terminal.complete(`${usersBlocked(blocked)}: keyctl list --risk blocked`));
  // The hint below reports KEY_IN_PLAIN_TEXT.
  for (const { code, message } of warnings.all) if (code !== "KEY_IN_PLAIN_TEXT") terminal.warning(message);
  if (clear > 0) terminal.hint(clearKeys(clear));
  const due = describeDuties(duties);
  if (due !== undefined && overdueError(duties) === null) terminal.hint(`${due}; ${FINISH}   does it`);
  for (const risk of RISKS) {
    if (untold[risk] === 0) continue;
    const of = plural(untold[risk], "key", "keys");
    terminal.hint(`${risk} is not known of ${formatNumber(untold[risk])} ${of}; ${FINDS[risk]}   finds it`);
  }
}

function clearKeys(count: number): string {
  if (count === 1) return "1 key is stored in plain text; keyctl rekey encrypts it";
  return `${formatNumber(count)} keys are stored in plain text; keyctl rekey encrypts them`;
}

/** Risks are separated by commas, and the flag may be repeated. */
function parseRisks(text: string, before: NonNullable<ListFlags["risk"]> = []): NonNullable<ListFlags["risk"]> {
  const names = text.split(",");
  const risks = names.flatMap((name) => LISTED.filter((risk) => risk === name));
  if (risks.length === names.length) return [...new Set([...before, ...risks])];
  throw new KeyctlError("USAGE", `--risk takes one or more of ${LISTED.join(", ")}`, { hint: "--risk no-limit" });
}

function parseVerdict(text: string): string {
  if (VERDICTS.includes(text)) return text;
  throw new KeyctlError("USAGE", `--verdict takes one of ${VERDICTS.join(", ")}`, { hint: "--verdict invalid" });
}
