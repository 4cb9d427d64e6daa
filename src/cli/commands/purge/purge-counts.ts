import type { PurgeResult } from "../../../core/model/results.ts";
import { counted, plural } from "../../../core/text/format.ts";
import { ResultCounts } from "../../bulk/result-counts.ts";
import type { CommandAgain } from "../../command-again.ts";
import type { Many } from "../../bulk/selection.ts";
import { hadEarlierKeys, howToBlock, howToEnd, remarkOnNextSync } from "./purge-texts.ts";

/** The results of a bulk purge, and the state of the purged keys at OpenRouter. */
export class PurgeCounts extends ResultCounts<PurgeResult> {
  #revoked = 0;
  /** Purged keys that stay active at OpenRouter: created by keyctl, and others. */
  #kept = 0;
  #foreign = 0;
  #blocked = 0;
  /** The next sync of a purged user would bring a key back. */
  #returns = false;

  constructor() {
    super({
      endings: ["purged", "had_earlier_keys", "had_no_key"],
      endingOf: (result) => (result.purged ? "purged" : hadEarlierKeys(result) ? "had_earlier_keys" : "had_no_key"),
      isBlocked: ({ blocked }) => blocked,
      remark: ({ purged, returnsFrom }) => (purged ? remarkOnNextSync(returnsFrom) : undefined),
    });
  }

  override add(result: PurgeResult): void {
    super.add(result);
    const { purged, blocked, former, revocation, revokedKeys, returnsFrom } = result;
    this.#revoked += revokedKeys;
    if (blocked) this.#blocked += 1;
    this.#returns ||= purged && returnsFrom.length > 0;
    if (!purged || revocation !== "kept") return;
    if (former?.isOurs === true) this.#kept += 1;
    else this.#foreign += 1;
  }

  override counts(rest: number) {
    return { ...super.counts(rest), kept: this.#kept + this.#foreign, revoked_keys: this.#revoked };
  }

  override describe(elapsedMs: number): string {
    const active = this.#kept + this.#foreign;
    return [
      super.describe(elapsedMs),
      ...(this.#revoked > 0
        ? [`${counted(this.#revoked, "key")} ${plural(this.#revoked, "was", "were")} deleted at OpenRouter`]
        : []),
      ...(active > 0 ? [`${counted(active, "key")} ${plural(active, "stays", "stay")} active at OpenRouter`] : []),
      ...(this.#blocked > 0 ? [`${counted(this.#blocked, "user")} ${plural(this.#blocked, "is", "are")} blocked`] : []),
    ].join("; ");
  }

  /**
   * How to end the purged keys that stay active, and how to keep out those that would come back. A purge of all users that
   * is run again selects nobody.
   */
  hints(again: CommandAgain, selection: Many["kind"] | undefined): readonly string[] {
    const isAgain = selection !== "all";
    const ours = isAgain ? again("--revoke") : "keyctl reconcile --include-kept --fix";
    return [
      howToEnd({ ours: this.#kept, foreign: this.#foreign }, ours),
      this.#returns && isAgain ? howToBlock(again("--block")) : undefined,
    ].filter((hint) => hint !== undefined);
  }
}
