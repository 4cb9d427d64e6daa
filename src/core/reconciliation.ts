import { budgetOf } from "./budget.ts";
import { takeInventory } from "./inventory.ts";
import type { Inventory } from "./inventory.ts";
import { parseKeyName } from "./key-name.ts";
import { claims, duplicate, planFor, repair, unclaimed } from "./reconciling.ts";
import type { Claim, Finding, Tally } from "./reconciling.ts";
import type { Workshop } from "./repairs.ts";
import type { Parts } from "./resolution.ts";
import { importSpool } from "./spool-import.ts";
import { requireUpstreamKeys } from "./upstream-access.ts";
import type { UserId } from "./user-id.ts";

const PAGE_MS = 60_000;

/** OpenRouter with the management key, and this store's id. Rejects with MANAGEMENT_KEY_MISSING, CONFIG_… errors. */
export async function workshopOf(parts: Parts, patience: () => AbortSignal): Promise<Workshop> {
  const keys = await requireUpstreamKeys(parts, "the list of all keys cannot be read");
  return { ...parts, keys, deployment: await parts.journal.deployment(patience()), patience };
}

/** All keys upstream. Rejects with PROVIDER_UNAVAILABLE, MANAGEMENT_KEY_REFUSED. */
export async function inventoryOf({ keys, patience, clock }: Workshop): Promise<Inventory> {
  return takeInventory(keys, () => budgetOf(PAGE_MS, patience()), clock.now().getTime());
}

/**
 * One comparison of everything upstream with everything that is stored: upstream is listed first, then records are read.
 * `plan` says what it found and would do; `fix` does that afterwards.
 */
export class Reconciliation {
  readonly tally: Tally = { matched: 0, kept: 0 };
  readonly #workshop: Workshop;
  readonly #inventory: Inventory;
  readonly #only: UserId | undefined;
  readonly #toRepair: Claim[] = [];

  private constructor(workshop: Workshop, inventory: Inventory, only: UserId | undefined) {
    this.#workshop = workshop;
    this.#inventory = inventory;
    this.#only = only;
  }

  /** Keys that wait in files are brought in where something may be changed. */
  static async begin(
    parts: Parts,
    { only, fixes, patience }: { only: UserId | undefined; fixes: boolean; patience: () => AbortSignal },
  ): Promise<Reconciliation> {
    const workshop = await workshopOf(parts, patience);
    if (fixes && parts.spool.mayHoldKeys()) {
      const spooled = await parts.spool.list(workshop.deployment, only);
      for (const user of new Set(spooled.map(({ userId }) => userId))) await importSpool(user, parts, patience());
    }
    return new Reconciliation(workshop, await inventoryOf(workshop), only);
  }

  /** How many keys there are upstream. */
  get listed(): number {
    return this.#inventory.byHash.size;
  }

  /** How many of them this store has made, by their names. */
  get ours(): number {
    const { deployment } = this.#workshop;
    return [...this.#inventory.byHash.values()].filter(({ name }) => parseKeyName(name)?.deployment === deployment)
      .length;
  }

  /** False: keys came and went all the time, so that nothing is said of rows whose key was not seen. */
  get isStable(): boolean {
    return this.#inventory.isStable;
  }

  async *plan(): AsyncGenerator<Finding> {
    const { deployment } = this.#workshop;
    const found = await claims(this.#inventory, this.#workshop, this.#only);
    for (const claim of found.claims) yield* this.#planFor(claim);
    const seen = new Set(found.claims.map(({ user }) => user));
    if (this.#only !== undefined) {
      if (!seen.has(this.#only)) yield* this.#planFor({ user: this.#only, keys: [] });
      return;
    }
    for (const key of found.unclaimed) yield unclaimed(key, deployment);
    yield* this.#planRows(seen);
  }

  /** After `plan`. A key that cannot be removed comes with its error; what fails for all of them is thrown. */
  async *fix(): AsyncGenerator<Finding> {
    for (const claim of this.#toRepair) {
      const findings = await repair(claim, this.#workshop);
      yield* findings.filter(({ action }) => action !== "none");
    }
  }

  async *#planFor(claim: Claim): AsyncGenerator<Finding> {
    const { findings, needsRepair } = await planFor(claim, this.#inventory, this.#workshop, this.tally);
    if (needsRepair) this.#toRepair.push(claim);
    yield* findings;
  }

  /** Rows of users who have no key upstream, and keys that stand in two rows. */
  async *#planRows(seen: ReadonlySet<UserId>): AsyncGenerator<Finding> {
    const { store, patience } = this.#workshop;
    const hashes = new Set<string>();
    for await (const row of store.scan(patience)) {
      if (row.keyHash !== null && hashes.size === hashes.add(row.keyHash).size) yield duplicate(row);
      const needsLook = !row.settled || row.generation > 0;
      if (needsLook && !seen.has(row.userId)) yield* this.#planFor({ user: row.userId, keys: [] });
    }
  }
}
