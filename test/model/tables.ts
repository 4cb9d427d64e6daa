import type { Breach } from "./command.ts";
import type { Configuration } from "./explorer/configuration.ts";

/** All invariants hold. Together these take seconds and are checked with every `npm test`. */
export const SMALL: readonly Configuration[] = [
  { actors: "sync,sync" },
  { actors: "sync,get,purge" },
  { actors: "sync+,sync,purge" },
  { actors: "sync,purge,save" },
  { actors: "sync,save,reconcile" },
  { actors: "get+,save,purge!@row" },
  { actors: "save,save!,sync@row" },
  { actors: "purge,purge!,sync@row" },
  { actors: "save,purge!,reconcile@row" },
  { actors: "save=,purge!,reconcile@retained", faults: 0 },
  { actors: "purge,sync=,purge!@row", faults: 0 },
  { actors: "rotate,save=,reconcile@row" },
  { actors: "sync,sync2", cap: 1, faults: 0 },
  { actors: "sync,provision2,sync3", cap: 1, faults: 0 },
  { actors: "rotate,sync,reconcile@row" },
  { actors: "rotate,save,reconcile@manual" },
  { actors: "rotate,rotate,sync@row" },
  { actors: "rotate,reconcile@row", split: true },
  { actors: "sync,sync", split: true },
];

/** All invariants hold. These take minutes and belong to the campaign. */
export const LARGE: readonly Configuration[] = [
  { actors: "sync,reconcile", faults: 2, spool: true },
  { actors: "sync,purge!", faults: 2, spool: true },
  { actors: "sync,sync,reconcile" },
  { actors: "sync,sync,purge" },
  { actors: "sync,sync,purge!,reconcile@row" },
  { actors: "sync,save,purge!,reconcile" },
  { actors: "sync,reconcile,reconcile" },
  { actors: "sync,purge!,reconcile@row", faults: 2, generations: 4 },
  { actors: "save!,purge,sync,reconcile@row" },
  { actors: "sync,purge,purge!@row", faults: 2 },
  { actors: "rotate,save!,sync,reconcile@row" },
  { actors: "rotate,sync,reconcile@row", faults: 2, generations: 4 },
  { actors: "rotate,rotate,reconcile@row" },
  { actors: "rotate,purge!,reconcile@row" },
  { actors: "rotate,purge,reconcile@row" },
  { actors: "rotate,save!,reconcile@row" },
  { actors: "rotate,reconcile,reconcile@row" },
  { actors: "sync,sync,purge!@row", split: true },
  { actors: "sync,sync,purge", spool: true },
  { actors: "sync,sync", faults: 2, spool: true },
  { actors: "sync,get,save!", faults: 2, spool: true },
  { actors: "sync,purge!,reconcile", faults: 2, spool: true },
  { actors: "rotate,sync=,reconcile@row" },
  { actors: "rotate,purge!,reconcile@retained" },
  { actors: "save=!,sync,purge!,reconcile@retained", faults: 0 },
  { actors: "sync=,purge!,purge,reconcile@retained", faults: 0 },
  { actors: "sync=,save=,purge,purge!@retained", faults: 0 },
  { actors: "purge,sync=,sync,purge!@row", faults: 0 },
  { actors: "sync,sync2", cap: 1 },
  { actors: "sync,sync2", cap: 1, spool: true },
  { actors: "sync,purge,sync2", cap: 1 },
  { actors: "sync,sync,sync2", cap: 1, faults: 0 },
  { actors: "sync,sync2,sync3", cap: 1, faults: 0 },
  { actors: "sync,sync2,sync3", cap: 2, faults: 0 },
  { actors: "sync,purge!,sync2,reconcile", cap: 1, faults: 0 },
];

/** C1: within an hour, no more keys are created automatically than the cap allows. */
export type Invariant = "I1" | "I2" | "I3" | "I4" | "I5" | "I6" | "C1";

/** For each rule that is left out, one violated invariant and a configuration that shows it. */
export const BREACHES: readonly (readonly [Breach, Invariant, Configuration])[] = [
  ["trust-row", "I6", { actors: "sync,sync" }],
  ["upsert", "I4", { actors: "sync,save" }],
  ["blind-resend", "I5", { actors: "sync,sync,purge" }],
  ["aba", "I4", { actors: "sync,purge,reconcile@row" }],
  ["no-previous", "I3", { actors: "rotate,reconcile@row" }],
  ["purge-row-first", "I3", { actors: "purge!@row" }],
  ["purge-finishes-nothing", "I3", { actors: "purge,purge!@row" }],
  ["purge-forgets-retained", "I3", { actors: "save,purge,sync@row", faults: 0 }],
  ["owed-drops-note", "I3", { actors: "save=!,purge!,reconcile@retained", faults: 0 }],
  ["save-retired", "I1", { actors: "rotate,save=,reconcile@row" }],
  ["save-looks-once", "I1", { actors: "purge,save=,purge!@row", faults: 0 }],
  ["cap-check-first", "C1", { actors: "sync,sync2", cap: 1 }],
  ["delete-before-abandon", "I1", { actors: "sync,reconcile" }],
  ["delete-unrecorded", "I1", { actors: "sync,reconcile" }],
  ["eager-supersede", "I1", { actors: "rotate,reconcile@row" }],
  ["op-without-out", "I1", { actors: "sync,sync,purge,reconcile", faults: 0 }],
  ["spool-resend", "I5", { actors: "sync,sync,purge", faults: 2, spool: true }],
  ["own-row-is-foreign", "I1", { actors: "sync,sync" }],
  ["spool-fails-delete", "I1", { actors: "sync,sync", faults: 2, spool: true }],
];

const SIMPLE = "outcome first";
const PATCHED = "outcome first, patched";

/** The invariants that the simpler protocol violates. */
export const PLAINER: readonly (readonly [Invariant, Configuration])[] = [
  ["I5", { actors: "sync,sync,purge", protocol: SIMPLE }],
  ["I1", { actors: "sync,sync,save", protocol: SIMPLE }],
  ["I1", { actors: "save,reconcile@row", protocol: SIMPLE }],
  ["I1", { actors: "rotate,reconcile@row", protocol: SIMPLE }],
  ["I3", { actors: "rotate,purge!@row", protocol: SIMPLE }],
  ["I2", { actors: "sync,sync,save,purge", protocol: PATCHED }],
  ["I2", { actors: "rotate,reconcile@row", protocol: PATCHED }],
];

/**
 * The invariants that a store with a split compare-and-set violates as soon as a row is replaced beside another
 * command.
 */
export const SPLIT: readonly (readonly [readonly Invariant[], Configuration])[] = [
  [["I4"], { actors: "sync,save", split: true }],
  [["I4"], { actors: "save,purge!@row", split: true }],
  [["I3", "I4"], { actors: "rotate,save@row", split: true }],
  [["I3", "I4"], { actors: "rotate,purge@row", split: true }],
  [["I1", "I3", "I4"], { actors: "rotate,rotate,sync@row", split: true }],
];
