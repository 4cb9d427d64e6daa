import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { withNewSeal, storedValue } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { silent } from "../model/log-event.ts";
import {
  changeMasterKey,
  currentSealer,
  firstSeal,
  previewMasterKey,
  retireMasterKeys,
  unknownCheckIds,
} from "./rotate-master-key.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";
import { printable } from "../text/printable.ts";
import { openRow } from "./open-row.ts";
import { replaceRow } from "../protocol/write-row.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { SealingSetup } from "./verify-master-keys.ts";
import type { Context } from "../context.ts";

/**
 * The law of rekeying: a row is replaced by compare-and-set, and nothing but its seals change: that of its key, and that
 * of the key before it, which is put back when a change is undone. What is left to do is seen from the rows alone, so
 * that after a kill at any moment a second run goes on; it is over when a look at all rows has found nothing to do.
 */

export interface RekeyTask {
  /** `new-key`: add a master key, unless an earlier rekey is unfinished. `init` seals a store for the first time, and no row of it. */
  readonly kind: "new-key" | "keep-key" | "init";
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
  /** Rows that the latest look has found to hold a key in clear. */
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
}

export interface RowFailure {
  readonly userId: string;
  readonly error: KeyctlError;
}

export interface RekeyContext extends Context {
  readonly lock: SealingSetup;
  /** Asked for each step. */
  readonly newSignal: () => AbortSignal;
}

/** Rows that are written at a time. */
const IN_FLIGHT = 16;
/** Rows between two signs of life. */
const PROGRESS_EVERY = 100;
/** Each look at all rows meets what was written with an older master key during the one before. */
const MAX_PASSES = 10;

