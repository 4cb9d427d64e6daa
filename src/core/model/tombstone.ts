import { KeyctlError } from "./errors.ts";
import type { KeyRecord, Timestamp, Version } from "./key-record.ts";
import { randomBytes } from "./random-bytes.ts";
import type { UserId } from "./user-id.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";

/**
 * The row of a blocked user, in place of a key. **Invariant:** while it stands, no row of this user holds a key: whatever
 * stores a key inserts the row if it is absent, or replaces the row that was read. Only an unblock removes it. A key that
 * another program writes beside the block is nobody's.
 */
export interface Tombstone extends Version {
  readonly userId: UserId;
  readonly blocked: Block;
}

export interface Block {
  readonly at: Timestamp;
  /** The words of the person who blocked the user. */
  readonly reason: string | null;
}

export type StoredRow = KeyRecord | Tombstone;

export function isTombstone(row: StoredRow | undefined): row is Tombstone {
  return row !== undefined && "blocked" in row;
}

/** The row, if it holds a key. */
export function keyIn(row: StoredRow | undefined): KeyRecord | undefined {
  return isTombstone(row) ? undefined : row;
}

/** A new tombstone or, with `seen`, the one that replaces this row. */
export function newTombstone(userId: UserId, blocked: Block, seen?: Version): Tombstone {
  const id = seen?.id ?? randomBytes(16).toString("hex");
  return { id, revision: (seen?.revision ?? 0) + 1, userId, keyEncrypted: "", blocked };
}

export function blockedError({ userId, blocked: { at, reason } }: Tombstone): KeyctlError {
  const because = reason === null ? "" : `: ${printable(reason)}`;
  return new KeyctlError("USER_BLOCKED", `user ${printable(userId)} is blocked (since ${at})${because}`, {
    hint: `keyctl unblock ${userFlag(userId)}   lets a key be stored for this user again`,
  });
}
