import { Flights } from "./flights.ts";
import type { Clock, Sealer } from "./ports.ts";

/** `reopen`: a value names a master key that the sealer at hand lacks; somebody may have added it meanwhile. */
export type Purpose = "seal" | "open" | "reopen";

type Ask = (purpose: "seal" | "open", signal: AbortSignal) => Promise<Sealer>;

/** A server that goes on sealing learns within this time that a rekey has made another master key active. */
const SEALS_FOR_MS = 60_000;
/** Values of a master key that is truly missing do not each ask anew. */
const REOPENS_EVERY_MS = 1000;

/**
 * Asks for master keys once, also when many users need them at a time. A failure is not kept, so that a server
 * recovers when the key is back.
 */
export function sealerCache(ask: Ask, clock: Clock): (purpose: Purpose, signal: AbortSignal) => Promise<Sealer> {
  const known = new Map<"seal" | "open", { readonly sealer: Sealer; readonly at: number }>();
  const asking = new Flights<Sealer>();
  const askAnew = async (purpose: "seal" | "open", patience: AbortSignal) => {
    const at = clock.now().getTime();
    const sealer = await asking.join(purpose, (signal) => ask(purpose, signal), patience);
    known.set(purpose, { sealer, at });
    return sealer;
  };
  const isRecent = (purpose: "seal" | "open", limitMs: number) => {
    const entry = known.get(purpose);
    return entry !== undefined && clock.now().getTime() - entry.at < limitMs;
  };

  return async (purpose, patience) => {
    if (purpose === "seal") {
      return (isRecent("seal", SEALS_FOR_MS) ? known.get("seal")?.sealer : undefined) ?? askAnew("seal", patience);
    }
    if (purpose === "reopen" && !isRecent("open", REOPENS_EVERY_MS)) return askAnew("open", patience);
    return known.get("open")?.sealer ?? known.get("seal")?.sealer ?? askAnew("open", patience);
  };
}
