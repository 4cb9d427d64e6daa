import type { Command } from "commander";
import { KeyctlError } from "../../../core/model/errors.ts";
import type { LogEvent } from "../../../core/model/log-event.ts";
import type { KeyManager } from "../../../core/manager/manager.ts";
import { WARN_WITHIN_MS } from "../../../core/model/verdict.ts";
import { toKeyctlError } from "../../../core/async/deadline.ts";
import { validationFailed } from "../../../core/validate/validate-key.ts";
import type { Validation } from "../../../core/validate/validate-key.ts";
import type { ValidationRun } from "../../../core/validate/validate-many.ts";
import { formatExactly } from "../../format-duration.ts";
import { MANY_USERS } from "../../help-format.ts";
import { flagFuture, flagPast } from "../../time-flags.ts";
import type { TimeFlag } from "../../time-flags.ts";
import { forUsers } from "../../bulk/user-command-runner.ts";
import { emptyInput, readKeyInput } from "../key-input.ts";
import { userDocument } from "../../invocation.ts";
import type { Invocation, Run } from "../../invocation.ts";
import { addConcurrencyOption } from "../../bulk/concurrency.ts";
import { parseCountOrShare } from "../../bulk/number-flags.ts";
import { addSelection } from "../../bulk/selection.ts";
import { VALIDATED_AT_ONCE } from "../../../core/model/number-options.ts";
import { VerdictScore } from "./counts.ts";
import { parseExpected, parseFailOn, tolerated, withLimits } from "./fail-on.ts";
import type { FailOn } from "./fail-on.ts";
import { showResult } from "../../terminal/end-of-run.ts";
import type { Allowance } from "./counts.ts";
import { verdictScreen } from "./summary-view.ts";
import type { LimitWords } from "./summary-view.ts";
import { showValidation, validationDocument } from "../../views/verdict-view.ts";
import type { ValidateOptions } from "../../../core/validate/validate-key.ts";
import { addBulkOptions } from "../../bulk/user-command.ts";
import type { BulkFlags, UserCommand } from "../../bulk/user-command.ts";

interface ValidateFlags extends BulkFlags {
  readonly stdin?: true;
  readonly concurrency?: number;
  readonly allowUnknown?: Allowance;
  readonly failOn?: FailOn;
  readonly expectAtLeast?: number;
  readonly notValidatedSince?: TimeFlag;
  readonly fromListing?: true;
  readonly warnWithin?: TimeFlag;
  readonly minRemaining?: number;
}

const INSTEAD = "keyctl validate --stdin < key.txt";

export function configureCommand(command: Command, run: Run): void {
  addConcurrencyOption(addBulkOptions(addSelection(command)), "keys checked", VALIDATED_AT_ONCE)
    .option("--stdin", "read the key from standard input; use no database")
    .option(
      "--warn-within <duration|date>",
      "exit 10 for a key that expires within this time",
      flagFuture("--warn-within"),
    )
    .option("--min-remaining <usd>", "exit 10 for a key with less of its limit left", dollars)
    .option("--fail-on <results>", "exit 0 but for these: invalid,unknown,attention, or none", parseFailOn)
    .optionsGroup(MANY_USERS)
    .option("--allow-unknown <n|n%>", "accept this many unknown verdicts (default 0)", allowance)
    .option("--expect-at-least <n>", "exit 3 if fewer keys are valid or invalid", parseExpected)
    .option(
      "--not-validated-since <duration|date>",
      "reuse verdicts younger than this",
      flagPast("--not-validated-since"),
    )
    .option("--from-listing", "decide by OpenRouter's list of all keys (needs a management key)")
    .addHelpText(
      "after",
      `
Looks at the database only, and saves nothing but the verdict. A key is valid
(exit 0), invalid (exit 5) or, when nobody could find out, unknown (exit 6).

Examples:
  keyctl validate --user alice
  keyctl validate --all --json --output verdicts.jsonl
  keyctl validate --all --not-validated-since 24h --allow-unknown 1%
  keyctl validate --all --fail-on unknown,attention --expect-at-least 100
  keyctl validate --stdin < key.txt`,
    )
    .action(run((invocation, flags: ValidateFlags) => validate(invocation, flags)));
}

async function validate(invocation: Invocation, flags: ValidateFlags): Promise<KeyctlError | null> {
  const { user, usersFile, all, stdin, expectAtLeast } = flags;
  if (stdin !== true) return forUsers(invocation, flags, validateCommand(invocation, flags));
  if (expectAtLeast !== undefined) {
    throw new KeyctlError("USAGE", "--expect-at-least counts the keys of users", { hint: INSTEAD });
  }
  if (user !== undefined || usersFile !== undefined || all !== undefined) {
    throw new KeyctlError("USAGE", "a key on standard input belongs to no user", {
      hint: "give --stdin, or users with --user, --users-file or --all",
    });
  }
  return validateInput(invocation, flags);
}

