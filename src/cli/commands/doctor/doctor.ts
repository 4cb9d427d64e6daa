import type { Command } from "commander";
import { diagnose, diagnoseWithout } from "../../../core/doctor/diagnose.ts";
import type { CheckId, CheckFinding } from "../../../core/doctor/diagnose.ts";
import { KeyctlError } from "../../../core/model/errors.ts";
import { collectFacts } from "../../../core/doctor/collect-facts.ts";
import { toKeyctlError, anySignal, clampTimeout } from "../../../core/async/deadline.ts";
import { showDiagnosis } from "./view.ts";
import { errorDocument } from "../../invocation.ts";
import type { Invocation, Run, StoreName } from "../../invocation.ts";
import { inspectHost } from "./host-facts.ts";
import { showResult } from "../../terminal/end-of-run.ts";
import { plural } from "../../../core/text/format.ts";
import type { WorkStep } from "../../../core/model/work-step.ts";

interface DoctorFlags {
  readonly deep?: true;
}

/** The time reserved for closing the connection to a server that does not answer; at most half of the timeout. */
const CLOSE_TIMEOUT_MS = 700;

export function configureCommand(command: Command, run: Run): void {
  command
    .option("--deep", "decrypt every row, and list those that cannot be decrypted")
    .addHelpText(
      "after",
      `
Checks the store, what is in it, the master keys, the management key and
OpenRouter, key.txt, the environment and the PATH. Changes nothing, and makes no
store. The whole ends within --timeout.

Examples:
  keyctl doctor
  keyctl doctor --deep --timeout 10m
  keyctl doctor --json | jq -r '.checks[] | select(.status != "pass") | .hint'`,
    )
    .action(run((invocation, flags: DoctorFlags) => doctor(invocation, flags)));
}

async function doctor(invocation: Invocation, flags: DoctorFlags): Promise<KeyctlError | null> {
  const { terminal, version, receivedSignal } = invocation;
  const { findings, store, blocked } = await findingsOf(invocation, flags.deep === true);
  const error = failureOf(findings);
  const diagnosis = { version, findings, counts: countsOf(findings) };
  const document = {
    version,
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    store: store?.name ?? null,
    ...diagnosis.counts,
    blocked_users: blocked,
    checks: findings.map(checkDocument),
    warnings: [],
    error: errorDocument(error, receivedSignal()),
  };
  return showResult(terminal, error, null, () =>
    terminal.options.json ? terminal.document(document) : showDiagnosis(terminal, diagnosis),
  );
}

interface Findings {
  readonly findings: readonly CheckFinding[];
  readonly store: StoreName | null;
  /** How many users are blocked; null if it is not known. */
  readonly blocked: number | null;
}

/** Rejects with USAGE or INTERRUPTED. Every other failure becomes a finding. */
async function findingsOf(invocation: Invocation, deep: boolean): Promise<Findings> {
  const { progress, signal, withManager } = invocation;
  const started = performance.now();
  try {
    return await withManager(
      { mayCreateStore: false, storeMayFail: true, withoutNotices: true, logs: "none" },
      async ({ store, storeExists, subject, timeoutMs }) => {
        const reserved = Math.min(CLOSE_TIMEOUT_MS, timeoutMs / 2);
        const timeMs = clampTimeout(Math.max(0, timeoutMs - reserved - (performance.now() - started)));
        const patience = anySignal(signal, AbortSignal.timeout(timeMs));
        const around = inspectHost(invocation, store, patience);
        progress.begin({ what: "doctor", unit: "rows" });
        const onStep = ({ done, total }: WorkStep) => progress.update(done, total);
        const facts = await collectFacts(subject, { storeExists, deep, timeMs, onStep }, signal);
        const blocked = facts.census.status === "known" ? facts.census.value.blocked.count : null;
        return { findings: diagnose(facts, await around), store, blocked };
      },
    );
  } catch (thrown) {
    const error = toKeyctlError(thrown);
    if (error.code === "USAGE" || error.code === "INTERRUPTED") throw error;
    return {
      findings: diagnoseWithout(error, await inspectHost(invocation, null, signal)),
      store: null,
      blocked: null,
    };
  }
}

/** The checks whose error the run ends with, the most severe first. Without one, it ends with ATTENTION. */
const GRAVEST: readonly (readonly CheckId[])[] = [
  ["store", "server", "encryption"],
  ["configuration", "master_keys"],
];

function failureOf(findings: readonly CheckFinding[]): KeyctlError | null {
  const worries = findings.flatMap((finding) => (finding.status === "pass" ? [] : [finding]));
  const failed = worries.flatMap((finding) => (finding.status === "fail" ? [finding] : []));
  const [first] = [...failed, ...worries];
  if (first === undefined) return null;
  const causes = GRAVEST.map((ids) => failed.find(({ id, cause }) => ids.includes(id) && cause !== null));
  const gravest = causes.find((finding) => finding !== undefined);
  const { code = "ATTENTION", retryable = false } = gravest?.cause ?? {};
  const hint = (gravest ?? first).hint;
  return new KeyctlError(code, sentence(failed.length, worries.length - failed.length), {
    ...(hint === null ? {} : { hint }),
    retryable,
  });
}

/** `1 check failed, 3 need attention`. */
function sentence(failed: number, attention: number): string {
  const failures = `${failed} ${plural(failed, "check")} failed`;
  if (attention === 0) return failures;
  const need = plural(attention, "needs attention", "need attention");
  if (failed > 0) return `${failures}, ${attention} ${need}`;
  return `${attention} ${plural(attention, "check")} ${need}`;
}

function countsOf(findings: readonly CheckFinding[]) {
  const count = (status: CheckFinding["status"]) => findings.filter((finding) => finding.status === status).length;
  return { passed: count("pass"), attention: count("attention"), failed: count("fail") };
}

function checkDocument(finding: CheckFinding): object {
  const { id, status, message } = finding;
  return { id, status, message, hint: finding.status === "pass" ? null : finding.hint };
}
