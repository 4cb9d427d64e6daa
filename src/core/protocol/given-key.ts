import type { ApiKey } from "../model/api-key.ts";
import { KeyctlError } from "../model/errors.ts";
import type { Journal, Recorded } from "../ports/journal.ts";
import type { KeyRecord, Timestamp } from "../model/key-record.ts";
import { isStillHeld, usersStillHolding } from "./find-key.ts";
import { printable } from "../text/printable.ts";
import { insertRow, insertRows, takeOutRow } from "./write-row.ts";
import { revokePredecessor } from "./settle-row.ts";
import type { Context } from "../context.ts";
import type { UserId } from "../model/user-id.ts";

/**
 * **Invariant:** a key that is marked for deletion at OpenRouter never returns to a row. A given key (from a person, key.txt
 * or the environment) is in use as soon as it is stored. **Order:** read the row, look up the key, store it and, for a key
 * that keyctl created, look it up once more: another command may have marked it for deletion in the meantime, and may have
 * read the row before the key was there.
 */

/**
 * The journal's entry of a key: created elsewhere, created by keyctl, or created by keyctl and marked for deletion at a
 * time. A key in its grace counts as marked: it would be deleted while it is in use.
 */
export type GivenKey =
  | { readonly kind: "foreign" }
  | { readonly kind: "ours"; readonly outcomes: readonly Recorded[] }
  | { readonly kind: "owed"; readonly at: Timestamp; readonly isRetiring: boolean };

/** One query for a key that keyctl did not create. The removal of a key from its row is recorded before it happens. */
export async function lookUpGiven(key: ApiKey, journal: Journal, signal: AbortSignal): Promise<GivenKey> {
  const outcomes = await journal.outcomesOf([key.hash], signal);
  return outcomes.length === 0 ? FOREIGN : oursOrOwed(outcomes, journal, signal);
}

/** As `lookUpGiven`, for many keys with one query; by the hash of each key. */
export async function lookUpManyGiven(
  hashes: readonly string[],
  journal: Journal,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, GivenKey>> {
  const outcomes = await journal.outcomesOf(hashes, signal);
  const given = new Map<string, GivenKey>();
  for (const hash of hashes) {
    const own = outcomes.filter((outcome) => outcome.hash === hash || outcome.upstreamHash === hash);
    given.set(hash, own.length === 0 ? FOREIGN : await oursOrOwed(own, journal, signal));
  }
  return given;
}

const FOREIGN: GivenKey = { kind: "foreign" };

async function oursOrOwed(outcomes: readonly Recorded[], journal: Journal, signal: AbortSignal): Promise<GivenKey> {
  for (const { userId, n } of outcomes) {
    const revocation = await journal.entry(userId, "rev", n, signal);
    const owed = revocation?.revoke === true ? revocation : await journal.entry(userId, "del", n, signal);
    if (owed !== undefined) return { kind: "owed", at: owed.at, isRetiring: false };
    const due = await journal.entry(userId, "due", n, signal);
    if (due !== undefined) return { kind: "owed", at: due.retireAt, isRetiring: true };
  }
  return { kind: "ours", outcomes };
}

/**
 * As `insertRow`. False also for a row that was withdrawn: the next look-up finds the key marked for deletion. False also
 * for a key that keyctl created and that was purged while it was looked up again. Throws USER_BLOCKED.
 */
export async function insertGiven(
  row: KeyRecord,
  given: GivenKey,
  context: Pick<Context, "store" | "journal" | "clock" | "history">,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await insertRow(context.store, row, signal))) return false;
  const { kind } = await confirmGiven([row], given, context, signal);
  return kind === "foreign" || (kind === "ours" && (await isStillHeld(row, context.store, signal)));
}

/** As `insertGiven`, for many users with one key. */
export async function insertGivenToMany(
  rows: readonly KeyRecord[],
  given: GivenKey,
  context: Pick<Context, "store" | "journal" | "clock" | "history">,
  signal: AbortSignal,
): Promise<readonly boolean[]> {
  const won = await insertRows(context.store, rows, signal);
  const inserted = rows.filter((_, index) => won[index]);
  const { kind } = await confirmGiven(inserted, given, context, signal);
  if (kind === "foreign") return won;
  const held = kind === "owed" ? new Set() : await usersStillHolding(inserted, context.store, signal);
  return rows.map(({ userId }, index) => won[index] === true && held.has(userId));
}

/**
 * The journal's entry of a key after it was written to these rows. The rows are withdrawn if the key is marked for deletion.
 * @param before the entry before the rows were written
 */
export async function confirmGiven(
  rows: readonly KeyRecord[],
  before: GivenKey,
  context: Pick<Context, "store" | "journal" | "clock" | "history">,
  signal: AbortSignal,
): Promise<GivenKey> {
  if (before.kind !== "ours") return before;
  const now = await oursOrOwed(before.outcomes, context.journal, signal);
  if (now.kind !== "owed") return now;
  for (const row of rows) {
    await revokePredecessor(row, context, signal);
    await takeOutRow(row, null, context, signal);
  }
  return now;
}

export function keyIsOwed(
  user: UserId,
  { at, isRetiring }: Extract<GivenKey, { kind: "owed" }>,
  replaced: "kept" | "lost",
): KeyctlError {
  const decided = isRetiring
    ? `keyctl created this key and replaced it; it is deleted at OpenRouter at ${at}`
    : `keyctl created this key and marked it for deletion at OpenRouter at ${at}`;
  const end = replaced === "lost" ? ", and the key before it is out of the database as well" : "";
  return new KeyctlError("CONFLICT", `${decided}; it was not saved for user ${printable(user)}${end}`, {
    hint: "save another key; keyctl reconcile --fix   deletes this one now",
  });
}
