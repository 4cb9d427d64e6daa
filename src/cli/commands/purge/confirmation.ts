import { KeyctlError } from "../../../core/model/errors.ts";
import type { PurgePreview } from "../../../core/model/results.ts";
import type { UserBatches } from "../../../core/model/user-id.ts";
import { printable } from "../../../core/text/printable.ts";
import { shellQuote } from "../../../core/text/shell-quote.ts";
import { counted, formatNumber, plural } from "../../../core/text/format.ts";
import { countSelected } from "../../bulk/selection.ts";
import type { Many, Shard } from "../../bulk/selection.ts";
import type { Invocation, Session, StoreName } from "../../invocation.ts";
import { cannotPrompt, Declined } from "../../terminal/unanswered.ts";
import { blocksAnew, revocationWanted } from "./purge-flags.ts";
import type { PurgeFlags } from "./purge-flags.ts";
import { keyCount } from "./purge-texts.ts";

/** What a person agrees to with --block. */
const BLOCKING = "A blocked user gets no key, from any source, until keyctl unblock.";

/** Rejects with CONFIRMATION_NEEDED, like every function here. */
export async function confirmOne(invocation: Invocation, flags: PurgeFlags, preview: PurgePreview): Promise<void> {
  const { userId, former } = preview;
  const block = flags.block === true ? ", and block this user" : "";
  const where = revocationWanted(flags) === "no" ? "" : ` here and at OpenRouter, and there ${everyOtherKey(preview)}`;
  const which = `${former?.key ?? "unreadable"}, from ${printable(former?.origin ?? "")}`;
  await confirmed(invocation, flags, `Delete the key of ${printable(userId)} (${which})${where}${block}?`);
}

/** For a user without a key in the database. There is a question only if something would be changed. */
export async function confirmWithoutKey(
  invocation: Invocation,
  flags: PurgeFlags,
  preview: PurgePreview,
): Promise<void> {
  const tasks = [
    ...(preview.retained > 0 ? [`delete at OpenRouter ${everyOtherKey(preview)}`] : []),
    ...(blocksAnew(preview, flags) ? ["block this user"] : []),
  ];
  if (tasks.length === 0) return;
  const question = tasks.join(", and ");
  const asked = `${question.charAt(0).toUpperCase()}${question.slice(1)}?`;
  await confirmed(invocation, flags, `${printable(preview.userId)} has no key in the database. ${asked}`);
}

function everyOtherKey({ former, retained }: PurgePreview): string {
  const count = retained === 0 ? "" : ` (${formatNumber(retained)} ${plural(retained, "is", "are")} kept there)`;
  return `every ${former === null ? "" : "other "}key that keyctl created for this user${count}`;
}

async function confirmed(
  { terminal, prompt, commandAgain }: Invocation,
  flags: PurgeFlags,
  question: string,
): Promise<void> {
  if (flags.yes === true) return;
  const hint = commandAgain("--yes");
  if (!terminal.options.isInteractive)
    throw new KeyctlError("CONFIRMATION_NEEDED", `${cannotPrompt(terminal)}; nothing was changed`, { hint });
  const { confirm } = await prompt();
  if (!(await confirm(explained(flags, question)))) throw new Declined(hint);
}

function explained({ block }: PurgeFlags, question: string): string {
  return block === true ? `${BLOCKING} ${question}` : question;
}

/** What a bulk run is asked for, and what the users of its selection have. */
export interface BulkPurge {
  readonly opened: Session;
  readonly selection: Many;
  readonly users: () => UserBatches;
  readonly preview: (batches: UserBatches) => AsyncIterable<readonly PurgePreview[]>;
}

/** Returns the maximum number of keys that may be deleted. Throws FOREIGN_KEY if there are only keys that keyctl did not create. */
export async function confirmMany(invocation: Invocation, flags: PurgeFlags, purge: BulkPurge): Promise<number> {
  const { opened, selection } = purge;
  if (selection.kind === "all") return confirmAll(invocation, flags, opened, selection.shard);
  if (flags.yes === true) return Number.POSITIVE_INFINITY;
  const { terminal, prompt, commandAgain } = invocation;
  const hint = commandAgain("--yes");
  const isInputTaken = selection.kind === "file" && selection.path === "-";
  if (!terminal.options.isInteractive || isInputTaken) {
    const why = cannotPrompt(terminal, isInputTaken);
    throw new KeyctlError("CONFIRMATION_NEEDED", `${why}; nothing was changed`, { hint });
  }
  const found = await countPurge(purge, flags);
  if (found.keys + found.retained === 0 && found.foreign > 0) throw allForeign(invocation, found.foreign);
  const { confirm } = await prompt();
  const blocks = found.toBlock > 0 ? `, and block ${counted(found.toBlock, "user")}` : "";
  const question = `${whatGoes(found, purge)}${andUpstream(flags, found.retained)}${blocks}?`;
  if (!(await confirm(explained(flags, question)))) throw new Declined(hint);
  return Number.POSITIVE_INFINITY;
}

