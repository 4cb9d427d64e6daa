import { KeyctlError } from "../model/errors.ts";
import { withNewSeal } from "../model/key-record.ts";
import { silent } from "../model/log-event.ts";
import {
  changeMasterKey,
  firstSeal,
  previewMasterKey,
  retireMasterKeys,
  unknownCheckIds,
} from "./rotate-master-key.ts";
import { assertRetirable, RETIRE_PAUSE_MS, retireMasterKey } from "./retire-master-key.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";
import { holdsClear, newPass, RowInspector } from "./row-inspector.ts";
import type { Pass, RowFailure, Stale } from "./row-inspector.ts";
import type { Warning } from "../model/warning.ts";
import { eraseAndWarn } from "../protocol/erase-and-warn.ts";
import { replaceRow } from "../protocol/write-row.ts";
import type { SealingSetup } from "./verify-master-keys.ts";
import type { Context } from "../context.ts";

/**
 * **Invariant:** a rekey replaces a row by compare-and-set and re-encrypts only: its key, and the previous key, which a
 * rollback restores. The rows alone show what remains to be done, so a second run continues after a kill at any moment.
 * A run ends after a pass over all rows that found nothing to do.
 */

export interface RekeyTask {
  /**
   * `new-key`: add a master key, unless an earlier rekey is unfinished. `init`: seal a store for the first time: create
   * its first master key if there is none, and seal no row.
   */
  readonly kind: "new-key" | "keep-key" | "init" | "retire";
  /** With `retire`: the id of an unused master key, which is removed from its set. No row is changed. */
  readonly kid?: string | undefined;
  /** Change nothing, and count the rows that would change. */
  readonly dryRun: boolean;
}

/** The progress of a rekey. The last one is `complete`, and is the result. */
export interface RekeyProgress {
  readonly total: number;
  /** Rows that were read. */
  readonly done: number;
  /** Rows that were sealed with the active master key, or would be. */
  readonly resealed: number;
  /** Rows with a key in plain text, as counted by the latest pass. */
  readonly inClear: number;
  readonly unreadable: number;
  /** Null if a dry run would create a new master key. */
  readonly activeKid: string | null;
  /** Master keys of the set that nothing uses now. */
  readonly removableKids: readonly string[];
  /** The place of the master keys. */
  readonly place: string;
  /** For `init`: the store was sealed before, with these master keys. */
  readonly wasSealed: boolean;
  /** For `retire`: how long it waits now for programs that may still seal with the master key, in milliseconds; else 0. */
  readonly pauseMs: number;
  readonly complete: boolean;
  /** Rows that cannot be opened; each is reported once per run. */
  readonly failures: readonly RowFailure[];
  /** The users whose rows held a key in plain text, each once per run. The program that wrote them needs attention. */
  readonly plain: readonly string[];
  /** Remaining problems of the whole run; only in the last progress. */
  readonly warnings: readonly Warning[];
}

export interface RekeyContext extends Context {
  readonly lock: SealingSetup;
  /** Called for each step. */
  readonly newSignal: () => AbortSignal;
}

const NOTHING_DONE = {
  resealed: 0,
  inClear: 0,
  unreadable: 0,
  removableKids: [],
  wasSealed: false,
  pauseMs: 0,
  failures: [],
  plain: [],
  warnings: [],
} as const;

/** Rows that are written at once. */
const IN_FLIGHT = 16;
/** The number of rows between two progress reports. */
const PROGRESS_EVERY = 100;
/** A pass may find rows that were written with an older master key during the previous pass. */
const MAX_PASSES = 10;

/**
 * Throws STORE_NOT_ATOMIC, MASTER_KEY_…, CONFIG_… or CONFLICT before a row is changed; later, the errors of the store.
 */
export async function* rekey(context: RekeyContext, task: RekeyTask): AsyncGenerator<RekeyProgress> {
  const { store, lock, newSignal } = context;
  if (task.kind === "init") {
    const { sealer, wasSealed } = await firstSeal(lock, newSignal);
    return yield* new ResealRun(context, sealer, await store.count(newSignal())).count(wasSealed);
  }
  if (task.kind === "retire") {
    const found = await assertRetirable(context, task.kid ?? "");
    const { activeKid, total } = found;
    const read = { ...NOTHING_DONE, total, done: total, activeKid, place: lock.masterKeys.place };
    yield { ...read, pauseMs: RETIRE_PAUSE_MS, complete: false };
    const retired = await retireMasterKey(context, found);
    return yield { ...read, total: retired.total, done: retired.total, complete: true };
  }
  const mayAdd = task.kind === "new-key";
  if (task.dryRun) {
    const sealer = await previewMasterKey(lock, mayAdd, newSignal);
    return yield* new ResealRun(context, sealer, await store.count(newSignal())).preview();
  }
  await store.requireAtomicChanges(newSignal());
  const sealer = await changeMasterKey(lock, mayAdd, newSignal);
  return yield* new ResealRun(context, sealer, await store.count(newSignal())).run();
}

class ResealRun {
  readonly #context: RekeyContext;
  readonly #rows: RowInspector;
  /** The stored values of rows whose replacement was refused once, by row id. */
  readonly #refused = new Map<string, string>();
  readonly #total: number;
  #done = 0;
  #resealed = 0;

  /** @param sealer undefined if a dry run would create a new master key */
  constructor(context: RekeyContext, sealer: Sealer | undefined, total: number) {
    this.#context = { ...context, log: silent };
    this.#rows = new RowInspector(this.#context, sealer);
    this.#total = total;
  }

