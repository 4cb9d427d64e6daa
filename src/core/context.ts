import type { KeyStore, Sealer, KeySource, Clock, Purpose } from "./ports/stores-and-sources.ts";
import type { Journal } from "./ports/journal.ts";
import type { Spool } from "./ports/spool.ts";
import type { Log } from "./model/log-event.ts";
import type { OpenRouterOnUse } from "./ports/openrouter.ts";
import type { ManagementKey } from "./model/management-key.ts";
import type { ProvisioningRules } from "./model/provision-rules.ts";
import type { AccountOnUse } from "./ports/account.ts";

export interface Context {
  readonly store: KeyStore;
  readonly journal: Journal;
  /** Where a key waits that was made and could not be stored. */
  readonly spool: Spool;
  /** Proven master keys, fetched when the first key is sealed or opened. */
  readonly sealer: (purpose: Purpose, signal: AbortSignal) => Promise<Sealer>;
  /** Rejects as `sealer` would for sealing; makes and writes nothing. */
  readonly assertCanSeal: (signal: AbortSignal) => Promise<void>;
  readonly sources: readonly KeySource[];
  readonly clock: Clock;
  readonly log: Log;
  readonly openRouter: OpenRouterOnUse;
  /** Undefined when there is none. Throws CONFIG_… errors. */
  readonly managementKey: () => ManagementKey | undefined;
  readonly account: AccountOnUse;
  /** Throws CONFIG_… errors: asked where a key may be made, and nowhere else. */
  readonly hasManagementKey: () => boolean;
  /** The hashes of all management keys that are configured, as far as they can be read now. Throws nothing. */
  readonly managementKeyHashes: () => ReadonlySet<string>;
  readonly provisioning: ProvisioningRules;
  /** A row that holds its key in plain text is unreadable: who can write to the database could have planted it. */
  readonly requireSealed: boolean;
  /** How long each call may take that says nothing else, in milliseconds. */
  readonly timeoutMs: number;
}
