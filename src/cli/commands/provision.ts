import type { Command } from "commander";
import { KeyctlError } from "../../core/errors.ts";
import { provisionFailed } from "../../core/results.ts";
import type { ProvisionResult } from "../../core/results.ts";
import type { WantedTerms } from "../../core/provisioning.ts";
import { isLabel, LONGEST_LABEL } from "../../core/provision-terms.ts";
import { eachAlone } from "../each-alone.ts";
import { flagDuration } from "../duration.ts";
import { addCreateOption } from "../create-option.ts";
import type { CreateFlags } from "../create-option.ts";
import { addBulkOptions, forUsers } from "../for-users.ts";
import type { BulkFlags, UserCommand } from "../for-users.ts";
import { sayWarnings } from "../key-view.ts";
import type { Invocation, Run } from "../runner.ts";
import { addSelection } from "../selection.ts";
import { Tally } from "../tally.ts";
import { parseLimit, parseLimitReset, parseWorkspace } from "../terms.ts";

interface ProvisionFlags extends BulkFlags, CreateFlags {
  readonly label?: string;
  /** Null: none. */
  readonly limit?: number | null;
  readonly limitReset?: WantedTerms["limitReset"];
  /** In milliseconds. */
  readonly expiresIn?: number;
  readonly workspace?: string;
}

export function declare(command: Command, run: Run): void {
  addCreateOption(addBulkOptions(addSelection(command)))
    .option("--label <text>", "what you call the key; kept in the database only", label)
    .option("--limit <usd|none>", "what it may spend, in USD", (text) => checked(parseLimit(text), "--limit", "10"))
    .option("--limit-reset <when>", "when that begins anew: daily, weekly or monthly", (text) =>
      checked(parseLimitReset(text), "--limit-reset", "monthly"),
    )
    .option("--expires-in <duration>", "how long it lives", flagDuration("--expires-in"))
    .option("--workspace <id>", "the workspace that it belongs to", (text) =>
      checked(parseWorkspace(text), "--workspace", "<id>"),
    )
    .addHelpText(
      "after",
      `
Makes a key at OpenRouter for a user who has none, whatever key.txt and
OPENROUTER_API_KEY hold. Needs a management key in OPENROUTER_PROVISIONING_KEY.
Each user gets one key, however often and wherever this is run at once.

Examples:
  keyctl provision --user alice --limit 10 --limit-reset monthly
  keyctl provision --user alice --expires-in 90d --label "web shop"
  keyctl provision --users-file users.txt --limit 5 --json`,
    )
    .action(
      run((invocation, flags: ProvisionFlags) => forUsers(invocation, flags, provisionCommand(invocation, flags))),
    );
}

function provisionCommand(invocation: Invocation, flags: ProvisionFlags): UserCommand<ProvisionResult> {
  const { signal } = invocation;
  const options = { signal, terms: termsOf(flags) };
  return {
    name: "provision",
    needs: { mayCreateStore: true, create: flags.create === true, logs: "all" },
    one: (manager, user) => manager.autoProvisionKey(user, options),
    many: (manager, batches) => eachAlone(batches, (user) => manager.autoProvisionKey(user, options)),
    failed: provisionFailed,
    document: ({ userId, key, row, warnings }) => ({
      user_id: userId,
      key: key?.masked ?? null,
      key_hash: key?.hash ?? null,
      source: row === null ? null : "auto-provisioned",
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
    columns: [{ title: "USER", shrinks: true }, { title: "KEY" }, { title: "RESULT" }],
    cells: ({ userId, key, error }) => [userId, key?.masked ?? "-", error?.message ?? "made"],
    score: () => new Tally(["made"], () => "made"),
  };
}

/** Only what was said: the rest is as the environment says. */
function termsOf({ label: text, limit, limitReset, expiresIn, workspace }: ProvisionFlags): Partial<WantedTerms> {
  return {
    ...(text === undefined ? {} : { label: text }),
    ...(limit === undefined ? {} : { limit }),
    ...(limitReset === undefined ? {} : { limitReset }),
    ...(expiresIn === undefined ? {} : { expiresInMs: expiresIn }),
    ...(workspace === undefined ? {} : { workspace }),
  };
}

async function show({ terminal }: Invocation, { key, row, warnings, error }: ProvisionResult): Promise<void> {
  sayWarnings(terminal, warnings);
  if (error !== null || key === null || row === null) return;
  const { limit, limitReset, expiresAt } = row;
  const spends = limit === null ? "no limit" : `$${limit}${limitReset === null ? "" : ` ${limitReset}`}`;
  const ends = expiresAt === null ? "does not expire" : `expires ${expiresAt.slice(0, 10)}`;
  await terminal.result(`${key.masked} ${terminal.paint.bold("made")} (${spends}, ${ends})`);
}

function label(text: string): string {
  if (isLabel(text)) return text;
  throw new KeyctlError("USAGE", `--label takes up to ${LONGEST_LABEL} printable characters`, {
    hint: '--label "web shop"',
  });
}

function checked<Value>(value: Value | undefined, flag: string, example: string): Value {
  if (value !== undefined) return value;
  throw new KeyctlError("USAGE", `${flag} does not take that`, { hint: `${flag} ${example}` });
}
