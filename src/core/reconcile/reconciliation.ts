import { takeInventory } from "./upstream-snapshot.ts";
import type { UpstreamSnapshot } from "./upstream-snapshot.ts";
import { parseKeyName } from "../model/key-name.ts";
import { planFor } from "./plan.ts";
import type { PlanCounts } from "./plan.ts";
import { importSpool } from "../protocol/import-spool.ts";
import { requireUpstreamKeys } from "../protocol/management-access.ts";
import type { UserId } from "../model/user-id.ts";
import { keyIn } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import { duplicate, unclaimed, undecided } from "./finding.ts";
import type { Finding } from "./finding.ts";
import { claims } from "./claims.ts";
import type { OwnedKeys } from "./claims.ts";
import type { Warning } from "../model/warning.ts";
import { deadlineIn, toKeyctlError } from "../async/deadline.ts";
import { sweepHistory } from "../history/sweep-history.ts";
import { yieldToEventLoop } from "../async/sleep.ts";
import type { OnStep } from "../model/work-step.ts";
import type { Standing } from "../ports/account.ts";
import { adoptionOf } from "./older-keys.ts";
import { repair } from "./repair.ts";
import type { ReconcileContext } from "./reconcile-context.ts";

const PAGE_MS = 60_000;
/** After this many users, timers and signals get their turn. */
const USERS_A_TURN = 100;
const NO_LIST = "the list of all keys cannot be read";

/** OpenRouter with the management key, and the id of this store. Rejects with MANAGEMENT_KEY_MISSING, CONFIG_… errors. */
export async function reconcileContext(context: Context, newSignal: () => AbortSignal): Promise<ReconcileContext> {
  const keys = await requireUpstreamKeys(context, NO_LIST);
  const deployment = await context.journal.deployment(newSignal());
  return { ...context, keys, deployment, adoptedAt: await adoptionOf(context, newSignal()), newSignal };
}

/** All keys upstream. Rejects with PROVIDER_UNAVAILABLE, MANAGEMENT_KEY_REFUSED. */
export async function upstreamSnapshot(
  { keys, newSignal, clock }: ReconcileContext,
  onStep: OnStep,
): Promise<UpstreamSnapshot> {
  const budget = () => deadlineIn(PAGE_MS, newSignal());
  return takeInventory(keys, { budget, at: clock.now().getTime(), onStep });
}

export interface ReconcileTask {
  readonly only: UserId | undefined;
  readonly fixes: boolean;
  /** Binds the store to the account of the management key first. */
  readonly adoptAccount: boolean;
  /** `fix` also removes keys that were kept on purpose. */
  readonly includeKept: boolean;
  readonly newSignal: () => AbortSignal;
  readonly onStep: OnStep;
}

/**
 * One comparison of all keys upstream with all that is stored. **Order:** list upstream, then read the records. `plan`
 * reports the findings and what `fix` would do; `fix` does it afterwards.
 */
export class Reconciliation {
  readonly tally: PlanCounts = { matched: 0, kept: 0 };
  readonly #context: ReconcileContext;
  readonly #inventory: UpstreamSnapshot;
  readonly #only: UserId | undefined;
  /** For keys that wait in files, which `fix` would import first. */
  readonly #waiting: ReadonlySet<string>;
  readonly #onStep: OnStep;
  readonly #toRepair: OwnedKeys[] = [];
  readonly #warnings: Warning[] = [];
  /** How many old events `fix` has removed from the history. */
  historyRemoved = 0;
  /** How many listed keys belong to the planned users. */
  #claimed = 0;
  /** False: keys kept changing during the listing, so rows whose key was not listed are not reported. */
  readonly isStable: boolean;

  private constructor(
    context: ReconcileContext,
    inventory: UpstreamSnapshot,
    standing: Standing,
    { only, waiting, onStep }: Pick<ReconcileTask, "only" | "onStep"> & { readonly waiting: ReadonlySet<string> },
  ) {
    this.#context = context;
    this.isStable = inventory.isStable;
    // The list may be another account's: it does not prove that a key is deleted.
    this.#inventory = { ...inventory, isStable: inventory.isStable && standing !== "unknown" };
    this.#only = only;
    this.#waiting = waiting;
    this.#onStep = onStep;
  }

  /** @internal Imports keys that wait in files, if changes are allowed. Rejects with MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT. */
  static async begin(
    context: Context,
    { only, fixes, adoptAccount, includeKept, newSignal, onStep }: ReconcileTask,
  ): Promise<Reconciliation> {
    // Fails for a bad setting or without a management key, before anything else.
    if (fixes) context.historyDays();
    await requireUpstreamKeys(context, NO_LIST);
    const account = await context.account.open();
    if (adoptAccount) await account.adopt(newSignal());
    const own = { ...(await reconcileContext(context, newSignal)), includeKept };
    const spooled = context.spool.mayHoldKeys() ? await context.spool.list(own.deployment, only) : [];
    if (fixes) {
      for (const user of new Set(spooled.map(({ userId }) => userId))) await importSpool(user, context, newSignal());
      await context.history.write();
    }
    const waiting = new Set(fixes ? [] : spooled.map(({ keyHash, upstreamHash }) => upstreamHash ?? keyHash));
    const inventory = await upstreamSnapshot(own, onStep);
    const standing = await account.standingBy(inventory.byHash, newSignal);
    return new Reconciliation(own, inventory, standing, { only, waiting, onStep });
  }

