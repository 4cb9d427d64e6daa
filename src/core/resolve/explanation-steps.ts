import { HOLDS_OWED_KEY } from "./source-candidates.ts";
import type { Candidate } from "./source-candidates.ts";
import type { Foresight, StoredKey } from "./preview-decision.ts";
import { maskOfRecord } from "../model/key-record.ts";
import type { ExternalSource } from "../model/log-event.ts";
import type { Explanation, Step } from "../model/results.ts";

/** The source of the key; null without one. It is reported even if a later step of the sync would fail. */
export function winnerOf({ decision }: Pick<Foresight, "decision">): Explanation["winner"] {
  switch (decision.kind) {
    case "keep":
      return "database";
    case "save":
      return decision.from;
    case "create":
      return "auto-provisioned";
    case "none":
    case "fail":
      return null;
  }
}

/** Why the search ends before a later source. */
function endOf(foresight: Foresight): string {
  return isBlocked(foresight.stored) ? "the user is blocked" : `sync stops at the ${stopOf(foresight) ?? "database"}`;
}

/** The place that ends the search before a key would be created; null if none does. */
function stopOf({ decision }: Foresight): "database" | "environment" | null {
  return decision.kind === "fail" && decision.at !== "auto-provisioned" ? decision.at : null;
}

export function databaseStep(stored: StoredKey): Step {
  const source = "database";
  switch (stored.kind) {
    case "absent":
      return { source, state: "absent", key: null, keyHash: null, reason: null };
    case "held":
      return { source, state: "used", key: stored.mask, keyHash: stored.keyHash, reason: null };
    case "failed": {
      const { row, error } = stored;
      const key = row === undefined ? null : maskOfRecord(row);
      const state = isBlocked(stored) ? "blocked" : "unavailable";
      return { source, state, key, keyHash: row?.keyHash ?? null, reason: error.message };
    }
  }
}

function isBlocked(stored: StoredKey): boolean {
  return stored.kind === "failed" && stored.error.code === "USER_BLOCKED";
}

export function outsideStep(candidate: Candidate, foresight: Foresight): Step {
  const { name, reading, failure: failed } = candidate;
  const nothing = { source: name, key: null, keyHash: null };
  if (failed !== null) {
    return { ...nothing, state: winnerOf(foresight) === null ? "unavailable" : "ignored", reason: failed.message };
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
      return { source: name, key, keyHash, ...standing(name, keyHash, foresight) };
    }
  }
}

/** The state of a source that holds a key. */
function standing(name: ExternalSource, keyHash: string, foresight: Foresight): Pick<Step, "state" | "reason"> {
  const { stored, candidates } = foresight;
  const winner = winnerOf(foresight);
  if (winner === name) return { state: "used", reason: null };
  if (winner === null) return { state: "ignored", reason: `not used: ${endOf(foresight)}` };
  const winning = stored.kind === "held" ? stored.keyHash : candidates.winner?.key.hash;
  if (winning === keyHash) return { state: "not_needed", reason: "holds the same key" };
  const isKnown = winning !== null;
  return { state: "shadowed", reason: isKnown ? null : "cannot be compared without the master keys" };
}

export function creationStep(foresight: Foresight): Step {
  const step = { source: "auto-provisioned", key: null, keyHash: null } as const;
  const { decision, startFailure } = foresight;
  const stop = stopOf(foresight);
  if (decision.kind === "create") return { ...step, state: "used", reason: "a new key would be created" };
  if (winnerOf(foresight) !== null) return { ...step, state: "not_needed", reason: null };
  if (startFailure !== null) return { ...step, state: "unavailable", reason: startFailure.message };
  if (stop !== null) return { ...step, state: "absent", reason: `not tried: ${endOf(foresight)}` };
  if (decision.kind === "fail") return { ...step, state: "unavailable", reason: decision.error.message };
  return { ...step, state: "absent", reason: decision.kind === "none" ? decision.reason : null };
}
