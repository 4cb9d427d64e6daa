import { batched } from "../async/batched.ts";
import { KeyctlError } from "../model/errors.ts";
import { maskOfRecord } from "../model/key-record.ts";
import { isTombstone, newTombstone } from "../model/tombstone.ts";
import type { StoredRow, Tombstone } from "../model/tombstone.ts";
import type { UserId } from "../model/user-id.ts";
import { conflictError } from "../protocol/contention.ts";
import { insertRow } from "../protocol/write-row.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { Sides } from "./verify-row.ts";

/**
 * Blocks are copied after the rows. **Invariant:** a tombstone is inserted only if its user has no row in the destination: a
 * key that is there stays, and is named.
 */

/** A blocked user of the source. Without `dryRun`, each one that is not in conflict is reported a second time, with its proof. */
export type BlockOutcome = { readonly kind: "block"; readonly userId: UserId } & (
  | { readonly outcome: "copied" | "kept" | "verified"; readonly error: null }
  | { readonly outcome: "conflict" | "unverified"; readonly error: KeyctlError }
);

interface BlockCopying {
  readonly dryRun: boolean;
  readonly newSignal: () => AbortSignal;
}

const BATCH = 500;

export class BlockCopy {
  readonly #sides: Sides;
  readonly #dryRun: boolean;
  readonly #newSignal: () => AbortSignal;
  readonly #inConflict = new Set<UserId>();

  constructor(sides: Sides, { dryRun, newSignal }: BlockCopying) {
    this.#sides = sides;
    this.#dryRun = dryRun;
    this.#newSignal = newSignal;
  }

  async *bring(): AsyncGenerator<readonly BlockOutcome[]> {
    for await (const { blocked, there } of this.#batches()) {
      const outcomes: BlockOutcome[] = [];
      for (const tombstone of blocked) outcomes.push(await this.#bringOne(tombstone, there.get(tombstone.userId)));
      for (const { userId, outcome } of outcomes) if (outcome === "conflict") this.#inConflict.add(userId);
      await this.#sides.destination.history.write();
      yield outcomes;
    }
  }

  /** Looks each block up. */
  async *prove(): AsyncGenerator<readonly BlockOutcome[]> {
    for await (const { blocked, there } of this.#batches()) {
      yield blocked
        .filter(({ userId }) => !this.#inConflict.has(userId))
        .map(({ userId }) =>
          isTombstone(there.get(userId))
            ? { kind: "block", userId, outcome: "verified", error: null }
            : { kind: "block", userId, outcome: "unverified", error: notBlockedThere(userId) },
        );
    }
  }

  /** The blocked users of the source, with what the destination holds for them. */
  async *#batches(): AsyncGenerator<{
    readonly blocked: readonly Tombstone[];
    readonly there: ReadonlyMap<UserId, StoredRow>;
  }> {
    const { source, destination } = this.#sides;
    for await (const blocked of batched(source.store.scanBlocked(this.#newSignal), BATCH)) {
      const users = blocked.map(({ userId }) => userId);
      const rows = await destination.store.findMany(users, this.#newSignal());
      yield { blocked, there: new Map(rows.map((row) => [row.userId, row])) };
    }
  }

  async #bringOne({ userId, blocked }: Tombstone, found: StoredRow | undefined): Promise<BlockOutcome> {
    const { store, history } = this.#sides.destination;
    if (found !== undefined) return outcomeBeside(userId, found);
    if (!this.#dryRun) {
      if (!(await insertRow(store, newTombstone(userId, blocked), this.#newSignal()))) {
        const winner = await store.find(userId, this.#newSignal());
        if (winner !== undefined) return outcomeBeside(userId, winner);
        return { kind: "block", userId, outcome: "conflict", error: conflictError(userId) };
      }
      history.note({ event: "copied", userId, key: null });
    }
    return { kind: "block", userId, outcome: "copied", error: null };
  }
}

function outcomeBeside(userId: UserId, found: StoredRow): BlockOutcome {
  if (isTombstone(found)) return { kind: "block", userId, outcome: "kept", error: null };
  const mask = maskOfRecord(found) ?? "unreadable";
  const message = `user ${printable(userId)} is blocked in the source and has a key in the destination (${mask}, from ${printable(found.origin)}); it stays`;
  const error = new KeyctlError("USER_BLOCKED", message, {
    hint: `keyctl purge ${userFlag(userId)} --block --store <destination>   blocks the user there as well`,
  });
  return { kind: "block", userId, outcome: "conflict", error };
}

/** For a row of the source whose user is blocked in the destination. */
export function blockedThere({ userId, blocked }: Tombstone): KeyctlError {
  const message = `user ${printable(userId)} is blocked in the destination since ${blocked.at}, and the key of the source was not copied`;
  return new KeyctlError("USER_BLOCKED", message, {
    hint: `keyctl unblock ${userFlag(userId)} --store <destination>   and copy again; or purge the key in the source`,
  });
}

function notBlockedThere(user: UserId): KeyctlError {
  const message = `user ${printable(user)} is blocked in the source and not in the destination: it was changed in the meantime`;
  return new KeyctlError("CONFLICT", message, { hint: "copy again", retryable: true });
}
