import { KeyctlError } from "../../model/errors.ts";
import type { Probe } from "../collect-facts.ts";
import type { Integrity, StoreFacts } from "../../ports/stores-and-sources.ts";
import { attention, failure, pass, wrong } from "./check-result.ts";
import type { CheckVerdict } from "./check-result.ts";
import { counted } from "../../text/format.ts";

export function storeVerdict(exists: boolean, count: Probe<number>, label: string): CheckVerdict {
  if (count.status === "failed") return failure(count.error);
  if (count.status !== "known") return failure(tooLate(label));
  if (!exists) return attention(`no store exists yet at ${label}`, "keyctl sync --user <id>   creates it");
  return pass(`${label}, ${counted(count.value, "key")}`);
}

function tooLate(label: string): KeyctlError {
  return new KeyctlError("STORE_UNAVAILABLE", `${label} did not answer in time`, {
    hint: "keyctl doctor --timeout 2m",
    retryable: true,
  });
}

export function serverVerdicts({ server, details, refusal, problems }: StoreFacts): readonly CheckVerdict[] {
  const found = problems.map(({ isFailure, message, hint }) =>
    isFailure ? wrong(message, hint) : attention(message, hint),
  );
  const about = [server, ...details];
  if (refusal !== null) {
    return [
      wrong(`${[...about, "not writable"].join(", ")}: ${refusal.message}`, refusal.hint ?? "", refusal),
      ...found,
    ];
  }
  return [pass([...about, "writable"].join(", ")), ...found];
}

export function integrityUnknown(deep: boolean): CheckVerdict {
  const hint = `keyctl doctor${deep ? " --deep" : ""} --timeout 10m`;
  return attention("not checked for damage: timed out", hint);
}

/** A quick check that found no damage is not reported. */
export function integrityVerdicts(integrity: Integrity | undefined, deep: boolean): readonly CheckVerdict[] {
  if (integrity === undefined) return [];
  const { check, damage } = integrity;
  if (damage !== null) return [failure(damage)];
  return deep ? [pass(`${check} found no damage`)] : [];
}
