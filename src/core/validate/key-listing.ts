import { timeAtOpenRouter, verdictOfEntry } from "./decide-verdict.ts";
import type { VerdictSources } from "./decide-verdict.ts";
import type { Timestamp } from "../model/key-record.ts";
import type { Verdict } from "../model/verdict.ts";
import { managementKeyMissing } from "../model/management-key.ts";
import type { Warning } from "../model/warning.ts";
import type { Deadline } from "../async/deadline.ts";

/** The verdicts from the list of all keys. A key that is not listed has no verdict: absence proves nothing. */
export class KeyListing {
  readonly at: Timestamp;
  readonly warnings: readonly Warning[];
  readonly #verdicts: ReadonlyMap<string, Verdict>;

  private constructor(verdicts: ReadonlyMap<string, Verdict>, now: number, warnings: readonly Warning[]) {
    this.#verdicts = verdicts;
    this.at = new Date(now).toISOString();
    this.warnings = warnings;
  }

  /**
   * A listing that breaks off is used as far as it was read. Rejects with MANAGEMENT_KEY_MISSING,
   * MANAGEMENT_KEY_REFUSED.
   */
  static async read(sources: VerdictSources, budget: () => Deadline): Promise<KeyListing> {
    const { keys, now } = sources;
    const at = now();
    if (keys === undefined) throw managementKeyMissing("the list of all keys cannot be read");
    const verdicts = new Map<string, Verdict>();
    for await (const page of keys.list({ kind: "everywhere" }, budget)) {
      if (page.status === "unknown") {
        const message = `the list of all keys broke off, OpenRouter ${page.detail}; keys that are not on it are asked for`;
        return new KeyListing(verdicts, at, [{ code: "LISTING_INCOMPLETE", message }]);
      }
      const time = timeAtOpenRouter(sources);
      for (const entry of page.keys) verdicts.set(entry.hash, verdictOfEntry(entry, "list", time));
    }
    return new KeyListing(verdicts, at, []);
  }

  verdictOf(hash: string): Verdict | undefined {
    return this.#verdicts.get(hash);
  }
}
