import type { Command } from "commander";
import { KeyctlError } from "../../../core/model/errors.ts";
import { parseLeaked } from "../../../core/model/leaked-results.ts";
import type { LeakedKey } from "../../../core/model/leaked-results.ts";
import { ROTATED_AT_ONCE } from "../../../core/model/number-options.ts";
import { addConcurrencyOption } from "../../bulk/concurrency.ts";
import { addDryRunOption } from "../../bulk/dry-run.ts";
import type { DryRunFlags } from "../../bulk/dry-run.ts";
import { parseMaxKeys } from "../../bulk/key-permission.ts";
import { flagPast } from "../../time-flags.ts";
import { addReasonOption } from "../reason-option.ts";
import type { ReasonFlags } from "../reason-option.ts";

export interface LeakedFlags extends DryRunFlags, ReasonFlags {
  readonly stdin?: true;
  readonly hash?: readonly LeakedKey[];
  readonly since?: Date;
  readonly yes?: true;
  readonly maxKeys?: number;
  readonly concurrency?: number;
  readonly allowEmpty?: true;
}

export function addLeakedOptions(command: Command): Command {
  const options = addDryRunOption(
    command
      .option("--stdin", "read keys from standard input, one key or SHA-256 per line")
      .option("--hash <sha256>", "the SHA-256 of a key (may be repeated)", collectHash),
  )
    .option("--since <duration|date>", "count what was spent since then (default 30d)", parseSince)
    .option("-y, --yes", "many keys: disable all of them without asking")
    .option("--max-keys <n>", "many keys: disable up to n keys without asking", parseMaxKeys)
    .option("--allow-empty", "accept that no key is given");
  return addConcurrencyOption(addReasonOption(options), "keys handled", ROTATED_AT_ONCE).addHelpText("after", HELP);
}

const HELP = `
Disables each key at OpenRouter first. Then the key that a user has now is
replaced by a new one and deleted, and an earlier key of a user is deleted. A
key that keyctl did not create is only disabled. Whatever stops this, the same
command goes on.

Exit 0: no key works any more. Exit 10: this is not confirmed. Nothing of the
input is repeated. Needs a management key in OPENROUTER_PROVISIONING_KEY. On a
terminal, --stdin asks for one key and hides it. More than 10 keys without a
terminal want --yes or --max-keys.

Examples:
  keyctl leaked --stdin < leaked.txt
  keyctl leaked --hash <sha256> --since 7d
  keyctl leaked --stdin --dry-run --json < report.txt`;

/** Throws USAGE unless the keys are given in exactly one way. */
export function refuseLeakedContradictions({ stdin, hash, yes, maxKeys }: LeakedFlags): void {
  const hint = "give --stdin, and the keys on standard input, or --hash <sha256>";
  if (stdin === undefined && hash === undefined) throw new KeyctlError("USAGE", "no key given", { hint });
  if (stdin === true && hash !== undefined) {
    throw new KeyctlError("USAGE", "keys are given in more than one way", { hint });
  }
  if (yes === true && maxKeys !== undefined) {
    throw new KeyctlError("USAGE", "--yes is for any number of keys, and --max-keys for a few", {
      hint: "give one of them",
    });
  }
}

/** What is no hash may be a secret: it is not repeated. */
function collectHash(text: string, previous: readonly LeakedKey[] = []): readonly LeakedKey[] {
  const hint = "--hash takes 64 hex characters: keyctl list --json   shows them as key_hash";
  try {
    const leak = parseLeaked(text);
    if (leak.key === null) return [...previous, leak];
  } catch {
    // The error below says it for this flag.
  }
  throw new KeyctlError("USAGE", "--hash takes the 64 hex characters of the SHA-256 of a key", { hint });
}

function parseSince(text: string): Date {
  return flagPast("--since")(text).at;
}
