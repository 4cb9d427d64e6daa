import type { Terms, Timestamp } from "../model/key-record.ts";
import type { UserId } from "../model/user-id.ts";

/** A key that was created and could not be stored: encrypted, as it will be in the row. */
export interface SpooledKey extends Terms {
  readonly deployment: string;
  readonly userId: UserId;
  readonly n: number;
  /** Its insert may have reached the store, so it is never resent: the row may have been inserted and purged, and would return. */
  readonly sent: boolean;
  readonly keyEncrypted: string;
  readonly keyHash: string;
  readonly keyTail: string;
  readonly origin: string;
  readonly createdAt: Timestamp;
}

/**
 * Where such keys wait, on this machine. Throws the system's errors: whether a file can be kept decides what becomes of a key.
 */
export interface Spool {
  /** False if there certainly is nothing. Called before every resolution, so it must be cheap. */
  mayHoldKeys(): boolean;
  /** The keys of one user of this deployment, by number, or ROW_UNREADABLE for a damaged file; without a user, all that can be read. */
  list(deployment: string, user?: UserId): Promise<readonly SpooledKey[]>;
  /** The path of a key of this user that waits for another deployment. */
  elsewhere(deployment: string, user: UserId): Promise<string | undefined>;
  /** How many keys wait, by deployment. */
  counts(): Promise<ReadonlyMap<string, number>>;
  /** The file is on the disk when this resolves. */
  write(key: SpooledKey): Promise<void>;
  /** Marks the key as sent, before anything is sent. False: another process has claimed it. */
  claim(key: SpooledKey): Promise<boolean>;
  /** Removes the mark, if certainly nothing was sent. */
  release(key: SpooledKey): Promise<void>;
  /** Called once its outcome is decided and, if abandoned, its key is deleted. */
  remove(key: SpooledKey): Promise<void>;
}
