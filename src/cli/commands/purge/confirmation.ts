import { KeyctlError } from "../../../core/model/errors.ts";
import type { PurgePreview } from "../../../core/model/results.ts";
import { printable } from "../../../core/text/printable.ts";
import { shellQuote, userFlag } from "../../../core/text/shell-quote.ts";
import { countSelected } from "../../bulk/selection.ts";
import type { Many, Shard } from "../../bulk/selection.ts";
import type { Invocation, Session, StoreName } from "../../invocation.ts";
import { revocationWanted } from "./purge-flags.ts";
import type { PurgeFlags } from "./purge-flags.ts";
import { keyCount } from "./purge-texts.ts";
import { plural } from "../../../core/text/format.ts";

/** Rejects with CONFIRMATION_NEEDED, like every function here. */
export async function confirmOne(invocation: Invocation, flags: PurgeFlags, preview: PurgePreview): Promise<void> {
  const { userId, former } = preview;
  const where = revocationWanted(flags) === "no" ? "" : ` here and at OpenRouter, and there ${everyOtherKey(preview)}`;
  const which = `${former?.key ?? "unreadable"}, from ${printable(former?.origin ?? "")}`;
  await confirmed(invocation, flags, userId, `Delete the key of ${printable(userId)} (${which})${where}?`);
}

/** For a user without a key in the database. */
export async function confirmRetained(invocation: Invocation, flags: PurgeFlags, preview: PurgePreview): Promise<void> {
  const { userId } = preview;
  const question = `${printable(userId)} has no key in the database. Delete at OpenRouter ${everyOtherKey(preview)}?`;
  await confirmed(invocation, flags, userId, question);
}

function everyOtherKey({ former, retained }: PurgePreview): string {
  const count = retained === 0 ? "" : ` (${retained} ${plural(retained, "is", "are")} kept there)`;
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
    throw new KeyctlError("CONFIRMATION_NEEDED", "cannot prompt: no terminal; nothing was changed", { hint });
  const { confirm } = await prompt();
  if (!(await confirm(question))) throw new KeyctlError("CONFIRMATION_NEEDED", "nothing was changed", { hint });
}

/** Returns the maximum number of keys that may be deleted. */
export async function confirmMany(
  invocation: Invocation,
  flags: PurgeFlags,
  opened: Session,
  selection: Many,
): Promise<number> {
  if (selection.kind === "all") return confirmAll(invocation, flags, opened, selection.shard);
  if (flags.yes === true) return Number.POSITIVE_INFINITY;
  const { terminal, prompt } = invocation;
  if (!terminal.options.isInteractive || (selection.kind === "file" && selection.path === "-")) {
    throw new KeyctlError("CONFIRMATION_NEEDED", "cannot prompt: no terminal; nothing was changed", {
      hint: "add --yes",
    });
  }
  const whose =
    selection.kind === "file" ? `all users in ${printable(selection.path)}` : `${selection.users.length} users`;
  const { confirm } = await prompt();
  if (!(await confirm(`Delete the keys of ${whose} from ${printable(opened.store.name)}${andUpstream(flags)}?`)))
    throw declined();
  return Number.POSITIVE_INFINITY;
}

/** Emptying a store requires more than a yes: the number of keys and, without a terminal, the name of the store. */
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
      "when not run in a terminal, purge --all requires the store in --store or KEYCTL_STORE",
      {
        hint: `keyctl purge --all${storeFlag(store)} --confirm <count>`,
      },
    );
  }
  const given = flags.confirm ?? (await askForCount(await countSelected(manager, shard, signal)));
  const count = await countSelected(manager, shard, signal);
  if (given === count) return count;
  throw new KeyctlError("COUNT_CHANGED", `${keyCount(count)} would be deleted, not ${given}; nothing was changed`, {
    hint: "keyctl list --count",
  });

  async function askForCount(keys: number): Promise<number> {
    if (keys === 0) return 0;
    const part = shard === undefined ? undefined : `${shard.index}/${shard.count}`;
    const hint = `keyctl purge --all${part === undefined ? "" : ` --shard ${part}`}${storeFlag(store)} --confirm ${keys}`;
    if (!terminal.options.isInteractive)
      throw new KeyctlError("CONFIRMATION_NEEDED", "purge --all requires the number of keys", { hint });
    const { text } = await prompt();
    const answer = await text(
      `This deletes ${keyCount(keys)}, ${part === undefined ? "all" : `the part ${part}`} of ${printable(store.name)}${andUpstream(flags)}. Type the number of keys to continue:`,
    );
    if (!/^\d+$/.test(answer.trim())) throw declined();
    return Number(answer.trim());
  }
}

/** The part of the question about the keys that are also deleted at OpenRouter, for many users. */
function andUpstream(flags: PurgeFlags): string {
  return revocationWanted(flags) === "no" ? "" : ", and at OpenRouter every key that keyctl created for these users";
}

function declined(): KeyctlError {
  return new KeyctlError("CONFIRMATION_NEEDED", "nothing was changed", {
    hint: "add --yes to skip the question",
  });
}

function revokeFlag({ revoke, revokeForeign }: PurgeFlags): string {
  if (revokeForeign === true) return " --revoke-foreign";
  return revoke === true ? " --revoke" : "";
}

/** The name of a MongoDB store omits the user and the password, so a URI from KEYCTL_STORE stays in the variable. */
function storeFlag({ name, from }: StoreName): string {
  if (name.startsWith("sqlite:")) return ` --store ${shellQuote(name)}`;
  return from === "--store" ? ` --store ${shellQuote(name)}` : "";
}
