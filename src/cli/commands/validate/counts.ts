import { KeyctlError } from "../../../core/model/errors.ts";
import type { Validation } from "../../../core/validate/validate-key.ts";
import type { RunFacts } from "../../../core/validate/validate-many.ts";
import { attentionRemedies } from "../../../core/validate/attention-texts.ts";
import { isUsedUp } from "../../../core/model/verdict.ts";
import type { Attention } from "../../../core/model/verdict.ts";
import type { CommandAgain } from "../../command-again.ts";
import { formatSpan } from "../../format-duration.ts";
import { counted, formatNumber, plural } from "../../../core/text/format.ts";
import type { Warning } from "../../../core/model/warning.ts";
import { WarningSummary } from "../../bulk/warning-summary.ts";
import { failsOn } from "./fail-on.ts";
import type { FailOn } from "./fail-on.ts";
import { isRefusedAsBlocked, NAMES_BLOCKED } from "../../bulk/result-counts.ts";
import type { BulkSummary } from "../../bulk/user-command.ts";

type Status = "valid" | "invalid" | "unknown" | "failed";

/** The number of unknown verdicts without an error, for a number of checked keys. */
export type Allowance = (done: number) => number;

/** What a run accepts. */
export interface RunRules {
  readonly failOn: FailOn;
  readonly allowUnknown: Allowance;
  /** A run that has checked fewer keys is an error. */
  readonly expectAtLeast: number;
}

/** Counts the verdicts of a bulk run. */
export class VerdictScore implements BulkSummary<Validation> {
  readonly statuses: Record<Status, number> = { valid: 0, invalid: 0, unknown: 0, failed: 0 };
  readonly reasons: Record<"invalid" | "unknown", Map<string, number>> = { invalid: new Map(), unknown: new Map() };
  readonly attention = new Map<Attention, number>();
  readonly #facts: () => RunFacts | undefined;
  readonly #rules: RunRules;
  readonly #warnings = new WarningSummary();
  /** How many of the keys with LIMIT_USED_UP have nothing left. */
  usedUp = 0;
  readonly #again: CommandAgain;
  /** The reasons for which a key is an error. */
  readonly #pressingReasons = new Set<Attention>();
  /** What to do about the unknown verdicts, if it is the same for all of them. */
  #sharedHint: string | null | undefined;
  #needAttention = 0;
  #pressing = 0;
  #resumed = 0;
  /** Of those that failed, the users who are blocked. */
  blocked = 0;

  constructor(facts: () => RunFacts | undefined, rules: RunRules, again: CommandAgain) {
    this.#again = again;
    this.#facts = facts;
    this.#rules = rules;
  }

  add(validation: Validation): void {
    const { verdict, attention, resumed, warnings, error } = validation;
    if (isRefusedAsBlocked(validation)) this.blocked += 1;
    const status = verdict?.status ?? "failed";
    this.statuses[status] += 1;
    if (verdict !== null && verdict.status !== "valid") count(this.reasons[verdict.status], verdict.reason);
    for (const name of attention) count(this.attention, name);
    if (attention.length > 0) this.#needAttention += 1;
    if (verdict?.status === "valid" && attention.includes("LIMIT_USED_UP") && isUsedUp(verdict)) this.usedUp += 1;
    if (error?.code === "ATTENTION") this.#addPressing(attention);
    if (error?.code === "VERDICT_UNKNOWN") this.#shareHint(error.hint);
    if (resumed) this.#resumed += 1;
    this.#warnings.add(warnings);
  }

