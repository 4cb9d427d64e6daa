import { NOTHING_KNOWN } from "../../core/model/key-record.ts";
import type { KeyRecord } from "../../core/model/key-record.ts";
import type { Tombstone } from "../../core/model/tombstone.ts";
import { fieldsIn, timestampIn, wordsIn } from "./values.ts";

/** The fields of a tombstone, under the field names that every store uses. */

/** What stands in the fields of the row besides the block: a program that does not know blocks finds no key there. */
export function asRecord({ blocked, ...row }: Tombstone): KeyRecord {
  return {
    ...row,
    ...NOTHING_KNOWN,
    keyHash: null,
    keyTail: null,
    origin: "blocked",
    createdAt: blocked.at,
    updatedAt: blocked.at,
    foreignFields: [],
  };
}

/** The tombstone in a row with a block. Whatever stands in the field, the user is blocked. */
export function tombstoneIn({ id, revision, userId, keyEncrypted, updatedAt }: KeyRecord, block: unknown): Tombstone {
  const fields = fieldsIn(block);
  const blocked = { at: timestampIn(fields?.["at"]) ?? updatedAt, reason: wordsIn(fields?.["reason"]) };
  return { id, revision, userId, keyEncrypted, blocked };
}
