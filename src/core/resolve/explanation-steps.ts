import { HOLDS_OWED_KEY } from "./source-candidates.ts";
import type { Candidate, Candidates } from "./source-candidates.ts";
import type { KeyctlError } from "../model/errors.ts";
import { maskOfRecord } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { ExternalSource } from "../model/log-event.ts";
import type { Step } from "../model/results.ts";

/** What the database says of a user. */
export type Stored =
  | { readonly kind: "absent"; readonly row: undefined }
  | Held
  | { readonly kind: "failed"; readonly row: KeyRecord | undefined; readonly error: KeyctlError };

interface Held {
  readonly kind: "held";
  readonly row: KeyRecord;
  readonly mask: string | null;
  readonly keyHash: string | null;
  /** What is wrong with the master keys that would open it. */
  readonly obstacle: KeyctlError | null;
}

/** Whether a key would be made if none were found. */
export interface CreationOutlook {
  readonly isAllowed: boolean;
  readonly reason: string;
  /** A mistake in our own configuration: it ends a sync before it begins. */
  readonly failure: KeyctlError | null;
  /** A mistake in what the environment says of making keys: it ends a sync that has found no key. */
  readonly fault: KeyctlError | null;
}

export interface Findings {
  readonly stored: Stored;
  readonly candidates: Candidates;
  readonly making: CreationOutlook;
  readonly winner: "database" | ExternalSource | "auto-provisioned" | null;
  /** What ends the search before it finds a key or nothing. */
  readonly stop: { readonly at: "database" | "environment"; readonly error: KeyctlError } | null;
}

export function databaseStep(stored: Stored): Step {
  const source = "database";
  switch (stored.kind) {
    case "absent":
      return { source, state: "absent", key: null, keyHash: null, reason: null };
    case "held":
      return { source, state: "used", key: stored.mask, keyHash: stored.keyHash, reason: null };
    case "failed": {
      const { row, error } = stored;
      const key = row === undefined ? null : maskOfRecord(row);
      return { source, state: "unavailable", key, keyHash: row?.keyHash ?? null, reason: error.message };
    }
  }
}

export function outsideStep(candidate: Candidate, findings: Findings): Step {
  const { name, reading, failure: failed } = candidate;
  const nothing = { source: name, key: null, keyHash: null };
  if (failed !== null) {
    return { ...nothing, state: findings.winner === null ? "unavailable" : "ignored", reason: failed.message };
  }
  switch (reading.status) {
    case "absent":
      return { ...nothing, state: "absent", reason: null };
    case "missing":
      return { ...nothing, state: "absent", reason: null };
    case "malformed":
      return { ...nothing, state: "ignored", reason: reading.detail };
    case "management-key":
      return { ...nothing, state: "ignored", reason: "holds the management key" };
    case "unreadable":
      return { ...nothing, state: "ignored", reason: `could not be read: ${reading.reason}` };
    case "owed":
      return {
        ...nothing,
        key: reading.key.masked,
        keyHash: reading.key.hash,
        state: "ignored",
        reason: HOLDS_OWED_KEY,
      };
    case "found": {
      const { masked: key, hash: keyHash } = reading.key;
      return { source: name, key, keyHash, ...standing(name, keyHash, findings) };
    }
  }
}

/** What becomes of a key that a source holds. */
function standing(
  name: ExternalSource,
  keyHash: string,
  { winner, stop, stored, candidates }: Findings,
): Pick<Step, "state" | "reason"> {
  if (winner === name) return { state: "used", reason: null };
  if (winner === null) return { state: "ignored", reason: `not used: sync stops at the ${stop?.at ?? "database"}` };
  const winning = stored.kind === "held" ? stored.keyHash : candidates.winner?.key.hash;
  if (winning === keyHash) return { state: "not_needed", reason: "holds the same key" };
  const isKnown = winning !== null;
  return { state: "shadowed", reason: isKnown ? null : "cannot be compared without the master keys" };
}

export function makingStep({ winner, stop, making }: Findings): Step {
  const step = { source: "auto-provisioned", key: null, keyHash: null } as const;
  if (winner === "auto-provisioned") return { ...step, state: "used", reason: making.reason };
  if (winner !== null) return { ...step, state: "not_needed", reason: null };
  if (making.failure !== null || (making.fault !== null && stop === null)) {
    return { ...step, state: "unavailable", reason: making.reason };
  }
  return {
    ...step,
    state: "absent",
    reason: stop === null ? making.reason : `not tried: sync stops at the ${stop.at}`,
  };
}
