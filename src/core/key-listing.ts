import type { Budget } from "./budget.ts";
import { KeyctlError } from "./errors.ts";
import { verdictOfEntry } from "./examiner.ts";
import type { Timestamp } from "./key-record.ts";
import type { Warning } from "./ports.ts";
import type { UpstreamKeys } from "./upstream.ts";
import type { Verdict } from "./verdict.ts";

/** What the list of all keys says of them. A key that is not on it has no verdict: absence says nothing. */
export class KeyListing {
  readonly at: Timestamp;
  readonly warnings: readonly Warning[];
  readonly #verdicts: ReadonlyMap<string, Verdict>;

  private constructor(verdicts: ReadonlyMap<string, Verdict>, now: number, warnings: readonly Warning[]) {
    this.#verdicts = verdicts;
    this.at = new Date(now).toISOString();
    this.warnings = warnings;
  }

  /** A list that breaks off is used as far as it goes. Rejects with MANAGEMENT_KEY_MISSING, MANAGEMENT_KEY_REFUSED. */
  static async read(keys: UpstreamKeys | undefined, budget: () => Budget, now: number): Promise<KeyListing> {
    if (keys === undefined) throw managementKeyMissing("the list of all keys cannot be read");
    const verdicts = new Map<string, Verdict>();
    for await (const page of keys.list({ kind: "everywhere" }, budget)) {
      if (page.status === "unknown") {
        const message = `the list of all keys broke off, OpenRouter ${page.detail}; keys that are not on it are asked for`;
        return new KeyListing(verdicts, now, [{ code: "LISTING_INCOMPLETE", message }]);
      }
      for (const entry of page.keys) verdicts.set(entry.hash, verdictOfEntry(entry, "list", now));
    }
    return new KeyListing(verdicts, now, []);
  }

  verdictOf(hash: string): Verdict | undefined {
    return this.#verdicts.get(hash);
  }
}

export function managementKeyMissing(what: string): KeyctlError {
  return new KeyctlError("MANAGEMENT_KEY_MISSING", `there is no management key, without which ${what}`, {
    hint: "set OPENROUTER_PROVISIONING_KEY, or OPENROUTER_PROVISIONING_KEY_FILE",
  });
}
