/** What may be shown of a MongoDB URI: the servers and the database, without user, password and options. */
export interface MongoUri {
  readonly name: string;
  readonly database: string;
}

const PARTS =
  /^(?<scheme>mongodb(?:\+srv)?):\/\/(?:(?<user>[^/?#@]*)@)?(?<hosts>[^/?#@]*)(?:\/(?<database>[^/?#@]*))?(?:\?(?<options>[^#@]*))?$/;
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?<port>\d{1,5}))?$|^[A-Za-z0-9._%-]+\.sock$/;
const DATABASE = /^[^/\\. "$*<>:|?\p{Cc}]{1,63}$/u;

/**
 * Reads the parts of a connection string that keyctl needs to know; the driver reads the rest. Strict, because what is
 * shown must hold nothing of a password, also where its special characters were not escaped.
 * https://www.mongodb.com/docs/manual/reference/connection-string/
 */
export function parseMongoUri(uri: string): MongoUri | { readonly problem: string } {
  const parts = PARTS.exec(uri)?.groups;
  if (parts === undefined) {
    return { problem: "is not a valid MongoDB URI (special characters of a password are written as %40, %2F, …)" };
  }
  const { scheme = "", user, hosts = "", database } = parts;
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
  return { name: `${scheme}://${hosts}/${database}`, database: decodeURIComponent(database) };
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
