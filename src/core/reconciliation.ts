import { budgetOf } from "./budget.ts";
import { takeInventory } from "./inventory.ts";
import type { Inventory } from "./inventory.ts";
import { parseKeyName } from "./key-name.ts";
import type { Warning } from "./ports.ts";
import { claims, duplicate, planFor, repair, unclaimed } from "./reconciling.ts";
import type { Claim, Finding, Tally } from "./reconciling.ts";
import type { Workshop } from "./repairs.ts";
import type { Standing } from "./protocol/account.ts";
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

export interface ReconcileTask {
  readonly only: UserId | undefined;
  readonly fixes: boolean;
  /** Binds the store to the account of the management key first. */
  readonly adoptAccount: boolean;
  readonly patience: () => AbortSignal;
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
  /** False: keys came and went all the time, so that nothing is said of rows whose key was not seen. */
  readonly isStable: boolean;

  private constructor(workshop: Workshop, inventory: Inventory, standing: Standing, only: UserId | undefined) {
    this.#workshop = workshop;
    this.isStable = inventory.isStable;
    // What may be another account's list does not say that a key is gone.
    this.#inventory = { ...inventory, isStable: inventory.isStable && standing !== "unknown" };
    this.#only = only;
  }

  /** Keys that wait in files are brought in where something may be changed. Rejects with MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT. */
  static async begin(parts: Parts, { only, fixes, adoptAccount, patience }: ReconcileTask): Promise<Reconciliation> {
    const workshop = await workshopOf(parts, patience);
    const account = await parts.account.open();
    if (adoptAccount) await account.adopt(patience());
    if (fixes && parts.spool.mayHoldKeys()) {
      const spooled = await parts.spool.list(workshop.deployment, only);
      for (const user of new Set(spooled.map(({ userId }) => userId))) await importSpool(user, parts, patience());
    }
    const inventory = await inventoryOf(workshop);
    const standing = await account.standingBy(inventory.byHash, patience);
    return new Reconciliation(workshop, inventory, standing, only);
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

  /** What was not told yet. */
  get warnings(): readonly Warning[] {
    return this.#workshop.account.takeWarnings();
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
