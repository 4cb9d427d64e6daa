import { SingleFlight } from "../async/single-flight.ts";
import type { KeyctlError } from "../model/errors.ts";
import { isTimeout } from "../async/deadline.ts";
import type { Clock, Sealer, Purpose } from "../ports/stores-and-sources.ts";
type Ask = (purpose: "seal" | "open", signal: AbortSignal) => Promise<Sealer>;

/** A running server learns within this time that a rekey made another master key active. */
const SEALS_FOR_MS = 60_000;
/** A master key that the store no longer names seals nothing after this time: it is being retired. */
export const NAMED_FOR_MS = 1000;
/** After a master key was missing, values that name it do not cause another load within this time. */
const MISSING_FOR_MS = 1000;

interface KnownSealer {
  readonly sealer: Sealer;
  readonly at: number;
  /** When the store last named the active master key; undefined if it did not name it when the sealer was loaded. */
  readonly namedAt: number | undefined;
}

/**
 * Loads master keys once, also for concurrent callers. A failure is not cached, so a server recovers when the key is
 * back.
 * @param late the error for a load that times out, if its cause can be named
 * @param isNamed whether the store names this master key as one that rows may be sealed with
 */
export function sealerCache(
  ask: Ask,
  clock: Clock,
  late: () => KeyctlError | undefined = () => undefined,
  isNamed: (kid: string, signal: AbortSignal) => Promise<boolean> = async () => false,
): (purpose: Purpose, signal: AbortSignal) => Promise<Sealer> {
  const known = new Map<"seal" | "open", KnownSealer>();
  const missing = new Map<string, number>();
  const asking = new SingleFlight<Sealer>();
  const inTime = async (waiting: Promise<Sealer>) => {
    try {
      return await waiting;
    } catch (thrown) {
      throw isTimeout(thrown) ? (late() ?? thrown) : thrown;
    }
  };
  const askAnew = async (purpose: "seal" | "open", signal: AbortSignal) => {
    const at = clock.now().getTime();
    const sealer = await inTime(asking.run(purpose, (ofRun) => ask(purpose, ofRun), signal));
    const namedAt = purpose === "seal" && (await isNamed(sealer.activeKid, signal)) ? at : undefined;
    known.set(purpose, { sealer, at, namedAt });
    return sealer;
  };
  const toSeal = async (signal: AbortSignal) => {
    const entry = known.get("seal");
    const now = clock.now().getTime();
    if (entry === undefined || now - entry.at >= SEALS_FOR_MS) return askAnew("seal", signal);
    if (entry.namedAt === undefined || now - entry.namedAt < NAMED_FOR_MS) return entry.sealer;
    if (!(await isNamed(entry.sealer.activeKid, signal))) return askAnew("seal", signal);
    known.set("seal", { ...entry, namedAt: now });
    return entry.sealer;
  };
  const toOpen = async (signal: AbortSignal) =>
    known.get("open")?.sealer ?? known.get("seal")?.sealer ?? askAnew("open", signal);

  /** A master key is in its set before it seals a value, so a load that begins after the value was read contains it. */
  const holding = async (kid: string, signal: AbortSignal) => {
    const sealer = await toOpen(signal);
    if (sealer.kids.includes(kid) || isMissing(kid)) return sealer;
    const joined = await askAnew("open", signal);
    // The load that was joined may have begun before the value was read.
    const fetched = joined.kids.includes(kid) ? joined : await askAnew("open", signal);
    if (!fetched.kids.includes(kid)) missing.set(kid, clock.now().getTime());
    return fetched;
  };
  const isMissing = (kid: string) => {
    const now = clock.now().getTime();
    for (const [other, at] of missing) if (now - at >= MISSING_FOR_MS) missing.delete(other);
    return missing.has(kid);
  };

  return async (purpose, signal) => {
    if (purpose === "seal") return toSeal(signal);
    return purpose === "open" ? toOpen(signal) : holding(purpose.kid, signal);
  };
}
