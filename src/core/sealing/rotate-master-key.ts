import { KeyctlError } from "../model/errors.ts";
import type { KeyCheckValue, Sealer } from "../ports/stores-and-sources.ts";
import { printable } from "../text/printable.ts";
import { addCheckValues, verifySealer, loadVerifiedSealer, refuseGuessable } from "./verify-master-keys.ts";
import type { SealingSetup } from "./verify-master-keys.ts";

/**
 * **Order:** (1) add a master key to its set, and read it back from there; (2) add its check to the store; (3) seal the
 * first row with it; (4) remove a master key from the set only when nothing uses it. So every reader can always open
 * every row.
 */

export interface FirstSeal {
  readonly sealer: Sealer;
  /** The store was sealed before, with these master keys. */
  readonly wasSealed: boolean;
}

/**
 * Creates the first master key if there is none, and adds its check to the store. Throws MASTER_KEY_MISSING or
 * MASTER_KEY_WRONG for a store that is sealed with other master keys.
 */
export async function firstSeal(
  { checks, masterKeys }: SealingSetup,
  newSignal: () => AbortSignal,
): Promise<FirstSeal> {
  const present = await checks.keyCheckValues(newSignal());
  if (present.length > 0) {
    return { sealer: verifySealer(await masterKeys.load(newSignal()), present, masterKeys), wasSealed: true };
  }
  const sealer = await masterKeys.generate(newSignal());
  refuseGuessable(sealer, masterKeys);
  if (await checks.insertFirstKeyCheckValue(sealer.newSealCheck(), newSignal())) return { sealer, wasSealed: false };
  return { sealer: verifySealer(sealer, await checks.keyCheckValues(newSignal()), masterKeys), wasSealed: true };
}

/**
 * The sealer for all rows: of a new master key, or the loaded one if none is wanted or an earlier change is unfinished.
 */
export async function changeMasterKey(
  lock: SealingSetup,
  mayAdd: boolean,
  newSignal: () => AbortSignal,
): Promise<Sealer> {
  const present = await lock.checks.keyCheckValues(newSignal());
  const sealer = await loadVerifiedSealer(lock, "seal", newSignal());
  // A store that cannot be written says so before a master key is added.
  await addCheckValues(lock.checks, present, newSignal());
  const active = mayAdd && isFinished(sealer, present) ? await withNewKey(lock, sealer, present, newSignal) : sealer;
  await addCheckValues(lock.checks, [active.newSealCheck()], newSignal());
  return active;
}

/** The result of `changeMasterKey`; undefined if it would create a new master key. */
export async function previewMasterKey(
  lock: SealingSetup,
  mayAdd: boolean,
  newSignal: () => AbortSignal,
): Promise<Sealer | undefined> {
  const present = await lock.checks.keyCheckValues(newSignal());
  const sealer = await loadVerifiedSealer(lock, "open", newSignal());
  return mayAdd && isFinished(sealer, present) ? undefined : sealer;
}

/** The master keys as they are now. */
export async function currentSealer(
  { checks, masterKeys }: SealingSetup,
  newSignal: () => AbortSignal,
): Promise<Sealer> {
  const present = await checks.keyCheckValues(newSignal());
  return verifySealer(await masterKeys.load(newSignal()), present, masterKeys);
}

/** Master keys that the store names and that are not in the set: unused if those of the set open every row. */
export async function unknownCheckIds(
  { checks }: SealingSetup,
  kids: readonly string[],
  newSignal: () => AbortSignal,
): Promise<string[]> {
  return (await checks.keyCheckValues(newSignal())).map(({ kid }) => kid).filter((kid) => !kids.includes(kid));
}

/** Removes these checks. Adds that of the active master key first, because another rekey may have removed it. */
export async function retireMasterKeys(
  { checks }: SealingSetup,
  active: Sealer,
  kids: readonly string[],
  newSignal: () => AbortSignal,
): Promise<void> {
  if (kids.length > 0) await checks.addKeyCheckValue(active.newSealCheck(), newSignal());
  for (const kid of kids) await checks.removeKeyCheckValue(kid, newSignal());
}

/** A new master key counts only if its real place returns it, with all master keys that were there before. */
async function withNewKey(
  { masterKeys }: SealingSetup,
  before: Sealer,
  present: readonly KeyCheckValue[],
  newSignal: () => AbortSignal,
): Promise<Sealer> {
  const kid = await masterKeys.addActive(newSignal());
  const after = await masterKeys.load(newSignal());
  const isWhole =
    after !== undefined &&
    [kid, ...before.kids].every((one) => after.kids.includes(one)) &&
    present.every((check) => !before.opensSealCheck(check) || after.opensSealCheck(check));
  if (isWhole) return after;
  throw new KeyctlError(
    "CONFIG_INVALID",
    `${printable(masterKeys.place)} does not give back the master key that was added to it; no row was changed`,
    { hint: "see who else writes there, then: keyctl rekey" },
  );
}

/**
 * True if the store names exactly one master key, the active one. False if a rekey stopped halfway, or if a master key
 * was put first by hand.
 */
function isFinished({ activeKid }: Sealer, present: readonly KeyCheckValue[]): boolean {
  return present.length === 1 && present[0]?.kid === activeKid;
}
