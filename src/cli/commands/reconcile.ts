import type { Command } from "commander";
import { isKeyctlError, KeyctlError } from "../../core/errors.ts";
import { printable } from "../../core/printable.ts";
import type { Finding, FindingClass } from "../../core/reconciling.ts";
import type { Reconciliation } from "../../core/reconciliation.ts";
import { userFlag } from "../../core/shell-quote.ts";
import { errorDocument } from "../runner.ts";
import type { Invocation, Opened, Run } from "../runner.ts";
import { addUserOption, oneUser } from "../selection.ts";

interface ReconcileFlags {
  readonly user?: readonly string[];
  readonly fix?: true;
  readonly confirm?: number;
}

/** What `--fix` removes without a question: so many keys, or this share of ours where that is more. */
const UNASKED = { keys: 10, share: 0.01 } as const;

const CLASS_MEANINGS: Readonly<Record<FindingClass, string>> = {
  orphan: "made here and decided against, or to be revoked",
  purge_pending: "a purge that died before it had removed the row",
  undecided: "being made at the moment, or just abandoned",
  unknown_nonce: "named as ours, and no operation of this store made it",
  other_deployment: "made by another store",
  no_row: "recorded as in use, and in nobody's row",
  dangling_row: "stored here, and gone at OpenRouter",
  disabled: "stored here, and disabled at OpenRouter",
  expired: "stored here, and expired",
  duplicate: "one key of two users",
};

export function declare(command: Command, run: Run): void {
  addUserOption(command, "only this user")
    .option("--fix", "do what is to be done; without it nothing is changed")
    .option("--confirm <count>", "with --fix: the number of keys that are to be removed", parseCount)
    .addHelpText(
      "after",
      `
Compares all keys at OpenRouter with all that is stored, and says what is where.
With --fix, it removes keys that were decided against or are to be revoked, and
finishes what was interrupted. No key is removed because it is unknown here.

Findings:
${Object.entries(CLASS_MEANINGS)
  .map(([name, meaning]) => `  ${name.padEnd(18)}${meaning}`)
  .join("\n")}

Examples:
  keyctl reconcile
  keyctl reconcile --fix
  keyctl reconcile --user alice --fix --json`,
    )
    .action(run((invocation, flags: ReconcileFlags) => reconcile(invocation, flags)));
}

async function reconcile(invocation: Invocation, flags: ReconcileFlags): Promise<KeyctlError | null> {
  if (flags.confirm !== undefined && flags.fix !== true) {
    throw new KeyctlError("USAGE", "--confirm goes with --fix", { hint: "keyctl reconcile --fix" });
  }
  const userId = flags.user === undefined ? undefined : oneUser("reconcile", flags.user);
  return invocation.withManager({ mayCreateStore: false, logs: "none" }, async (opened) => {
    if (!opened.storeExists) throw noStore(opened);
    return new Report(invocation, opened, flags, userId).run();
  });
}

class Report {
  readonly #invocation: Invocation;
  readonly #opened: Opened;
  readonly #flags: ReconcileFlags;
  readonly #userId: string | undefined;
  readonly #began = performance.now();
  #toFix = 0;
  #fixed = 0;
  #reported = 0;
  #failed: KeyctlError | null = null;

  constructor(invocation: Invocation, opened: Opened, flags: ReconcileFlags, userId: string | undefined) {
    this.#invocation = invocation;
    this.#opened = opened;
    this.#flags = flags;
    this.#userId = userId;
  }

  async run(): Promise<KeyctlError | null> {
    const { signal, terminal } = this.#invocation;
    const fixes = this.#flags.fix === true;
    const reconciliation = await this.#opened.manager.reconcile({ userId: this.#userId, fixes, signal });
    let stopped: KeyctlError | null = null;
    try {
      await this.#plan(reconciliation, fixes);
      if (fixes) await this.#fix(reconciliation);
    } catch (thrown) {
      if (!isKeyctlError(thrown)) throw thrown;
      stopped = thrown;
    }
    if (!reconciliation.isStable) {
      terminal.warning("keys came and went while they were listed: rows whose key was not seen are not reported");
    }
    return this.#finish(reconciliation, stopped);
  }

