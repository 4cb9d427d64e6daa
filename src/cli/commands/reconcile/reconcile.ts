import type { Command } from "commander";
import { KeyctlError } from "../../../core/model/errors.ts";
import { printable } from "../../../core/text/printable.ts";
import { runWithReport } from "../../bulk/bulk-report.ts";
import { addReasonOption } from "../reason-option.ts";
import type { ReasonFlags } from "../reason-option.ts";
import { ReconcileReport } from "./report.ts";
import type { Invocation, Session, Run } from "../../invocation.ts";
import { addUserOption, oneUser } from "../../bulk/selection.ts";
import type { FindingClass } from "../../../core/reconcile/finding.ts";

interface ReconcileFlags extends ReasonFlags {
  readonly user?: readonly string[];
  readonly fix?: true;
  readonly confirm?: number;
  readonly adoptAccount?: true;
  readonly includeKept?: true;
  readonly verbose?: true;
}

const CLASS_MEANINGS: Readonly<Record<FindingClass, string>> = {
  kept: "purged or replaced, and left active; only counted",
  orphan: "created by this store, then abandoned or to be revoked",
  retiring: "replaced by a rotation; deleted when its grace is over",
  limit_due: "its full limit is to be restored",
  purge_pending: "a purge that was interrupted before it removed the row",
  undecided: "being created, just abandoned, or waiting in a local file",
  unknown_nonce: "named like our keys, but created by none of our operations",
  other_deployment: "created by another store; only counted",
  no_row: "recorded as in use, but in no row",
  dangling_row: "stored here, but missing at OpenRouter",
  other_account: "of the previous account; whether it still works is unknown",
  disabled: "stored here, but disabled at OpenRouter",
  expired: "stored here, but expired",
  expiry_unknown: "stored here; when it expires cannot be read",
  duplicate: "one key shared by two users",
};

export function configureCommand(command: Command, run: Run): void {
  addReasonOption(addUserOption(command, "only this user"))
    .option("--fix", "make the changes; without it, nothing is changed")
    .option("--confirm <count>", "with --fix: the number of keys to remove", parseCount)
    .option("--include-kept", "also remove keys that were purged or replaced and kept")
    .option("--verbose", "list what is only counted, too")
    .option("--adopt-account", "first bind the database to the account of this management key")
    .addHelpText(
      "after",
      `
Compares all keys at OpenRouter with all that is stored, and says what is where.
With --fix, it removes keys that were decided against or are to be revoked, and
finishes what was interrupted. No key is removed because it is unknown here.

A database is bound to the OpenRouter account that its first key was created in.
With a management key of another account nothing is compared or changed, unless
--adopt-account binds the database to that account.

Findings:
${Object.entries(CLASS_MEANINGS)
  .map(([name, meaning]) => `  ${name.padEnd(18)}${meaning}`)
  .join("\n")}

Examples:
  keyctl reconcile
  keyctl reconcile --fix
  keyctl reconcile --include-kept --verbose
  keyctl reconcile --user alice --fix --json`,
    )
    .action(run((invocation, flags: ReconcileFlags) => reconcile(invocation, flags)));
}

async function reconcile(invocation: Invocation, flags: ReconcileFlags): Promise<KeyctlError | null> {
  if (flags.confirm !== undefined && flags.fix !== true) {
    throw new KeyctlError("USAGE", "--confirm requires --fix", { hint: "keyctl reconcile --fix" });
  }
  const userId = flags.user === undefined ? undefined : oneUser("reconcile", flags.user);
  const task = {
    fixes: flags.fix === true,
    confirm: flags.confirm,
    adoptAccount: flags.adoptAccount === true,
    includeKept: flags.includeKept === true,
    verbose: flags.verbose === true,
    reason: flags.reason,
    userId,
  };
  const report = new ReconcileReport(invocation, task);
  return runWithReport(invocation.terminal, {
    isDryRun: false,
    work: () =>
      invocation.withManager({ mayCreateStore: false, logs: "none" }, async (session) => {
        if (!session.storeExists) throw noStore(session);
        await report.work(session);
      }),
    outcome: () => report.outcome(),
    summarize: (end) => report.summarize(end),
    done: (end) => report.done(end),
  });
}

function parseCount(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new KeyctlError("USAGE", "--confirm takes the number of keys", { hint: "keyctl reconcile   counts them" });
}

function noStore({ store }: Session): KeyctlError {
  return new KeyctlError("EMPTY_SELECTION", `no database exists yet at ${printable(store.name)}`, {
    hint: "keyctl sync --user <id>   creates one",
  });
}
