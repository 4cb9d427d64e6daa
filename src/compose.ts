import type { Config } from "./config/config.ts";
import type { StorePlace } from "./config/store-place.ts";
import { KeyctlError } from "./core/model/errors.ts";
import type { Log } from "./core/model/log-event.ts";
import type { DoctorContext } from "./core/doctor/collect-facts.ts";
import { isManagementKey } from "./core/model/management-key.ts";
import type { OnOvertime } from "./core/protocol/shared-user-runs.ts";
import { KeyManager } from "./core/manager/manager.ts";
import { toKeyctlError } from "./core/async/deadline.ts";
import { printable } from "./core/text/printable.ts";
import type { Clock, MasterKeys, KeySource } from "./core/ports/stores-and-sources.ts";
import type { Store } from "./core/ports/store.ts";
import { sealerCache } from "./core/sealing/sealer-cache.ts";
import { sleep } from "./core/async/sleep.ts";
import { parseReason } from "./core/model/reason.ts";
import { assertCanSeal, loadVerifiedSealer } from "./core/sealing/verify-master-keys.ts";
import type { SealingSetup } from "./core/sealing/verify-master-keys.ts";
import type { Warning } from "./core/model/warning.ts";
import type { Spool } from "./core/ports/spool.ts";
import type { OpenRouter, OpenRouterOnUse, RetryPause } from "./core/ports/openrouter.ts";
import { masterKeysFrom } from "./encryption/master-keys.ts";
import type { MasterKeyNotices } from "./encryption/master-keys.ts";
import { environmentKey } from "./sources/environment.ts";
import { keyFile } from "./sources/key-file.ts";
import { absentStore } from "./stores/absent-store.ts";
import { fileSpool } from "./stores/file-spool.ts";
import { openDatabase, requireSqlite } from "./stores/sqlite/database.ts";
import { exposuresOf } from "./stores/sqlite/exposure.ts";
import { leavesFileOpen } from "./stores/sqlite/file.ts";
import { sqliteStore } from "./stores/sqlite/store.ts";
import { unavailableStore } from "./stores/unavailable-store.ts";

export { openConfig, openDestination, readConfig } from "./config/config.ts";

/** Everything outside the core that a manager works with. */
export interface Ports {
  readonly store: Store;
  readonly masterKeys: MasterKeys;
  readonly sources: readonly KeySource[];
  readonly openRouter: OpenRouterOnUse;
  readonly spool: Spool;
  readonly pause: SealingSetup["pause"];
}

export interface Listener {
  readonly log: Log;
  readonly notices: MasterKeyNotices;
  /** Called before each wait for OpenRouter. */
  readonly onPause?: (pause: RetryPause) => void;
  /** Called with what a run waits for when its time is over and a key that may exist is not given up. */
  readonly onOvertime?: OnOvertime;
}

export interface Composed {
  readonly manager: KeyManager;
  /** False: no store exists yet, and none may be created. */
  readonly storeExists: boolean;
  readonly subject: DoctorContext;
  /** Warnings about the store, given once per run: who else can change it. */
  readonly storeWarnings: readonly Warning[];
  /** A closed database keeps its file open until its objects are garbage-collected. */
  readonly leavesFileOpen: boolean;
}

export interface ComposeOptions {
  /** A missing store may be created: the default one, and with `creates` a named one. */
  readonly mayCreateStore: boolean;
  /** A store that is named may be missing. */
  readonly creates: boolean;
  /** What to type so that a missing store is created. */
  readonly creation: string;
  /** The command needs no store, and none is opened. */
  readonly withoutStore?: boolean | undefined;
  /** A store that cannot be opened becomes one whose every call fails, for commands that have more to report. */
  readonly storeMayFail?: boolean | undefined;
  readonly signal: AbortSignal;
  /** A key whose caller stops waiting during its creation is finished in the background; otherwise the caller waits. */
  readonly detaches?: boolean | undefined;
  /** Why something is changed, for the history, in every call without a reason of its own. */
  readonly reason?: string | undefined;
  /** A wrapper between the core and its ports, through which a test records and interrupts the real calls. */
  readonly around?: ((ports: Ports) => Ports) | undefined;
}

/** The only place that wires adapters to the core. The manager's `close` releases everything. Throws USAGE for the reason. */
export async function compose(config: Config, listener: Listener, options: ComposeOptions): Promise<Composed> {
  const { around = (ports) => ports } = options;
  const reason = parseReason(options.reason);
  const opened = options.withoutStore === true ? undefined : await openStore(config, options);
  const clock = { now: () => new Date() };
  const isManagement = (text: string) => isManagementKey(text, config.managementKeyHashes());
  const ports = around({
    store: opened?.store ?? absentStore,
    masterKeys: masterKeysFrom(config.masterKeys, listener.notices, config.masterKeysNotRead),
    sources: [
      keyFile(config.keyFile, isManagement, config.pipeWait),
      environmentKey(config.environmentKey, isManagement, config.pipeWait),
    ],
    openRouter: openRouterOnUse(config, clock, listener.onPause),
    spool: fileSpool(config.spoolFolder),
    pause: sleep,
  });
  const { store, masterKeys, sources, openRouter, spool, pause } = ports;
  // A short-lived machine must not encrypt a shared store with a key that disappears with it.
  const lock = { checks: store, masterKeys, mayGenerate: config.store.kind === "sqlite", pause };
  const provisioning = {
    ...config.provisioning,
    // A database may learn only from its first call whether it was just created.
    get refusal() {
      return refusalOf(opened, config, options.mayCreateStore);
    },
  };
  const manager = new KeyManager({
    store,
    journal: store,
    spool,
    lock,
    sealer: sealerCache(
      (purpose, waiting) => loadVerifiedSealer(lock, purpose, waiting),
      store,
      () => masterKeys.late?.(),
    ),
    assertCanSeal: (waiting) => assertCanSeal(lock, waiting),
    sources,
    clock,
    log: listener.log,
    openRouter,
    provisioning,
    detaches: options.detaches ?? false,
    onOvertime: listener.onOvertime,
    historyStore: store,
    reason,
    ...settingsFrom(config),
  });
  return {
    manager,
    storeExists: opened !== undefined,
    subject: doctorContext(config, ports, { mayGenerate: lock.mayGenerate, provisioning, manager }),
    storeWarnings: opened === undefined || config.store.kind === "mongodb" ? [] : exposureWarnings(config.store.path),
    leavesFileOpen: opened !== undefined && config.store.kind === "sqlite" && leavesFileOpen(),
  };
}

