import type { Journal } from "../core/journal.ts";
import type { Inspection, KeyStore, SealChecks } from "../core/ports.ts";

/** A store that is not there yet, for commands that never create one: it holds nothing and takes nothing. */
export const absentStore: KeyStore & SealChecks & Inspection & Journal = {
  find: async () => undefined,
  findMany: async () => [],
  insert: refuse,
  insertMany: refuse,
  replace: async () => false,
  remove: async () => false,
  recordCheck: async () => false,
  async *scan() {},
  count: async () => 0,
  ping: async () => {},
  requireAtomicChanges: async () => {},
  sealChecks: async () => [],
  insertFirstSealCheck: refuse,
  addSealCheck: refuse,
  removeSealCheck: refuse,
  inspect: refuse,
  // No store has this one, so that no key upstream is its own.
  deployment: async () => "0".repeat(16),
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
  async *scanJournal() {},
  close: async () => {},
};

function refuse(): never {
  throw new Error("a command that never creates a store tried to write to one");
}
