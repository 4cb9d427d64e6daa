import type { Command } from "commander";
import type { MaxFailures } from "../../../core/change/rotate/rotate-many.ts";
import type { RotateManyOptions } from "../../../core/manager/manager-options.ts";
import { KeyctlError } from "../../../core/model/errors.ts";
import { GRACE_FORM, graceMeant, parseGrace } from "../../../core/model/grace.ts";
import { parseLimit } from "../../../core/model/provision-terms.ts";
import type { RotateTask } from "../../../core/model/rotate-results.ts";
import { MANY_USERS } from "../../help-format.ts";
import { addDryRunOption } from "../../bulk/dry-run.ts";
import type { DryRunFlags } from "../../bulk/dry-run.ts";
import { addMaxKeysOption, isForMany } from "../../bulk/key-permission.ts";
import type { KeyPermissionFlags } from "../../bulk/key-permission.ts";
import { addConcurrencyOption } from "../../bulk/concurrency.ts";
import { parseCountOrShare } from "../../bulk/number-flags.ts";
import { ROTATED_AT_ONCE } from "../../../core/model/number-options.ts";
import { addSelection } from "../../bulk/selection.ts";
import { addReasonOption } from "../reason-option.ts";
import type { ReasonFlags } from "../reason-option.ts";
import { addBulkOptions } from "../../bulk/user-command.ts";
import type { BulkFlags } from "../../bulk/user-command.ts";
import { flagFuture, flagPast, lifetimeOf } from "../../time-flags.ts";
import type { TimeFlag } from "../../time-flags.ts";

/** Durations are in milliseconds. */
export interface RotateFlags extends BulkFlags, DryRunFlags, KeyPermissionFlags, ReasonFlags {
  readonly grace?: number;
  readonly wait?: true;
  /** In an object, as `expiresIn`: commander treats null as a missing value. */
  readonly limit?: { readonly limit: RotateTask["limit"] };
  readonly expiresIn?: Pick<RotateTask, "expiresInMs" | "expiresAt">;
  readonly includeDisabled?: true;
  readonly includeForeign?: true;
  readonly revokeForeign?: true;
  readonly finish?: true;
  readonly olderThan?: TimeFlag;
  readonly expiresWithin?: TimeFlag;
  readonly verdict?: "invalid";
  readonly maxFailures?: MaxFailures;
  /** Per second. */
  readonly rate?: number;
  readonly concurrency?: number;
}

export function addRotateOptions(command: Command): Command {
  const one = addReasonOption(addDryRunOption(addSelection(command)))
    .option("--grace <duration|0>", "how long the old key goes on working (default 10m; 30d at most)", parseGraceFlag)
    .option("--wait", "stay until the old key is removed")
    .option("--limit <keep|full|none|usd>", "the spending limit of the new key (default keep)", parseLimitFlag)
    .option(
      "--expires-in <duration|date|none>",
      "lifetime of the new key (default: that of the old key)",
      parseLifetime,
    )
    .option("--include-disabled", "also rotate a key that is disabled at OpenRouter")
    .option("--include-foreign", "also replace a key that keyctl did not create; it stays active")
    .option("--revoke-foreign", "with --grace 0: also replace such a key, and delete it at OpenRouter")
    .option("--finish", "rotate nothing; remove old keys and restore limits whose time has come");
  const verdict = command.createOption("--verdict <verdict>", "only keys whose last check said so");
  const bulk = addMaxKeysOption(addBulkOptions(one), "rotate").optionsGroup(MANY_USERS);
  const many = bulk
    .option("--older-than <duration|date>", "only keys that are older", flagPast("--older-than"))
    .option(
      "--expires-within <duration|date>",
      "only keys that expire within this time, or have expired",
      flagFuture("--expires-within"),
    )
    .addOption(verdict.choices(["invalid"]).argParser(parseVerdict))
    .option("--max-failures <n|n%>", "stop after this many failures", parseMaxFailures)
    .option("--rate <n/s>", "begin no more than n users a second", parseRate);
  return addConcurrencyOption(many, "keys rotated", ROTATED_AT_ONCE);
}

/** What the flags say; the rest is decided where the rotation is done. */
export function taskOf(flags: RotateFlags): Partial<RotateTask> {
  const { grace, limit, expiresIn, includeDisabled = false, wait = false } = flags;
  const foreign = flags.revokeForeign === true ? "revoke" : flags.includeForeign === true ? "keep" : "refuse";
  return { ...(grace === undefined ? {} : { graceMs: grace }), ...limit, ...expiresIn, includeDisabled, foreign, wait };
}

