import { collectStoreStats } from "./store-stats.ts";
import type { StoreStats } from "./store-stats.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { Journal } from "../ports/journal.ts";
import type { ManagementKey } from "../model/management-key.ts";
import { toKeyctlError, anySignal, isTimeout, clampTimeout, deadlineIn } from "../async/deadline.ts";
import type {
  Inspection,
  Integrity,
  KeySource,
  KeyStore,
  MasterKeyPlaceFacts,
  MasterKeys,
  SourceReading,
  KeyCheckValue,
  KeyCheckValues,
  Sealer,
  StoreFacts,
} from "../ports/stores-and-sources.ts";
import { termsFor } from "../model/provision-terms.ts";
import { lookAtAccount } from "../protocol/compare-account.ts";
import type { Sight } from "../protocol/compare-account.ts";
import type { Spool } from "../ports/spool.ts";
import { spoolFacts } from "./spool-facts.ts";
import type { SpoolFacts } from "./spool-facts.ts";
import type { Credits, KeyCheck, OpenRouterOnUse, Reach } from "../ports/openrouter.ts";
import type { ProvisioningRules, WantedTerms } from "../model/provision-rules.ts";
import type { Warning } from "../model/warning.ts";
import { raceSignalWithGrace } from "../async/race-signal.ts";

/** What doctor looks at. */
export interface DoctorContext {
  readonly store: KeyStore & KeyCheckValues & Inspection & Journal;
  readonly masterKeys: MasterKeys;
  readonly masterKeyPlace: () => Promise<MasterKeyPlaceFacts>;
  /** True for a store whose first master key is made on first use. */
  readonly mayGenerate: boolean;
  readonly sources: readonly KeySource[];
  readonly openRouter: OpenRouterOnUse;
  /** Undefined when there is none. Throws CONFIG_… errors. */
  readonly managementKey: () => ManagementKey | undefined;
  /** The hashes of all management keys that are configured, as far as they can be read now. Throws nothing. */
  readonly managementKeyHashes: () => ReadonlySet<string>;
  readonly autoProvision: boolean;
  /** A key in plain text is handed out to nobody. */
  readonly requireSealed: boolean;
  readonly provisioning: ProvisioningRules;
  readonly spool: Pick<Spool, "counts">;
}

/** What OpenRouter says of the management key. */
export type ManagementKeyFacts =
  | { readonly status: "none"; readonly isNeeded: boolean }
  | { readonly status: "asked"; readonly check: KeyCheck; readonly credits: Credits | null };

export interface ReachFacts {
  readonly reach: Reach;
  /** How far its clock and ours are apart, in milliseconds; undefined when it did not say. */
  readonly skewMs: number | undefined;
}

/** What came of looking at one thing: a check that cannot be made does not stop the others. */
export type Probe<Value> =
  | { readonly status: "known"; readonly value: Value }
  | { readonly status: "failed"; readonly error: KeyctlError }
  /** The time was over first. */
  | { readonly status: "late" }
  /** It makes no sense without another one. */
  | { readonly status: "skipped" };

export interface MasterKeyFacts {
  readonly place: MasterKeyPlaceFacts;
  /** Undefined when there are none. */
  readonly sealer: Sealer | undefined;
  /** Those that anybody can guess. */
  readonly guessableKids?: readonly string[];
  /** The master keys that the store says it is sealed with, and whether the ones at hand open its proof. */
  readonly checks: readonly { readonly kid: string; readonly opens: boolean }[];
  readonly mayGenerate: boolean;
}

export interface SourceFacts {
  /** What a person corrects where it holds no key: the path of a file, or the name of a variable. */
  readonly place: string;
  readonly reading: SourceReading;
  readonly warnings: readonly Warning[];
}

/** Everything that was found out about a store and its keys. */
export interface DoctorFacts {
  /** False: there is no store yet. */
  readonly storeExists: boolean;
  readonly count: Probe<number>;
  readonly server: Probe<StoreFacts>;
  /** Undefined where a server answers for its files. */
  readonly integrity?: Probe<Integrity | undefined>;
  readonly masterKeys: Probe<MasterKeyFacts>;
  readonly census: Probe<StoreStats>;
  /** The files of the store that hold a key in plain text; none where a server answers for them. */
  readonly plainText?: Probe<readonly string[]>;
  readonly deep: boolean;
  readonly requireSealed: boolean;
  readonly keyFile: Probe<SourceFacts>;
  readonly environment: Probe<SourceFacts>;
  readonly managementKey: Probe<ManagementKeyFacts>;
  /** Whether it is of the account that the store is bound to. */
  readonly account: Probe<Sight>;
  readonly openRouter: Probe<ReachFacts>;
  /** What the environment says of making keys; null where none are made by themselves. */
  readonly provisioning: Probe<WantedTerms | null>;
  /** How many keys wait on this machine that could not be stored. */
  readonly spooled: Probe<SpoolFacts>;
}

