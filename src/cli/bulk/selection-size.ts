import type { KeyManager } from "../../core/manager/manager.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { countLines, countSelected, isPiped } from "./selection.ts";
import type { Many } from "./selection.ts";

/** The time for counting what an interrupted run has left. */
const COUNT_MS = 5_000;

/** How many users a selection has, and how many of them a run has not begun. */
export class SelectionSize {
  readonly #selection: Many;
  readonly #manager: KeyManager;
  readonly #signal: AbortSignal;
  /** Undefined until it is known. */
  #total: number | undefined;
  /** Lines with a user of an earlier one. */
  #repeated = 0;

  constructor(selection: Many, manager: KeyManager, signal: AbortSignal) {
    this.#selection = selection;
    this.#manager = manager;
    this.#signal = signal;
  }

  /** Before a run that may change the number of users in the database. */
  async prepare(counted: number | undefined): Promise<void> {
    const { kind, shard } = this.#selection;
    this.#total = counted ?? this.#total;
    if (kind === "all" && shard === undefined) this.#total ??= await this.#manager.count({ signal: this.#signal });
  }

  readonly onRepeated = (): void => void (this.#repeated += 1);

  /** The lines that `expected` counts, and that are no users of their own. */
  get passed(): number {
    return this.#total === undefined ? this.#repeated : 0;
  }

  /** The total for a line of progress: of a part of all users, about as many as there are in each part. */
  async expected(): Promise<number | undefined> {
    const selection = this.#selection;
    if (this.#total !== undefined) return this.#total;
    if (isPiped(selection)) return undefined;
    if (selection.kind === "file") return countLines(selection, this.#signal);
    if (selection.kind === "listed") return selection.shard === undefined ? selection.users.length : undefined;
    const count = await this.#manager.count({ signal: this.#signal });
    return Math.round(count / (selection.shard?.count ?? 1));
  }

  /**
   * How many users and faulty lines were not begun. Of input that another program is still writing, only those count
   * that have arrived. Never rejects: of users that cannot be counted, those count that were read.
   * @param done how many have a result
   * @param left users that were read and have no result
   * @param users the rest of the selection
   */
  async rest(
    { done, left }: { readonly done: number; readonly left: () => number },
    users: AsyncGenerator<readonly UserId[]>,
  ): Promise<number> {
    const selection = this.#selection;
    if (this.#total !== undefined) return Math.max(0, this.#total - done);
    let more = 0;
    try {
      if (selection.kind === "all" && this.#signal.aborted) {
        const count = await countSelected(this.#manager, selection.shard, AbortSignal.timeout(COUNT_MS));
        return Math.max(0, count - done);
      }
      if (isPiped(selection)) return left();
      for (let next = await users.next(); next.done !== true; next = await users.next()) more += next.value.length;
    } catch {
      // The run reports what stopped it.
    }
    return left() + more;
  }
}
