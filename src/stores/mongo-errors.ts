import {
  MongoBulkWriteError,
  MongoCompatibilityError,
  MongoError,
  MongoMissingDependencyError,
  MongoNetworkError,
  MongoNetworkTimeoutError,
  MongoParseError,
  MongoServerError,
  MongoServerSelectionError,
  MongoWriteConcernError,
} from "mongodb";
import { isKeyctlError, KeyctlError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { codeOf } from "../files/read-regular-file.ts";

/** What is said of the store: its display name, and the variable or flag that holds its URI. */
export interface StoreName {
  readonly name: string;
  readonly from: string;
}

interface Sentence {
  readonly code: ErrorCode;
  /** Completes a sentence that begins with the store's name. */
  readonly problem: string;
  /** `{from}` is the variable or flag of the URI. */
  readonly hint: string;
  readonly retryable?: true;
}

const CREDENTIALS: Sentence = {
  code: "STORE_DENIED",
  problem: "refused the user name or the password",
  hint: "check both in {from}, and its authSource",
};
const RIGHTS: Sentence = {
  code: "STORE_DENIED",
  problem: "does not let this user do that",
  hint: "the user needs the role readWrite on this database; reading alone needs the role read",
};
const NO_PRIMARY: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "has no member that takes reads and writes just now",
  hint: "look at its replica set; while it elects a new primary, try again in some seconds",
  retryable: true,
};
const NO_SPACE: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "could not write: its disk or its quota is full",
  hint: "free some space there and run the command again; nothing was lost",
};
const NO_MAJORITY: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "could not confirm the write on a majority of its members",
  hint: "look at its replica set, then run the command again",
  retryable: true,
};
const LATE: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "does not answer in time",
  hint: "check that it runs and that a firewall lets this machine through (Atlas: its IP access list)",
  retryable: true,
};
const REFUSED: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "refused the connection",
  hint: "check the host and port in {from}, and that the server runs",
  retryable: true,
};
const UNKNOWN_HOST: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "is on a host that cannot be found",
  hint: "check the host name in {from}",
  retryable: true,
};
const CUT: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "closed the connection",
  hint: "check that the server runs, and whether it wants TLS (tls=true in {from})",
  retryable: true,
};
const TLS: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "could not be reached over TLS: the two sides do not agree, or its certificate is not trusted",
  hint: "check tls and tlsCAFile in {from}",
};
const TOO_OLD: Sentence = {
  code: "STORE_UNAVAILABLE",
  problem: "is too old: keyctl needs MongoDB 4.4 or newer",
  hint: "upgrade the server, or name another one in {from}",
};
const BAD_URI: Sentence = {
  code: "CONFIG_INVALID",
  problem: "has an option in its URI that cannot be used",
  hint: "check the options in {from}: mongodb://<host>/<database>?<option>=<value>",
};
const MISSING_PART: Sentence = {
  code: "CONFIG_INVALID",
  problem:
    "asks in its URI for something that keyctl does not carry (Kerberos, AWS credentials, a proxy or a compressor)",
  hint: "leave that option out of {from}; users with a password and X.509 certificates work",
};

/** By the server's code: https://www.mongodb.com/docs/manual/reference/error-codes/ */
const BY_SERVER: Readonly<Record<number, Sentence>> = {
  11: CREDENTIALS,
  18: CREDENTIALS,
  8000: CREDENTIALS,
  13: RIGHTS,
  33: RIGHTS,
  6: NO_PRIMARY,
  7: NO_PRIMARY,
  89: NO_PRIMARY,
  91: NO_PRIMARY,
  133: NO_PRIMARY,
  189: NO_PRIMARY,
  9001: NO_PRIMARY,
  10058: NO_PRIMARY,
  10107: NO_PRIMARY,
  11600: NO_PRIMARY,
  11602: NO_PRIMARY,
  13435: NO_PRIMARY,
  13436: NO_PRIMARY,
  43: {
    code: "STORE_UNAVAILABLE",
    problem: "closed the list while it was being read",
    hint: "run the command again",
    retryable: true,
  },
  50: LATE,
  262: LATE,
  64: NO_MAJORITY,
  79: NO_MAJORITY,
  100: NO_MAJORITY,
  14031: NO_SPACE,
  12501: NO_SPACE,
  85: {
    code: "STORE_CORRUPT",
    problem: "has an index on the same fields of api_keys with other options",
    hint: "drop that index with another tool; keyctl makes its own",
  },
};
/** By the system's or OpenSSL's code of the connection. */
const BY_SYSTEM: readonly (readonly [pattern: RegExp, sentence: Sentence])[] = [
  [/^ECONNREFUSED$/, REFUSED],
  [/^(ENOTFOUND|EAI_|ENODATA|ESERVFAIL)/, UNKNOWN_HOST],
  [/^(ETIMEDOUT|ETIMEOUT|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN)$/, LATE],
  [/^(ERR_SSL_|ERR_TLS_|ERR_OSSL_|EPROTO|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_)/, TLS],
  [/^(ECONNRESET|EPIPE)$/, CUT],
];
/** After these the server may have done the write all the same. */
const UNSURE_CODES: ReadonlySet<number> = new Set([64, 79, 91, 100, 189, 9001, 11600, 11602, 50, 262]);

