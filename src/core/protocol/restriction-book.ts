import type { Deadline } from "../async/deadline.ts";
import { anySignal, deadlineIn, isTimeout } from "../async/deadline.ts";
import { raceSignal } from "../async/race-signal.ts";
import type { Restrictions } from "../model/key-record.ts";
import type { Warning } from "../model/warning.ts";
import type { Attached, Attaching, RestrictionsUpstream } from "../ports/account.ts";
import type { Unknown, UpstreamKeys } from "../ports/openrouter.ts";
import { AllowLists, attachRefusal } from "./allow-lists.ts";
import { isUnknown, newReadingTime, RecentReading } from "./recent-reading.ts";
import type { Age } from "./recent-reading.ts";

/**
 * What is attached to the keys of the account at OpenRouter: guardrails, and the allow-lists of provider keys (BYOK). They are
 * bound to a key's hash, so a new key has none of them by itself.
 * **Invariant:** a key is attached to all that its predecessor was attached to, or it is not used. Where OpenRouter does not
 * show what is attached (403 or 404), nothing is known: that is said once, and the rotation goes on.
 */

/** One reading serves a minute. */
const RECENT: Age = { mostMs: 60_000, mostMsOfFailure: 0 };
const NEW: Age = { mostMs: 0, mostMsOfFailure: 0 };
/** A removal does not wait for a list that could not be read a moment ago. */
const RECENT_OR_FAILED: Age = { mostMs: 60_000, mostMsOfFailure: 60_000 };
const DETACHING_MS = 5_000;
const MAX_TRIES = 3;

/** The guardrail of each key that has one; null: not shown. */
type Assignments = ReadonlyMap<string, readonly string[]> | null;

export class RestrictionBook implements RestrictionsUpstream {
  readonly #lists = new AllowLists();
  readonly #warn: (warning: Warning) => void;
  readonly #assignments = new RecentReading<Assignments>(readAssignments);
  #hasWarned = false;

  constructor(warn: (warning: Warning) => void) {
    this.#warn = warn;
  }

  async attachedTo(hash: string, keys: UpstreamKeys, deadline: Deadline): Promise<Attached | Unknown> {
    return this.#attachedTo(hash, keys, { deadline, age: RECENT });
  }

  async attach(
    hash: string,
    { guardrails, byok }: Restrictions,
    keys: UpstreamKeys,
    deadline: Deadline,
  ): Promise<Attaching> {
    if (guardrails.length === 0 && byok.length === 0) return { status: "attached" };
    let detail = "";
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      for (const guardrail of guardrails) {
        const answer = await keys.assignGuardrail(guardrail, hash, deadline);
        const refusal = attachRefusal(answer);
        if (refusal !== null) return { status: "failed", detail: `the guardrail: ${refusal}` };
      }
      for (const credential of byok) {
        const refusal = await this.#lists.add(credential, hash, keys, deadline);
        if (refusal !== null) return { status: "failed", detail: `an allow-list: ${refusal}` };
      }
      // Another process that edits the same list at the same moment overwrites this edit.
      const now = await this.#attachedTo(hash, keys, { deadline, age: NEW });
      if (isUnknown(now)) return { status: "failed", detail: `OpenRouter ${now.detail}` };
      const isThere = holdsAll(now.guardrails, guardrails) && holdsAll(now.byok, byok);
      if (isThere) return { status: "attached" };
      detail = "OpenRouter took it and does not show it";
    }
    return { status: "failed", detail };
  }

  async detach(hash: string, keys: UpstreamKeys, whole: Deadline): Promise<void> {
    const deadline = deadlineIn(Math.min(DETACHING_MS, whole.remainingMs()), whole.signal);
    const attached = await this.#attachedTo(hash, keys, { deadline, age: RECENT_OR_FAILED });
    if (isUnknown(attached)) return;
    for (const guardrail of attached.guardrails ?? []) await keys.unassignGuardrail(guardrail, hash, deadline);
    for (const credential of attached.byok ?? []) await this.#lists.take(credential, hash, keys, deadline);
  }

  async #attachedTo(
    hash: string,
    keys: UpstreamKeys,
    { deadline, age }: { readonly deadline: Deadline; readonly age: Age },
  ): Promise<Attached | Unknown> {
    const assignments = await within(deadline, this.#assignments.get(keys, age));
    if (isUnknown(assignments)) return assignments;
    const byok = await within(deadline, this.#lists.naming(hash, keys, age));
    if (isUnknown(byok)) return byok;
    const guardrails = assignments === null ? null : (assignments.get(hash) ?? []);
    if (guardrails === null || byok === null) this.#warnOnce();
    return { guardrails, byok };
  }

  #warnOnce(): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#warn({
      code: "RESTRICTIONS_UNKNOWN",
      message:
        "OpenRouter does not show this management key which guardrails and allow-lists name a key, so they are not carried over to new keys",
    });
  }
}

/** A reading is shared, so it has a time limit of its own. */
async function within<List>(deadline: Deadline, list: Promise<List>): Promise<List | Unknown> {
  const { signal } = deadline;
  const time = AbortSignal.timeout(Math.ceil(deadline.remainingMs()));
  try {
    return await raceSignal(list, anySignal(time, signal));
  } catch (thrown) {
    const isOver = thrown === time.reason || (thrown === signal.reason && isTimeout(thrown));
    if (!isOver) throw thrown;
    return TOO_LATE;
  }
}

const TOO_LATE: Unknown = {
  status: "unknown",
  reason: "timed_out",
  httpStatus: null,
  attempts: 1,
  detail: "did not answer in time",
  remedy: undefined,
};

async function readAssignments(keys: UpstreamKeys): Promise<Assignments | Unknown> {
  const assignments = new Map<string, string[]>();
  for await (const page of keys.guardrailAssignments(newReadingTime)) {
    if (page.status === "hidden") return null;
    if (page.status === "unknown") return page;
    for (const { keyHash, guardrail } of page.assignments) {
      assignments.set(keyHash, [...(assignments.get(keyHash) ?? []), guardrail]);
    }
  }
  return assignments;
}

function holdsAll(present: readonly string[] | null, wanted: readonly string[]): boolean {
  return wanted.every((id) => present?.includes(id) === true);
}
