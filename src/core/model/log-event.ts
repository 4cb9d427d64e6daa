import type { ApiKey } from "./api-key.ts";
import type { UserId } from "./user-id.ts";
import { shortId } from "./user-id.ts";
import { printable } from "../text/printable.ts";

/** Where a key may come from before one is created. */
export type StoredLocation = "database" | "key.txt" | "environment";
export type ExternalSource = Exclude<StoredLocation, "database">;
/** Where an answer came from. */
export type Source = StoredLocation | "auto-provisioned" | "manual";

/** An event of a resolution. The core emits it; `logLine` has the words. */
export type LogEvent =
  | { readonly kind: "syncing"; readonly user: UserId }
  | { readonly kind: "loaded"; readonly from: StoredLocation; readonly key: ApiKey }
  | { readonly kind: "malformed"; readonly from: StoredLocation }
  | { readonly kind: "unreadable"; readonly reason: string }
  | { readonly kind: "differs"; readonly from: ExternalSource }
  | { readonly kind: "saved"; readonly origin: string; readonly key: ApiKey }
  | { readonly kind: "none-found" }
  | { readonly kind: "provisioning" }
  | { readonly kind: "making"; readonly user: UserId }
  | { readonly kind: "made"; readonly key: ApiKey }
  | { readonly kind: "no-management-key" }
  | { readonly kind: "provision-failed"; readonly reason: string }
  | { readonly kind: "no-key" }
  | { readonly kind: "using"; readonly source: Source }
  | { readonly kind: "synced" }
  | { readonly kind: "complete" }
  | { readonly kind: "not-saving" }
  | { readonly kind: "validating" }
  | { readonly kind: "validated" }
  | { readonly kind: "invalid" }
  | { readonly kind: "not-validated"; readonly reason: string }
  | { readonly kind: "renewal-due"; readonly key: ApiKey }
  | { readonly kind: "renewing"; readonly user: UserId }
  | { readonly kind: "renewed"; readonly key: ApiKey }
  | { readonly kind: "renewal-failed"; readonly reason: string }
  | { readonly kind: "renewed-in-request" };

export type Log = (event: LogEvent) => void;

const NAMES: Readonly<Record<StoredLocation, string>> = {
  database: "database",
  "key.txt": "key.txt",
  environment: "OPENROUTER_API_KEY",
};
const SHORT_NAMES: Readonly<Record<ExternalSource, string>> = { "key.txt": "file", environment: "environment" };

type Words = { readonly [Kind in LogEvent["kind"]]: (event: Extract<LogEvent, { kind: Kind }>) => readonly string[] };

/** A contract: other programs search for these words. Golden transcripts are in test/golden. */
const WORDS: Words = {
  syncing: ({ user }) => [`===== Syncing API key for user ${shortId(user)} =====`],
  loaded: ({ from, key }) => [`✅ Loaded key from ${NAMES[from]}: ${key.masked}`],
  malformed: ({ from }) => [`⚠️ Invalid key format in ${NAMES[from]}`],
  unreadable: ({ reason }) => [`⚠️ Could not read key.txt: ${printable(reason)}`],
  differs: ({ from }) => [`⚠️ Key in ${SHORT_NAMES[from]} differs from database`, "💡 Keeping database key (priority)"],
  saved: ({ origin, key }) => [`✅ Saved key to database (source: ${printable(origin)}): ${key.masked}`],
  "none-found": () => ["⚠️ No API key found in database, file, or environment"],
  provisioning: () => ["🔄 Attempting auto-provision..."],
  making: ({ user }) => [`🔄 Auto-provisioning new key for user ${shortId(user)}...`],
  made: ({ key }) => [`✅ Auto-provisioned new key: ${key.masked}`],
  "no-management-key": () => ["⚠️ OPENROUTER_PROVISIONING_KEY not set, cannot auto-provision"],
  "provision-failed": ({ reason }) => [`❌ Auto-provision failed: ${printable(reason)}`],
  "no-key": () => ["❌ No API key available"],
  using: ({ source }) => [`✅ Using key from: ${source}`],
  synced: () => ["✅ Key synced to database"],
  complete: () => ["===== Sync complete ====="],
  "not-saving": () => ["❌ Invalid key format, not saving"],
  validating: () => ["🔍 Validating key with OpenRouter API..."],
  validated: () => ["✅ Key validated successfully"],
  invalid: () => ["❌ Key is invalid or expired"],
  "not-validated": ({ reason }) => [`⚠️ Could not validate key: ${printable(reason)}`],
  "renewal-due": ({ key }) => [`Old key expired: ${key.masked}`],
  renewing: ({ user }) => [`Creating new runtime key for user ${shortId(user)}...`],
  renewed: ({ key }) => [`✅ New key created and saved: ${key.masked}`],
  "renewal-failed": ({ reason }) => [`❌ ${printable(reason)}`],
  "renewed-in-request": () => ["✅ API key was automatically renewed during this request"],
};

const RENEWAL = "[Auto-Renewal] ";
/** Every other event has the prefix `[KeyManager]`. */
const PREFIXES: Readonly<Partial<Record<LogEvent["kind"], string>>> = {
  "renewal-due": RENEWAL,
  renewing: RENEWAL,
  renewed: RENEWAL,
  "renewal-failed": RENEWAL,
  "renewed-in-request": "",
};

/** The lines of an event, each with its prefix and without a line end. */
export function logLines(event: LogEvent): readonly string[] {
  // The compiler cannot see that the row of the table fits the event.
  const words = WORDS[event.kind] as (event: LogEvent) => readonly string[];
  const prefix = PREFIXES[event.kind] ?? "[KeyManager] ";
  return words(event).map((line) => prefix + line);
}

export const silent: Log = () => {};