export function isDuplicateKey(thrown: unknown): boolean {
  return thrown instanceof MongoServerError && thrown.code === 11000;
}

/** The driver's, the server's or the system's error as our own, in one sentence; a bug as it is. Nothing of theirs is shown. */
export function mongoError(thrown: unknown, store: StoreName, { isWrite }: { readonly isWrite: boolean }): unknown {
  if (isKeyctlError(thrown)) return thrown;
  const sentence = sentenceOf(thrown);
  if (sentence === undefined) return thrown;
  const { code, problem, hint, retryable = false } = sentence;
  return new KeyctlError(code, `the database ${store.name} ${problem}`, {
    hint: hint.replace("{from}", store.from === "--store" ? "--store" : store.from),
    retryable,
    mayHaveHappened: isWrite && isUnsure(thrown),
  });
}

function sentenceOf(thrown: unknown): Sentence | undefined {
  if (thrown instanceof MongoMissingDependencyError) return MISSING_PART;
  if (thrown instanceof MongoCompatibilityError) return TOO_OLD;
  if (thrown instanceof MongoServerSelectionError) return selectionSentence(thrown);
  if (thrown instanceof MongoServerError) return BY_SERVER[Number(thrown.code)] ?? unknownCode(thrown.code);
  if (thrown instanceof MongoNetworkTimeoutError) return LATE;
  if (thrown instanceof MongoNetworkError) return connectionSentence(thrown) ?? CUT;
  if (thrown instanceof MongoParseError) return BAD_URI;
  const bySystem = connectionSentence(thrown);
  if (bySystem !== undefined) return bySystem;
  if (!(thrown instanceof MongoError)) return undefined;
  return { code: "STORE_UNAVAILABLE", problem: `failed (${thrown.name})`, hint: "run the command again" };
}

/** No server could be chosen: each of them has its own reason, and the first that says one is told. */
function selectionSentence({ reason }: MongoServerSelectionError): Sentence {
  const servers = [...(reason?.servers?.values() ?? [])];
  const errors = servers.flatMap(({ error }) => error ?? []);
  for (const error of errors) {
    const sentence = sentenceOf(error);
    if (sentence !== undefined) return sentence;
  }
  return servers.some(({ type }) => /^RS|^PossiblePrimary/.test(type)) ? NO_PRIMARY : LATE;
}

/** By the system's code, which stands in the error or in what caused it. */
function connectionSentence(thrown: unknown): Sentence | undefined {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    const code = codeOf(error);
    const known = BY_SYSTEM.find(([pattern]) => pattern.test(code));
    if (known !== undefined) return known[1];
  }
  return undefined;
}

function unknownCode(code: unknown): Sentence {
  return {
    code: "STORE_UNAVAILABLE",
    problem: `answered with an error (MongoDB error code ${typeof code === "number" ? code : "unknown"})`,
    hint: "https://www.mongodb.com/docs/manual/reference/error-codes/",
  };
}

/** Whether a write that failed in this way may have been done. */
function isUnsure(thrown: unknown): boolean {
  if (thrown instanceof MongoWriteConcernError) return true;
  if (thrown instanceof MongoBulkWriteError && thrown.result.getWriteConcernError() !== undefined) return true;
  if (thrown instanceof MongoServerError) return UNSURE_CODES.has(Number(thrown.code));
  if (!(thrown instanceof MongoNetworkError)) return false;
  // Without a connection nothing was sent.
  return !thrown.hasErrorLabel("HandshakeError") && thrown.name !== "MongoPoolClearedError";
}
