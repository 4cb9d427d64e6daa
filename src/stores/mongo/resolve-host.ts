import { Resolver } from "node:dns/promises";
import { serviceOf } from "./uri.ts";

/** The records that mongodb+srv is about; the second may be missing. */
const ABSENT = /^(ENODATA|ENOTFOUND)$/;

/**
 * Asks for the records behind a `mongodb+srv` URI before the driver does: for a name server that is silent the driver
 * waits a minute, and nobody can stop it. Does nothing for other URIs. Rejects with the system's error.
 */
export async function lookUp(uri: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const service = serviceOf(uri);
  if (service === undefined) return;
  const resolver = new Resolver();
  const stop = () => resolver.cancel();
  const timer = setTimeout(stop, timeoutMs);
  signal.addEventListener("abort", stop, { once: true });
  try {
    await Promise.all([resolver.resolveSrv(service.name), resolver.resolveTxt(service.host).catch(unlessAbsent)]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    stop();
  }
}

function unlessAbsent(thrown: unknown): void {
  if (!(thrown instanceof Error && "code" in thrown && ABSENT.test(String(thrown.code)))) throw thrown;
}
