import type { ErrorCode } from "../../core/model/errors.ts";

/** The message for a failure. It contains no text of the server, the driver or the URI. */
export interface ErrorTemplate {
  readonly code: ErrorCode;
  /** Completes a sentence that begins with the store's name. */
  readonly problem: string;
  /** `{from}` is the variable or flag of the URI. */
  readonly hint: string;
  readonly retryable?: true;
}

export const CREDENTIALS: ErrorTemplate = {
  code: "STORE_DENIED",
  problem: "refused the user name or the password",
  hint: "check both in {from}, and authSource: the database in which the user was created",
};
const RIGHTS: ErrorTemplate = {
  code: "STORE_DENIED",
  problem: "does not let this user do that",
  hint: "give the user the role readWrite on this database; for get and list the role read is enough",
};
const MECHANISM: ErrorTemplate = {
  code: "STORE_DENIED",
  problem: "does not know the way to log in that its URI asks for, or has it switched off",
  hint: "check authMechanism in {from}, or leave it out: the server then says which one it takes",
};
export const NO_USER: ErrorTemplate = {
  code: "STORE_DENIED",
  problem: "wants a user and a password, and its URI names none",
  hint: "put both before the host in {from}, and authSource=<the database in which the user was created> at its end",
};
export const NO_PRIMARY: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "has no member that accepts reads and writes right now",
  hint: "while its replica set elects a new primary, try again in some seconds; else look at rs.status() there",
  retryable: true,
};
export const NO_SPACE: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "could not write: its disk or its quota is full",
  hint: "free some space there and run the command again; nothing was lost",
};
const NO_MAJORITY: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "could not confirm the write on a majority of its members",
  hint: "look at rs.status() there, then run the command again",
  retryable: true,
};
export const TIMED_OUT: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "does not answer in time",
  hint: "check that it runs, that a firewall lets this machine through (Atlas: its IP access list), and tls in {from}",
  retryable: true,
};
export const REFUSED: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "refused the connection",
  hint: "check the host and port in {from}, and that the server runs",
  retryable: true,
};
export const UNKNOWN_HOST: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "is on a host that cannot be found",
  hint: "check the host name in {from}, and this machine's DNS",
  retryable: true,
};
export const CUT: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "closed the connection",
  hint: "check that the server runs, and whether it wants TLS (tls=true in {from})",
  retryable: true,
};
const TLS: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "could not be reached over TLS: the two sides do not agree, or one does not trust the other",
  hint: "check tls in {from}; tlsCAFile names the certificate of an authority of your own",
};
const TLS_FILE: ErrorTemplate = {
  code: "CONFIG_INVALID",
  problem: "needs a certificate file that cannot be used",
  hint: "check tlsCAFile and tlsCertificateKeyFile in {from}: PEM files that exist, and the key's password",
};
export const TOO_OLD: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "is too old: keyctl needs MongoDB 4.4 or newer",
  hint: "upgrade the server, or name another one in {from}",
};
export const LOAD_BALANCED: ErrorTemplate = {
  code: "CONFIG_INVALID",
  problem: "is not behind a load balancer, as its URI says",
  hint: "leave loadBalanced out of {from}",
};
export const BAD_URI: ErrorTemplate = {
  code: "CONFIG_INVALID",
  problem: "has an option in its URI that cannot be used",
  hint: "check the options in {from}: mongodb://<host>/<database>?<option>=<value>",
};
export const MISSING_PART: ErrorTemplate = {
  code: "CONFIG_INVALID",
  problem: "asks in its URI for what keyctl does not support (Kerberos, AWS credentials, or a compressor but zlib)",
  hint: "leave authMechanism or compressors out of {from}; passwords and X.509 certificates work",
};

export const OTHER_SET: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "is not a member of the replica set that its URI names",
  hint: "check replicaSet in {from}, or leave it out",
};
export const NO_MONGODB: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "does not answer as a MongoDB server does",
  hint: "check the host and port in {from}",
};
export const UNKNOWN: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "failed in a way that keyctl does not recognize",
  hint: "run the command again; if it stays so, look at the server's log",
  retryable: true,
};

export const BUSY: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "is busy: other programs write the same rows all the time",
  hint: "run the command again when they are done; nothing was written",
  retryable: true,
};
const LIST_CLOSED: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "closed the list while it was being read",
  hint: "run the command again",
  retryable: true,
};
const STOPPED: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "was told by somebody to stop this command",
  hint: "run the command again",
  retryable: true,
};
const OTHER_INDEX: ErrorTemplate = {
  code: "STORE_CORRUPT",
  problem: "has an index on the same fields of api_keys with other options",
  hint: "drop that index with another tool; keyctl makes its own",
};
const VALIDATOR: ErrorTemplate = {
  code: "STORE_DENIED",
  problem: "has a validation rule for api_keys that refuses this document",
  hint: "look at the rule there: db.getCollectionInfos({ name: 'api_keys' })",
};
const SHARD_KEY: ErrorTemplate = {
  code: "STORE_UNAVAILABLE",
  problem: "has sharded api_keys by fields that keyctl does not write",
  hint: "shard it by { user_id: 1, provider: 1 }",
};
const NOT_A_COLLECTION: ErrorTemplate = {
  code: "STORE_CORRUPT",
  problem: "has api_keys as a view or a time series, which cannot hold keys",
  hint: "name another database in {from}",
};

/** By the server's code: https://www.mongodb.com/docs/manual/reference/error-codes/ */
export const BY_SERVER_CODE: Readonly<Record<number, ErrorTemplate>> = {
  11: CREDENTIALS,
  18: CREDENTIALS,
  334: MECHANISM,
  13: RIGHTS,
  33: RIGHTS,
  8000: RIGHTS,
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
  11601: STOPPED,
  43: LIST_CLOSED,
  237: LIST_CLOSED,
  50: TIMED_OUT,
  202: TIMED_OUT,
  262: TIMED_OUT,
  64: NO_MAJORITY,
  79: NO_MAJORITY,
  100: NO_MAJORITY,
  14031: NO_SPACE,
  12501: NO_SPACE,
  61: SHARD_KEY,
  85: OTHER_INDEX,
  86: OTHER_INDEX,
  121: VALIDATOR,
  166: NOT_A_COLLECTION,
};

/** By the connection's error code, from the system or from OpenSSL. */
export const BY_SYSTEM: readonly (readonly [pattern: RegExp, sentence: ErrorTemplate])[] = [
  [/^ECONNREFUSED$/, REFUSED],
  [/^(ENOTFOUND$|EAI_)/, UNKNOWN_HOST],
  [/^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN)$/, TIMED_OUT],
  [/^(ERR_SSL_|ERR_TLS_|EPROTO$|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_|INVALID_CA|PATH_LENGTH)/, TLS],
  [/^(ECONNRESET|EPIPE|ECONNABORTED)$/, CUT],
  // A Unix socket fails with the first two codes as well: `isSocketFile` is checked before.
  [/^E(NOENT|ACCES|ISDIR|PERM)$|^ERR_(OSSL|CRYPTO)_/, TLS_FILE],
];

/** The message for a code that is not in the table. Retryable, because the failure may be temporary. */
export function unknownCode(code: unknown): ErrorTemplate {
  return {
    code: "STORE_UNAVAILABLE",
    problem: `answered with an error (MongoDB error code ${typeof code === "number" ? code : "unknown"})`,
    hint: "https://www.mongodb.com/docs/manual/reference/error-codes/",
    retryable: true,
  };
}