async function validateInput(invocation: Invocation, flags: ValidateFlags): Promise<KeyctlError | null> {
  const { terminal, withManager, receivedSignal } = invocation;
  const options = optionsOf(invocation, flags);
  const attempt = async () => {
    try {
      const text = await readKeyInput(invocation, "The key to validate:", INSTEAD);
      if (text === "" && !terminal.options.isInteractive) throw emptyInput(INSTEAD);
      return await withManager({ mayCreateStore: false, withoutStore: true, logs: "all" }, ({ manager }) =>
        manager.validateKeyWithApi(text, options),
      );
    } catch (thrown) {
      return validationFailed(null, toKeyctlError(thrown));
    }
  };
  const validation = tolerated(flags.failOn ?? null, await attempt());
  const { error } = validation;
  const document = userDocument(validationDocument(validation), error, receivedSignal());
  return showResult(terminal, error, null, () =>
    terminal.options.json ? terminal.document(document) : showValidation(terminal, validation),
  );
}

function validateCommand(invocation: Invocation, flags: ValidateFlags): UserCommand<Validation> {
  const { terminal } = invocation;
  const options = optionsOf(invocation, flags);
  const { failOn = null, allowUnknown = noneAllowed, expectAtLeast = 0 } = flags;
  let run: ValidationRun | undefined;
  const rules = { failOn, allowUnknown, expectAtLeast };
  const score = new VerdictScore(() => run?.facts, rules, invocation.commandAgain);
  return {
    name: "validate",
    asMany: expectAtLeast > 0,
    needs: { mayCreateStore: false, logs: "all" },
    one: async (manager, user) => tolerated(failOn, await manager.validate(user, options)),
    async *many(manager: KeyManager, batches, _selection, stop) {
      const { concurrency, fromListing = false, notValidatedSince } = flags;
      const notValidatedSinceMs = notValidatedSince?.milliseconds;
      run = await manager.validateMany({ ...options, concurrency, fromListing, notValidatedSinceMs, stop });
      for await (const found of run.results(batches)) {
        const results = found.map((one) => tolerated(failOn, one));
        if (flags.log === true) for (const event of results.flatMap(eventsOf)) terminal.log(event);
        yield results;
      }
    },
    failed: validationFailed,
    document: validationDocument,
    show: (validation) => showValidation(terminal, validation),
    columns: [],
    cells: () => [],
    score: () => score,
    screen: (store) => verdictScreen(invocation, score, store, limitsOf(flags)),
  };
}

function optionsOf({ signal }: Invocation, flags: ValidateFlags): ValidateOptions {
  const { warnWithin, minRemaining, failOn = null } = flags;
  return withLimits(failOn, { signal, warnWithinMs: warnWithin?.milliseconds, minRemaining });
}

function limitsOf({ warnWithin, minRemaining = 0 }: ValidateFlags): LimitWords {
  const soon =
    warnWithin?.isDate === true
      ? `before ${warnWithin.at.toISOString()}`
      : `within ${formatExactly(warnWithin?.milliseconds ?? WARN_WITHIN_MS)}`;
  return { warnWithin: soon, minRemaining };
}

/** Keys are checked concurrently; the log lines of one key stay together. */
function eventsOf({ verdict, resumed }: Validation): readonly LogEvent[] {
  if (verdict === null || resumed) return [];
  const asked = { kind: "validating" } as const;
  if (verdict.status === "unknown") return [asked, { kind: "not-validated", reason: verdict.detail }];
  return [asked, { kind: verdict.status === "valid" ? "validated" : "invalid" }];
}

function dollars(text: string): number {
  if (/^\d{1,9}(?:\.\d{1,6})?$/.test(text)) return Number(text);
  throw new KeyctlError("USAGE", "--min-remaining takes an amount in USD such as 0.50", {
    hint: "--min-remaining 0.50",
  });
}

function noneAllowed(): number {
  return 0;
}

function allowance(text: string): Allowance {
  const allowed = parseCountOrShare(text);
  if (allowed !== undefined) return (done) => ("count" in allowed ? allowed.count : (done * allowed.percent) / 100);
  throw new KeyctlError("USAGE", "--allow-unknown takes a number of keys, or a share of them such as 1%", {
    hint: "--allow-unknown 1%",
  });
}
