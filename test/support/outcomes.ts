import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { withDatabase } from "./database.ts";
import type { Home } from "./home.ts";
import { inProcess } from "./in-process.ts";
import type { InProcessOptions } from "./in-process.ts";
import { KEY, maskOf, OTHER, keyEnding } from "./keys.ts";

/** One way in which a command line can end. */
export interface Outcome {
  readonly title: string;
  readonly args: readonly string[];
  readonly exit: number;
  /** Null when it ends well. */
  readonly error: string | null;
  readonly given?: (home: Home) => void | Promise<void>;
  readonly options?: InProcessOptions;
}

async function aliceIsStored(home: Home): Promise<void> {
  await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
}

async function aliceIsUnreadable(home: Home): Promise<void> {
  await aliceIsStored(home);
  await withDatabase(home, (database) => database.exec("UPDATE api_keys SET key_encrypted = 'nonsense'"));
}

async function aliceIsInClear(home: Home): Promise<void> {
  await aliceIsStored(home);
  await withDatabase(home, (database) =>
    database.exec(`UPDATE api_keys SET key_encrypted = '${KEY}', key_hash = NULL`),
  );
}

/** More than a rekey looks at between two looks at the clock. */
async function manyAreInClear(home: Home): Promise<void> {
  await aliceIsInClear(home);
  await withDatabase(home, (database) =>
    database.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
      INSERT INTO api_keys (_id, user_id, provider, key_encrypted, source, created_at, updated_at, generation, settled)
      SELECT 'id-' || i, 'user-' || i, provider, key_encrypted, source, created_at, updated_at, 0, 1 FROM api_keys, n`),
  );
}

async function masterKeyIsInAVault(home: Home): Promise<void> {
  await aliceIsStored(home);
  renameSync(home.masterKeys, join(home.work, "vault"));
}

async function masterKeyIsAnother(home: Home): Promise<void> {
  await aliceIsStored(home);
  const key = { kty: "oct", k: Buffer.alloc(32, 7).toString("base64url") };
  writeFileSync(home.masterKeys, JSON.stringify({ keys: [key] }), { mode: 0o600 });
}

async function aliceHasAnotherKeyThere(home: Home): Promise<void> {
  await aliceIsStored(home);
  await inProcess(home, ["save", "--user", "alice", "--stdin", "--store", "sqlite:copy.db", "--create"], {
    input: OTHER,
  });
}

function databaseIsForeign(home: Home): void {
  mkdirSync(dirname(home.database), { recursive: true });
  writeFileSync(home.database, "this is not a database, and long enough to be looked at as one");
}

function usersFile(content: string | Uint8Array): (home: Home) => void {
  return (home) => writeFileSync(join(home.work, "users.txt"), content);
}

const keyFile = (home: Home) => home.writeKeyFile(KEY);
const ALICE = ["--user", "alice"];
const COPY = ["--to", "sqlite:copy.db", "--create"];
const MONGODB = { env: { KEYCTL_STORE: "mongodb://db.prod" } };

/** Nobody listens there. */
const UNREACHABLE = { env: { KEYCTL_STORE: "mongodb://admin:hunter2hunter2@127.0.0.1:1/keys" } };
const SOON = ["--timeout", "300ms"];
const NOBODY = { env: { KEYCTL_OPENROUTER_URL: "http://127.0.0.1:9/api/v1" } };
const SHORT = ["--timeout", "200ms"];
/** With a management key, and nobody who listens. */
/** Nobody's key. */
const MANAGEMENT_KEY = keyEnding("3a3a");
const MANAGED = { env: { ...NOBODY.env, OPENROUTER_PROVISIONING_KEY: MANAGEMENT_KEY } };

/** No other keyctl on the PATH, and no git. */
const ALONE = { env: { PATH: "/none", KEYCTL_AUTO_PROVISION: "0" } };

function ok(title: string, args: readonly string[], more: Pick<Outcome, "given" | "options"> = {}): Outcome {
  return { title, args, exit: 0, error: null, ...more };
}

function fails(
  exit: number,
  error: string,
  title: string,
  args: readonly string[],
  more: Pick<Outcome, "given" | "options"> = {},
): Outcome {
  return { title, args, exit, error, ...more };
}

/** Every command, on a store that is named and not there. */
const MISSING: readonly Outcome[] = [
  ["sync", ...ALICE],
  ["sync", ...ALICE, "--user", "bob"],
  ["get", ...ALICE],
  ["get", ...ALICE, "--stored"],
  ["provision", ...ALICE],
  ["save", ...ALICE, "--stdin"],
  ["purge", ...ALICE],
  ["purge", "--all"],
  ["validate", ...ALICE],
  ["validate", "--all"],
  ["list"],
  ["list", "--count"],
  ["explain", ...ALICE],
  ["copy", ...COPY],
  ["rekey"],
  ["reconcile"],
  ["doctor"],
].map((args) =>
  fails(7, "STORE_MISSING", `${args.join(" ")} of a store that is not there`, [...args, "--store", "sqlite:none.db"], {
    options: { env: { PATH: "/none" }, input: KEY },
  }),
);

/** Every command in every outcome that can be had without a terminal, a signal or a broken pipe. */
export const OUTCOMES: readonly Outcome[] = [
  ok("sync finds key.txt", ["sync", ...ALICE], { given: keyFile }),
  ok("sync finds the environment", ["sync", ...ALICE], { options: { env: { OPENROUTER_API_KEY: KEY } } }),
  ok("sync finds the database", ["sync", ...ALICE], { given: aliceIsStored }),
  ok("sync of two users", ["sync", ...ALICE, "--user", "bob"], { given: keyFile }),
  ok("sync of all", ["sync", "--all"], { given: aliceIsStored }),
  ok("sync of a part", ["sync", ...ALICE, "--shard", "1/1"], { given: keyFile }),
  ok("sync of nobody, on purpose", ["sync", "--all", "--allow-empty"]),
  ok("sync of a users file", ["sync", "--users-file", "users.txt"], {
    given(home) {
      keyFile(home);
      usersFile("alice\nbob\n")(home);
    },
  }),
  ok("sync of users from standard input", ["sync", "--users-file", "-"], {
    given: keyFile,
    options: { input: "alice\nbob\n" },
  }),
  fails(3, "NO_KEY", "sync finds nothing", ["sync", ...ALICE]),
  fails(3, "NO_KEY", "validate finds nothing, whatever key.txt holds", ["validate", ...ALICE], { given: keyFile }),
  fails(2, "BAD_USER_ID", "validate of a bad id", ["validate", "--user", " alice"]),
  fails(3, "EMPTY_SELECTION", "validate of nobody", ["validate", "--all"]),
  ok("validate of nobody, on purpose", ["validate", "--all", "--allow-empty"]),
  fails(9, "SOME_FAILED", "validate of two without keys", ["validate", ...ALICE, "--user", "bob"]),
  fails(4, "MASTER_KEY_WRONG", "validate with another master key", ["validate", ...ALICE], {
    given: masterKeyIsAnother,
  }),
  fails(4, "MASTER_KEY_WRONG", "validate of all with another master key", ["validate", "--all"], {
    given: masterKeyIsAnother,
  }),
  fails(7, "STORE_CORRUPT", "validate on a foreign file", ["validate", ...ALICE], { given: databaseIsForeign }),
  fails(7, "ROW_UNREADABLE", "validate of an unreadable row", ["validate", ...ALICE], { given: aliceIsUnreadable }),
  fails(6, "VERDICT_UNKNOWN", "validate without OpenRouter", ["validate", ...ALICE, ...SHORT], {
    given: aliceIsStored,
    options: NOBODY,
  }),
  fails(6, "SOME_UNKNOWN", "validate of all without OpenRouter", ["validate", "--all", ...SHORT], {
    given: aliceIsStored,
    options: NOBODY,
  }),
  ok("validate of all, where some may be unknown", ["validate", "--all", "--allow-unknown", "100%", ...SHORT], {
    given: aliceIsStored,
    options: NOBODY,
  }),
  fails(6, "VERDICT_UNKNOWN", "validate of a key on standard input", ["validate", "--stdin", ...SHORT], {
    options: { ...NOBODY, input: `${KEY}\n` },
  }),
  fails(2, "BAD_KEY_FORMAT", "validate of no key on standard input", ["validate", "--stdin"], {
    options: { input: "nonsense" },
  }),
  fails(2, "KEY_IS_MASKED", "validate of a mask", ["validate", "--stdin"], { options: { input: maskOf(KEY) } }),
  fails(4, "CONFIG_EMPTY", "validate with an empty address", ["validate", ...ALICE], {
    options: { env: { KEYCTL_OPENROUTER_URL: "" } },
  }),
  fails(4, "CONFIG_INVALID", "validate with an address in clear", ["validate", ...ALICE], {
    given: aliceIsStored,
    options: { env: { KEYCTL_OPENROUTER_URL: "http://openrouter.example/api/v1" } },
  }),
  fails(
    4,
    "MANAGEMENT_KEY_MISSING",
    "validate from a listing that may not be read",
    ["validate", "--all", "--from-listing"],
    {
      given: aliceIsStored,
      options: NOBODY,
    },
  ),
  fails(6, "VERDICT_UNKNOWN", "get without OpenRouter", ["get", ...ALICE, "--validate", ...SHORT], {
    given: aliceIsStored,
    options: NOBODY,
  }),
  fails(6, "VERDICT_UNKNOWN", "save without OpenRouter", ["save", ...ALICE, "--stdin", "--validate", ...SHORT], {
    options: { ...NOBODY, input: KEY },
  }),
  fails(3, "NO_KEY", "sync may not make a key", ["sync", ...ALICE, "--no-provision"]),
  fails(6, "PROVIDER_UNAVAILABLE", "sync cannot reach OpenRouter for a key", ["sync", ...ALICE, ...SHORT], {
    options: MANAGED,
  }),
  fails(9, "SOME_FAILED", "sync of two cannot reach OpenRouter", ["sync", ...ALICE, "--user", "bob", ...SHORT], {
    options: MANAGED,
  }),
  fails(4, "CONFIG_INVALID", "sync with a bad limit of keys", ["sync", ...ALICE], {
    options: { env: { KEYCTL_PROVISION_LIMIT: "much" } },
  }),
  fails(3, "NO_KEY", "sync with a key.txt that is empty", ["sync", ...ALICE], {
    given: (home) => home.writeKeyFile(""),
    options: MANAGED,
  }),
  fails(4, "MANAGEMENT_KEY_AS_USER_KEY", "sync of the management key", ["sync", ...ALICE], {
    given: (home) => home.writeKeyFile(MANAGEMENT_KEY),
    options: MANAGED,
  }),
  fails(4, "MANAGEMENT_KEY_AS_USER_KEY", "explain of the management key", ["explain", ...ALICE], {
    given: (home) => home.writeKeyFile(MANAGEMENT_KEY),
    options: MANAGED,
  }),
  fails(4, "MANAGEMENT_KEY_AS_USER_KEY", "get of the management key", ["get", ...ALICE, "--stored"], {
    given: aliceIsStored,
    options: { env: { OPENROUTER_PROVISIONING_KEY: KEY } },
  }),
  fails(4, "MANAGEMENT_KEY_AS_USER_KEY", "save of the management key", ["save", ...ALICE, "--stdin"], {
    options: { ...MANAGED, input: MANAGEMENT_KEY },
  }),
  fails(4, "MANAGEMENT_KEY_MISSING", "provision without a management key", ["provision", ...ALICE]),
  fails(6, "PROVIDER_UNAVAILABLE", "provision without OpenRouter", ["provision", ...ALICE, ...SHORT], {
    options: MANAGED,
  }),
  fails(9, "SOME_FAILED", "provision of two without OpenRouter", ["provision", ...ALICE, "--user", "bob", ...SHORT], {
    options: MANAGED,
  }),
  fails(8, "KEY_EXISTS", "provision for one who has a key", ["provision", ...ALICE], {
    given: aliceIsStored,
    options: MANAGED,
  }),
  fails(4, "MASTER_KEY_WRONG", "provision with another master key", ["provision", "--user", "bob"], {
    given: masterKeyIsAnother,
    options: MANAGED,
  }),
  fails(7, "STORE_CORRUPT", "provision on a foreign file", ["provision", ...ALICE], {
    given: databaseIsForeign,
    options: MANAGED,
  }),
  fails(2, "BAD_USER_ID", "provision of a bad id", ["provision", "--user", " alice"], { options: MANAGED }),
  fails(4, "MANAGEMENT_KEY_MISSING", "reconcile without a management key", ["reconcile"], { given: aliceIsStored }),
  fails(6, "PROVIDER_UNAVAILABLE", "reconcile without OpenRouter", ["reconcile", ...SHORT], {
    given: aliceIsStored,
    options: MANAGED,
  }),
  fails(3, "EMPTY_SELECTION", "reconcile of no store", ["reconcile"], { options: MANAGED }),
  fails(7, "STORE_CORRUPT", "reconcile on a foreign file", ["reconcile"], {
    given: databaseIsForeign,
    options: MANAGED,
  }),
  fails(
    4,
    "MANAGEMENT_KEY_MISSING",
    "purge --revoke without a management key",
    ["purge", ...ALICE, "--yes", "--revoke"],
    {
      given: aliceIsStored,
    },
  ),
  fails(8, "FOREIGN_KEY", "purge --revoke of a key of somebody else", ["purge", ...ALICE, "--yes", "--revoke"], {
    given: aliceIsStored,
    options: MANAGED,
  }),
  fails(
    10,
    "REVOKE_PENDING",
    "purge --revoke-foreign without OpenRouter",
    ["purge", ...ALICE, "--yes", "--revoke-foreign", ...SHORT],
    {
      given: aliceIsStored,
      options: MANAGED,
    },
  ),
  fails(
    6,
    "PROVIDER_UNAVAILABLE",
    "purge --revoke of who has no key, without OpenRouter",
    ["purge", "--user", "bob", "--revoke", ...SHORT],
    {
      given: aliceIsStored,
      options: MANAGED,
    },
  ),
  fails(
    4,
    "MANAGEMENT_KEY_MISSING",
    "save --revoke without a management key",
    ["save", ...ALICE, "--stdin", "--replace", "--revoke"],
    {
      given: aliceIsStored,
      options: { input: OTHER },
    },
  ),
  ok("save --revoke over a key of somebody else", ["save", ...ALICE, "--stdin", "--replace", "--revoke"], {
    given: aliceIsStored,
    options: { ...MANAGED, input: OTHER },
  }),
  fails(9, "SOME_FAILED", "sync finds nothing for two", ["sync", ...ALICE, "--user", "bob"]),
  fails(9, "SOME_FAILED", "sync of a users file with a bad id", ["sync", "--users-file", "users.txt"], {
    given(home) {
      keyFile(home);
      usersFile("alice\n bob\n")(home);
    },
  }),
  fails(3, "EMPTY_SELECTION", "sync of an empty store", ["sync", "--all"]),
  fails(3, "EMPTY_SELECTION", "sync of an empty users file", ["sync", "--users-file", "users.txt"], {
    given: usersFile("\n \n"),
  }),
  fails(2, "BAD_USER_ID", "sync of a bad id", ["sync", "--user", " alice"]),
  fails(2, "BAD_USER_ID", "sync of an empty id", ["sync", "--user", ""]),
  fails(2, "USAGE", "sync of a missing users file", ["sync", "--users-file", "users.txt"]),
  fails(2, "USAGE", "sync of a directory", ["sync", "--users-file", "."]),
  fails(7, "STORE_CORRUPT", "sync on a foreign file", ["sync", ...ALICE], { given: databaseIsForeign }),
  fails(7, "STORE_CORRUPT", "sync of two on a foreign file", ["sync", ...ALICE, "--user", "bob"], {
    given: databaseIsForeign,
  }),
  fails(7, "ROW_UNREADABLE", "sync of an unreadable row", ["sync", ...ALICE], { given: aliceIsUnreadable }),
  fails(4, "MASTER_KEY_WRONG", "sync with another master key", ["sync", ...ALICE], { given: masterKeyIsAnother }),
  fails(4, "MASTER_KEY_WRONG", "sync of two with another master key", ["sync", ...ALICE, "--user", "bob"], {
    given: masterKeyIsAnother,
  }),
  fails(4, "MASTER_KEY_WRONG", "sync one by one with another master key", ["sync", "--all", "--log"], {
    given: masterKeyIsAnother,
  }),
  fails(7, "STORE_UNAVAILABLE", "sync on a MongoDB that refuses the connection", ["sync", ...ALICE, ...SOON], {
    options: UNREACHABLE,
  }),
  fails(
    7,
    "STORE_UNAVAILABLE",
    "sync of two on a MongoDB that refuses the connection",
    ["sync", ...ALICE, "--user", "bob", ...SOON],
    { options: UNREACHABLE },
  ),
  fails(4, "CONFIG_INVALID", "sync on a MongoDB without a database", ["sync", ...ALICE], { options: MONGODB }),
  fails(4, "CONFIG_EMPTY", "sync with an empty store variable", ["sync", ...ALICE], {
    options: { env: { KEYCTL_STORE: "" } },
  }),
  fails(4, "CONFIG_CONFLICT", "sync with two management keys", ["sync", ...ALICE], {
    options: { env: { OPENROUTER_PROVISIONING_KEY: KEY, OPENROUTER_MANAGEMENT_KEY: OTHER } },
  }),
  fails(2, "USAGE", "sync on a store of no known kind", ["sync", ...ALICE, "--store", "keys.db"]),
  fails(1, "OUTPUT_FAILED", "sync into a folder that is not there", ["sync", ...ALICE, "--output", "none/out"], {
    given: keyFile,
  }),

  ok("get finds the database", ["get", ...ALICE], { given: aliceIsStored }),
  ok("get finds key.txt", ["get", ...ALICE], { given: keyFile }),
  ok("get reads the database only", ["get", ...ALICE, "--stored"], { given: aliceIsStored }),
  ok("get of all", ["get", "--all"], { given: aliceIsStored }),
  ok("get of all that is stored", ["get", "--all", "--stored"], { given: aliceIsStored }),
  fails(3, "NO_KEY", "get finds nothing", ["get", ...ALICE]),
  fails(3, "NO_KEY", "get finds no store", ["get", ...ALICE, "--stored"]),
  fails(3, "NO_KEY", "get finds nothing to reveal", ["get", ...ALICE, "--reveal"]),
  fails(9, "SOME_FAILED", "get of one who has none", ["get", ...ALICE, "--user", "bob", "--stored"], {
    given: aliceIsStored,
  }),
  fails(3, "EMPTY_SELECTION", "get of an empty store", ["get", "--all", "--stored"]),
  fails(2, "BAD_USER_ID", "get of a bad id", ["get", "--user", "a\tb"]),
  fails(7, "STORE_CORRUPT", "get on a foreign file", ["get", ...ALICE, "--stored"], { given: databaseIsForeign }),
  fails(7, "ROW_UNREADABLE", "get of an unreadable row", ["get", ...ALICE, "--stored"], { given: aliceIsUnreadable }),
  fails(4, "MASTER_KEY_WRONG", "get with another master key", ["get", ...ALICE], { given: masterKeyIsAnother }),
  fails(
    7,
    "STORE_UNAVAILABLE",
    "get on a MongoDB that refuses the connection",
    ["get", ...ALICE, "--stored", ...SOON],
    { options: UNREACHABLE },
  ),
  fails(4, "CONFIG_INVALID", "get on a MongoDB without a database", ["get", ...ALICE, "--stored"], {
    options: MONGODB,
  }),

  ok("save from standard input", ["save", ...ALICE, "--stdin"], { options: { input: `${KEY}\r\n` } }),
  ok("save from a file", ["save", ...ALICE, "--from-file", "key.txt"], { given: keyFile }),
  ok("save with a source", ["save", ...ALICE, "--stdin", "--source", "import-2026"], { options: { input: KEY } }),
  ok("save of the same key", ["save", ...ALICE, "--stdin"], { given: aliceIsStored, options: { input: KEY } }),
  ok("save over another key", ["save", ...ALICE, "--stdin", "--replace"], {
    given: aliceIsStored,
    options: { input: OTHER },
  }),
  ok("save over an unreadable row", ["save", ...ALICE, "--stdin", "--replace"], {
    given: aliceIsUnreadable,
    options: { input: OTHER },
  }),
  fails(8, "KEY_EXISTS", "save beside another key", ["save", ...ALICE, "--stdin"], {
    given: aliceIsStored,
    options: { input: OTHER },
  }),
  fails(2, "BAD_KEY_FORMAT", "save of no key", ["save", ...ALICE, "--stdin"], { options: { input: "hello" } }),
  fails(2, "BAD_KEY_FORMAT", "save of two keys", ["save", ...ALICE, "--stdin"], {
    options: { input: `${KEY}\n${OTHER}\n` },
  }),
  fails(2, "BAD_KEY_FORMAT", "save of nothing", ["save", ...ALICE, "--stdin"]),
  fails(2, "BAD_KEY_FORMAT", "save of bytes that are no text", ["save", ...ALICE, "--stdin"], {
    options: { input: new Uint8Array([0x73, 0xff, 0x6b]) },
  }),
  fails(2, "KEY_IS_MASKED", "save of a mask", ["save", ...ALICE, "--stdin"], { options: { input: maskOf(KEY) } }),
  fails(2, "USAGE", "save off a terminal without an input", ["save", ...ALICE]),
  fails(2, "USAGE", "save from two inputs", ["save", ...ALICE, "--stdin", "--from-file", "key.txt"]),
  fails(2, "USAGE", "save from a missing file", ["save", ...ALICE, "--from-file", "key.txt"]),
  fails(2, "USAGE", "save with a bad source", ["save", ...ALICE, "--stdin", "--source", "a b"], {
    options: { input: KEY },
  }),
  fails(2, "BAD_USER_ID", "save of a bad id", ["save", "--user", "", "--stdin"], { options: { input: KEY } }),
  fails(7, "STORE_CORRUPT", "save on a foreign file", ["save", ...ALICE, "--stdin"], {
    given: databaseIsForeign,
    options: { input: KEY },
  }),
  fails(4, "MASTER_KEY_WRONG", "save with another master key", ["save", ...ALICE, "--stdin"], {
    given: masterKeyIsAnother,
    options: { input: KEY },
  }),
  fails(
    7,
    "STORE_UNAVAILABLE",
    "save on a MongoDB that refuses the connection",
    ["save", ...ALICE, "--stdin", ...SOON],
    { options: { ...UNREACHABLE, input: KEY } },
  ),
  fails(4, "CONFIG_INVALID", "save on a MongoDB without a database", ["save", ...ALICE, "--stdin"], {
    options: { ...MONGODB, input: KEY },
  }),

  ok("purge", ["purge", ...ALICE, "--yes"], { given: aliceIsStored }),
  ok("purge of an unreadable row", ["purge", ...ALICE, "--yes"], { given: aliceIsUnreadable }),
  ok("purge with another master key", ["purge", ...ALICE, "--yes"], { given: masterKeyIsAnother }),
  ok("purge of who has no key", ["purge", ...ALICE]),
  ok("purge of two", ["purge", ...ALICE, "--user", "bob", "--yes"], { given: aliceIsStored }),
  ok("purge of all", ["purge", "--all", "--confirm", "1", "--store", "sqlite:../data/keyctl/keyctl.db"], {
    given: aliceIsStored,
  }),
  fails(2, "CONFIRMATION_NEEDED", "purge without a yes", ["purge", ...ALICE], { given: aliceIsStored }),
  fails(2, "CONFIRMATION_NEEDED", "purge of two without a yes", ["purge", ...ALICE, "--user", "bob"]),
  fails(2, "CONFIRMATION_NEEDED", "purge of all, the store unnamed", ["purge", "--all", "--confirm", "1"], {
    given: aliceIsStored,
  }),
  fails(
    2,
    "CONFIRMATION_NEEDED",
    "purge of all with a yes alone",
    ["purge", "--all", "--yes", "--store", "sqlite:../data/keyctl/keyctl.db"],
    { given: aliceIsStored },
  ),
  fails(
    8,
    "COUNT_CHANGED",
    "purge of all with another count",
    ["purge", "--all", "--confirm", "2", "--store", "sqlite:../data/keyctl/keyctl.db"],
    { given: aliceIsStored },
  ),
  ...MISSING,
  fails(2, "BAD_USER_ID", "purge of a bad id", ["purge", "--user", "alice ", "--yes"]),
  fails(7, "STORE_CORRUPT", "purge on a foreign file", ["purge", ...ALICE, "--yes"], { given: databaseIsForeign }),
  fails(
    7,
    "STORE_UNAVAILABLE",
    "purge on a MongoDB that refuses the connection",
    ["purge", ...ALICE, "--yes", ...SOON],
    { options: UNREACHABLE },
  ),
  fails(4, "CONFIG_INVALID", "purge on a MongoDB without a database", ["purge", ...ALICE, "--yes"], {
    options: MONGODB,
  }),

  ok("explain of the database", ["explain", ...ALICE], { given: aliceIsStored }),
  ok("explain of key.txt", ["explain", ...ALICE], { given: keyFile }),
  ok("explain of the environment", ["explain", ...ALICE], { options: { env: { OPENROUTER_API_KEY: KEY } } }),
  ok("explain with another master key", ["explain", ...ALICE], { given: masterKeyIsAnother }),
  ok("explain with two management keys", ["explain", ...ALICE], {
    given: aliceIsStored,
    options: { env: { OPENROUTER_PROVISIONING_KEY: MANAGEMENT_KEY, OPENROUTER_MANAGEMENT_KEY: OTHER } },
  }),
  fails(3, "NO_KEY", "explain of nothing", ["explain", ...ALICE]),
  fails(7, "ROW_UNREADABLE", "explain of an unreadable row", ["explain", ...ALICE], { given: aliceIsUnreadable }),
  fails(7, "STORE_CORRUPT", "explain on a foreign file", ["explain", ...ALICE], { given: databaseIsForeign }),
  fails(4, "CONFIG_CONFLICT", "explain of a variable that is set twice", ["explain", ...ALICE], {
    options: { env: { OPENROUTER_API_KEY: KEY, OPENROUTER_API_KEY_FILE: "key.txt" } },
  }),
  fails(4, "CONFIG_EMPTY", "explain with an empty store variable", ["explain", ...ALICE], {
    options: { env: { KEYCTL_STORE: "" } },
  }),
  fails(2, "BAD_USER_ID", "explain of a bad id", ["explain", "--user", " alice"]),

  ok("doctor", ["doctor"], { given: aliceIsStored, options: ALONE }),
  ok("doctor, deep", ["doctor", "--deep"], { given: aliceIsStored, options: ALONE }),
  fails(10, "ATTENTION", "doctor of no store", ["doctor"], { options: ALONE }),
  fails(10, "ATTENTION", "doctor of an unreadable row", ["doctor"], { given: aliceIsUnreadable, options: ALONE }),
  fails(10, "ATTENTION", "doctor of a variable that is set twice", ["doctor"], {
    given: aliceIsStored,
    options: { env: { PATH: "/none", OPENROUTER_API_KEY: KEY, OPENROUTER_API_KEY_FILE: "key.txt" } },
  }),
  fails(4, "MASTER_KEY_WRONG", "doctor with another master key", ["doctor", "--deep"], {
    given: masterKeyIsAnother,
    options: ALONE,
  }),
  fails(4, "CONFIG_EMPTY", "doctor with an empty store variable", ["doctor"], {
    options: { env: { KEYCTL_STORE: "" } },
  }),
  fails(7, "STORE_CORRUPT", "doctor of a foreign file", ["doctor"], { given: databaseIsForeign, options: ALONE }),

  ok("list", ["list"], { given: aliceIsStored }),
  ok("list of no store", ["list"]),
  ok("list with another master key", ["list"], { given: masterKeyIsAnother }),
  ok("list, counted", ["list", "--count"], { given: aliceIsStored }),

  ok("rekey", ["rekey"], { given: aliceIsStored }),
  ok("rekey of clear rows", ["rekey", "--keep-key"], { given: aliceIsInClear }),
  ok("rekey, looked at only", ["rekey", "--dry-run"], { given: aliceIsInClear }),
  ok("rekey of a store that is not there yet", ["rekey", "--init"]),
  ok("rekey of a store that is sealed already", ["rekey", "--init"], { given: aliceIsInClear }),
  ok("rekey into a file of its own", ["rekey", "--init"], {
    options: { env: { KEYCTL_MASTER_KEYS_FILE: "keys.json" } },
  }),
  fails(9, "SOME_FAILED", "rekey of an unreadable row", ["rekey"], { given: aliceIsUnreadable }),
  fails(3, "EMPTY_SELECTION", "rekey of no store", ["rekey"]),
  fails(4, "MASTER_KEY_WRONG", "rekey with another master key", ["rekey"], { given: masterKeyIsAnother }),
  fails(4, "MASTER_KEY_WRONG", "rekey of a store that others seal", ["rekey", "--init"], { given: masterKeyIsAnother }),
  fails(4, "CONFIG_INVALID", "rekey where keyctl cannot write", ["rekey"], {
    given: masterKeyIsInAVault,
    options: { env: { KEYCTL_MASTER_KEYS_COMMAND: "cat vault" } },
  }),
  fails(4, "CONFIG_INVALID", "rekey without the file of master keys", ["rekey"], {
    given: aliceIsStored,
    options: { env: { KEYCTL_MASTER_KEYS_FILE: "none.json" } },
  }),
  fails(6, "SOME_UNKNOWN", "rekey without the time for it", ["rekey", "--stop-after", "1ms"], {
    given: manyAreInClear,
  }),
  fails(7, "STORE_CORRUPT", "rekey on a foreign file", ["rekey"], { given: databaseIsForeign }),

  ok("copy", ["copy", ...COPY], { given: aliceIsStored }),
  ok("copy, looked at only", ["copy", ...COPY, "--dry-run"], { given: aliceIsStored }),
  ok("copy of clear rows", ["copy", ...COPY], { given: aliceIsInClear }),
  ok("copy to the place of a variable", ["copy", "--create"], {
    given: aliceIsStored,
    options: { env: { KEYCTL_COPY_TO: "sqlite:copy.db" } },
  }),
  fails(9, "SOME_FAILED", "copy of an unreadable row", ["copy", ...COPY], { given: aliceIsUnreadable }),
  fails(9, "SOME_FAILED", "copy beside another key", ["copy", ...COPY], { given: aliceHasAnotherKeyThere }),
  fails(3, "EMPTY_SELECTION", "copy of no store", ["copy", ...COPY]),
  fails(2, "USAGE", "copy to nowhere", ["copy"], { given: aliceIsStored }),
  fails(2, "USAGE", "copy of a store to itself", ["copy", "--to", "sqlite:../data/keyctl/keyctl.db"], {
    given: aliceIsStored,
  }),
  fails(4, "CONFIG_CONFLICT", "copy to two places", ["copy", ...COPY], {
    given: aliceIsStored,
    options: { env: { KEYCTL_COPY_TO: "sqlite:other.db" } },
  }),
  fails(4, "MASTER_KEY_WRONG", "copy with another master key", ["copy", ...COPY], { given: masterKeyIsAnother }),
  fails(6, "SOME_UNKNOWN", "copy without the time for it", ["copy", ...COPY, "--stop-after", "1ms"], {
    given: manyAreInClear,
  }),
  fails(7, "STORE_CORRUPT", "copy of a foreign file", ["copy", ...COPY], { given: databaseIsForeign }),
  fails(7, "STORE_CORRUPT", "copy into a foreign file", ["copy", ...COPY], {
    async given(home) {
      await aliceIsStored(home);
      writeFileSync(join(home.work, "copy.db"), "this is not a database, and long enough to be looked at as one");
    },
  }),
];

/** Flags that are not everybody's, and whose they are. */
const TAKEN: Readonly<Record<string, readonly string[]>> = {
  "--validate": ["get", "save"],
  "--revoke": ["save", "purge"],
  "--revoke-foreign": ["purge"],
  "--expires-in": ["provision"],
  "--label": ["provision"],
  "--limit": ["provision"],
  "--workspace": ["provision"],
};

/** Those that end before the command begins: their document is the error alone. */
export const REFUSALS: readonly Outcome[] = [
  ...["sync", "get", "purge", "save", "explain", "provision"].map((verb) =>
    fails(2, "USAGE", `${verb} of nobody`, [verb]),
  ),
  ...["sync", "get", "purge", "provision"].flatMap((verb) => [
    fails(2, "USAGE", `${verb} of users and all`, [verb, ...ALICE, "--all"]),
    fails(2, "USAGE", `${verb} of users and a file`, [verb, ...ALICE, "--users-file", "-"]),
    fails(2, "USAGE", `${verb} of a file and all`, [verb, "--users-file", "-", "--all"]),
    fails(2, "USAGE", `${verb} of a part of nobody`, [verb, "--shard", "1/2"]),
    ...["0/2", "3/2", "1", "a/b", "1/0"].map((shard) =>
      fails(2, "USAGE", `${verb} of the part ${shard}`, [verb, "--all", "--shard", shard]),
    ),
    fails(2, "USAGE", `${verb} with a bad time to stop`, [verb, "--all", "--stop-after", "soon"]),
  ]),
  fails(2, "USAGE", "rekey as a start and a going on", ["rekey", "--init", "--keep-key"]),
  fails(2, "USAGE", "rekey as a start without one", ["rekey", "--init", "--dry-run"]),
  fails(2, "USAGE", "rekey with a bad time to stop", ["rekey", "--stop-after", "soon"]),
  fails(2, "USAGE", "copy with a bad time to stop", ["copy", ...COPY, "--stop-after", "soon"]),
  fails(2, "SECRET_IN_ARGV", "copy with a password in argv, of the copy", [
    "copy",
    "--to",
    "mongodb://me:secret@db/keyctl",
  ]),
  ...["sync", "get", "save", "purge", "list", "explain", "rekey", "copy", "provision", "reconcile"].flatMap((verb) => [
    fails(2, "USAGE", `${verb} with a word too many`, [verb, "alice"]),
    fails(2, "USAGE", `${verb} with an unknown option`, [verb, "--usr", "alice"]),
    ...["30", "0s", "1w", "-1s", ""].map((time) =>
      fails(2, "USAGE", `${verb} with the time '${time}'`, [
        verb,
        ...(["list", "rekey", "copy", "reconcile"].includes(verb) ? [] : ALICE),
        "--timeout",
        time,
      ]),
    ),
    fails(2, "SECRET_IN_ARGV", `${verb} with a key in argv`, [verb, "--user", KEY]),
    fails(2, "SECRET_IN_ARGV", `${verb} with a mask in argv`, [verb, "--user", maskOf(KEY)]),
    fails(2, "SECRET_IN_ARGV", `${verb} with a password in argv`, [verb, "--store", "mongodb://me:secret@db/keyctl"]),
    ...[
      "--validate",
      "--revoke",
      "--revoke-foreign",
      "--from-listing",
      "--expires-in",
      "--label",
      "--limit",
      "--workspace",
    ]
      .filter((flag) => !(TAKEN[flag] ?? []).includes(verb))
      .map((flag) => fails(2, "USAGE", `${verb} ${flag}, of another command`, [verb, ...ALICE, flag])),
  ]),
  ...Object.entries({
    "--limit": ["", "much", "-1", "0x1", "1e400", "Infinity"],
    "--limit-reset": ["", "hourly", "Daily "],
    "--expires-in": ["", "soon", "0s", "-1d", "90"],
    "--workspace": ["", "a b", "../x"],
    "--label": ["", " ", "a\tb", "x".repeat(201)],
  }).flatMap(([flag, values]) =>
    values.map((value) =>
      fails(2, "USAGE", `provision ${flag} '${value.slice(0, 20)}'`, ["provision", ...ALICE, flag, value]),
    ),
  ),
  fails(2, "USAGE", "reconcile with a count and no --fix", ["reconcile", "--confirm", "1"]),
  fails(2, "USAGE", "reconcile with a bad count", ["reconcile", "--fix", "--confirm", "many"]),
  fails(2, "USAGE", "reconcile of two", ["reconcile", ...ALICE, "--user", "bob"]),
  fails(2, "USAGE", "reconcile of all", ["reconcile", "--all"]),
  fails(2, "USAGE", "get --validate of all", ["get", "--all", "--validate"]),
  fails(2, "USAGE", "validate of nobody named", ["validate"]),
  fails(2, "USAGE", "validate of a user and standard input", ["validate", ...ALICE, "--stdin"]),
  ...["--concurrency 0", "--concurrency 501", "--allow-unknown 101%", "--allow-unknown x", "--min-remaining -1"].map(
    (flags) => fails(2, "USAGE", `validate with ${flags}`, ["validate", "--all", ...flags.split(" ")]),
  ),
  fails(2, "USAGE", "validate with a bad time", ["validate", "--all", "--not-validated-since", "soon"]),
  fails(2, "USAGE", "save for two", ["save", ...ALICE, "--user", "bob", "--stdin"]),
  fails(2, "USAGE", "explain of two", ["explain", ...ALICE, "--user", "bob"]),
  fails(2, "USAGE", "explain of all", ["explain", "--all"]),
  fails(2, "USAGE", "save for all", ["save", "--all", "--stdin"]),
  fails(2, "USAGE", "purge of one with a count", ["purge", ...ALICE, "--confirm", "1"]),
  fails(2, "USAGE", "purge with a bad count", ["purge", "--all", "--confirm", "many"]),
  fails(2, "USAGE", "list by a bad hash", ["list", "--hash", "abc"]),
  fails(2, "USAGE", "list by a bad duration", ["list", "--expires-within", "soon"]),
  fails(2, "USAGE", "list by a bad verdict", ["list", "--verdict", "good"]),
  fails(7, "STORE_CORRUPT", "list of a foreign file", ["list"], { given: databaseIsForeign }),
  fails(7, "STORE_UNAVAILABLE", "list on a MongoDB that refuses the connection", ["list", ...SOON], {
    options: UNREACHABLE,
  }),
  fails(4, "CONFIG_INVALID", "list on a MongoDB without a database", ["list"], { options: MONGODB }),
  fails(2, "USAGE", "help on nonsense", ["help", "nonsense"]),
  fails(2, "USAGE", "help on what every object has", ["help", "constructor"]),
  fails(2, "USAGE", "a command of a later version", ["rotate"]),
  fails(2, "USAGE", "doctor of one user", ["doctor", ...ALICE]),
  fails(2, "USAGE", "doctor with a word too many", ["doctor", "alice"]),
  fails(2, "USAGE", "doctor with a bad time", ["doctor", "--timeout", "soon"]),
  fails(2, "USAGE", "doctor of a store of no known kind", ["doctor", "--store", "keys.db"]),
  fails(2, "SECRET_IN_ARGV", "doctor with a password in argv", ["doctor", "--store", "mongodb://me:secret@db/keyctl"]),
  fails(2, "USAGE", "no command", []),
  fails(2, "USAGE", "an option in place of a command", ["--jsn"]),
];
