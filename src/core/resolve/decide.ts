import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { ExternalSource } from "../model/log-event.ts";
import { termsFor } from "../model/provision-terms.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import type { Context } from "../context.ts";
import type { Candidates } from "./source-candidates.ts";

/**
 * **Order:** the database, then key.txt, then the environment, then a new key. A key in the database wins and is never
 * overwritten by a sync. Absent is not unavailable: a place that fails ends the search. A sync performs the decision;
 * an explanation and a dry run print it.
 */
export function decide(stored: Stored, candidates: DecisionInput, permission: Permission): Decision {
  if (stored.kind === "held") return { kind: "keep" };
  if (stored.kind === "failed") return { kind: "fail", at: "database", error: stored.error };
  if (candidates.failure !== null) return { kind: "fail", at: "environment", error: candidates.failure };
  if (candidates.winner !== undefined) {
    return { kind: "save", from: candidates.winner.name, key: candidates.winner.key };
  }
  if (permission.kind === "off") return { kind: "none", reason: "switched off", isRefused: false };
  if (permission.fault !== null) return { kind: "fail", at: "auto-provisioned", error: permission.fault };
  if (permission.kind === "no-management-key") {
    return { kind: "none", reason: "OPENROUTER_PROVISIONING_KEY is not set", isRefused: false };
  }
  const refusal = candidates.refusal ?? permission.refusal;
  return refusal === null
    ? { kind: "create", terms: permission.terms }
    : { kind: "none", reason: refusal, isRefused: true };
}

/** The state of a user's row. */
export type Stored =
  | { readonly kind: "absent" }
  | { readonly kind: "held" }
  | { readonly kind: "failed"; readonly error: KeyctlError };

export const ABSENT = { kind: "absent" } as const;

type DecisionInput = Pick<Candidates, "failure" | "winner" | "refusal">;

/** The source of a user's key, and whether a key is created. */
export type Decision =
  | { readonly kind: "keep" }
  | { readonly kind: "save"; readonly from: ExternalSource; readonly key: ApiKey }
  | { readonly kind: "create"; readonly terms: WantedTerms }
  /** `isRefused`: a key is wanted and could be created, except for the reason. */
  | { readonly kind: "none"; readonly reason: string; readonly isRefused: boolean }
  | {
      readonly kind: "fail";
      readonly at: "database" | "environment" | "auto-provisioned";
      readonly error: KeyctlError;
    };

/** The reason why a wanted key is not created; null for any other decision. */
export function refusalIn(decision: Decision): string | null {
  return decision.kind === "none" && decision.isRefused ? decision.reason : null;
}

/** Whether a key may be created for a user without one. */
export type Permission =
  | { readonly kind: "off" }
  | { readonly kind: "no-management-key"; readonly fault: KeyctlError | null }
  | { readonly kind: "may"; readonly fault: KeyctlError }
  | { readonly kind: "may"; readonly fault: null; readonly terms: WantedTerms; readonly refusal: string | null };

/** Whether a key is wanted, as far as is known before the database answers. Throws CONFIG_… errors. */
export function wishOf({ hasManagementKey }: Pick<Context, "hasManagementKey">, autoProvision: boolean): Wish {
  if (!autoProvision) return "off";
  return hasManagementKey() ? "may" : "no-management-key";
}

export type Wish = Permission["kind"];

/** Called after the database has answered: only then is it certain whether the database was just created. */
export function permissionOf({ provisioning }: Pick<Context, "provisioning">, wish: Wish): Permission {
  if (wish === "off") return { kind: wish };
  try {
    const terms = termsFor(provisioning);
    return wish === "may"
      ? { kind: wish, fault: null, terms, refusal: provisioning.refusal }
      : { kind: wish, fault: null };
  } catch (thrown) {
    if (isKeyctlError(thrown)) return { kind: wish, fault: thrown };
    throw thrown;
  }
}
