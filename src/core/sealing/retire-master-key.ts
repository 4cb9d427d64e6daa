import { KeyctlError } from "../model/errors.ts";
import type { UserId } from "../model/user-id.ts";
import { isFresh } from "../ports/journal.ts";
import { counted, formatNumber } from "../text/format.ts";
import { printable } from "../text/printable.ts";
import { shellQuote } from "../text/shell-quote.ts";
import type { Context } from "../context.ts";
import { currentSealer, retireMasterKeys } from "./rotate-master-key.ts";
import { NAMED_FOR_MS } from "./sealer-cache.ts";
import { isNamed } from "./verify-master-keys.ts";
import type { SealingSetup } from "./verify-master-keys.ts";

/**
 * **Order:** (1) verify that nothing is sealed with the master key; (2) remove its check from the store: from then on, a
 * program that seals with it names it again first, or has looked less than `NAMED_FOR_MS` ago; (3) list the keys that are
 * being created; (4) wait longer than such a program needs to write; (5) verify again: those keys have their outcome,
 * nothing is sealed with the master key, and the store does not name it again; (6) remove it from its set. After a kill
 * at any moment, every row opens, and the same command continues.
 */

export interface RetireContext extends Context {
  readonly lock: SealingSetup;
  /** Called for each step. */
  readonly newSignal: () => AbortSignal;
}

/** A master key that nothing was sealed with when it was looked for. */
export interface Retirable {
  readonly kid: string;
  readonly activeKid: string;
  /** Rows that were read. */
  readonly total: number;
}

/** Until the programs that seal without another look have recorded what they create. */
const LAST_LOOK_MS = 2 * NAMED_FOR_MS;
/** Above the 10 seconds that a failing store is tried, and what `NAMED_FOR_MS` adds. */
const LAST_WRITE_MS = 12_000;
/** How long `retireMasterKey` waits, in milliseconds. */
export const RETIRE_PAUSE_MS = LAST_LOOK_MS + LAST_WRITE_MS;
/** One wait is a step, which a time-out limits. */
const STEP_MS = 250;
/** The number of users that are named if a master key is still used. */
const NAMED = 5;

/**
 * Step 1. Throws USAGE for an unknown master key, CONFLICT for the active one or one that is used, CONFIG_INVALID if
 * keyctl cannot write to its set.
 */
export async function assertRetirable(context: RetireContext, kid: string): Promise<Retirable> {
  const { lock, newSignal } = context;
  const { checks, masterKeys } = lock;
  const present = await checks.keyCheckValues(newSignal());
  if (present.length === 0) throw notSealed(kid);
  const { activeKid, kids } = await currentSealer(lock, newSignal);
  if (activeKid === kid) throw isActive(kid);
  const isInSet = kids.includes(kid);
  if (!isInSet && !present.some((check) => check.kid === kid)) throw notThere(kid, masterKeys.place);
  if (isInSet) masterKeys.assertRemovable(kid);
  return { kid, activeKid, total: await assertUnused(context, kid, []) };
}

/** Steps 2 to 6. Throws as `assertRetirable`; the set and the store then name what they named before. */
export async function retireMasterKey(context: RetireContext, { kid }: Retirable): Promise<Retirable> {
  const { lock, newSignal } = context;
  const { checks, masterKeys } = lock;
  const sealer = await currentSealer(lock, newSignal);
  const named = (await checks.keyCheckValues(newSignal())).find((check) => check.kid === kid);
  await retireMasterKeys(lock, sealer, [kid], newSignal);
  try {
    await pause(context, LAST_LOOK_MS);
    const started = await creationsUnderWay(context);
    await pause(context, LAST_WRITE_MS);
    const total = await assertUnused(context, kid, started);
    if (await isNamed(checks, kid, newSignal())) throw namedAgain(kid, sealer.activeKid);
    if (sealer.kids.includes(kid)) await masterKeys.remove(kid, newSignal());
    return { kid, activeKid: sealer.activeKid, total };
  } catch (thrown) {
    // A key may be sealed with it after all, or it is still in its set: its check is restored.
    if (named !== undefined) await checks.addKeyCheckValue(named, newSignal());
    throw thrown;
  }
}

async function pause({ lock, newSignal }: RetireContext, milliseconds: number): Promise<void> {
  for (let waited = 0; waited < milliseconds; waited += STEP_MS) await lock.pause(STEP_MS, newSignal());
}

/** One key that is being created. */
interface Creation {
  readonly userId: UserId;
  readonly n: number;
}

/** The operations that have no outcome yet and may still get one from the program that began them. */
async function creationsUnderWay({ journal, clock, newSignal }: RetireContext): Promise<readonly Creation[]> {
  const open = new Map<string, Creation>();
  for await (const { kind, userId, n, at } of journal.scanJournal(newSignal)) {
    if (kind === "op" && isFresh(at, clock.now().getTime())) open.set(`${userId} ${n}`, { userId, n });
  }
  return stillOpen([...open.values()], { journal, newSignal });
}

