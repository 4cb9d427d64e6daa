import {
  MongoAPIError,
  MongoAWSError,
  MongoCompatibilityError,
  MongoError,
  MongoErrorLabel,
  MongoMissingDependencyError,
  MongoNetworkError,
  MongoNetworkTimeoutError,
  MongoParseError,
  MongoServerError,
  MongoServerSelectionError,
  MongoUnexpectedServerResponseError,
} from "mongodb";
import type { TopologyDescription } from "mongodb";
import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import {
  BAD_URI,
  BUSY,
  BY_SERVER_CODE,
  BY_SYSTEM,
  CREDENTIALS,
  CUT,
  TIMED_OUT,
  LOAD_BALANCED,
  MISSING_PART,
  NO_MONGODB,
  NO_PRIMARY,
  NO_SPACE,
  NO_USER,
  OTHER_SET,
  REFUSED,
  TOO_OLD,
  UNKNOWN,
  UNKNOWN_HOST,
  unknownCode,
} from "./error-messages.ts";
import type { ErrorTemplate } from "./error-messages.ts";
import { codeOf } from "../../files/system-error.ts";
import { isConflictCode, mayHaveBeenApplied, unwrapBulkError } from "./write-outcome.ts";

/** The store in error messages: its display name, and the variable or flag that holds its URI. */
export interface NamedStore {
  readonly name: string;
  readonly from: string;
  /** The URI contains no login. */
  readonly isAnonymous: boolean;
}

const ATLAS = 8000;
const UNAUTHORIZED = 13;

/**
 * Translates an error of the driver, the server or the system into a KeyctlError of one sentence that shows none of its
 * text. Returns a bug unchanged.
 */
export function mongoError(thrown: unknown, store: NamedStore, { isWrite }: { readonly isWrite: boolean }): unknown {
  if (isKeyctlError(thrown)) return thrown;
  const bug = bugIn(thrown);
  if (bug !== undefined) return bug;
  const cause = unwrapBulkError(thrown);
  const sentence = sentenceOf(cause, store);
  return sentence === undefined ? thrown : failure(sentence, store, isWrite && mayHaveBeenApplied(thrown));
}

/** The error after a time-out, or a bug unchanged. `seen` is the driver's view of the servers at that moment. */
export function mongoLate(
  seen: TopologyDescription | undefined,
  store: NamedStore,
  { isWrite }: { readonly isWrite: boolean },
): Error {
  return bugOf(seen) ?? failure(noServer(seen, store), store, isWrite);
}

/** A bug of keyctl or of the driver that the driver handled as a network failure: it wrapped or recorded the error. */
function bugIn(thrown: unknown): Error | undefined {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (isBug(error)) return error;
    if (error instanceof MongoServerSelectionError) return bugOf(error.reason);
  }
  return undefined;
}

function bugOf(seen: TopologyDescription | undefined): Error | undefined {
  return [...(seen?.servers.values() ?? [])].map(({ error }) => bugIn(error)).find((bug) => bug !== undefined);
}

/**
 * A TypeError with a known code is no bug: a certificate file that cannot be read causes one. A RangeError is no bug
 * either: the driver throws it for a truncated answer.
 */
function isBug(error: Error): boolean {
  const isMistake = /^(?:TypeError|ReferenceError|SyntaxError|AssertionError)$/.test(error.name);
  return isMistake && connectionSentence(error) === undefined;
}

function failure({ code, problem, hint, retryable }: ErrorTemplate, store: NamedStore, mayHaveHappened: boolean) {
  return new KeyctlError(code, `the database ${store.name} ${problem}`, {
    hint: hint.replaceAll("{from}", store.from),
    retryable: retryable === true,
    mayHaveHappened,
  });
}

function sentenceOf(thrown: unknown, store: NamedStore): ErrorTemplate | undefined {
  // keyctl bundles no AWS packages, so the driver finds no AWS credentials.
  if (thrown instanceof MongoMissingDependencyError || thrown instanceof MongoAWSError) return MISSING_PART;
  if (thrown instanceof MongoCompatibilityError) return /load balanc/.test(thrown.message) ? LOAD_BALANCED : TOO_OLD;
  if (thrown instanceof MongoServerSelectionError) return noServer(thrown.reason, store);
  if (thrown instanceof MongoServerError) return serverSentence(thrown, store);
  if (thrown instanceof MongoNetworkTimeoutError) return TIMED_OUT;
  if (thrown instanceof MongoNetworkError) return isSocketFile(thrown) ? REFUSED : (connectionSentence(thrown) ?? CUT);
  if (thrown instanceof MongoParseError || thrown instanceof MongoAPIError) return BAD_URI;
  const bySystem = connectionSentence(thrown);
  if (bySystem !== undefined) return bySystem;
  if (!(thrown instanceof MongoError)) return undefined;
  return thrown instanceof MongoUnexpectedServerResponseError ? NO_MONGODB : UNKNOWN;
}

/** Some codes have several meanings: the server's text tells them apart, and is not shown. */
function serverSentence(error: MongoServerError, { isAnonymous }: NamedStore): ErrorTemplate {
  if (error.code === ATLAS && error.hasErrorLabel(MongoErrorLabel.HandshakeError)) return CREDENTIALS;
  if (error.code === ATLAS && /quota/i.test(error.message)) return NO_SPACE;
  if (error.code === UNAUTHORIZED && isAnonymous && /requires authentication/i.test(error.message)) return NO_USER;
  return isConflictCode(error.code) ? BUSY : (BY_SERVER_CODE[Number(error.code)] ?? unknownCode(error.code));
}

/** Why no server could be selected. Each server has its own reason: the first one that is known is reported. */
function noServer(seen: TopologyDescription | undefined, store: NamedStore): ErrorTemplate {
  if (seen === undefined) return TIMED_OUT;
  if (!seen.compatible) return TOO_OLD;
  const servers = [...seen.servers.values()];
  const told = servers.map(({ error }) => sentenceOf(error, store)).find((sentence) => sentence !== undefined);
  if (told !== undefined) return told;
  if (servers.length === 0) return OTHER_SET;
  return servers.some(({ type }) => /^RS|^PossiblePrimary/.test(type)) &&
    servers.every(({ type }) => type !== "RSPrimary")
    ? NO_PRIMARY
    : TIMED_OUT;
}

/** A Unix socket that does not exist, or that this user may not use. */
function isSocketFile({ cause }: MongoNetworkError): boolean {
  return /^(ENOENT|EACCES)$/.test(codeOf(cause));
}

/** By the system's code, in the error or in one of its causes. */
function connectionSentence(thrown: unknown): ErrorTemplate | undefined {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    // Every failed DNS query means an unknown host.
    if ("syscall" in error && String(error.syscall).startsWith("query")) return UNKNOWN_HOST;
    const code = codeOf(error);
    const known = BY_SYSTEM.find(([pattern]) => pattern.test(code));
    if (known !== undefined) return known[1];
  }
  return undefined;
}
