import type { KeyctlError } from "../model/errors.ts";
import type { KeyRecord, LastCheck, Timestamp } from "../model/key-record.ts";
import { failureOf } from "../async/deadline.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import { lastCheckOf } from "../model/verdict.ts";
import type { Verdict } from "../model/verdict.ts";
import type { Warning } from "../model/warning.ts";

type Recording = { readonly recorded: boolean; readonly warnings: readonly Warning[] };

const NOTHING: Recording = { recorded: false, warnings: [] };

/**
 * Records definite verdicts in the rows of their keys. A failure is a warning and not an error, because the verdict is
 * known anyway. A store that refused one record is not asked again; after STORE_UNAVAILABLE for a record, it is.
 */
export class CheckRecorder {
  readonly #store: KeyStore;
  readonly #newSignal: () => AbortSignal;
  #mayWrite: Promise<KeyctlError | null> | undefined;
  #refusal: Recording | undefined;

  constructor(store: KeyStore, newSignal: () => AbortSignal) {
    this.#store = store;
    this.#newSignal = newSignal;
  }

  async record(row: KeyRecord, verdict: Verdict, at: Timestamp): Promise<Recording> {
    if (verdict.status === "unknown") return NOTHING;
    return this.write(row, lastCheckOf(verdict, at));
  }

  async write(row: KeyRecord, check: LastCheck): Promise<Recording> {
    this.#mayWrite ??= failureOf(() => this.#store.requireAtomicChanges(this.#newSignal()), "INTERRUPTED");
    const refusal = await this.#mayWrite;
    if (refusal !== null) this.#refusal ??= failed(refusal);
    if (this.#refusal !== undefined) return this.#refusal;
    let recorded = false;
    const failure = await failureOf(async () => {
      recorded = await this.#store.recordCheck(row, check, this.#newSignal());
    }, "INTERRUPTED");
    if (failure === null) return { recorded, warnings: [] };
    if (failure.code !== "STORE_UNAVAILABLE") this.#refusal = failed(failure);
    return failed(failure);
  }
}

export function notRecorded({ message }: KeyctlError): Warning {
  return { code: "NOT_RECORDED", message: `the verdict was not recorded: ${message}` };
}

function failed(failure: KeyctlError): Recording {
  return { recorded: false, warnings: [notRecorded(failure)] };
}
