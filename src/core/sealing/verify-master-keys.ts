import { KeyctlError } from "../model/errors.ts";
import type { MasterKeys, KeyCheckValue, KeyCheckValues, Sealer } from "../ports/stores-and-sources.ts";

export interface SealingSetup {
  readonly checks: KeyCheckValues;
  readonly masterKeys: MasterKeys;
  /** True for an embedded store: its first master key is made on first use. A shared store's never is. */
  readonly mayGenerate: boolean;
}

/**
 * The sealer of a store, proven against the store's check record before anything is sealed or opened with it.
 * **Invariant:** a store's first check record names its master key, and only one process can insert it.
 * Throws MASTER_KEY_MISSING, MASTER_KEY_WRONG.
 */
export async function loadVerifiedSealer(
  lock: SealingSetup,
  purpose: "seal" | "open",
  signal: AbortSignal,
): Promise<Sealer> {
  const { checks, masterKeys } = lock;
  const present = await checks.keyCheckValues(signal);
  const loaded = await masterKeys.load(signal);
  if (present.length > 0) return verifySealer(loaded, present);
  if (purpose === "open") return loaded ?? missing();

  const sealer = loaded ?? (lock.mayGenerate ? await masterKeys.generate(signal) : notMade());
  if (await checks.insertFirstKeyCheckValue(sealer.newSealCheck(), signal)) return sealer;
  return verifySealer(sealer, await checks.keyCheckValues(signal));
}

/** Rejects as `loadVerifiedSealer` would for sealing; makes and writes nothing. */
export async function assertCanSeal(
  { checks, masterKeys, mayGenerate }: SealingSetup,
  signal: AbortSignal,
): Promise<void> {
  const present = await checks.keyCheckValues(signal);
  const loaded = await masterKeys.load(signal);
  if (present.length > 0) verifySealer(loaded, present);
  else if (loaded === undefined && !mayGenerate) notMade();
}

/** The sealer, if it opens one of these checks of a store. Throws MASTER_KEY_MISSING, MASTER_KEY_WRONG. */
export function verifySealer(sealer: Sealer | undefined, checks: readonly KeyCheckValue[]): Sealer {
  if (sealer === undefined) return missing();
  if (checks.some((check) => sealer.opensSealCheck(check))) return sealer;
  throw new KeyctlError("MASTER_KEY_WRONG", "the master keys are not the ones that this database is sealed with", {
    hint: "keyctl help environment   lists the places that master keys are read from",
  });
}

function missing(): never {
  throw new KeyctlError("MASTER_KEY_MISSING", "the database is sealed and there is no master key to open it with", {
    hint: "restore master-keys.json from its backup, or set KEYCTL_MASTER_KEYS_FILE",
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
