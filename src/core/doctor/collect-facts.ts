import type { OnStep } from "../model/work-step.ts";
import { collectStoreStats } from "./store-stats.ts";
import type { StoreStats } from "./store-stats.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { ManagementKey } from "../model/management-key.ts";
import { toKeyctlError, anySignal, isTimeout, clampTimeout, deadlineIn } from "../async/deadline.ts";
import type {
  Integrity,
  KeySource,
  MasterKeyPlaceFacts,
  MasterKeys,
  PlainTextRemains,
  SourceReading,
  KeyCheckValue,
  Sealer,
  StoreFacts,
} from "../ports/stores-and-sources.ts";
import type { Store } from "../ports/store.ts";
import { termsFor } from "../model/provision-terms.ts";
import { lookAtAccount } from "../protocol/compare-account.ts";
import type { Sight } from "../protocol/compare-account.ts";
import type { Spool } from "../ports/spool.ts";
import { spoolFacts } from "./spool-facts.ts";
import type { SpoolFacts } from "./spool-facts.ts";
import type { Credits, KeyCheck, OpenRouterOnUse, Reach } from "../ports/openrouter.ts";
import type { ProvisioningRules, WantedTerms } from "../model/provision-rules.ts";
import type { DutyCounts } from "../model/rotate-results.ts";
import type { Warning } from "../model/warning.ts";
import { raceSignalWithGrace } from "../async/race-signal.ts";

export interface DoctorContext {
  readonly store: Store;
  readonly masterKeys: MasterKeys;
  readonly masterKeyPlace: () => Promise<MasterKeyPlaceFacts>;
  /** True for a store whose first master key is created on first use. */
  readonly mayGenerate: boolean;
  readonly sources: readonly KeySource[];
  readonly openRouter: OpenRouterOnUse;
  /** Undefined without a management key. Throws CONFIG_… errors. */
  readonly managementKey: () => ManagementKey | undefined;
  /** The hashes of all configured management keys that can be read now. Throws nothing. */
  readonly managementKeyHashes: () => ReadonlySet<string>;
  readonly autoProvision: boolean;
  /** A key in plain text is never handed out. */
  readonly requireSealed: boolean;
  readonly provisioning: ProvisioningRules;
  readonly spool: Pick<Spool, "counts">;
  readonly dueDuties: (signal: AbortSignal) => Promise<DutyCounts>;
}

/** The management key, and OpenRouter's answers about it. */
export type ManagementKeyFacts =
  | { readonly status: "none"; readonly isNeeded: boolean }
  | { readonly status: "asked"; readonly check: KeyCheck; readonly credits: Credits | null };

export interface ReachFacts {
  readonly reach: Reach;
  /** The difference between OpenRouter's clock and this machine's, in milliseconds; undefined if not known. */
  readonly skewMs: number | undefined;
}

/** The outcome of one probe. A probe that fails does not stop the others. */
export type Probe<Value> =
  | { readonly status: "known"; readonly value: Value }
  | { readonly status: "failed"; readonly error: KeyctlError }
  | { readonly status: "late" }
  /** The probe depends on another one that has no result. */
  | { readonly status: "skipped" };

export interface MasterKeyFacts {
  readonly place: MasterKeyPlaceFacts;
  /** Undefined without master keys. */
  readonly sealer: Sealer | undefined;
  /** The ids of master keys that follow a pattern, so that anyone can guess them. */
  readonly guessableKids?: readonly string[];
  /** The ids of the master keys that the store names, and whether the available master keys open their checks. */
  readonly checks: readonly { readonly kid: string; readonly opens: boolean }[];
  readonly mayGenerate: boolean;
}

export interface SourceFacts {
  /** The place that a person corrects if it holds no key: the path of a file, or the name of a variable. */
  readonly place: string;
  readonly reading: SourceReading;
  readonly warnings: readonly Warning[];
}

/** All facts about a store and its keys. */
export interface DoctorFacts {
  readonly storeExists: boolean;
  readonly count: Probe<number>;
  readonly server: Probe<StoreFacts>;
  /** Undefined for a store whose server is responsible for its files. */
  readonly integrity?: Probe<Integrity | undefined>;
  readonly masterKeys: Probe<MasterKeyFacts>;
  readonly census: Probe<StoreStats>;
  /** Undefined for a store whose server is responsible for its files. */
  readonly plainText?: Probe<PlainTextRemains | undefined>;
  readonly deep: boolean;
  readonly requireSealed: boolean;
  readonly keyFile: Probe<SourceFacts>;
  readonly environment: Probe<SourceFacts>;
  readonly managementKey: Probe<ManagementKeyFacts>;
  /** Whether the management key belongs to the account that the store is bound to. */
  readonly account: Probe<Sight>;
  readonly openRouter: Probe<ReachFacts>;
  /** The terms of new keys from the environment; null if keys are not created automatically. */
  readonly provisioning: Probe<WantedTerms | null>;
  /** The number of keys that wait on this machine because they could not be stored. */
  readonly spooled: Probe<SpoolFacts>;
  readonly duties: Probe<DutyCounts>;
}

/** The time limit of each probe, capped by the total. The command that prints master keys has its own limit of 10 s. */
const LIMIT_MS = { store: 10_000, server: 10_000, masterKeys: 12_000, sources: 5_000, openRouter: 5_000 } as const;

const skipped = { status: "skipped" } as const;

interface Conditions {
  readonly storeExists: boolean;
  readonly deep: boolean;
  /** The total time limit, in milliseconds. */
  readonly timeMs: number;
  /** Told how many rows were read. */
  readonly onStep?: OnStep;
}

/**
 * Collects all facts within the time limit; changes nothing. Rejects only if the caller stops waiting, or for a bug.
 */
export async function collectFacts(
  subject: DoctorContext,
  { storeExists, deep, timeMs, onStep = () => {} }: Conditions,
  caller: AbortSignal,
): Promise<DoctorFacts> {
  const { store, sources, mayGenerate } = subject;
  const signal = anySignal(caller, AbortSignal.timeout(clampTimeout(timeMs)));
  const within: RunProbe = (limitMs, work) => outcome(work, Math.min(limitMs, timeMs), signal);
  // Probes that need no store do not wait for a store that does not answer.
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
  const total = count.status === "known" ? count.value : undefined;
  const task = { sealer, deep, managementKeys, total, onStep };
  const [account, census, integrity, plainText, duties] = await Promise.all([
    mayLook ? within(LIMIT_MS.openRouter, (patience) => lookAtOwnAccount(subject, patience)) : skipped,
    isThere ? attempt(() => collectStoreStats(store, task, signal), signal) : skipped,
    isThere ? within(timeMs, async (patience) => store.checkIntegrity?.(deep, patience)) : skipped,
    isThere ? within(timeMs, async (patience) => store.filesWithPlainText?.(patience)) : skipped,
    isThere ? within(LIMIT_MS.server, (patience) => subject.dueDuties(patience)) : skipped,
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
    duties,
  };
}

/** Runs one probe within its own time limit and the total one. */
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
  // For an ordinary key, OpenRouter reports a balance of zero, which is not shown.
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

/** Half of the time is kept for the other probes, in case the store does not answer. */
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

/** Master keys that open none of the store's checks open none of its rows. */
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

/** Settles within the time limit, even if the work does not observe the signal. */
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
