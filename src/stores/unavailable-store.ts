import type { KeyctlError } from "../core/model/errors.ts";
import type { Store } from "../core/ports/store.ts";
import { absentStore } from "./absent-store.ts";

/** A store that could not be opened: every call fails with the reason. */
export function unavailableStore(error: KeyctlError): Store {
  const fail = async (): Promise<never> => {
    throw error;
  };
  // oxlint-disable-next-line require-yield -- fails before the first row
  const scan = async function* () {
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
    scan,
    scanDueLimits: scan,
    scanBlocked: scan,
    count: fail,
    ping: fail,
    requireAtomicChanges: fail,
    hasAtomicChanges: fail,
    keyCheckValues: fail,
    insertFirstKeyCheckValue: fail,
    addKeyCheckValue: fail,
    removeKeyCheckValue: fail,
    inspect: fail,
    deployment: fail,
    existingDeployment: fail,
    adoptDeployment: fail,
    account: fail,
    bindAccount: fail,
    rebindAccount: fail,
    insertEntry: fail,
    entry: fail,
    lastOperation: fail,
    entries: fail,
    outcomesOf: fail,
    liveOperations: fail,
    newestOutcomes: fail,
    retirements: scan,
    scanJournal: scan,
    addEvents: fail,
    events: scan,
    removeEventsBefore: fail,
  };
}