/** The settings that the manager takes as they are. */
function settingsFrom(config: Config) {
  const { hasManagementKey, managementKey, managementKeyHashes, autoProvision, requireSealed } = config;
  const { timeoutMs, makingTimeoutMs, rotateGraceMs, historyDays, actor } = config;
  const keys = { hasManagementKey, managementKey, managementKeyHashes, autoProvision, requireSealed };
  return { ...keys, timeoutMs, makingTimeoutMs, rotateGraceMs, historyDays, actor };
}

function exposureWarnings(path: string): readonly Warning[] {
  return exposuresOf(path).map(({ message, hint, fixable }) => {
    const warning = { code: "STORE_EXPOSED", message: `${message}; ${hint}` } as const;
    return fixable === undefined ? warning : { ...warning, fixable };
  });
}

/** What doctor inspects besides the manager. */
function doctorContext(
  { masterKeys: sources, masterKeysNotRead, managementKey, managementKeyHashes, autoProvision, requireSealed }: Config,
  ports: Ports,
  { manager, ...rules }: Pick<DoctorContext, "mayGenerate" | "provisioning"> & { readonly manager: KeyManager },
): DoctorContext {
  return {
    ...ports,
    ...rules,
    async masterKeyPlace() {
      const { describeMasterKeys } = await import("./encryption/master-key-facts.ts");
      return { ...describeMasterKeys(sources), notRead: masterKeysNotRead() };
    },
    managementKey,
    managementKeyHashes,
    autoProvision,
    requireSealed,
    dueDuties: (signal) => manager.dueDuties({ signal }),
  };
}

/** An empty cache on a CI machine must not lead to new, paid keys. */
function refusalOf(opened: OpenedStore | undefined, { ci }: Config, mayCreateStore: boolean): string | null {
  if (!ci || opened?.isNew() === false) return null;
  return `${mayCreateStore ? "the database was just created" : "there is no database yet"}, and CI is set: no key is created for it`;
}

function openRouterOnUse(
  { openRouter: { url, environment } }: Config,
  clock: Clock,
  onPause: (pause: RetryPause) => void = () => {},
): OpenRouterOnUse {
  const listeners = new Set([onPause]);
  let sent = 0;
  let opened: Promise<OpenRouter> | undefined;
  const onWait = (pause: RetryPause) => listeners.forEach((listener) => listener(pause));
  const load = async () => {
    const { openRouterAt } = await import("./openrouter/configured.ts");
    return openRouterAt(url, { environment, clock, onWait, onSend: () => (sent += 1) });
  };
  return {
    open: () => (opened ??= load()),
    sent: () => sent,
    onPause(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: async () => opened?.then((open) => open.close()).catch(() => {}),
  };
}

interface OpenedStore {
  readonly store: Ports["store"];
  /** This run has created the store, or is about to. */
  readonly isNew: () => boolean;
}

/** Undefined if no store exists and none may be created. Throws STORE_MISSING for a named one. */
async function openStore(
  { store: place, timeoutMs }: Config,
  { mayCreateStore, creates, creation, storeMayFail = false, signal }: ComposeOptions,
): Promise<OpenedStore | undefined> {
  const missing = creates || place.from === "default" ? undefined : () => storeMissing(place, creation);
  try {
    if (place.kind === "mongodb") {
      const { mongoStore } = await import("./stores/mongo/store.ts");
      const store = mongoStore(place, timeoutMs, missing);
      return { store, isNew: store.isNew };
    }
    const database = await openDatabase(place.path, mayCreateStore && missing === undefined, signal);
    if (database !== undefined) return { store: sqliteStore(database), isNew: () => database.isNew };
    // A report on the machine says what the first save would fail with.
    if (storeMayFail) requireSqlite();
    if (missing !== undefined) throw missing();
    return undefined;
  } catch (thrown) {
    const error = toKeyctlError(thrown, signal);
    if (storeMayFail && error.code !== "INTERRUPTED") return { store: unavailableStore(error), isNew: () => false };
    throw error;
  }
}

function storeMissing({ name, from }: StorePlace, hint: string): KeyctlError {
  return new KeyctlError("STORE_MISSING", `there is no store at ${printable(name)} (from ${from})`, { hint });
}
