import { Resolver } from "node:dns/promises";
import { serviceOf } from "./uri.ts";

/** The system's codes for a missing record. A `mongodb+srv` host needs an SRV record; its TXT record may be missing. */
const ABSENT = /^(ENODATA|ENOTFOUND)$/;

/**
 * Queries the DNS records of a `mongodb+srv` URI before the driver does. Does nothing for other URIs. Rejects with the
 * system's error. The driver alone would wait a minute for a silent name server, and that wait cannot be cancelled.
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
