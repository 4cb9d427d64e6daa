import type { Inspection, KeyStore, SealChecks } from "../core/ports.ts";

/** A store that is not there yet, for commands that never create one: it holds nothing and takes nothing. */
export const absentStore: KeyStore & SealChecks & Inspection = {
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
  close: async () => {},
};

function refuse(): never {
  throw new Error("a command that never creates a store tried to write to one");
}
