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
import { retireMasterKey } from "./retire-master-key.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";
import { holdsClear, newPass, RowInspector } from "./row-inspector.ts";
import type { Pass, RowFailure, Stale } from "./row-inspector.ts";
import type { Warning } from "../model/warning.ts";
import { eraseAndWarn } from "../protocol/erase-and-warn.ts";
import { replaceRow } from "../protocol/write-row.ts";
import type { SealingSetup } from "./verify-master-keys.ts";
import type { Context } from "../context.ts";

/**
 * **Invariant:** a rekey replaces a row by compare-and-set and changes nothing but its seals: that of its key, and that of
 * the key before it, which a rollback puts back. The rows alone say what is left to do, so that after a kill at any moment
 * a second run goes on. A run ends when a pass over all rows has found nothing to do.
 */

export interface RekeyTask {
  /** `new-key`: add a master key, unless an earlier rekey is unfinished. `init` seals a store for the first time, and no row of it. */
  readonly kind: "new-key" | "keep-key" | "init" | "retire";
  /** With `retire`: the id of a master key that nothing uses and that leaves its set. No row is changed. */
  readonly kid?: string | undefined;
  /** Change nothing, and count what would be. */
  readonly dryRun: boolean;
}

/** How far it has come. The last one is `complete`, and the result. */
export interface RekeyProgress {
  readonly total: number;
  /** Rows that were looked at. */
  readonly done: number;
  /** Rows that were sealed with the active master key, or would be. */
  readonly resealed: number;
  /** Rows that the latest pass has found to hold a key in clear. */
  readonly inClear: number;
  readonly unreadable: number;
  /** Null where a dry run would make a new one. */
  readonly activeKid: string | null;
  /** Master keys of the set that nothing uses any more. */
  readonly removableKids: readonly string[];
  /** Where the master keys are. */
  readonly place: string;
  /** For `init`: the store was sealed before, with these master keys. */
  readonly wasSealed: boolean;
  readonly complete: boolean;
  /** Rows that do not open, each of them once in all of the progress. */
  readonly failures: readonly RowFailure[];
  /** The users whose rows held a key in plain text, each once in all of the progress: who wrote them is to be looked at. */
  readonly plain: readonly string[];
  /** What is still to be done about the run as a whole; with the last progress only. */
  readonly warnings: readonly Warning[];
}

export interface RekeyContext extends Context {
  readonly lock: SealingSetup;
  /** Asked for each step. */
  readonly newSignal: () => AbortSignal;
}

const NOTHING_DONE = {
  resealed: 0,
  inClear: 0,
  unreadable: 0,
  removableKids: [],
  wasSealed: false,
  failures: [],
  plain: [],
  warnings: [],
} as const;

/** Rows that are written at a time. */
const IN_FLIGHT = 16;
/** Rows between two signs of life. */
const PROGRESS_EVERY = 100;
/** Each pass over all rows meets what was written with an older master key during the one before. */
const MAX_PASSES = 10;

/** Throws STORE_NOT_ATOMIC, MASTER_KEY_…, CONFIG_… or CONFLICT before a row is changed; later, what the store throws. */
export async function* rekey(context: RekeyContext, task: RekeyTask): AsyncGenerator<RekeyProgress> {
  const { store, lock, newSignal } = context;
  if (task.kind === "init") {
    const { sealer, wasSealed } = await firstSeal(lock, newSignal);
    return yield* new ResealRun(context, sealer, await store.count(newSignal())).count(wasSealed);
  }
  if (task.kind === "retire") {
    const { activeKid, total } = await retireMasterKey(context, task.kid ?? "");
    return yield { ...NOTHING_DONE, total, done: total, activeKid, place: lock.masterKeys.place, complete: true };
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
  /** What was stored in rows whose change was refused once, by their ids. */
  readonly #refused = new Map<string, string>();
  readonly #total: number;
  #done = 0;
  #resealed = 0;

  /** @param sealer undefined where a dry run would make a new master key */
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

  /** Opens nothing. */
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

  /** Opens every row, and hands on those that are to be sealed. */
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

  /** Nothing is under way when this ends, also where one of them fails. */
  async #sealAll(rows: readonly Stale[]): Promise<void> {
    const { newSignal } = this.#context;
    const { sealer } = this.#rows;
    if (rows.length === 0 || sealer === undefined) return;
    const signal = newSignal();
    const endings = await Promise.allSettled(rows.map((stale) => this.#seal(stale, sealer, signal)));
    const failed = endings.find((ending) => ending.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** A row that was changed in the meantime is met again at the next pass. */
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

  /** Gives the master keys that nothing uses. */
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

  /** A key that waits in a file is opened when it is stored at last. */
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

/** Another program goes on writing what is to be sealed. */
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