/** Throws STORE_NOT_ATOMIC, MASTER_KEY_…, CONFIG_… or CONFLICT before a row is changed; later, what the store throws. */
export async function* rekey(context: RekeyContext, task: RekeyTask): AsyncGenerator<RekeyProgress> {
  const { store, lock, newSignal } = context;
  if (task.kind === "init") {
    const { sealer, wasSealed } = await firstSeal(lock, newSignal);
    return yield* new ResealRun(context, sealer, await store.count(newSignal())).count(wasSealed);
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

/** What one look at all rows has seen. */
interface Pass {
  done: number;
  /** Rows that were not sealed with the active master key. */
  stale: number;
  inClear: number;
  unreadable: number;
  /** Master keys of the set that a row names, for its key or for the one before. */
  readonly named: Set<string>;
  /** Those of them that opened something. */
  readonly needed: Set<string>;
}

interface Stale {
  readonly row: KeyRecord;
  readonly key: ApiKey;
  /** Of `previous`; undefined when it holds none, or does not open: then it stays as it is. */
  readonly keyBefore: ApiKey | undefined;
}

/** What one of the values of a row holds. */
interface Value {
  /** Undefined when it does not open. */
  readonly key: ApiKey | undefined;
  readonly isActive: boolean;
}

class ResealRun {
  readonly #context: RekeyContext;
  readonly #reported = new Set<string>();
  /** What was stored in rows whose change was refused, by their ids. */
  readonly #refused = new Map<string, string>();
  /** Of those, the ones that were the same when they were met again: nobody changes them, and nor can we. */
  readonly #fixed = new Map<string, string>();
  #failures: RowFailure[] = [];
  /** Undefined where a dry run would make a new master key. */
  #sealer: Sealer | undefined;
  readonly #total: number;
  #done = 0;
  #resealed = 0;

  constructor(context: RekeyContext, sealer: Sealer | undefined, total: number) {
    this.#context = { ...context, log: silent };
    this.#sealer = sealer;
    this.#total = total;
  }

  async *run(): AsyncGenerator<RekeyProgress> {
    for (let round = 0; round < MAX_PASSES; round += 1) {
      const look = newLook();
      yield* this.#lookAtAll(look, (rows) => this.#sealAll(rows));
      if (look.stale > 0) continue;
      const removable = await this.#release(look);
      if (removable !== "another key is active") return yield this.#result(look, removable);
    }
    throw new KeyctlError("CONFLICT", "keys are saved with an older master key all the time", {
      hint: "restart the programs that save them, so that they read the master keys anew; then: keyctl rekey",
      retryable: true,
    });
  }

  async *preview(): AsyncGenerator<RekeyProgress> {
    const look = newLook();
    yield* this.#lookAtAll(look, async (rows) => void (this.#resealed += rows.length));
    yield this.#result(look, []);
  }

  /** Opens nothing. */
  async *count(wasSealed: boolean): AsyncGenerator<RekeyProgress> {
    const { store, newSignal } = this.#context;
    const look = newLook();
    for await (const row of store.scan(newSignal)) {
      look.done += 1;
      if (holdsClear(row)) look.inClear += 1;
      if (look.done % PROGRESS_EVERY === 0) yield this.#progress(look);
    }
    yield { ...this.#result(look, []), wasSealed };
  }

  /** Opens every row, and hands on those that are to be sealed. */
  async *#lookAtAll(look: Pass, seal: (rows: readonly Stale[]) => Promise<void>): AsyncGenerator<RekeyProgress> {
    const { store, newSignal } = this.#context;
    let waiting: Stale[] = [];
    let signal = newSignal();
    for await (const row of store.scan(newSignal)) {
      const stale = await this.#staleIn(row, look, signal);
      if (stale !== undefined) waiting.push(stale);
      look.done += 1;
      if (waiting.length < IN_FLIGHT && look.done % PROGRESS_EVERY !== 0) continue;
      await seal(waiting);
      waiting = [];
      yield this.#progress(look);
      signal = newSignal();
    }
    await seal(waiting);
    yield this.#progress(look);
  }

  /** Undefined for a row that is as it should be, and for one that does not open. */
  async #staleIn(row: KeyRecord, look: Pass, signal: AbortSignal): Promise<Stale | undefined> {
    const [{ key, isActive }, before] = await this.#valuesOf(row, look, signal);
    if (key === undefined || (before !== undefined && before.key === undefined)) look.unreadable += 1;
    if (key !== undefined && holdsClear(row)) look.inClear += 1;
    const mustSealBefore = before?.key !== undefined && !before.isActive;
    if (key === undefined || (isActive && !mustSealBefore)) return undefined;
    if (this.#fixed.get(row.id) === row.keyEncrypted) {
      look.unreadable += 1;
      return undefined;
    }
    look.stale += 1;
    return { row, key, keyBefore: before?.key };
  }

  /** Its key, and the one before it where there is one. */
  async #valuesOf(row: KeyRecord, look: Pass, signal: AbortSignal): Promise<readonly [Value, Value | undefined]> {
    const before = row.previous?.keyEncrypted ?? null;
    return [
      await this.#look(row, row.keyEncrypted, look, signal),
      before === null ? undefined : await this.#look(row, before, look, signal),
    ];
  }

  async #look(row: KeyRecord, value: string, look: Pass, signal: AbortSignal): Promise<Value> {
    const kid = storedValue(value).kind === "sealed" ? this.#sealer?.kidOf(value) : undefined;
    const key = await this.#open(row, value, signal);
    if (kid === undefined) return { key, isActive: false };
    if (key !== undefined) await this.#refreshSealerFor(kid);
    if (this.#sealer?.kids.includes(kid) === true) look.named.add(kid);
    if (key !== undefined) look.needed.add(kid);
    return { key, isActive: kid === this.#sealer?.activeKid };
  }

  async #open(row: KeyRecord, value: string, signal: AbortSignal): Promise<ApiKey | undefined> {
    try {
      return await openRow({ ...row, keyEncrypted: value }, this.#context, signal);
    } catch (thrown) {
      if (!isKeyctlError(thrown) || thrown.code !== "ROW_UNREADABLE") throw thrown;
      this.#report(row, value === row.keyEncrypted ? thrown : beforeUnreadable(row));
      return undefined;
    }
  }

  #report({ userId }: KeyRecord, error: KeyctlError): void {
    if (!this.#reported.has(userId)) this.#failures.push({ userId, error });
    this.#reported.add(userId);
  }

  /** Another rekey at the same time may have put a newer key in front of ours, and that is the active one then. */
  async #refreshSealerFor(kid: string): Promise<void> {
    const { lock, newSignal } = this.#context;
    if (this.#sealer?.kids.includes(kid) === false) this.#sealer = await currentSealer(lock, newSignal);
  }

  /** Nothing is under way when this ends, also where one of them fails. */
  async #sealAll(rows: readonly Stale[]): Promise<void> {
    const { newSignal } = this.#context;
    if (rows.length === 0 || this.#sealer === undefined) return;
    const sealer = this.#sealer;
    const signal = newSignal();
    const endings = await Promise.allSettled(rows.map((stale) => this.#seal(stale, sealer, signal)));
    const failed = endings.find((ending) => ending.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** A row that was changed meanwhile is met again at the next look. */
  async #seal({ row, key, keyBefore }: Stale, sealer: Sealer, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#context;
    const { userId, previous } = row;
    const isKept = previous === null || keyBefore === undefined;
    const before = isKept ? previous : { ...previous, keyEncrypted: sealer.seal(keyBefore, userId) };
    const now = clock.now().toISOString();
    const anew = withNewSeal({ ...row, previous: before }, key, sealer.seal(key, userId), now);
    if (await replaceRow(store, anew, row, signal)) this.#resealed += 1;
    else if (this.#refused.get(row.id) === row.keyEncrypted) this.#reportUnchangeable(row);
    else this.#refused.set(row.id, row.keyEncrypted);
  }

  /** Another program wrote it in a form in which the store does not find it again: it is told, and stops nothing. */
  #reportUnchangeable(row: KeyRecord): void {
    this.#fixed.set(row.id, row.keyEncrypted);
    this.#report(row, notChangeable(row));
  }

  /** Gives the master keys that nothing uses. */
  async #release(look: Pass): Promise<readonly string[] | "another key is active"> {
    const { lock, newSignal } = this.#context;
    const before = this.#sealer?.activeKid;
    const { kids, activeKid } = (this.#sealer = await currentSealer(lock, newSignal));
    if (activeKid !== before) return "another key is active";
    const others = kids.filter((kid) => kid !== activeKid);
    const notNeeded = others.filter((kid) => !look.needed.has(kid));
    const proofs = look.unreadable > 0 ? [] : await unknownCheckIds(lock, kids, newSignal);
    await retireMasterKeys(lock, this.#sealer, [...notNeeded, ...proofs], newSignal);
    const waiting = await this.#kidsInSpool();
    return notNeeded.filter((kid) => !look.named.has(kid) && !waiting.has(kid));
  }

  /** A key that waits in a file is opened when it is stored at last. */
  async #kidsInSpool(): Promise<ReadonlySet<string>> {
    const { spool, journal, newSignal } = this.#context;
    if (!spool.mayHoldKeys()) return new Set();
    const keys = await spool.list(await journal.deployment(newSignal()));
    return new Set(keys.flatMap(({ keyEncrypted }) => this.#sealer?.kidOf(keyEncrypted) ?? []));
  }

  #progress({ done, inClear, unreadable }: Pass): RekeyProgress {
    this.#done = Math.max(this.#done, done);
    const failures = this.#failures;
    this.#failures = [];
    return {
      total: Math.max(this.#total, this.#done),
      done: this.#done,
      resealed: this.#resealed,
      inClear,
      unreadable,
      activeKid: this.#sealer?.activeKid ?? null,
      removableKids: [],
      place: this.#context.lock.masterKeys.place,
      wasSealed: false,
      complete: false,
      failures,
    };
  }

  #result(look: Pass, removableKids: readonly string[]): RekeyProgress {
    return { ...this.#progress(look), total: look.done, done: look.done, removableKids, complete: true };
  }
}

/** In clear, as from before encryption: its key, or the one before. */
function holdsClear({ keyEncrypted, previous }: KeyRecord): boolean {
  return [keyEncrypted, previous?.keyEncrypted ?? ""].some((value) => storedValue(value).kind === "clear");
}

function beforeUnreadable({ userId }: KeyRecord): KeyctlError {
  return new KeyctlError(
    "ROW_UNREADABLE",
    `the key that user ${printable(userId)} had before, kept until a change is final, does not open`,
    { hint: `keyctl save ${userFlag(userId)} --replace   makes it unnecessary` },
  );
}

function notChangeable({ id, userId }: KeyRecord): KeyctlError {
  const whose = `the row of user ${printable(userId)} (_id ${printable(id)})`;
  return new KeyctlError("CONFLICT", `${whose} cannot be changed: its user id is not as keyctl writes it`, {
    hint: "correct or delete it with another tool, then: keyctl rekey --keep-key",
  });
}

function newLook(): Pass {
  return { done: 0, stale: 0, inClear: 0, unreadable: 0, named: new Set(), needed: new Set() };
}
