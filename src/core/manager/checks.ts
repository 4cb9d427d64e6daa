import { raceSignalWithGrace } from "../async/race-signal.ts";
import type { Context } from "../context.ts";
import type { ManagerContext } from "./manager-options.ts";

/** Rejects with MASTER_KEY_MISSING or MASTER_KEY_WRONG unless the master keys open the store; writes nothing. */
export async function openMasterKeys(context: ManagerContext, signal: AbortSignal): Promise<void> {
  const { unlockSource } = await import("../copy/copy-rows.ts");
  await raceSignalWithGrace(unlockSource(context, signal), signal);
}

/** Rejects unless the store answers and the master keys open it. */
export async function checkStore({ store, sealer }: Context, signal: AbortSignal): Promise<void> {
  await raceSignalWithGrace(store.ping(signal), signal);
  await raceSignalWithGrace(sealer("prepare", signal), signal);
}
