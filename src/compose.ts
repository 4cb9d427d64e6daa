import type { Config } from "./config.ts";
import type { Journal } from "./core/journal.ts";
import type { Log } from "./core/log.ts";
import type { Subject } from "./core/examination.ts";
import { KeyManager } from "./core/manager.ts";
import { asFailure } from "./core/patience.ts";
import type { Inspection, KeyStore, MasterKeys, KeySource, SealChecks } from "./core/ports.ts";
import { sealerCache } from "./core/sealer-cache.ts";
import { mayUnlock, unlock } from "./core/unlock.ts";
import { masterKeysFrom } from "./encryption/master-keys.ts";
import type { MasterKeyNotices } from "./encryption/master-keys.ts";
import { environmentKey } from "./sources/environment.ts";
import { keyFile } from "./sources/key-file.ts";
import { absentStore } from "./stores/absent-store.ts";
import { openDatabase } from "./stores/sqlite-database.ts";
import { sqliteStore } from "./stores/sqlite-store.ts";
import { unavailableStore } from "./stores/unavailable-store.ts";

export { readConfig, readDestination } from "./config.ts";

/** Everything outside the core that a manager works with. */
export interface Ports {
  readonly store: KeyStore & SealChecks & Inspection & Journal;
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
  readonly subject: Subject;
}

export interface ComposeOptions {
  readonly mayCreateStore: boolean;
  /** A store that cannot be opened is one whose every call fails, for commands that have more to say. */
  readonly storeMayFail?: boolean | undefined;
  readonly signal: AbortSignal;
  /** Stands between the core and its ports: what a test records or interrupts there is what really happens. */
  readonly around?: ((ports: Ports) => Ports) | undefined;
}

/** The one place that wires adapters to the core. The manager's `close` lets go of everything. */
export async function compose(config: Config, listener: Listener, options: ComposeOptions): Promise<Composed> {
  const { around = (ports) => ports } = options;
  const opened = await openStore(config, options);
  const { store, masterKeys, sources } = around({
    store: opened ?? absentStore,
    masterKeys: masterKeysFrom(config.masterKeys, listener.notices),
    sources: [keyFile(config.keyFile), environmentKey(config.environmentKey)],
  });
  // A machine that comes and goes must not seal a shared store with a key that goes with it.
  const lock = { checks: store, masterKeys, mayGenerate: config.store.kind === "sqlite" };
  const clock = { now: () => new Date() };
  const manager = new KeyManager({
    store,
    lock,
    sealer: sealerCache((purpose, waiting) => unlock(lock, purpose, waiting), clock),
    maySeal: (waiting) => mayUnlock(lock, waiting),
    sources,
    clock,
    log: listener.log,
    hasManagementKey: config.hasManagementKey,
    autoProvision: config.autoProvision,
    timeoutMs: config.timeoutMs,
  });
  const subject: Subject = {
    store,
    masterKeys,
    mayGenerate: lock.mayGenerate,
    masterKeyPlace: async () =>
      (await import("./encryption/master-key-facts.ts")).describeMasterKeys(config.masterKeys),
    sources,
    hasManagementKey: config.hasManagementKey,
  };
  return { manager, storeExists: opened !== undefined, subject };
}

/** Undefined when there is none yet, and it is not to be made. */
async function openStore(
  { store: place, timeoutMs }: Config,
  { mayCreateStore, storeMayFail = false, signal }: ComposeOptions,
): Promise<Ports["store"] | undefined> {
  try {
    if (place.kind === "mongodb") return (await import("./stores/mongo-store.ts")).mongoStore(place, timeoutMs);
    const database = await openDatabase(place.path, mayCreateStore, signal);
    return database === undefined ? undefined : sqliteStore(database, place.path);
  } catch (thrown) {
    const error = asFailure(thrown, signal);
    if (storeMayFail && error.code !== "INTERRUPTED") return unavailableStore(error);
    throw error;
  }
}