interface PurgeCount {
  readonly users: number;
  /** Keys in the database that would be deleted. */
  readonly keys: number;
  /** Keys that are refused because keyctl did not create them. */
  readonly foreign: number;
  /** Keys kept at OpenRouter that would be deleted there. */
  readonly retained: number;
  /** Users who would be blocked, and are not. */
  readonly toBlock: number;
}

async function countPurge({ users, preview }: BulkPurge, flags: PurgeFlags): Promise<PurgeCount> {
  const count = { users: 0, keys: 0, foreign: 0, retained: 0, toBlock: 0 };
  for await (const batch of preview(users())) {
    for (const one of batch) {
      const { former, retained, error } = one;
      count.users += 1;
      count.keys += error === null && former !== null ? 1 : 0;
      count.foreign += error?.code === "FOREIGN_KEY" ? 1 : 0;
      count.retained += retained;
      count.toBlock += blocksAnew(one, flags) ? 1 : 0;
    }
  }
  return count;
}

function whatGoes({ users, keys, foreign }: PurgeCount, { opened, selection }: BulkPurge): string {
  const file = selection.kind === "file" ? ` in ${printable(selection.path)}` : "";
  const refused =
    foreign === 0
      ? ""
      : ` (${formatNumber(foreign)} more that keyctl did not create ${plural(foreign, "stays", "stay")})`;
  return `Delete ${counted(keys, "key")} of ${counted(users, "user")}${file} from ${printable(opened.store.name)}${refused}`;
}

function allForeign({ commandAgain }: Invocation, count: number): KeyctlError {
  const message = `keyctl did not create the ${plural(count, "key", "keys")} of ${plural(count, "this user", `these ${formatNumber(count)} users`)}; nothing was done`;
  return new KeyctlError("FOREIGN_KEY", message, {
    hint: `${commandAgain("--revoke-foreign", "--revoke")}   deletes ${plural(count, "it", "them")} at OpenRouter anyway`,
  });
}

/** Emptying a store requires more than a yes: the number of keys and, without a terminal, the name of the store. */
async function confirmAll(
  invocation: Invocation,
  flags: PurgeFlags,
  { manager, store }: Session,
  shard: Shard | undefined,
): Promise<number> {
  const { terminal, signal, prompt, commandAgain } = invocation;
  if (!terminal.options.isInteractive && !["--store", "KEYCTL_STORE"].includes(store.from)) {
    const confirm = flags.confirm === undefined ? "--confirm <count>" : "";
    throw new KeyctlError(
      "CONFIRMATION_NEEDED",
      "when not run in a terminal, purge --all requires the store in --store or KEYCTL_STORE",
      { hint: commandAgain(`${storeFlag(store)} ${confirm}`.trim()) },
    );
  }
  const given = flags.confirm ?? (await askForCount(await countSelected(manager, shard, signal)));
  const count = await countSelected(manager, shard, signal);
  if (given === count) return count;
  throw new KeyctlError("COUNT_CHANGED", `${keyCount(count)} would be deleted, not ${given}; nothing was changed`, {
    hint: commandAgain(`--confirm ${count}`, "--confirm"),
  });

  async function askForCount(keys: number): Promise<number> {
    if (keys === 0) return 0;
    const part = shard === undefined ? "all" : `the part ${shard.index}/${shard.count}`;
    const hint = commandAgain(`--confirm ${keys}`);
    if (!terminal.options.isInteractive)
      throw new KeyctlError("CONFIRMATION_NEEDED", "purge --all requires the number of keys", { hint });
    const { text } = await prompt();
    const blocks = flags.block === true ? `, and blocks ${plural(keys, "its user", "their users")}` : "";
    const statement = `This deletes ${keyCount(keys)}, ${part} of ${printable(store.name)}${andUpstream(flags)}${blocks}.`;
    const answer = await text(`${explained(flags, statement)} Type the number of keys to continue:`);
    if (!/^\d+$/.test(answer.trim())) throw new Declined(hint);
    return Number(answer.trim());
  }
}

/** The part of the question about the keys that are also deleted at OpenRouter, for many users. */
function andUpstream(flags: PurgeFlags, retained = 0): string {
  if (revocationWanted(flags) === "no") return "";
  const kept = retained === 0 ? "" : ` (${formatNumber(retained)} more ${plural(retained, "is", "are")} kept there)`;
  return `, and at OpenRouter every key that keyctl created for these users${kept}`;
}

/** The name of a MongoDB store omits the user and the password, so a URI from KEYCTL_STORE stays in the variable. */
function storeFlag({ name, from }: StoreName): string {
  if (name.startsWith("sqlite:")) return `--store ${shellQuote(name)}`;
  return from === "--store" ? `--store ${shellQuote(name)}` : "";
}
