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

/** What is said of the store: its display name, and the variable or flag that holds its URI. */
export interface NamedStore {
  readonly name: string;
  readonly from: string;
  /** The URI logs nobody in. */
  readonly isAnonymous: boolean;
}

const ATLAS = 8000;
const UNAUTHORIZED = 13;

/** The driver's, the server's or the system's error as our own, in one sentence; a bug as it is. Nothing of theirs is shown. */
export function mongoError(thrown: unknown, store: NamedStore, { isWrite }: { readonly isWrite: boolean }): unknown {
  if (isKeyctlError(thrown)) return thrown;
  const bug = bugIn(thrown);
  if (bug !== undefined) return bug;
  const cause = unwrapBulkError(thrown);
  const sentence = sentenceOf(cause, store);
  return sentence === undefined ? thrown : failure(sentence, store, isWrite && mayHaveBeenApplied(thrown));
}

/** The time is over: our own error, or a bug as it is. `seen` is what the driver knew of the servers by then. */
export function mongoLate(
  seen: TopologyDescription | undefined,
  store: NamedStore,
  { isWrite }: { readonly isWrite: boolean },
): Error {
  return bugOf(seen) ?? failure(noServer(seen, store), store, isWrite);
}

/** The mistake in our code or in the driver's that the driver took for a failure of the network, and wrapped or noted down. */
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
 * A certificate file that cannot be read is a TypeError too, with a code that is known. A RangeError is none of these: the
 * driver throws it for an answer that is cut off.
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
  // keyctl carries nothing of AWS, so that the driver finds no credentials there.
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

/** Some codes stand for much; what is said with them is read, and not shown. */
function serverSentence(error: MongoServerError, { isAnonymous }: NamedStore): ErrorTemplate {
  if (error.code === ATLAS && error.hasErrorLabel(MongoErrorLabel.HandshakeError)) return CREDENTIALS;
  if (error.code === ATLAS && /quota/i.test(error.message)) return NO_SPACE;
  if (error.code === UNAUTHORIZED && isAnonymous && /requires authentication/i.test(error.message)) return NO_USER;
  return isConflictCode(error.code) ? BUSY : (BY_SERVER_CODE[Number(error.code)] ?? unknownCode(error.code));
}

/** Why no server could be chosen: each of them has its own reason, and the first that says one is told. */
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

/** A socket in the file system that is not there, or not for us. */
function isSocketFile({ cause }: MongoNetworkError): boolean {
  return /^(ENOENT|EACCES)$/.test(codeOf(cause));
}

/** By the system's code, which stands in the error or in what caused it. */
function connectionSentence(thrown: unknown): ErrorTemplate | undefined {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    // All that a look-up of records can say.
    if ("syscall" in error && String(error.syscall).startsWith("query")) return UNKNOWN_HOST;
    const code = codeOf(error);
    const known = BY_SYSTEM.find(([pattern]) => pattern.test(code));
    if (known !== undefined) return known[1];
  }
  return undefined;
}