  /** How many keys exist upstream; of one user, how many keys of that user. */
  get listed(): number {
    return this.#only === undefined ? this.#inventory.byHash.size : this.#claimed;
  }

  /** How many of them this store created, by their names. */
  get ours(): number {
    const { deployment } = this.#context;
    return [...this.#inventory.byHash.values()].filter(({ name }) => parseKeyName(name)?.deployment === deployment)
      .length;
  }

  /** Warnings that were not reported yet. */
  get warnings(): readonly Warning[] {
    const { account, history } = this.#context;
    return [...account.takeWarnings(), ...history.takeWarnings(), ...this.#warnings.splice(0)];
  }

  async *plan(): AsyncGenerator<Finding> {
    const { deployment } = this.#context;
    const found = await claims(this.#inventory, this.#context, this.#only);
    this.#claimed = found.claims.reduce((sum, { keys }) => sum + keys.length, 0);
    for (const [index, claim] of found.claims.entries()) {
      yield* this.#planFor(claim);
      this.#onStep({ part: "comparing", done: index + 1, total: found.claims.length });
      if (index % USERS_A_TURN === 0) await yieldToEventLoop();
    }
    const seen = new Set(found.claims.map(({ user }) => user));
    if (this.#only !== undefined) {
      if (!seen.has(this.#only)) yield* this.#planFor({ user: this.#only, keys: [] });
      return;
    }
    for (const key of found.unclaimed) yield unclaimed(key, deployment);
    yield* this.#planRows(seen);
    yield* this.#planOlder(seen);
  }

  /** After `plan`; of all users, also removes what the history keeps no longer. A key that cannot be removed is returned with its error; a failure that concerns all keys is thrown. */
  async *fix(): AsyncGenerator<Finding> {
    for (const [index, claim] of this.#toRepair.entries()) {
      const findings = await repair(claim, this.#context);
      await this.#context.history.write();
      yield* findings.filter(({ action }) => action !== "none");
      this.#onStep({ part: "removing", done: index + 1, total: this.#toRepair.length });
    }
    if (this.#only === undefined) await this.#sweepHistory();
  }

  /** A history that cannot be swept now stops nothing. */
  async #sweepHistory(): Promise<void> {
    try {
      this.historyRemoved = await sweepHistory(this.#context, this.#context.newSignal);
    } catch (thrown) {
      const failure = toKeyctlError(thrown);
      if (failure.code === "INTERRUPTED") throw failure;
      const message = `old events of the history were not removed: ${failure.message}`;
      this.#warnings.push({ code: "HISTORY_NOT_WRITTEN", message });
    }
  }

  async *#planFor(claim: OwnedKeys): AsyncGenerator<Finding> {
    const { findings, needsRepair } = await planFor(claim, this.#inventory, this.#context, this.tally);
    if (needsRepair) this.#toRepair.push(claim);
    yield* findings.map((finding) => (this.#waiting.has(finding.keyHash ?? "") ? undecided(finding) : finding));
  }

  /** Rows of users without a key upstream, and keys that are in two rows. */
  async *#planRows(seen: ReadonlySet<UserId>): AsyncGenerator<Finding> {
    const { store, newSignal } = this.#context;
    const hashes = new Set<string>();
    const total = await store.count(newSignal());
    let done = 0;
    for await (const row of store.scan(newSignal)) {
      this.#onStep({ part: "rows", done: (done += 1), total });
      if (done % USERS_A_TURN === 0) await yieldToEventLoop();
      if (row.keyHash !== null && hashes.size === hashes.add(row.keyHash).size) yield duplicate(row);
      const needsLook = !row.settled || row.generation > 0;
      if (needsLook && !seen.has(row.userId)) yield* this.#planFor({ user: row.userId, keys: [] });
    }
  }

  /** Users without a key upstream who may have one left in the previous account. */
  async *#planOlder(seen: ReadonlySet<UserId>): AsyncGenerator<Finding> {
    const { store, journal, adoptedAt, newSignal } = this.#context;
    if (adoptedAt === null) return;
    const looked = new Set(seen);
    for await (const { kind, userId } of journal.scanJournal(newSignal)) {
      if (kind !== "out" || looked.has(userId)) continue;
      looked.add(userId);
      const row = keyIn(await store.find(userId, newSignal()));
      // The other users were planned as rows.
      if (row === undefined || (row.settled && row.generation === 0)) yield* this.#planFor({ user: userId, keys: [] });
    }
  }
}