async function stillOpen(
  creations: readonly Creation[],
  { journal, newSignal }: Pick<RetireContext, "journal" | "newSignal">,
): Promise<readonly Creation[]> {
  const open: Creation[] = [];
  for (const creation of creations) {
    const outcome = await journal.entry(creation.userId, "out", creation.n, newSignal());
    if (outcome === undefined) open.push(creation);
  }
  return open;
}

/**
 * The number of rows. Throws CONFLICT with the rows and keys that use this master key. **Order:** what is being created,
 * the spool, the rows: a key goes from one to the next, and is found wherever it goes meanwhile.
 */
async function assertUnused(context: RetireContext, kid: string, started: readonly Creation[]): Promise<number> {
  const { store, lock, newSignal } = context;
  const sealer = await currentSealer(lock, newSignal);
  const isMeant = (value: string) => sealer.kidOf(value) === kid;
  const creations = (await stillOpen(started, context)).map(({ userId }) => printable(userId));
  const waiting = await countSpooled(context, isMeant);
  const users: string[] = [];
  let used = 0;
  let total = 0;
  for await (const { userId, keyEncrypted, previous } of store.scan(newSignal)) {
    total += 1;
    if (![keyEncrypted, previous?.keyEncrypted ?? ""].some(isMeant)) continue;
    used += 1;
    if (users.length < NAMED) users.push(printable(userId));
  }
  if (used + waiting + creations.length === 0) return total;
  throw stillUsed(kid, { used, users, waiting, creations });
}

/** Keys that wait in files, for any database: each is opened only when it is finally stored. */
async function countSpooled({ spool }: Context, isMeant: (value: string) => boolean): Promise<number> {
  if (!spool.mayHoldKeys()) return 0;
  let count = 0;
  for (const deployment of (await spool.counts()).keys())
    count += (await spool.list(deployment)).filter(({ keyEncrypted }) => isMeant(keyEncrypted)).length;
  return count;
}

interface Uses {
  readonly used: number;
  /** The first of them. */
  readonly users: readonly string[];
  readonly waiting: number;
  /** The users whose keys are being created, and may be sealed with it. */
  readonly creations: readonly string[];
}

function stillUsed(kid: string, { used, users, waiting, creations }: Uses): KeyctlError {
  const parts = [
    ...(used === 0 ? [] : [`${counted(used, "row")} (${someOf(users, used)})`]),
    ...(waiting === 0 ? [] : [`${counted(waiting, "key")} that could not be stored yet`]),
    ...(creations.length === 0
      ? []
      : [`${counted(creations.length, "key")} under way (${someOf(creations.slice(0, NAMED), creations.length)})`]),
  ];
  const may = used + waiting === 0 ? "may still be used" : "is still used";
  const message = `master key ${printable(kid)} ${may}, by ${parts.join(" and ")}; it stays`;
  if (used > 0) return new KeyctlError("CONFLICT", message, { hint: `${RESEAL}   seals them with the active one` });
  if (waiting > 0)
    return new KeyctlError("CONFLICT", message, { hint: "keyctl reconcile --fix   brings in what waits" });
  const hint = `in a minute: ${retireCommand(kid)}`;
  return new KeyctlError("CONFLICT", message, { hint, retryable: true });
}

const RESEAL = "keyctl rekey --keep-key";

/** @param shown the first of `all` names */
function someOf(shown: readonly string[], all: number): string {
  return `${shown.join(", ")}${all > shown.length ? ` and ${formatNumber(all - shown.length)} more` : ""}`;
}

function namedAgain(kid: string, activeKid: string): KeyctlError {
  return new KeyctlError(
    "CONFLICT",
    `another program seals with master key ${printable(kid)}: the database names it again; it stays`,
    {
      hint:
        `put master key ${printable(activeKid)} first on every machine; then: ${RESEAL}\n` +
        `      and: ${retireCommand(kid)}`,
    },
  );
}

function notSealed(kid: string): KeyctlError {
  return new KeyctlError(
    "USAGE",
    `this database is not sealed, so it has no master key ${printable(kid)} that could be retired`,
    { hint: "keyctl rekey --init   seals it" },
  );
}

function isActive(kid: string): KeyctlError {
  return new KeyctlError("CONFLICT", `master key ${printable(kid)} is the active one, which seals every new key`, {
    hint: "keyctl rekey   makes a new one active, and seals every key with it; then this one can be retired",
  });
}

function notThere(kid: string, place: string): KeyctlError {
  return new KeyctlError(
    "USAGE",
    `there is no master key ${printable(kid)} in ${printable(place)}, and this database does not name it`,
    { hint: "keyctl doctor   names the master keys that nothing uses" },
  );
}

/** The command that removes this master key. Its id may begin with a dash. */
export function retireCommand(kid: string): string {
  return `keyctl rekey --retire=${shellQuote(kid)}`;
}