export function manyOptionsOf(flags: RotateFlags): Omit<RotateManyOptions, keyof RotateTask | "maxKeys"> {
  const { concurrency, rate, maxFailures, olderThan, expiresWithin, verdict } = flags;
  return {
    concurrency,
    ratePerSecond: rate,
    maxFailures,
    olderThanMs: olderThan?.milliseconds,
    expiresWithinMs: expiresWithin?.milliseconds,
    verdict,
  };
}

const OF_MANY: Readonly<Partial<Record<keyof RotateFlags, string>>> = {
  maxKeys: "--max-keys",
  olderThan: "--older-than",
  expiresWithin: "--expires-within",
  verdict: "--verdict",
  maxFailures: "--max-failures",
  rate: "--rate",
  concurrency: "--concurrency",
};

/** Throws USAGE for a flag that chooses among users, or counts them. */
export function refuseFlagsOfMany(flags: RotateFlags): void {
  const flag = given(flags, OF_MANY);
  if (flag === undefined) return;
  throw isForMany(flag);
}

const NOT_WITH_FINISH: Readonly<Partial<Record<keyof RotateFlags, string>>> = {
  ...OF_MANY,
  user: "--user",
  all: "--all",
  usersFile: "--users-file",
  shard: "--shard",
  output: "--output",
  stopAfter: "--stop-after",
  log: "--log",
  allowEmpty: "--allow-empty",
  dryRun: "--dry-run",
  grace: "--grace",
  wait: "--wait",
  limit: "--limit",
  expiresIn: "--expires-in",
  includeDisabled: "--include-disabled",
  includeForeign: "--include-foreign",
  revokeForeign: "--revoke-foreign",
};

/** Throws USAGE for flags that contradict each other. */
export function refuseContradictions(flags: RotateFlags): void {
  if (flags.finish === true) {
    const flag = given(flags, NOT_WITH_FINISH);
    if (flag === undefined) return;
    throw new KeyctlError("USAGE", `--finish rotates nothing, so ${flag} does not go with it`, {
      hint: "keyctl rotate --finish",
    });
  }
  if (flags.revokeForeign !== true) return;
  if (flags.includeForeign === true) {
    throw new KeyctlError("USAGE", "--include-foreign keeps the old key, and --revoke-foreign deletes it", {
      hint: "give one of them",
    });
  }
  if (flags.grace === 0) return;
  throw new KeyctlError("USAGE", "--revoke-foreign requires --grace 0", {
    hint: "add --grace 0",
  });
}

/** The first flag of the table that was given. */
function given(flags: RotateFlags, table: Readonly<Partial<Record<keyof RotateFlags, string>>>): string | undefined {
  return Object.entries(table).find(([name]) => flags[name as keyof RotateFlags] !== undefined)?.[1];
}

function parseGraceFlag(text: string): number {
  const milliseconds = parseGrace(text);
  if (milliseconds !== undefined) return milliseconds;
  throw new KeyctlError("USAGE", `--grace takes ${GRACE_FORM}`, { hint: `--grace ${graceMeant(text) ?? "1h"}` });
}

function parseLimitFlag(text: string): { readonly limit: RotateTask["limit"] } {
  if (text === "keep" || text === "full") return { limit: text };
  const limit = parseLimit(text);
  if (limit !== undefined) return { limit };
  throw new KeyctlError("USAGE", "--limit takes keep, full, none or an amount in USD such as 2.50", {
    hint: "--limit 2.50",
  });
}

function parseLifetime(text: string): NonNullable<RotateFlags["expiresIn"]> {
  return text === "none" ? { expiresInMs: null } : lifetimeOf(flagFuture("--expires-in", "none")(text));
}

function parseVerdict(text: string): "invalid" {
  if (text === "invalid") return text;
  throw new KeyctlError("USAGE", "--verdict takes invalid and nothing else", { hint: "--verdict invalid" });
}

/** None allowed would be a run that never begins. */
function parseMaxFailures(text: string): MaxFailures {
  const failures = parseCountOrShare(text);
  if (failures !== undefined && Object.values(failures).every((number) => number > 0)) return failures;
  throw new KeyctlError("USAGE", "--max-failures takes a number of users, or a share of them such as 5%", {
    hint: "--max-failures 5%",
  });
}

function parseRate(text: string): number {
  const [, amount] = /^(\d{1,4}(?:\.\d{1,3})?)\/s$/.exec(text) ?? [];
  const rate = Number(amount ?? 0);
  if (rate > 0) return rate;
  throw new KeyctlError("USAGE", "--rate takes a number of users a second such as 5/s", { hint: "--rate 5/s" });
}