  #addPressing(attention: readonly Attention[]): void {
    this.#pressing += 1;
    for (const name of attention) if (name !== "NO_LIMIT") this.#pressingReasons.add(name);
  }

  #shareHint(hint: string | null): void {
    this.#sharedHint = this.#sharedHint === undefined || this.#sharedHint === hint ? hint : null;
  }

  get done(): number {
    const { valid, invalid, unknown, failed } = this.statuses;
    return valid + invalid + unknown + failed;
  }

  counts(rest: number) {
    const facts = this.#facts();
    return {
      total: this.done + rest,
      done: this.done,
      ...this.statuses,
      blocked: this.blocked,
      not_checked: rest,
      attention: this.#needAttention,
      distinct_keys: facts?.distinctKeys ?? 0,
      requests: facts?.requests ?? 0,
      resumed: this.#resumed,
    };
  }

  get warnings(): readonly Warning[] {
    return [...this.#warnings.all, ...(this.#facts()?.warnings ?? [])];
  }

  get isCutShort(): boolean {
    return this.#facts()?.complete === false;
  }

  error(complete: boolean, allowEmpty: boolean): KeyctlError | null {
    const { valid, invalid, unknown, failed } = this.statuses;
    const { failOn, allowUnknown, expectAtLeast } = this.#rules;
    const of = `of ${counted(this.done, "key")}`;
    if (invalid > 0 && failsOn(failOn, "invalid")) {
      return new KeyctlError("SOME_INVALID", `${formatNumber(invalid)} ${of} ${plural(invalid, "is", "are")} invalid`, {
        hint: this.#isRecorded ? "keyctl list --verdict invalid" : "see the lines above",
      });
    }
    if (failed > 0) return this.#someFailed(failed, of);
    if (!complete) return this.#cutShort();
    if (unknown > allowUnknown(this.done) && failsOn(failOn, "unknown")) {
      return new KeyctlError("SOME_UNKNOWN", `${formatNumber(unknown)} ${of} could not be checked`, {
        hint: `${this.#shared}${this.#again("--not-validated-since 1h", "--not-validated-since")}   checks only these`,
        retryable: true,
      });
    }
    if (valid + invalid < expectAtLeast) return tooFew(valid + invalid, this.done, expectAtLeast);
    if (this.#pressing > 0) {
      const message = `${formatNumber(this.#pressing)} ${of} ${plural(this.#pressing, "needs", "need")} attention`;
      return new KeyctlError("ATTENTION", message, {
        hint: `see the lines above; ${attentionRemedies(this.#pressingReasons, null)}`,
      });
    }
    if (this.done > 0 || allowEmpty) return null;
    return new KeyctlError("EMPTY_SELECTION", "no user was selected", {
      hint: "--allow-empty   accepts that",
    });
  }

  /** False where the store did not take a verdict: then `list` does not have it. */
  get #isRecorded(): boolean {
    return this.warnings.every(({ code }) => code !== "NOT_RECORDED");
  }

  #someFailed(failed: number, of: string): KeyctlError {
    const blocked = this.blocked === 0 ? "" : ` (${formatNumber(this.blocked)} blocked)`;
    const hint = ["see the lines above", ...(this.blocked > 0 ? [NAMES_BLOCKED] : [])].join("; ");
    return new KeyctlError("SOME_FAILED", `${formatNumber(failed)} ${of} could not be read${blocked}`, { hint });
  }

  /** What to do before the run is repeated; empty if there is nothing. */
  get #shared(): string {
    const hint = this.#sharedHint ?? "";
    return hint === "" || hint.startsWith("keyctl validate") ? "" : `${hint}; then   `;
  }

  #cutShort(): KeyctlError {
    const again = this.#again("--not-validated-since 24h", "--not-validated-since");
    const hint = `${this.#shared}${again}   continues where this run stopped`;
    const message =
      this.#facts()?.providerIsSick === true
        ? `OpenRouter stopped answering; the run stopped after ${counted(this.done, "key")}`
        : `timed out after ${counted(this.done, "key")}`;
    return new KeyctlError("SOME_UNKNOWN", message, { hint, retryable: true });
  }

  /** `5,000 keys checked in 9s: 4,950 valid, 38 invalid, 12 unknown`. */
  describe(elapsedMs: number): string {
    const parts = Object.entries(this.statuses).filter(([, number]) => number > 0);
    const sum = parts.map(([name, number]) => `${formatNumber(number)} ${name}`).join(", ");
    return `${counted(this.done, "key")} checked in ${formatSpan(elapsedMs)}${sum === "" ? "" : `: ${sum}`}`;
  }
}

/** An empty secret or a wrong store must not look like a success, and neither must an outage. */
function tooFew(decided: number, done: number, expected: number): KeyctlError {
  const isOutage = done >= expected;
  const found = isOutage
    ? `only ${formatNumber(decided)} of ${counted(done, "key")} could be checked`
    : `${counted(done, "key")} ${plural(done, "was", "were")} found`;
  const message = `${found}, and at least ${formatNumber(expected)} ${plural(expected, "is", "are")} expected`;
  const hint = isOutage
    ? "run it again when OpenRouter answers"
    : "keyctl doctor   says which store is used, and what names it";
  return new KeyctlError("TOO_FEW_KEYS", message, { hint, retryable: isOutage });
}

function count<Name>(counts: Map<Name, number>, name: Name): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
