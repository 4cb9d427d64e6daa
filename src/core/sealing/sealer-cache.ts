import { SingleFlight } from "../async/single-flight.ts";
import type { KeyctlError } from "../model/errors.ts";
import { isTimeout } from "../async/deadline.ts";
import type { KeyCheckValues, Sealer, Purpose } from "../ports/stores-and-sources.ts";
import { isNamed, nameActiveKey } from "./verify-master-keys.ts";

type Ask = (purpose: "seal" | "open", signal: AbortSignal) => Promise<Sealer>;

/** A running server learns within this time that a rekey made another master key active. */
const SEALS_FOR_MS = 60_000;
/** After this time, a program that seals looks again whether the store names its master key. */
export const NAMED_FOR_MS = 1000;
/** After a master key was missing, values that name it do not cause another load within this time. */
const MISSING_FOR_MS = 1000;

interface KnownSealer {
  readonly sealer: Sealer;
  /** Times are those of a monotonic clock: no change of the wall clock makes a retired master key seal longer. */
  readonly at: number;
  /** When the store last named the active master key; undefined if it was not asked. */
  readonly namedAt: number | undefined;
}

/**
 * Loads master keys once, also for concurrent callers. A failure is not cached, so a server recovers when the key is
 * back. Before a caller seals, the store names its active master key.
 * @param late the error for a load that times out, if its cause can be named
 * @param now milliseconds of a monotonic clock
 */
export function sealerCache(
  ask: Ask,
  checks: KeyCheckValues,
  late: () => KeyctlError | undefined = () => undefined,
  now: () => number = () => performance.now(),
): (purpose: Purpose, signal: AbortSignal) => Promise<Sealer> {
  const cache = new SealerCache({ ask, checks, late, now });
  return async (purpose, signal) => {
    if (purpose === "seal") return cache.toSeal(signal);
    if (purpose === "prepare") return (await cache.toPrepare(signal)).sealer;
    return purpose === "open" ? cache.toOpen(signal) : cache.holding(purpose.kid, signal);
  };
}

interface Parts {
  readonly ask: Ask;
  readonly checks: KeyCheckValues;
  readonly late: () => KeyctlError | undefined;
  readonly now: () => number;
}

class SealerCache {
  readonly #parts: Parts;
  readonly #known = new Map<"seal" | "open", KnownSealer>();
  readonly #missing = new Map<string, number>();
  readonly #asking = new SingleFlight<Sealer>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async toPrepare(signal: AbortSignal): Promise<KnownSealer> {
    const entry = this.#known.get("seal");
    const isOld = entry === undefined || this.#parts.now() - entry.at >= SEALS_FOR_MS;
    return isOld ? this.#askAnew("seal", signal) : entry;
  }

  async toSeal(signal: AbortSignal): Promise<Sealer> {
    const { checks, now } = this.#parts;
    const before = this.#known.get("seal");
    const entry = await this.toPrepare(signal);
    const at = now();
    if (entry.namedAt !== undefined && at - entry.namedAt < NAMED_FOR_MS) return entry.sealer;
    if (entry !== before) return this.#name(entry, signal);
    // A rekey may have made another master key active.
    if (!(await isNamed(checks, entry.sealer.activeKid, signal)))
      return this.#name(await this.#askAnew("seal", signal), signal);
    this.#known.set("seal", { ...entry, namedAt: at });
    return entry.sealer;
  }

  async toOpen(signal: AbortSignal): Promise<Sealer> {
    const entry = this.#known.get("open") ?? this.#known.get("seal") ?? (await this.#askAnew("open", signal));
    return entry.sealer;
  }

  /** A master key is in its set before it seals a value, so a load that begins after the value was read contains it. */
  async holding(kid: string, signal: AbortSignal): Promise<Sealer> {
    const sealer = await this.toOpen(signal);
    if (sealer.kids.includes(kid) || this.#isMissing(kid)) return sealer;
    const { sealer: joined } = await this.#askAnew("open", signal);
    // The load that was joined may have begun before the value was read.
    const fetched = joined.kids.includes(kid) ? joined : (await this.#askAnew("open", signal)).sealer;
    if (!fetched.kids.includes(kid)) this.#missing.set(kid, this.#parts.now());
    return fetched;
  }

  async #name(entry: KnownSealer, signal: AbortSignal): Promise<Sealer> {
    const namedAt = this.#parts.now();
    await nameActiveKey(this.#parts.checks, entry.sealer, signal);
    this.#known.set("seal", { ...entry, namedAt });
    return entry.sealer;
  }

  async #askAnew(purpose: "seal" | "open", signal: AbortSignal): Promise<KnownSealer> {
    const { ask, late, now } = this.#parts;
    const at = now();
    try {
      const sealer = await this.#asking.run(purpose, (ofRun) => ask(purpose, ofRun), signal);
      const entry: KnownSealer = { sealer, at, namedAt: undefined };
      this.#known.set(purpose, entry);
      return entry;
    } catch (thrown) {
      throw isTimeout(thrown) ? (late() ?? thrown) : thrown;
    }
  }

  #isMissing(kid: string): boolean {
    const time = this.#parts.now();
    for (const [other, at] of this.#missing) if (time - at >= MISSING_FOR_MS) this.#missing.delete(other);
    return this.#missing.has(kid);
  }
}
