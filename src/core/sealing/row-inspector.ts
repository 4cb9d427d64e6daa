import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { storedValue } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { Sealer } from "../ports/stores-and-sources.ts";
import type { Context } from "../context.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";
import { openRow } from "./open-row.ts";
import { currentSealer } from "./rotate-master-key.ts";
import type { SealingSetup } from "./verify-master-keys.ts";

export interface RowFailure {
  readonly userId: string;
  readonly error: KeyctlError;
}

/** The counts of one pass over all rows. */
export interface Pass {
  done: number;
  /** Rows that were not sealed with the active master key. */
  stale: number;
  inClear: number;
  unreadable: number;
  /** Master keys of the set that a row names, for its current or its previous key. */
  readonly named: Set<string>;
  /** Those of them that opened a value. */
  readonly needed: Set<string>;
}

export function newPass(): Pass {
  return { done: 0, stale: 0, inClear: 0, unreadable: 0, named: new Set(), needed: new Set() };
}

/** A row that must be sealed with the active master key. */
export interface Stale {
  readonly row: KeyRecord;
  readonly key: ApiKey;
  /** The previous key; undefined if there is none or it cannot be opened. In both cases `previous` stays unchanged. */
  readonly keyBefore: ApiKey | undefined;
}

/** The content of one value of a row. */
interface Value {
  /** Undefined if the value cannot be opened. */
  readonly key: ApiKey | undefined;
  readonly isActive: boolean;
}

/** Opens rows with the current master keys, and finds those that must be re-encrypted. Reports each failure once. */
export class RowInspector {
  readonly #context: Context;
  readonly #lock: SealingSetup;
  readonly #newSignal: () => AbortSignal;
  readonly #reported = new Set<string>();
  /** The stored values of rows that cannot be changed, by row id. */
  readonly #unchangeable = new Map<string, string>();
  readonly #namedAsPlain = new Set<string>();
  #failures: RowFailure[] = [];
  #plain: string[] = [];
  #sealer: Sealer | undefined;

  /** @param sealer undefined if a dry run would create a new master key */
  constructor(
    context: Context & { readonly lock: SealingSetup; readonly newSignal: () => AbortSignal },
    sealer: Sealer | undefined,
  ) {
    // A key in plain text must be sealed, even if it must not be handed out.
    this.#context = { ...context, requireSealed: false };
    this.#lock = context.lock;
    this.#newSignal = context.newSignal;
    this.#sealer = sealer;
  }

  get sealer(): Sealer | undefined {
    return this.#sealer;
  }

  /** Loads the sealer again. Undefined if another master key is active now. */
  async refreshSealer(): Promise<Sealer | undefined> {
    const before = this.#sealer?.activeKid;
    this.#sealer = await currentSealer(this.#lock, this.#newSignal);
    return this.#sealer.activeKid === before ? this.#sealer : undefined;
  }

  /** The failures that were not reported yet. */
  takeFailures(): readonly RowFailure[] {
    return this.#failures.splice(0);
  }

  /** As `takeFailures`: the users whose rows held a key in plain text, the current or the previous one. */
  takePlain(): readonly string[] {
    return this.#plain.splice(0);
  }

  /**
   * Another program wrote the row in a form that the store cannot find again. It is reported, and the run continues.
   */
  reportUnchangeable(row: KeyRecord): void {
    this.#unchangeable.set(row.id, row.keyEncrypted);
    this.#report(row, notChangeable(row));
  }

  /** Undefined for a row that needs no change, and for one that cannot be opened. */
  async staleIn(row: KeyRecord, pass: Pass, signal: AbortSignal): Promise<Stale | undefined> {
    const [{ key, isActive }, before] = await this.#valuesOf(row, pass, signal);
    if (key === undefined || (before !== undefined && before.key === undefined)) pass.unreadable += 1;
    if (key !== undefined && holdsClear(row)) {
      pass.inClear += 1;
      if (!this.#namedAsPlain.has(row.userId)) this.#plain.push(row.userId);
      this.#namedAsPlain.add(row.userId);
    }
    const mustSealBefore = before?.key !== undefined && !before.isActive;
    if (key === undefined || (isActive && !mustSealBefore)) return undefined;
    if (this.#unchangeable.get(row.id) === row.keyEncrypted) {
      pass.unreadable += 1;
      return undefined;
    }
    pass.stale += 1;
    return { row, key, keyBefore: before?.key };
  }

  /** The values of the current and the previous key; undefined if there is no previous key. */
  async #valuesOf(row: KeyRecord, pass: Pass, signal: AbortSignal): Promise<readonly [Value, Value | undefined]> {
    const before = row.previous?.keyEncrypted ?? null;
    return [
      await this.#inspect(row, row.keyEncrypted, pass, signal),
      before === null ? undefined : await this.#inspect(row, before, pass, signal),
    ];
  }

  async #inspect(row: KeyRecord, value: string, pass: Pass, signal: AbortSignal): Promise<Value> {
    const kid = storedValue(value).kind === "sealed" ? this.#sealer?.kidOf(value) : undefined;
    const key = await this.#open(row, value, signal);
    if (kid === undefined) return { key, isActive: false };
    if (key !== undefined) await this.#refreshSealerFor(kid);
    if (this.#sealer?.kids.includes(kid) === true) pass.named.add(kid);
    if (key !== undefined) pass.needed.add(kid);
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

  /** A concurrent rekey may have added a newer master key in front of ours; that one is then active. */
  async #refreshSealerFor(kid: string): Promise<void> {
    if (this.#sealer?.kids.includes(kid) === false) {
      this.#sealer = await currentSealer(this.#lock, this.#newSignal);
    }
  }
}

/** Whether the current or the previous key is in plain text, as before encryption. */
export function holdsClear({ keyEncrypted, previous }: KeyRecord): boolean {
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
