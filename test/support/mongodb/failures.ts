import type { Document } from "mongodb";
import { concernFailure, failure, firstBatch, hello, toHello, writeFailure } from "./stub.ts";
import type { Answers } from "./stub.ts";

const CHANGES = ["insert", "update", "delete", "findAndModify"];
const READS = ["find", "aggregate", "count", "listIndexes", "listCollections"];
const ALL = [...READS, ...CHANGES, "createIndexes"];

/** The answers of real servers in failures that a test cannot cause on a real server. */
export const FAILURES = {
  /** MongoDB 4.2: the driver requires 4.4 or newer. */
  tooOld: toHello(hello({ maxWireVersion: 8 })),

  wrongPassword: to(["saslStart"], failure(18, "AuthenticationFailed")),
  wrongPasswordOnAtlas: to(["saslStart"], failure(8000, "AtlasError")),
  mechanismUnavailable: to(["saslStart"], failure(334, "MechanismUnavailable")),
  noLogin: to(ALL, failure(13, "Unauthorized")),
  loginWanted: to(ALL, failure(13, "Command find requires authentication")),
  readOnlyRole: to([...CHANGES, "createIndexes"], failure(13, "Unauthorized")),
  readOnlyRoleOnAtlas: to([...CHANGES, "createIndexes"], failure(8000, "AtlasError")),
  mayNotIndex: to(["createIndexes"], failure(13, "Unauthorized")),

  notPrimary: to(ALL, failure(10107, "NotWritablePrimary")),
  /** An election is in progress: the only visible member is a secondary. */
  noPrimary: toHello(hello({ isWritablePrimary: false, ismaster: false, secondary: true, setName: "rs0" })),
  shuttingDown: to(ALL, failure(91, "ShutdownInProgress")),
  interruptedAtShutdown: to(ALL, failure(11600, "InterruptedAtShutdown")),
  steppingDown: to(ALL, failure(11602, "InterruptedDueToReplStateChange")),

  /** The insert was applied, but may be rolled back. */
  noMajority: to(CHANGES, concernFailure(64, "WriteConcernFailed")),
  shuttingDownAfterTheWrite: to(CHANGES, concernFailure(91, "ShutdownInProgress")),
  tooSlow: to(ALL, failure(50, "MaxTimeMSExpired")),
  cursorLost: { ...to(READS, firstBatch([], 77)), getMore: failure(43, "CursorNotFound") },

  /** The router of a sharded cluster, and the answers that only a router gives. */
  router: toHello(hello({ msg: "isdbgrid" })),
  shardWithoutPrimary: { ...isdbgrid(), ...to(ALL, failure(133, "FailedToSatisfyReadPreference")) },
  shardUnreachable: { ...isdbgrid(), ...to(ALL, failure(6, "HostUnreachable")) },
  shardKeyMissing: { ...isdbgrid(), ...to(CHANGES, writeFailure(61)), findAndModify: failure(61, "ShardKeyNotFound") },

  diskFull: { ...to(CHANGES, writeFailure(14031)), createIndexes: failure(14031, "OutOfDiskSpace") },
  quotaUsedUpOnAtlas: to([...CHANGES, "createIndexes"], failure(8000, "you are over your space quota")),
  /** The collection has a validation schema. */
  refusedByItsSchema: to(["insert", "update"], writeFailure(121)),
} as const satisfies Readonly<Record<string, Answers>>;

function to(commands: readonly string[], answer: Document): Answers {
  return Object.fromEntries(commands.map((name) => [name, answer]));
}

function isdbgrid(): Answers {
  return toHello(hello({ msg: "isdbgrid" }));
}

/** The answers of servers when two programs write the same rows at the same time: nothing was written. */
export const CONFLICTS = {
  writeConflict: failure(112, "WriteConflict"),
  /** The form for a single document. */
  writeConflictOfOne: writeFailure(112),
  /** FerretDB 2 returns PostgreSQL's error states as numbers: 40P01, 40001, 55P03. */
  deadlock: failure(16_908_292, "deadlock detected"),
  serialization: failure(16_777_220, "could not serialize access"),
  lockNotAvailable: failure(50_463_045, "canceling statement due to lock timeout"),
} as const satisfies Readonly<Record<string, Document>>;
