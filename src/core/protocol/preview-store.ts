import { isTombstone } from "../model/tombstone.ts";
import type { StoredRow } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import type { SpooledKey } from "../ports/spool.ts";
import type { UserId } from "../model/user-id.ts";
import { isKeyctlError } from "../model/errors.ts";
import { rowOf } from "./import-spool.ts";
import { previousRow } from "./settle-row.ts";
import { isSavedAs } from "./store-new-key.ts";

/**
 * **Invariant:** nothing is written. A dry run and an explanation read from this store what the command itself reads after it
 * has imported the spool and settled the row: every row is as it would be then, and is settled.
 */
export function foreseen(context: Context): Context {
  const rows = new ForeseenRows(context);
  const store: KeyStore = {
    ...context.store,
    find: (user, signal) => rows.find(user, signal),
    findMany: (users, signal) => rows.findMany(users, signal),
  };
  return { ...context, store };
}

/** Throws what an import of this user's spooled keys would throw before it changes anything. */
export async function assertSpoolReadable(user: UserId, context: Context, signal: AbortSignal): Promise<void> {
  await waitingKeys(user, context, signal);
}

async function waitingKeys(
  user: UserId,
  { spool, journal, managementKey }: Context,
  signal: AbortSignal,
): Promise<readonly SpooledKey[]> {
  if (!spool.mayHoldKeys()) return [];
  const deployment = await journal.existingDeployment(signal);
  const waiting = deployment === undefined ? [] : await spool.list(deployment, user);
  if (waiting.length > 0) managementKey();
  return waiting;
}

class ForeseenRows {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** **Order:** the spool, then the store: a key that another process imports in between is found. */
  async find(user: UserId, signal: AbortSignal): Promise<StoredRow | undefined> {
    const waiting = await waitingKeys(user, this.#context, signal);
    const row = await this.#context.store.find(user, signal);
    return row === undefined ? this.#imported(waiting, signal) : this.#settled(row, signal);
  }

  /** A damaged file is skipped: it concerns one user, not all. */
  async findMany(users: readonly UserId[], signal: AbortSignal): Promise<readonly StoredRow[]> {
    const waiting = new Map<UserId, readonly SpooledKey[]>();
    if (this.#context.spool.mayHoldKeys()) {
      for (const user of users) waiting.set(user, await this.#readable(user, signal));
    }
    const rows = await this.#context.store.findMany(users, signal);
    const foreseenRows: StoredRow[] = [];
    for (const row of rows) {
      const settled = await this.#settled(row, signal);
      if (settled !== undefined) foreseenRows.push(settled);
      waiting.delete(row.userId);
    }
    for (const keys of waiting.values()) {
      const imported = await this.#imported(keys, signal);
      if (imported !== undefined) foreseenRows.push(imported);
    }
    return foreseenRows;
  }

  async #readable(user: UserId, signal: AbortSignal): Promise<readonly SpooledKey[]> {
    try {
      return await waitingKeys(user, this.#context, signal);
    } catch (thrown) {
      if (isKeyctlError(thrown) && thrown.code === "ROW_UNREADABLE") return [];
      throw thrown;
    }
  }

  /** A row of an abandoned generation is rolled back. */
  async #settled(row: StoredRow, signal: AbortSignal): Promise<StoredRow | undefined> {
    if (isTombstone(row) || row.settled) return row;
    // A given key is in use as soon as it is stored.
    if (row.generation === 0) return { ...row, settled: true };
    const outcome = await this.#outcome(row, signal);
    if (outcome?.outcome !== "abandoned") return { ...row, settled: true };
    return row.previous === null ? undefined : previousRow(row, row.previous);
  }

  /** Without a row, the first spooled key that was never sent and is not abandoned is inserted. */
  async #imported(waiting: readonly SpooledKey[], signal: AbortSignal): Promise<KeyRecord | undefined> {
    for (const key of waiting) {
      if (key.sent) continue;
      const row = rowOf(key);
      const outcome = await this.#outcome(row, signal);
      if (outcome === undefined || isSavedAs(outcome, row)) return { ...row, settled: true };
    }
    return undefined;
  }

  #outcome({ userId, generation }: KeyRecord, signal: AbortSignal) {
    return this.#context.journal.entry(userId, "out", generation, signal);
  }
}