  /** With --fix, what is to be done is told when it is done. */
  async #plan(reconciliation: Reconciliation, fixes: boolean): Promise<void> {
    for await (const finding of reconciliation.plan()) {
      const isTask = finding.action !== "none";
      if (isTask) this.#toFix += 1;
      else this.#reported += 1;
      if (!isTask || !fixes) await this.#print(finding);
    }
  }

  async #fix(reconciliation: Reconciliation): Promise<void> {
    await this.#confirm(reconciliation);
    for await (const finding of reconciliation.fix()) {
      if (finding.done) this.#fixed += 1;
      this.#failed ??= finding.error;
      await this.#print(finding);
    }
  }

  async #confirm({ ours }: Reconciliation): Promise<void> {
    const { confirm } = this.#flags;
    const count = this.#toFix;
    const user = this.#userId === undefined ? "" : ` ${userFlag(this.#userId)}`;
    const hint = `keyctl reconcile${user} --fix --confirm ${count}`;
    if (confirm !== undefined) {
      if (confirm === count) return;
      throw new KeyctlError("COUNT_CHANGED", `${keys(count)} would be removed, not ${confirm}; nothing was changed`, {
        hint,
      });
    }
    if (count <= Math.max(UNASKED.keys, ours * UNASKED.share)) return;
    const { terminal, prompt } = this.#invocation;
    const refused = new KeyctlError("CONFIRMATION_NEEDED", `${keys(count)} would be removed; nothing was changed`, {
      hint,
    });
    if (!terminal.options.canAsk) throw refused;
    const ask = await prompt();
    if (!(await ask.confirm(`Remove ${keys(count)} at OpenRouter?`))) throw refused;
  }

  async #print(finding: Finding): Promise<void> {
    const { terminal, receivedSignal } = this.#invocation;
    const { class: kind, userId, keyHash, name, action, done, error } = finding;
    if (terminal.options.json) {
      await terminal.document({
        type: "finding",
        class: kind,
        user_id: userId,
        key_hash: keyHash,
        name,
        action,
        done,
        error: errorDocument(error, receivedSignal()),
      });
      return;
    }
    const whose = userId === null ? "-" : printable(userId);
    const which = name === null ? (keyHash ?? "-") : printable(name);
    const end = error?.message ?? (done ? DONE[action] : TO_DO[action]);
    const parts = [kind.replaceAll("_", " "), whose, which, end].filter((part) => part !== "");
    await terminal.result(terminal.columns === undefined ? parts.join("\t") : parts.join("  "));
  }

  async #finish(reconciliation: Reconciliation, stopped: KeyctlError | null): Promise<KeyctlError | null> {
    const { terminal, receivedSignal } = this.#invocation;
    const { listed, tally } = reconciliation;
    const error = stopped ?? this.#outcome();
    const elapsed = Math.round(performance.now() - this.#began);
    if (terminal.options.json) {
      await terminal.document({
        type: "summary",
        command: "reconcile",
        store: this.#opened.store.name,
        dry_run: this.#flags.fix !== true,
        listed,
        matched: tally.matched,
        kept: tally.kept,
        to_fix: this.#toFix,
        fixed: this.#fixed,
        reported: this.#reported,
        elapsed_ms: elapsed,
        complete: stopped === null,
        error: errorDocument(error, receivedSignal()),
      });
    } else {
      const removed =
        this.#flags.fix === true ? `${this.#fixed} of ${this.#toFix} removed` : `${this.#toFix} to remove`;
      const sum = `${keys(listed)} at OpenRouter: ${tally.matched} as stored, ${tally.kept} kept, ${removed}, ${this.#reported} to look at`;
      await terminal.result(sum);
      terminal.footer(`store: ${this.#opened.store.name} (${this.#opened.store.from})`);
    }
    return error;
  }

  #outcome(): KeyctlError | null {
    const left = this.#toFix - this.#fixed;
    if (this.#failed !== null) return this.#failed;
    if (left <= 0 && this.#reported === 0) return null;
    const user = this.#userId === undefined ? "" : ` ${userFlag(this.#userId)}`;
    const hint = left > 0 ? `keyctl reconcile${user} --fix` : "keyctl help reconcile";
    const parts = [
      ...(left > 0 ? [`${keys(left)} to remove`] : []),
      ...(this.#reported > 0 ? [`${this.#reported} to look at`] : []),
    ];
    return new KeyctlError("ATTENTION", parts.join(", "), { hint });
  }
}

const DONE: Readonly<Record<Finding["action"], string>> = { delete: "deleted", remove_row: "removed", none: "" };
const TO_DO: Readonly<Record<Finding["action"], string>> = {
  delete: "to be deleted",
  remove_row: "its row is to be removed",
  none: "",
};

function keys(count: number): string {
  return count === 1 ? "1 key" : `${count.toLocaleString("en-US")} keys`;
}

function parseCount(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new KeyctlError("USAGE", "--confirm takes the number of keys", { hint: "keyctl reconcile   counts them" });
}

function noStore({ store }: Opened): KeyctlError {
  return new KeyctlError("EMPTY_SELECTION", `there is no database yet at ${printable(store.name)}`, {
    hint: "keyctl sync --user <id>   makes one",
  });
}
