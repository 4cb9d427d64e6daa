import { Candidates } from "./source-candidates.ts";
import { ABSENT, decide, permissionOf, wishOf } from "./decide.ts";
import { assertRoomUnderCap } from "./creation-obstacles.ts";
import { withTimeLimit } from "../async/deadline.ts";
import { isKeyctlError } from "../model/errors.ts";
import type { PurgeResult } from "../model/results.ts";
import { lookUpGiven } from "../protocol/given-key.ts";
import type { Context } from "../context.ts";

/** The time limit for this addition to a result. */
const LOOK_MS = 5_000;

/** Predicts the next sync of a user without a row. The checks of this machine run once for all users of a run. */
export class NextSync {
  readonly #context: Context;
  readonly #autoProvision: boolean;
  readonly #canPerform = new Map<"save" | "create", boolean>();

  constructor(context: Context, autoProvision: boolean) {
    this.#context = context;
    this.#autoProvision = autoProvision;
  }

  /**
   * The sources in which the next sync finds a key, or `auto-provisioned` if it creates one; empty if it would fail.
   * Rejects only for a bug.
   * @param doomed the hashes of further keys that will be marked for deletion at OpenRouter by then
   */
  async returnsFrom(doomed: ReadonlySet<string>, caller: AbortSignal): Promise<PurgeResult["returnsFrom"]> {
    return withTimeLimit({ timeoutMs: LOOK_MS, signal: caller }, (signal) => this.#lookAhead(doomed, signal));
  }

  async #lookAhead(doomed: ReadonlySet<string>, signal: AbortSignal): Promise<PurgeResult["returnsFrom"]> {
    try {
      const wish = wishOf(this.#context, this.#autoProvision);
      const candidates = await this.#usable(doomed, signal);
      const { kind } = decide(ABSENT, candidates, permissionOf(this.#context, wish));
      if (kind !== "save" && kind !== "create") return [];
      if (!(await this.#performs(kind, signal))) return [];
      return kind === "create" ? ["auto-provisioned"] : candidates.holders.map(({ name }) => name);
    } catch (thrown) {
      if (isKeyctlError(thrown) || signal.aborted) return [];
      throw thrown;
    }
  }

  /** All sources with a key that may be stored, not only the first one. */
  async #usable(doomed: ReadonlySet<string>, signal: AbortSignal): Promise<Candidates> {
    const { sources, journal } = this.#context;
    let candidates = await Candidates.readBeside(sources);
    for (const { name, key } of candidates.holders) {
      const isOwed = doomed.has(key.hash) || (await lookUpGiven(key, journal, signal)).kind === "owed";
      if (isOwed) candidates = candidates.withOwed(name);
    }
    return candidates;
  }

  /** Without an answer in time, no obstacle is assumed. */
  async #performs(kind: "save" | "create", signal: AbortSignal): Promise<boolean> {
    const known = this.#canPerform.get(kind);
    if (known !== undefined) return known;
    let can = true;
    try {
      if (kind === "create") this.#context.managementKey();
      await this.#context.assertCanSeal(signal);
      if (kind === "create") await assertRoomUnderCap(this.#context, signal);
    } catch (thrown) {
      if (!isKeyctlError(thrown) && !signal.aborted) throw thrown;
      if (signal.aborted) return true;
      can = false;
    }
    this.#canPerform.set(kind, can);
    return can;
  }
}