  async *run(): AsyncGenerator<RekeyProgress> {
    let pass = newPass();
    for (let round = 0; round < MAX_PASSES; round += 1) {
      pass = newPass();
      yield* this.#passOver(pass, (rows) => this.#sealAll(rows));
      if (pass.stale > 0) continue;
      const removable = await this.#release(pass);
      if (removable === "another key is active") continue;
      const { store, newSignal } = this.#context;
      const warnings = await eraseAndWarn(store, { isThorough: true }, newSignal());
      return yield { ...this.#result(pass, removable), warnings };
    }
    throw neverDone(pass);
  }

  async *preview(): AsyncGenerator<RekeyProgress> {
    const pass = newPass();
    yield* this.#passOver(pass, async (rows) => void (this.#resealed += rows.length));
    yield this.#result(pass, []);
  }

  /** Counts the rows; opens none. */
  async *count(wasSealed: boolean): AsyncGenerator<RekeyProgress> {
    const { store, newSignal } = this.#context;
    const pass = newPass();
    for await (const row of store.scan(newSignal)) {
      pass.done += 1;
      if (holdsClear(row)) pass.inClear += 1;
      if (pass.done % PROGRESS_EVERY === 0) yield this.#progress(pass);
    }
    yield { ...this.#result(pass, []), wasSealed };
  }

  /** Opens every row, and passes on those that must be sealed. */
  async *#passOver(pass: Pass, seal: (rows: readonly Stale[]) => Promise<void>): AsyncGenerator<RekeyProgress> {
    const { store, newSignal } = this.#context;
    let waiting: Stale[] = [];
    let signal = newSignal();
    for await (const row of store.scan(newSignal)) {
      const stale = await this.#rows.staleIn(row, pass, signal);
      if (stale !== undefined) waiting.push(stale);
      pass.done += 1;
      if (waiting.length < IN_FLIGHT && pass.done % PROGRESS_EVERY !== 0) continue;
      await seal(waiting);
      waiting = [];
      yield this.#progress(pass);
      signal = newSignal();
    }
    await seal(waiting);
    yield this.#progress(pass);
  }

  /** When this settles, no work is in flight, even if one row fails. */
  async #sealAll(rows: readonly Stale[]): Promise<void> {
    const { newSignal } = this.#context;
    const { sealer } = this.#rows;
    if (rows.length === 0 || sealer === undefined) return;
    const signal = newSignal();
    const endings = await Promise.allSettled(rows.map((stale) => this.#seal(stale, sealer, signal)));
    const failed = endings.find((ending) => ending.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** A row that was changed in the meantime is read again in the next pass. */
  async #seal({ row, key, keyBefore }: Stale, sealer: Sealer, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#context;
    const { userId, previous } = row;
    const isKept = previous === null || keyBefore === undefined;
    const before = isKept ? previous : { ...previous, keyEncrypted: sealer.seal(keyBefore, userId) };
    const now = clock.now().toISOString();
    const anew = withNewSeal({ ...row, previous: before }, key, sealer.seal(key, userId), now);
    if (await replaceRow(store, anew, row, signal)) this.#resealed += 1;
    else if (this.#refused.get(row.id) === row.keyEncrypted) this.#rows.reportUnchangeable(row);
    else this.#refused.set(row.id, row.keyEncrypted);
  }

  /** Returns the master keys that nothing uses. */
  async #release(pass: Pass): Promise<readonly string[] | "another key is active"> {
    const { lock, newSignal } = this.#context;
    const sealer = await this.#rows.refreshSealer();
    if (sealer === undefined) return "another key is active";
    const { kids, activeKid } = sealer;
    const others = kids.filter((kid) => kid !== activeKid);
    const notNeeded = others.filter((kid) => !pass.needed.has(kid));
    const proofs = pass.unreadable > 0 ? [] : await unknownCheckIds(lock, kids, newSignal);
    await retireMasterKeys(lock, sealer, [...notNeeded, ...proofs], newSignal);
    const waiting = await this.#kidsInSpool();
    return notNeeded.filter((kid) => !pass.named.has(kid) && !waiting.has(kid));
  }

  /** A spooled key is opened only when it is finally stored. */
  async #kidsInSpool(): Promise<ReadonlySet<string>> {
    const { spool, journal, newSignal } = this.#context;
    if (!spool.mayHoldKeys()) return new Set();
    const keys = await spool.list(await journal.deployment(newSignal()));
    return new Set(keys.flatMap(({ keyEncrypted }) => this.#rows.sealer?.kidOf(keyEncrypted) ?? []));
  }

  #progress({ done, inClear, unreadable }: Pass): RekeyProgress {
    this.#done = Math.max(this.#done, done);
    return {
      total: Math.max(this.#total, this.#done),
      done: this.#done,
      resealed: this.#resealed,
      inClear,
      unreadable,
      activeKid: this.#rows.sealer?.activeKid ?? null,
      removableKids: [],
      place: this.#context.lock.masterKeys.place,
      wasSealed: false,
      pauseMs: 0,
      complete: false,
      failures: this.#rows.takeFailures(),
      plain: this.#rows.takePlain(),
      warnings: [],
    };
  }

  #result(pass: Pass, removableKids: readonly string[]): RekeyProgress {
    return { ...this.#progress(pass), total: pass.done, done: pass.done, removableKids, complete: true };
  }
}

/** Another program keeps writing values that must be sealed. */
function neverDone({ inClear }: Pass): KeyctlError {
  const [how, remedy] =
    inClear > 0
      ? ["in plain text", "let the program that saves them use keyctl, or stop it; then: keyctl rekey --keep-key"]
      : [
          "with an older master key",
          "restart the programs that save them, so that they reload the master keys; then: keyctl rekey",
        ];
  return new KeyctlError("CONFLICT", `keys are still being saved ${how}`, { hint: remedy, retryable: true });
}
