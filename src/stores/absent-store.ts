import type { Store } from "../core/ports/store.ts";

/** A store that does not exist yet, for commands that never create one: it is empty and accepts no writes. */
export const absentStore: Store = {
  find: async () => undefined,
  findMany: async () => [],
  insert: refuse,
  insertMany: refuse,
  replace: async () => false,
  remove: async () => false,
  recordCheck: async () => false,
  async *scan() {},
  async *scanDueLimits() {},
  async *scanBlocked() {},
  count: async () => 0,
  ping: async () => {},
  requireAtomicChanges: async () => {},
  hasAtomicChanges: async () => true,
  keyCheckValues: async () => [],
  insertFirstKeyCheckValue: refuse,
  addKeyCheckValue: refuse,
  removeKeyCheckValue: refuse,
  inspect: refuse,
  // No store has this id, so no key upstream belongs to it.
  deployment: async () => "0".repeat(16),
  existingDeployment: async () => undefined,
  adoptDeployment: refuse,
  account: async () => undefined,
  bindAccount: refuse,
  rebindAccount: refuse,
  insertEntry: refuse,
  entry: async () => undefined,
  lastOperation: async () => undefined,
  entries: async () => [],
  outcomesOf: async () => [],
  liveOperations: async () => [],
  newestOutcomes: async () => [],
  async *retirements() {},
  async *scanJournal() {},
  addEvents: refuse,
  async *events() {},
  removeEventsBefore: async () => 0,
  close: async () => {},
};

function refuse(): never {
  throw new Error("a command that never creates a store tried to write to one");
}