/** Each has its own time, and none of them more than there is; the command that prints master keys has 10 s itself. */
const LIMIT_MS = { store: 10_000, server: 10_000, masterKeys: 12_000, sources: 5_000, openRouter: 5_000 } as const;

const skipped = { status: "skipped" } as const;

interface Conditions {
  readonly storeExists: boolean;
  readonly deep: boolean;
  /** How long all of it may take. */
  readonly timeMs: number;
}

/** Finds out what there is to know, in time; changes nothing. Rejects only when the caller stops waiting, or for a bug. */
export async function collectFacts(
  subject: DoctorContext,
  { storeExists, deep, timeMs }: Conditions,
  caller: AbortSignal,
): Promise<DoctorFacts> {
  const { store, sources, mayGenerate } = subject;
  const signal = anySignal(caller, AbortSignal.timeout(clampTimeout(timeMs)));
  const within: RunProbe = (limitMs, work) => outcome(work, Math.min(limitMs, timeMs), signal);
  // What needs no store does not wait for one that does not answer.
  const [storeOutcomes, loaded, keyFile, environment, managementKey, openRouter, provisioning, spooled] =
    await Promise.all([
      askStore(store, storeExists, timeMs, within),
      within(LIMIT_MS.masterKeys, (patience) => loadMasterKeys(subject, patience)),
      within(LIMIT_MS.sources, async () => sourceFacts(sources, "key.txt")),
      within(LIMIT_MS.sources, async () => sourceFacts(sources, "environment")),
      within(LIMIT_MS.openRouter, (patience) => askAboutManagementKey(subject, patience)),
      within(LIMIT_MS.openRouter, (patience) => reachOpenRouter(subject, patience)),
      within(LIMIT_MS.sources, async () => (subject.autoProvision ? termsFor(subject.provisioning) : null)),
      within(LIMIT_MS.sources, (patience) => spoolFacts(subject, patience)),
    ]);
  const { count, server, checks } = storeOutcomes;
  const masterKeys = masterKeyFacts(loaded, checks, mayGenerate);
  const sealer = masterKeys.status === "known" && isProven(masterKeys.value) ? masterKeys.value.sealer : undefined;
  const managementKeys = subject.managementKeyHashes();
  const isThere = server.status !== "skipped";
  const mayLook = count.status === "known" && storeExists && isManager(managementKey);
  const [account, census, integrity, plainText] = await Promise.all([
    mayLook ? within(LIMIT_MS.openRouter, (patience) => lookAtOwnAccount(subject, patience)) : skipped,
    isThere ? attempt(() => collectStoreStats(store, { sealer, deep, managementKeys }, signal), signal) : skipped,
    isThere ? within(timeMs, async (patience) => store.checkIntegrity?.(deep, patience)) : skipped,
    isThere ? within(timeMs, async (patience) => (await store.filesWithPlainText?.(patience)) ?? []) : skipped,
  ]);
  return {
    storeExists,
    deep,
    requireSealed: subject.requireSealed,
    count,
    server,
    integrity,
    masterKeys,
    census,
    plainText,
    keyFile,
    environment,
    managementKey,
    account,
    openRouter,
    provisioning,
    spooled,
  };
}

/** Does this within its own time, and within that of the whole. */
type RunProbe = <Value>(limitMs: number, work: (signal: AbortSignal) => Promise<Value>) => Promise<Probe<Value>>;

async function askAboutManagementKey(
  { openRouter, managementKey, autoProvision }: DoctorContext,
  signal: AbortSignal,
): Promise<ManagementKeyFacts> {
  const key = managementKey();
  if (key === undefined) return { status: "none", isNeeded: autoProvision };
  const open = await openRouter.open();
  const budget = deadlineIn(LIMIT_MS.openRouter, signal);
  const check = await open.checkKey(key, budget);
  const mayAsk = check.status === "accepted" && check.isManagementKey;
  // An ordinary key is shown a balance of nothing.
  return { status: "asked", check, credits: mayAsk ? await open.withManagementKey(key).credits(budget) : null };
}

