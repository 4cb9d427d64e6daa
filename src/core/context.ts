import type { KeyStore, Sealer, KeySource, Clock, Purpose } from "./ports/stores-and-sources.ts";
import type { Journal } from "./ports/journal.ts";
import type { Spool } from "./ports/spool.ts";
import type { Log } from "./model/log-event.ts";
import type { OpenRouterOnUse } from "./ports/openrouter.ts";
import type { ManagementKey } from "./model/management-key.ts";
import type { ProvisioningRules } from "./model/provision-rules.ts";
import type { AccountOnUse } from "./ports/account.ts";
import type { History, HistoryStore } from "./ports/history.ts";

export interface Context {
  readonly store: KeyStore;
  readonly journal: Journal;
  /** Where keys wait that were created and could not be stored. */
  readonly spool: Spool;
  /** Verified master keys, loaded when the first key is sealed or opened. */
  readonly sealer: (purpose: Purpose, signal: AbortSignal) => Promise<Sealer>;
  /** Rejects with the error that `sealer` would reject with for sealing; creates and writes nothing. */
  readonly assertCanSeal: (signal: AbortSignal) => Promise<void>;
  readonly sources: readonly KeySource[];
  readonly clock: Clock;
  readonly log: Log;
  readonly openRouter: OpenRouterOnUse;
  /** Undefined without a management key. Throws CONFIG_… errors. */
  readonly managementKey: () => ManagementKey | undefined;
  readonly account: AccountOnUse;
  /** The notes of what this call changes. No step of the protocol waits for them, except the end of a call. */
  readonly history: History;
  /** For calls that list, copy or sweep the history; no step of the protocol reads it. */
  readonly historyStore: HistoryStore;
  /** For how many days the history is kept. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly historyDays: () => number;
  /** Throws CONFIG_… errors, so it is called only where a key may be created. */
  readonly hasManagementKey: () => boolean;
  /** The hashes of all configured management keys that can be read now. Throws nothing. */
  readonly managementKeyHashes: () => ReadonlySet<string>;
  readonly provisioning: ProvisioningRules;
  /** A row with its key in plain text is unreadable: any program that can write to the database may have planted it. */
  readonly requireSealed: boolean;
  /** The default time limit of a call, in milliseconds. */
  readonly timeoutMs: number;
}
