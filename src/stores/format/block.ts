import { NOTHING_KNOWN } from "../../core/model/key-record.ts";
import type { KeyRecord, Timestamp } from "../../core/model/key-record.ts";
import type { Block, Tombstone } from "../../core/model/tombstone.ts";
import { withoutKeys } from "../../core/model/redact-keys.ts";
import { fieldsIn, textIn, timestampIn } from "./values.ts";

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

/** Whatever stands in the field, the user is blocked. A reason that another program wrote may hold a key. */
export function blockIn(value: unknown, otherwise: Timestamp): Block {
  const fields = fieldsIn(value);
  const reason = textIn(fields?.["reason"]);
  return { at: timestampIn(fields?.["at"]) ?? otherwise, reason: reason === null ? null : withoutKeys(reason) };
}
