import { CANARIES } from "../fixtures/leak-canaries.ts";
import { emptyHome } from "../home/home.ts";
import type { Home } from "../home/home.ts";

/** A home for runs on a database of one test. The first run creates the store. */
export function homeOn(uri: string): Home {
  const home = emptyHome();
  const masterKeys = { KEYCTL_MASTER_KEYS: CANARIES["master key"] };
  return { ...home, environment: { ...home.environment, ...masterKeys, KEYCTL_STORE: uri, KEYCTL_CREATE_STORE: "1" } };
}

/** This URI with a user and the canary password. */
export function withPassword(uri: string): string {
  return uri.replace("//", `//admin:${encodeURIComponent(CANARIES.password)}@`);
}

/** This URI with the canary password in an option that needs none. */
export function withSpare(uri: string): string {
  return `${uri}${uri.includes("?") ? "&" : "?"}tlsCertificateKeyFilePassword=${encodeURIComponent(CANARIES.password)}`;
}
