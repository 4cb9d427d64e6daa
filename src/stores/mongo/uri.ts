/** The parts of a MongoDB URI that may be shown: the servers and the database, without user, password and options. */
export interface MongoUri {
  readonly name: string;
  readonly database: string;
}

const PARTS =
  /^(?<scheme>mongodb(?:\+srv)?):\/\/(?:(?<user>[^/?#@]*)@)?(?<hosts>[^/?#@]*)(?:\/(?<database>[^/?#@]*))?(?:\?(?<options>[^#@]*))?$/;
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?<port>\d{1,5}))?$|^[A-Za-z0-9._%-]+\.sock$/;
const DEFAULT_PORT = ":27017";
const DATABASE = /^[^/\\. "$*<>:|?\p{Cc}]{1,63}$/u;

/**
 * Options that a URI may set; as in the driver, letter case does not matter.
 * https://www.mongodb.com/docs/manual/reference/connection-string-options/
 */
const TAKEN = namesOf(`
  replicaSet directConnection loadBalanced srvServiceName srvMaxHosts
  tls ssl tlsCAFile tlsCRLFile tlsCertificateKeyFile tlsCertificateKeyFilePassword
  authSource authMechanism authMechanismProperties
  compressors zlibCompressionLevel localThresholdMS heartbeatFrequencyMS serverMonitoringMode maxIdleTimeMS
`);
/** Options that a URI may contain but keyctl decides: some of them can lose a write, or let a read miss one. */
const OVERRULED = namesOf(`
  w wtimeout wtimeoutMS j journal fsync safe readConcernLevel readPreference readPreferenceTags maxStalenessSeconds
  retryWrites retryReads appName timeoutMS serverSelectionTimeoutMS serverSelectionTryOnce connectTimeoutMS
  socketTimeoutMS waitQueueTimeoutMS waitQueueMultiple maxPoolSize minPoolSize maxConnecting uuidRepresentation
`);

const AUTHORITY = "leave that option out; tlsCAFile=<file> names the authority, or the server's own certificate";
/**
 * Options that would let another machine impersonate the server, each with a hint. keyctl refuses them unless they are
 * false: a wrong store may report that a user has no key, and then a key is bought.
 */
const UNVERIFIED: ReadonlyMap<string, string> = new Map([
  ["tlsinsecure", AUTHORITY],
  ["tlsallowinvalidcertificates", AUTHORITY],
  ["tlsallowinvalidhostnames", "leave that option out, and name the server as its certificate does"],
]);

/** The login mechanisms, in lower case, and whether each takes a user and a password. */
const MECHANISMS: ReadonlyMap<string, "user" | "user without password" | "no user" | "either"> = new Map([
  ["default", "either"],
  ["scram-sha-1", "user"],
  ["scram-sha-256", "user"],
  ["plain", "user"],
  ["gssapi", "user"],
  ["mongodb-x509", "user without password"],
  ["mongodb-aws", "no user"],
]);
const WITH_USER = "put a user and a password before the host, or leave authMechanism out where nobody has to log in";

export interface UriProblem {
  /** Completes a sentence that begins with the source of the URI. */
  readonly problem: string;
  /** Undefined if an example of a URI is the best hint. */
  readonly hint?: string;
}

/**
 * Parses the parts of a connection string that keyctl needs; the driver parses the rest. Strict, because the name that
 * is shown must contain nothing of a password, even if the password's special characters are not escaped.
 * https://www.mongodb.com/docs/manual/reference/connection-string/
 */
export function parseMongoUri(uri: string): MongoUri | UriProblem {
  const parts = PARTS.exec(uri)?.groups;
  if (parts === undefined) {
    return { problem: "is not a valid MongoDB URI (special characters of a password are written as %40, %2F, …)" };
  }
  const { scheme = "", user, hosts = "", database, options = "" } = parts;
  if (user !== undefined && (!isEncoded(user) || user.split(":").length > 2)) {
    return { problem: "has a user name or password whose special characters are not escaped (@ is %40, : is %3A)" };
  }
  const names = hosts.split(",");
  if (!names.every(isHost)) return { problem: "does not name its servers as <host>:<port>" };
  if (scheme === "mongodb+srv" && (names.length > 1 || hosts.includes(":"))) {
    return { problem: "names more than one server, or a port, which mongodb+srv does not have" };
  }
  if (database === undefined || database === "") return { problem: "names no database" };
  if (!isEncoded(database) || !DATABASE.test(decodeURIComponent(database))) {
    return { problem: "names a database as MongoDB does not allow" };
  }
  const name = `${scheme}://${hosts}/${database}`;
  return (
    problemOf(optionsOf(options)) ??
    loginProblem(user, optionsOf(options)) ?? { name, database: decodeURIComponent(database) }
  );
}

function problemOf(options: ReturnType<typeof optionsOf>): UriProblem | undefined {
  const unknown = options.findIndex(({ name }) => !TAKEN.has(name) && !OVERRULED.has(name) && !UNVERIFIED.has(name));
  // Reported by number, not by name: it may be a part of an unescaped password.
  if (unknown !== -1) return { problem: `has an option that keyctl does not know (number ${unknown + 1})` };
  for (const { name, text } of options) {
    const hint = text.endsWith("=false") ? undefined : UNVERIFIED.get(name);
    if (hint === undefined) continue;
    const option = text.replace(/=.*/s, "");
    return { problem: `asks not to verify the server's certificate (${option}), which keyctl always does`, hint };
  }
  return undefined;
}

/** The message does not contain the value: it may be a part of an unescaped password. */
function loginProblem(user: string | undefined, options: ReturnType<typeof optionsOf>): UriProblem | undefined {
  const named = options.find(({ name }) => name === "authmechanism");
  if (named === undefined) return undefined;
  const takes = MECHANISMS.get(named.text.replace(/^[^=]*=?/, "").toLowerCase());
  if (takes === undefined) {
    return {
      problem: "asks for a way to log in that keyctl does not know (authMechanism)",
      hint: "authMechanism is SCRAM-SHA-256, SCRAM-SHA-1, PLAIN or MONGODB-X509; without it, the server says which one",
    };
  }
  if (takes === "user" && (user ?? "") === "") {
    return { problem: "asks for a way to log in (authMechanism), and names no user", hint: WITH_USER };
  }
  const hasPassword = user?.includes(":") === true;
  const isTooMuch = takes === "no user" ? user !== undefined : takes === "user without password" && hasPassword;
  if (!isTooMuch) return undefined;
  return {
    problem: "has a user or a password that its way to log in (authMechanism) does not take",
    hint: "leave them out: X.509 takes the certificate of tlsCertificateKeyFile, and MONGODB-AWS what AWS has set up",
  };
}

/** Whether a valid URI contains no login. */
export function isAnonymous(uri: string): boolean {
  const { user, options = "" } = PARTS.exec(uri)?.groups ?? {};
  return user === undefined && optionsOf(options).every(({ name }) => name !== "authmechanism");
}

/** A valid URI without the options that keyctl decides, for the driver. */
export function withoutOverruled(uri: string): string {
  const servers = uri.replace(/\?.*/s, "");
  const options = uri.slice(servers.length + 1);
  const kept = optionsOf(options).filter(({ name }) => TAKEN.has(name));
  return kept.length === 0 ? servers : `${servers}?${kept.map(({ text }) => text).join("&")}`;
}

/** The DNS name of the service in a valid URI, and its host; undefined if the URI names the servers themselves. */
export function serviceOf(uri: string): { readonly name: string; readonly host: string } | undefined {
  const { scheme, hosts: host = "", options = "" } = PARTS.exec(uri)?.groups ?? {};
  if (scheme !== "mongodb+srv") return undefined;
  const named = optionsOf(options).find(({ name }) => name === "srvservicename");
  return { name: `_${named?.text.replace(/.*=/s, "") ?? "mongodb"}._tcp.${host}`, host };
}

function optionsOf(options: string): readonly { readonly name: string; readonly text: string }[] {
  const texts = options.split("&").filter((text) => text !== "");
  return texts.map((text) => ({ text, name: text.replace(/=.*/s, "").toLowerCase() }));
}

function namesOf(text: string): ReadonlySet<string> {
  return new Set(text.toLowerCase().trim().split(/\s+/));
}

/**
 * Whether two names of `parseMongoUri` mean the same database; the order and letter case of the servers do not matter.
 */
export function isSameDatabase(one: string, other: string): boolean {
  return plainName(one) === plainName(other);
}

function plainName(name: string): string {
  const [, scheme = "", hosts = "", database = ""] = /^([^:]+):\/\/([^/]+)\/(.+)$/.exec(name) ?? [];
  const port = scheme === "mongodb" ? DEFAULT_PORT : "";
  const servers = hosts
    .toLowerCase()
    .split(",")
    .map((host) => (/:\d+$/.test(host) ? host : host + port));
  return `${scheme}://${servers.toSorted().join(",")}/${decodeURIComponent(database)}`;
}

function isHost(text: string): boolean {
  const host = HOST.exec(text);
  if (host === null) return false;
  const port = Number(host.groups?.["port"] ?? 1);
  return port >= 1 && port <= 65_535;
}

function isEncoded(text: string): boolean {
  if (/\s|\p{Cc}/u.test(text)) return false;
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
