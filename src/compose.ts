import type { Config } from "./config.ts";
import type { Log } from "./core/log.ts";
import { KeyManager } from "./core/manager.ts";
import { asFailure } from "./core/patience.ts";
import type { KeyStore, MasterKeys, KeySource, SealChecks } from "./core/ports.ts";
import { sealerCache } from "./core/sealer-cache.ts";
import { unlock } from "./core/unlock.ts";
import { masterKeysFrom } from "./encryption/master-keys.ts";
import type { MasterKeyNotices } from "./encryption/master-keys.ts";
import { environmentKey } from "./sources/environment.ts";
import { keyFile } from "./sources/key-file.ts";
import { absentStore } from "./stores/absent-store.ts";
import { openDatabase } from "./stores/sqlite-database.ts";
import { sqliteStore } from "./stores/sqlite-store.ts";

export { readConfig } from "./config.ts";

/** Everything outside the core that a manager works with. */
export interface Ports {
  readonly store: KeyStore & SealChecks;
  readonly masterKeys: MasterKeys;
  readonly sources: readonly KeySource[];
}

export interface Listener {
  readonly log: Log;
  readonly notices: MasterKeyNotices;
}

export interface Composed {
  readonly manager: KeyManager;
  /** False: there is no store yet, and it was not to be made. */
  readonly storeExists: boolean;
}

export interface ComposeOptions {
  readonly mayCreateStore: boolean;
  readonly signal: AbortSignal;
  /** Stands between the core and its ports: what a test records or interrupts there is what really happens. */
  readonly around?: ((ports: Ports) => Ports) | undefined;
}

/** The one place that wires adapters to the core. The manager's `close` lets go of everything. */
export async function compose(config: Config, listener: Listener, options: ComposeOptions): Promise<Composed> {
  const { mayCreateStore, signal, around = (ports) => ports } = options;
  const database = await opened(config.store.path, mayCreateStore, signal);
  const { store, masterKeys, sources } = around({
    store: database === undefined ? absentStore : sqliteStore(database, config.store.path),
    masterKeys: masterKeysFrom(config.masterKeys, listener.notices),
    sources: [keyFile(config.keyFile), environmentKey(config.environmentKey)],
  });
  const clock = { now: () => new Date() };
  const manager = new KeyManager({
    store,
    sealer: sealerCache(
      (purpose, waiting) => unlock({ checks: store, masterKeys, mayGenerate: true }, purpose, waiting),
      clock,
    ),
    sources,
    clock,
    log: listener.log,
    hasManagementKey: config.hasManagementKey,
    autoProvision: config.autoProvision,
    timeoutMs: config.timeoutMs,
  });
  return { manager, storeExists: database !== undefined };
}

async function opened(path: string, mayCreate: boolean, signal: AbortSignal) {
  try {
    return await openDatabase(path, mayCreate, signal);
  } catch (thrown) {
    throw asFailure(thrown, signal);
  }
}
