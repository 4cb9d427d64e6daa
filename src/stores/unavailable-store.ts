import type { KeyctlError } from "../core/errors.ts";
import type { Inspection, KeyStore, SealChecks } from "../core/ports.ts";
import { absentStore } from "./absent-store.ts";

/** A store that could not be opened: every call fails with the reason. */
export function unavailableStore(error: KeyctlError): KeyStore & SealChecks & Inspection {
  const fail = async (): Promise<never> => {
    throw error;
  };
  return {
    ...absentStore,
    find: fail,
    findMany: fail,
    insert: fail,
    insertMany: fail,
    replace: fail,
    remove: fail,
    recordCheck: fail,
    // oxlint-disable-next-line require-yield -- it fails before the first row
    async *scan() {
      throw error;
    },
    count: fail,
    ping: fail,
    requireAtomicChanges: fail,
    sealChecks: fail,
    insertFirstSealCheck: fail,
    addSealCheck: fail,
    removeSealCheck: fail,
    inspect: fail,
  };
}
