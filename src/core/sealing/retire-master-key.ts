import { sleep } from "../async/sleep.ts";
import { KeyctlError } from "../model/errors.ts";
import { counted, formatNumber } from "../text/format.ts";
import { printable } from "../text/printable.ts";
import { shellQuote } from "../text/shell-quote.ts";
import type { Context } from "../context.ts";
import { currentSealer, retireMasterKeys } from "./rotate-master-key.ts";
import { NAMED_FOR_MS } from "./sealer-cache.ts";
import type { SealingSetup } from "./verify-master-keys.ts";

/**
 * **Order:** (1) verify that nothing is sealed with the master key; (2) remove its check from the store, so that no
 * program seals with it from then on; (3) wait until every program has noticed, and verify again; (4) remove it from
 * its set. After a kill at any moment, every row opens, and the same command continues.
 */

export interface RetireContext extends Context {
  readonly lock: SealingSetup;
  /** Called for each step. */
  readonly newSignal: () => AbortSignal;
}

export interface Retirement {
  readonly activeKid: string;
  /** Rows that were read. */
  readonly total: number;
}

/** The number of users that are named if a master key is still used. */
const NAMED = 5;

/**
 * Throws USAGE for an unknown master key, CONFLICT for the active one or one that is used, CONFIG_INVALID if keyctl
 * cannot write to its set.
 */
export async function retireMasterKey(context: RetireContext, kid: string): Promise<Retirement> {
  const { lock, newSignal } = context;
  const { checks, masterKeys } = lock;
  const sealer = await currentSealer(lock, newSignal);
  if (sealer.activeKid === kid) throw isActive(kid);
  const isInSet = sealer.kids.includes(kid);
  const named = (await checks.keyCheckValues(newSignal())).find((check) => check.kid === kid);
  if (!isInSet && named === undefined) throw notThere(kid, masterKeys.place);
  if (isInSet) masterKeys.assertRemovable(kid);
  await assertUnused(context, kid);
  await retireMasterKeys(lock, sealer, [kid], newSignal);
  await sleep(2 * NAMED_FOR_MS, newSignal());
  try {
    const total = await assertUnused(context, kid);
    if (isInSet) await masterKeys.remove(kid, newSignal());
    return { activeKid: sealer.activeKid, total };
  } catch (thrown) {
    // A key may be sealed with it after all, or it is still in its set: its check is restored.
    if (named !== undefined) await checks.addKeyCheckValue(named, newSignal());
    throw thrown;
  }
}

/** The number of rows. Throws CONFLICT with the rows and spooled keys that use this master key. */
async function assertUnused(context: RetireContext, kid: string): Promise<number> {
  const { store, lock, newSignal } = context;
  const sealer = await currentSealer(lock, newSignal);
  const isMeant = (value: string) => sealer.kidOf(value) === kid;
  const users: string[] = [];
  let used = 0;
  let total = 0;
  for await (const { userId, keyEncrypted, previous } of store.scan(newSignal)) {
    total += 1;
    if (![keyEncrypted, previous?.keyEncrypted ?? ""].some(isMeant)) continue;
    used += 1;
    if (users.length < NAMED) users.push(printable(userId));
  }
  const waiting = await countSpooled(context, isMeant);
  if (used + waiting === 0) return total;
  throw stillUsed(kid, { used, users, waiting });
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
}

function stillUsed(kid: string, { used, users, waiting }: Uses): KeyctlError {
  const more = used > users.length ? ` and ${formatNumber(used - users.length)} more` : "";
  const parts = [
    ...(used === 0 ? [] : [`${counted(used, "row")} (${users.join(", ")}${more})`]),
    ...(waiting === 0 ? [] : [`${counted(waiting, "key")} that could not be stored yet`]),
  ];
  const message = `master key ${printable(kid)} is still used, by ${parts.join(" and ")}; it stays`;
  const hint =
    used === 0
      ? "keyctl reconcile --fix   brings in what waits"
      : "keyctl rekey --keep-key   seals them with the active one";
  return new KeyctlError("CONFLICT", message, { hint });
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