function isManager(facts: Probe<ManagementKeyFacts>): boolean {
  if (facts.status !== "known" || facts.value.status !== "asked") return false;
  const { check } = facts.value;
  return check.status === "accepted" && check.isManagementKey;
}

async function lookAtOwnAccount(
  { openRouter, managementKey, store }: DoctorContext,
  signal: AbortSignal,
): Promise<Sight> {
  const key = managementKey();
  if (key === undefined) return { status: "unbound" };
  const keys = (await openRouter.open()).withManagementKey(key);
  return lookAtAccount(keys, store, deadlineIn(LIMIT_MS.openRouter, signal));
}

async function reachOpenRouter({ openRouter }: DoctorContext, signal: AbortSignal): Promise<ReachFacts> {
  const reach = await (await openRouter.open()).reach(deadlineIn(LIMIT_MS.openRouter, signal));
  const serverTime = reach.status === "reached" ? reach.serverTime : undefined;
  return { reach, skewMs: serverTime === undefined ? undefined : Math.abs(Date.now() - serverTime.getTime()) };
}

/** Half of the time is left for what there is to know beside a store that does not answer. */
async function askStore(store: DoctorContext["store"], exists: boolean, timeMs: number, within: RunProbe) {
  const count = await within(Math.min(LIMIT_MS.store, timeMs / 2), async (patience) => {
    await store.ping(patience);
    return store.count(patience);
  });
  if (!exists || count.status !== "known") return { count, server: skipped, checks: skipped };
  const [server, checks] = await Promise.all([
    within(LIMIT_MS.server, (patience) => store.inspect(patience)),
    within(LIMIT_MS.server, (patience) => store.keyCheckValues(patience)),
  ]);
  return { count, server, checks };
}

/** Master keys that do not open the store's proof open none of its rows. */
function isProven({ checks }: MasterKeyFacts): boolean {
  return checks.length === 0 || checks.some(({ opens }) => opens);
}

type Loaded = Pick<MasterKeyFacts, "sealer" | "place" | "guessableKids">;

async function loadMasterKeys({ masterKeys, masterKeyPlace }: DoctorContext, signal: AbortSignal): Promise<Loaded> {
  const sealer = await masterKeys.load(signal);
  const guessableKids = (sealer?.kids ?? []).filter((kid) => masterKeys.isGuessable?.(kid));
  return { sealer, guessableKids, place: await masterKeyPlace() };
}

function masterKeyFacts(
  loaded: Probe<Loaded>,
  checks: Probe<readonly KeyCheckValue[]>,
  mayGenerate: boolean,
): Probe<MasterKeyFacts> {
  if (loaded.status !== "known") return loaded;
  if (checks.status === "failed" || checks.status === "late") return checks;
  const { sealer } = loaded.value;
  const proofs = checks.status === "known" ? checks.value : [];
  return {
    status: "known",
    value: {
      ...loaded.value,
      checks: proofs.map((check) => ({ kid: check.kid, opens: sealer?.opensSealCheck(check) ?? false })),
      mayGenerate,
    },
  };
}

async function sourceFacts(sources: readonly KeySource[], name: KeySource["name"]): Promise<SourceFacts> {
  const source = sources.find((candidate) => candidate.name === name);
  if (source === undefined) return { place: name, reading: { status: "absent" }, warnings: [] };
  return { place: source.place, ...(await source.read()) };
}

/** Within this time, whether or not the work heeds the signal. */
function outcome<Value>(
  work: (signal: AbortSignal) => Promise<Value>,
  limitMs: number,
  signal: AbortSignal,
): Promise<Probe<Value>> {
  const patience = anySignal(signal, AbortSignal.timeout(clampTimeout(limitMs)));
  return attempt(() => raceSignalWithGrace(work(patience), patience), patience);
}

async function attempt<Value>(work: () => Promise<Value>, signal: AbortSignal): Promise<Probe<Value>> {
  try {
    return { status: "known", value: await work() };
  } catch (thrown) {
    if (isTimeout(thrown)) return { status: "late" };
    const error = toKeyctlError(thrown, signal);
    if (error.code === "INTERRUPTED") throw error;
    return { status: "failed", error };
  }
}
