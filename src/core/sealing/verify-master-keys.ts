import { KeyctlError } from "../model/errors.ts";
import { printable } from "../text/printable.ts";
import { plural } from "../text/format.ts";
import { shellQuote } from "../text/shell-quote.ts";
import type { MasterKeys, KeyCheckValue, KeyCheckValues, Sealer } from "../ports/stores-and-sources.ts";

export interface SealingSetup {
  readonly checks: KeyCheckValues;
  readonly masterKeys: MasterKeys;
  /** True for an embedded store: its first master key is created on first use. That of a shared store never is. */
  readonly mayGenerate: boolean;
  /** Waits for programs that cannot be asked. Rejects with the signal's reason. */
  readonly pause: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/**
 * The sealer of a store, verified with the store's check before anything is sealed or opened with it. Throws
 * MASTER_KEY_MISSING, MASTER_KEY_WRONG.
 * **Invariant:** the first check of a store names its master key, and only one process can insert it.
 */
export async function loadVerifiedSealer(
  lock: SealingSetup,
  purpose: "seal" | "open",
  signal: AbortSignal,
): Promise<Sealer> {
  const { checks, masterKeys } = lock;
  const present = await checks.keyCheckValues(signal);
  const loaded = await masterKeys.load(signal);
  if (present.length > 0) return verifySealer(loaded, present, masterKeys);
  if (purpose === "open") return loaded ?? missing(masterKeys);

  const sealer = loaded ?? (lock.mayGenerate ? await masterKeys.generate(signal) : notMade());
  refuseGuessable(sealer, masterKeys);
  if (await checks.insertFirstKeyCheckValue(sealer.newSealCheck(), signal)) return sealer;
  return verifySealer(sealer, await checks.keyCheckValues(signal), masterKeys);
}

/**
 * Ensures that the store names the active master key.
 * **Invariant:** a program does this before it seals with that key, so that a key that is not named is not in use.
 */
export async function nameActiveKey(checks: KeyCheckValues, sealer: Sealer, signal: AbortSignal): Promise<void> {
  const present = await checks.keyCheckValues(signal);
  if (present.some(({ kid }) => kid === sealer.activeKid)) return;
  await addCheckValues(checks, [...present, sealer.newSealCheck()], signal);
}

/** Whether the store names this master key. */
export async function isNamed(checks: KeyCheckValues, kid: string, signal: AbortSignal): Promise<boolean> {
  return (await checks.keyCheckValues(signal)).some((check) => check.kid === kid);
}

/**
 * @param values the present checks before new ones: if the process that sealed the store first died before it had
 * written both records of its check, the next check would hide the first one
 */
export async function addCheckValues(
  checks: KeyCheckValues,
  values: readonly KeyCheckValue[],
  signal: AbortSignal,
): Promise<void> {
  for (const check of values) await checks.addKeyCheckValue(check, signal);
}

/** Rejects with the error that `loadVerifiedSealer` would reject with for sealing; creates and writes nothing. */
export async function assertCanSeal(
  { checks, masterKeys, mayGenerate }: SealingSetup,
  signal: AbortSignal,
): Promise<void> {
  const present = await checks.keyCheckValues(signal);
  const loaded = await masterKeys.load(signal);
  if (present.length > 0) verifySealer(loaded, present, masterKeys);
  else if (loaded !== undefined) refuseGuessable(loaded, masterKeys);
  else if (!mayGenerate) notMade();
}

/** Prints a master key in the form that keyctl reads. */
export const RANDOM_KEY_COMMAND = "openssl rand -base64 32 | tr '+/' '-_' | tr -d '='";

/** Throws CONFIG_INVALID if a store would be sealed for the first time with a master key that anyone can guess. */
export function refuseGuessable({ activeKid }: Sealer, masterKeys: MasterKeys): void {
  if (masterKeys.isGuessable?.(activeKid) !== true) return;
  throw new KeyctlError(
    "CONFIG_INVALID",
    `the first master key in ${printable(masterKeys.place)} follows a pattern, so that anybody can guess it; nothing was sealed with it`,
    { hint: `${RANDOM_KEY_COMMAND}   prints a random one` },
  );
}

/** The sealer, if it opens one of these checks. Throws MASTER_KEY_MISSING, MASTER_KEY_WRONG. */
export function verifySealer(
  sealer: Sealer | undefined,
  checks: readonly KeyCheckValue[],
  masterKeys: Pick<MasterKeys, "place" | "notRead">,
): Sealer {
  if (sealer === undefined) return missing(masterKeys);
  if (checks.some((check) => sealer.opensSealCheck(check))) return sealer;
  throw new KeyctlError("MASTER_KEY_WRONG", "the master keys are not the ones that this database is sealed with", {
    hint: wrongKeysHint(
      masterKeys.place,
      checks.map(({ kid }) => kid),
      masterKeys.notRead?.(),
    ),
  });
}

/**
 * @param kids the ids of the master keys that the store names
 * @param notRead the other places of master keys that a person has set up
 */
export function wrongKeysHint(place: string, kids: readonly string[], notRead: readonly string[] = []): string {
  const needed = kids.map((kid) => printable(kid)).join(" or ");
  return (
    `those that were tried are from ${shellQuote(place)}, and it needs the one with the kid ${needed}\n` +
    (notRead.length === 0 ? "" : `      ${otherPlaces(place, notRead)}\n`) +
    "      keyctl help environment   lists the places that master keys are read from"
  );
}

/** `KEYCTL_MASTER_KEYS is used; KEYCTL_MASTER_KEYS_FILE is also set and not looked at`. */
export function otherPlaces(place: string, notRead: readonly string[]): string {
  const names = notRead.map((name) => shellQuote(name)).join(" and ");
  return `${shellQuote(place)} is used; ${names} ${plural(notRead.length, "is", "are")} also set and not looked at`;
}

/** @param place the place that was searched: the path of a file */
export function missingKeysHint(place: string): string {
  return `restore master-keys.json from its backup to ${shellQuote(place)}, or set KEYCTL_MASTER_KEYS_FILE`;
}

function missing({ place }: Pick<MasterKeys, "place">): never {
  throw new KeyctlError("MASTER_KEY_MISSING", "the database is sealed and there is no master key to open it with", {
    hint: missingKeysHint(place),
  });
}

function notMade(): never {
  throw new KeyctlError(
    "MASTER_KEY_MISSING",
    "there is no master key to seal keys with, and none is made for a shared database by itself",
    {
      hint: "keyctl rekey --init   makes the first one; on other machines, set KEYCTL_MASTER_KEYS_FILE to a copy of it",
    },
  );
}
