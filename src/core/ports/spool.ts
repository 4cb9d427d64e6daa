import type { Terms, Timestamp } from "../model/key-record.ts";
import type { UserId } from "../model/user-id.ts";

/** A key that was made and could not be stored: sealed, as it is to stand in the row. */
export interface SpooledKey extends Terms {
  readonly deployment: string;
  readonly userId: UserId;
  readonly n: number;
  /** Its insert may have reached the store, so it is never sent again: it may have landed, been purged, and would come back. */
  readonly sent: boolean;
  readonly keyEncrypted: string;
  readonly keyHash: string;
  readonly keyTail: string;
  readonly origin: string;
  readonly createdAt: Timestamp;
}

/**
 * Where such keys wait, on this machine. Throws what the system throws: that nothing can be kept here decides what
 * becomes of a key.
 */
export interface Spool {
  /** False where there certainly is nothing: asked before every resolution, so it costs next to nothing. */
  mayHoldKeys(): boolean;
  /** Those of one user of this deployment, by number, or ROW_UNREADABLE for a damaged one; without a user, all that can be read. */
  list(deployment: string, user?: UserId): Promise<readonly SpooledKey[]>;
  /** The path of a key of this user that waits for another deployment. */
  elsewhere(deployment: string, user: UserId): Promise<string | undefined>;
  /** How many there are, by deployment. */
  counts(): Promise<ReadonlyMap<string, number>>;
  /** On the disk when it resolves. */
  write(key: SpooledKey): Promise<void>;
  /** Marks it as sent before anything is sent. False: another process has claimed it. */
  claim(key: SpooledKey): Promise<boolean>;
  /** Takes the mark back, where certainly nothing was sent. */
  release(key: SpooledKey): Promise<void>;
  /** Once its outcome is decided and, where that is "abandoned", its key is deleted. */
  remove(key: SpooledKey): Promise<void>;
}
